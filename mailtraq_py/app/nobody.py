"""
A directory of nobody, for what is asked before there is a store.
"""

from __future__ import annotations

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Account, Destination, IDirectory, MailboxLists, Remote
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.store.lookup import NobodyLogsIn


@implementer(IDirectory)
class NobodyHosted(NobodyLogsIn):
    """The directory of a store that is not there yet: no domain is ours."""

    async def is_local_domain(self, domain: str) -> bool:
        """No."""
        return False

    async def find_account(self, address: str) -> Account | None:
        """None."""
        return None

    async def resolve(self, path: ForwardPath) -> Destination:
        """Everything leads elsewhere."""
        return Remote(path)

    async def mailbox_lists(self, account: Account) -> MailboxLists:
        """Empty ones."""
        return MailboxLists()

    async def has_room(self, account: Account) -> bool:
        """Yes."""
        return True
