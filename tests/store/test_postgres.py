"""
The contracts on PostgreSQL: with the pool of writers and the real reactor, and at once as the command line does.
"""

from __future__ import annotations

from twisted.internet import reactor

from mailtraq_py.store.store import Store
from tests.postgres import NAME, cluster, fresh

from . import contract, deletedcontract


class _InRows:
    def stored_apart(self, content_id: int) -> int:
        (row,) = cluster().execute(
            f"SELECT coalesce(sum(length(octets)), 0)::bigint FROM content_chunks WHERE content_id = {content_id}", NAME
        )
        return int(str(row[0]))


class _Served(contract.StoreCase):
    def make_store(self, data_dir: str) -> Store:
        return Store(fresh(), data_dir, reactor, self.clock)


class _AtOnce(contract.StoreCase):
    def make_store(self, data_dir: str) -> Store:
        return Store(fresh(), data_dir, clock=self.clock)


class AcceptanceServed(_InRows, _Served, contract.AcceptanceContract):
    """IAcceptance and IContent."""


class AcceptanceAtOnce(_InRows, _AtOnce, contract.AcceptanceContract):
    """The same without a reactor."""


class MailboxesServed(_Served, contract.MailboxesContract):
    """IMailboxes."""


class MailboxServed(_Served, contract.MailboxContract):
    """IMailbox."""


class DeletedServed(_Served, deletedcontract.DeletedContract):
    """Deleted mail."""


class PurgeServed(_Served, deletedcontract.PurgeContract):
    """Its end."""


class RestoreServed(_Served, deletedcontract.RestoreContract):
    """Its coming back."""


class SearchServed(_Served, contract.SearchContract):
    """Search."""


class QueueServed(_Served, contract.QueueContract):
    """IQueue."""


class DirectoryServed(_Served, contract.DirectoryContract):
    """IDirectory and Administration."""


class RecentLoginsServed(_Served, contract.RecentLoginContract):
    """IRecentLoginRows."""


class HubServed(_Served, contract.HubContract):
    """IChangeHub."""
