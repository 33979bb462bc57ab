"""
The contracts with the writer in a process of its own, which is a thread of this one here.
"""

from __future__ import annotations

from mailtraq_py.store.store import Store

from . import contract
from .test_store import StoreTests
from .writing import ThreadWriting, Writing


class _Remote(contract.StoreCase):
    async def setUp(self) -> None:
        """Open a fresh store, one of a worker."""
        self.writing: list[Writing] = []
        self.addCleanup(self._end_writing)
        await super().setUp()

    def make_store(self, data_dir: str) -> Store:
        """A worker's, with a writer of its own."""
        self.writing.append(ThreadWriting(data_dir, self.clock))
        return self.writing[-1].worker()

    def _end_writing(self) -> None:
        """After the stores."""
        for writing in self.writing:
            writing.end()


class AcceptanceRemote(_Remote, contract.AcceptanceContract):
    """IAcceptance and IContent."""


class MailboxesRemote(_Remote, contract.MailboxesContract):
    """IMailboxes."""


class MailboxRemote(_Remote, contract.MailboxContract):
    """IMailbox."""


class SearchRemote(_Remote, contract.SearchContract):
    """Search."""


class QueueRemote(_Remote, contract.QueueContract):
    """IQueue."""


class DirectoryRemote(_Remote, contract.DirectoryContract):
    """IDirectory."""


class RecentLoginsRemote(_Remote, contract.RecentLoginContract):
    """IRecentLoginRows."""


class HubRemote(_Remote, contract.HubContract):
    """IChangeHub."""


class StoreRemote(_Remote, StoreTests):
    """A store over its life: restarts, crashes, slices, bounds."""


del StoreTests
