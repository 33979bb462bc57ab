"""
A directory and a resolver of nobody: for what is asked before there is a store, and without the DNS.
"""

from __future__ import annotations

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Account, CramSecret, Destination, IDirectory, MailboxLists, Remote
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver
from mailtraq_py.mail.envelope import ForwardPath


@implementer(IDirectory)
class NobodyHosted:
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

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """Nobody logs in."""
        return None

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """None."""
        return None

    async def offers_cram_md5(self) -> bool:
        """No."""
        return False


@implementer(IResolver)
class NoAnswers:
    """A resolver that reaches no nameserver."""

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def addresses(self, host: str) -> list[str]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def txt(self, name: str) -> list[bytes]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")

    async def pointers(self, address: str) -> list[str]:
        """No answer."""
        raise TemporaryFailure("the DNS is not asked")
