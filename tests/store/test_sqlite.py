"""
The contracts on SQLite: in memory and at once, and on disk with the writer's thread and the real reactor.
"""

from __future__ import annotations

from twisted.internet import reactor

from mailtraq_py.store.store import Store

from . import contract, deletedcontract


class _InMemory(contract.StoreCase):
    def make_store(self, data_dir: str) -> Store:
        return Store("sqlite::memory:", data_dir, clock=self.clock)


class _OnDisk(contract.StoreCase):
    def make_store(self, data_dir: str) -> Store:
        return Store(f"sqlite:{data_dir}/mail.db", data_dir, reactor, self.clock)


class AcceptanceInMemory(_InMemory, contract.AcceptanceContract):
    """IAcceptance and IContent, in memory."""


class AcceptanceOnDisk(_OnDisk, contract.AcceptanceContract):
    """IAcceptance and IContent, on disk."""


class MailboxesInMemory(_InMemory, contract.MailboxesContract):
    """IMailboxes, in memory."""


class MailboxesOnDisk(_OnDisk, contract.MailboxesContract):
    """IMailboxes, on disk."""


class MailboxInMemory(_InMemory, contract.MailboxContract):
    """IMailbox, in memory."""


class MailboxOnDisk(_OnDisk, contract.MailboxContract):
    """IMailbox, on disk."""


class SearchInMemory(_InMemory, contract.SearchContract):
    """Search, in memory."""


class SearchOnDisk(_OnDisk, contract.SearchContract):
    """Search, on disk."""


class QueueInMemory(_InMemory, contract.QueueContract):
    """IQueue, in memory."""


class QueueOnDisk(_OnDisk, contract.QueueContract):
    """IQueue, on disk."""


class DirectoryInMemory(_InMemory, contract.DirectoryContract):
    """IDirectory, in memory."""


class DirectoryOnDisk(_OnDisk, contract.DirectoryContract):
    """IDirectory, on disk."""


class RecentLoginsInMemory(_InMemory, contract.RecentLoginContract):
    """IRecentLoginRows, in memory."""


class RecentLoginsOnDisk(_OnDisk, contract.RecentLoginContract):
    """IRecentLoginRows, on disk."""


class FailuresInMemory(_InMemory, contract.FailuresContract):
    """IBans and IFailedLogins, in memory."""


class FailuresOnDisk(_OnDisk, contract.FailuresContract):
    """IBans and IFailedLogins, on disk."""


class HubInMemory(_InMemory, contract.HubContract):
    """IChangeHub, in memory."""


class HubOnDisk(_OnDisk, contract.HubContract):
    """IChangeHub, on disk."""


class DeletedInMemory(_InMemory, deletedcontract.DeletedContract):
    """Deleted mail, in memory."""


class DeletedOnDisk(_OnDisk, deletedcontract.DeletedContract):
    """Deleted mail, on disk."""


class PurgeInMemory(_InMemory, deletedcontract.PurgeContract):
    """Its end, in memory."""


class PurgeOnDisk(_OnDisk, deletedcontract.PurgeContract):
    """Its end, on disk."""


class RestoreInMemory(_InMemory, deletedcontract.RestoreContract):
    """Its coming back, in memory."""


class RestoreOnDisk(_OnDisk, deletedcontract.RestoreContract):
    """Its coming back, on disk."""
