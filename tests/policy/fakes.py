"""
A directory and a resolver out of dictionaries, and a way to run a coroutine that waits for nothing real.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailtraq_py.interfaces.directory import (
    Account,
    CramSecret,
    Destination,
    Expansion,
    IDirectory,
    LocalMailbox,
    MailboxLists,
    Remote,
    UnknownUser,
)
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.mail.envelope import ForwardPath

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that is done at once."""
    results: list[Any] = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addBoth(results.append)
    if not results:
        raise AssertionError("the coroutine waits for something")
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]


@implementer(IDirectory)
class Directory:
    """Domains, accounts and destinations, given at the start; `fails` makes each question a TemporaryFailure."""

    def __init__(
        self,
        domains: Iterable[str] = ("example.test",),
        accounts: Iterable[Account] = (Account(1, "alice@example.test", "example.test"),),
        expansions: dict[str, Expansion] | None = None,
        mapped: Iterable[str] = (),
    ) -> None:
        self.domains = set(domains)
        self.accounts = {account.address: account for account in accounts}
        self.expansions = expansions or {}
        self.mapped = set(mapped)
        self.lists: dict[int, MailboxLists] = {}
        self.full: set[int] = set()
        self.fails = False

    def _ask(self) -> None:
        if self.fails:
            raise TemporaryFailure("the database is away")

    async def is_local_domain(self, domain: str) -> bool:
        """Whether it was given."""
        self._ask()
        return domain in self.domains

    async def find_account(self, address: str) -> Account | None:
        """The account that was given."""
        self._ask()
        return self.accounts.get(address)

    async def resolve(self, path: ForwardPath) -> Destination:
        """Accounts, expansions, mapped domains, and the rest."""
        self._ask()
        if path.key in self.expansions:
            return self.expansions[path.key]
        if path.domain_key not in self.domains:
            return Remote(path, path.domain_key in self.mapped)
        account = self.accounts.get(path.key)
        return UnknownUser() if account is None else LocalMailbox(account)

    async def mailbox_lists(self, account: Account) -> MailboxLists:
        """Those that were put into `lists`."""
        self._ask()
        return self.lists.get(account.id, MailboxLists())

    async def has_room(self, account: Account) -> bool:
        """Unless it is in `full`."""
        self._ask()
        return account.id not in self.full

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """Nobody has a password here."""
        return None

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """Nobody has one."""
        return None

    async def offers_cram_md5(self) -> bool:
        """Nobody has opted in."""
        return False


@implementer(IResolver)
class Resolver:
    """Names out of dictionaries; a name in `dead` gets no answer, one nowhere does not exist."""

    def __init__(
        self,
        addresses: dict[str, list[str]] | None = None,
        mx: dict[str, list[tuple[int, str]]] | None = None,
        dead: Iterable[str] = (),
    ) -> None:
        self._addresses = addresses or {}
        self._mx = mx or {}
        self._dead = set(dead)

    def _check(self, name: str) -> None:
        if name in self._dead:
            raise TemporaryFailure(f"no answer for {name}")
        if name not in self._addresses and name not in self._mx:
            raise NoSuchName(name)

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """The MX records."""
        self._check(domain)
        return self._mx.get(domain, [])

    async def addresses(self, host: str) -> list[str]:
        """The addresses."""
        self._check(host)
        return self._addresses.get(host, [])

    async def txt(self, name: str) -> list[bytes]:
        """None."""
        self._check(name)
        return []

    async def pointers(self, address: str) -> list[str]:
        """None."""
        return []
