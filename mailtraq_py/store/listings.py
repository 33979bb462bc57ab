"""
What an administrator looks at: domains, accounts, aliases, distribution lists, as entries to be shown. Nothing is
changed, so a glance into the store is enough; a store in use answers the same through its `Administration`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtraq_py.interfaces.directory import Account, MailboxLists
from mailtraq_py.mail.address import Address, fold_domain, parse_address

from .lookup import Read, lists_of
from .resolution import CATCH_ALL, account_of
from .sql.accounts import ACCOUNT_COLUMNS


class Refused(Exception):
    """The change was not made; the message is a sentence for the administrator."""


class NotFound(Refused):
    """There is no such domain, account, alias or list."""


@dataclass(frozen=True, slots=True)
class DomainEntry:
    """A domain; `alias_of` is "" or the domain it stands for."""

    name: str
    alias_of: str
    accounts: int


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """An account with what it uses; `recoverable_octets` are those of deleted messages, which no quota counts."""

    account: Account
    cram_md5: bool
    octets: int
    messages: int
    recoverable_octets: int


@dataclass(frozen=True, slots=True)
class AliasEntry:
    """An alias, "*@domain" for what nobody else takes."""

    address: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListEntry:
    """A distribution list; `owner` is "" for the domain's postmaster, `posting` one of POSTING."""

    address: str
    owner: str
    posting: str
    members: int


class Listings:
    """
    See the file's head. Every method may raise Refused (NotFound) and TemporaryFailure.

    Args:
        read: of the main database.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    async def list_domains(self) -> list[DomainEntry]:
        """All, by name."""
        return [DomainEntry(*row) for row in self._read("list_domains")]

    async def list_accounts(self, domain: str | None = None) -> list[AccountEntry]:
        """Accounts of one domain or of all, by address; NotFound where the domain is not hosted."""
        if domain and not self._read("find_domain", folded_domain(domain)):
            raise NotFound(f"no domain {domain}")
        rows = self._read("list_accounts", folded_domain(domain) if domain else "")
        return [
            AccountEntry(account_of(row), bool(cram_md5), octets, messages, recoverable)
            for row in rows
            for cram_md5, octets, messages, recoverable in [row[ACCOUNT_COLUMNS:]]
        ]

    async def find(self, address: str) -> Account:
        """An account by its address."""
        domain, local_part = split_address(address)
        found = self._read("find_domain", domain)
        row = found and self._read("find_account", found[0], local_part)
        if not row:
            raise NotFound(f"no account {local_part}@{domain}")
        return account_of(row)

    async def list_aliases(self) -> list[AliasEntry]:
        """All, by address."""
        targets: dict[str, list[str]] = {}
        for address, target in self._read("list_aliases"):
            targets.setdefault(address, []).append(target)
        return [AliasEntry(address, tuple(listed)) for address, listed in targets.items()]

    async def list_lists(self) -> list[ListEntry]:
        """All, by address."""
        return [ListEntry(*row) for row in self._read("list_lists")]

    async def members_of(self, address: str) -> list[str]:
        """The addresses on a list."""
        domain, local_part = split_address(address)
        found = self._read("find_domain", domain)
        row = found and self._read("find_list", found[0], local_part)
        if not row:
            raise NotFound(f"no list {local_part}@{domain}")
        members: list[str] = self._read("list_members", row[0])
        return members

    async def mailbox_lists(self, address: str) -> MailboxLists:
        """The lists of an account."""
        return lists_of(self._read, await self.find(address))


def parsed_address(text: str) -> Address:
    """An address, as people write it."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise Refused(f"{text!r} is no address: {error}") from error


def split_address(address: str, catch_all: bool = False) -> tuple[str, str]:
    """(domain, local part) of an address, both folded."""
    if catch_all and address.startswith(f"{CATCH_ALL}@"):
        return folded_domain(address[len(CATCH_ALL) + 1 :]), CATCH_ALL
    local_part, _, domain = parsed_address(address).key.rpartition("@")
    if local_part == CATCH_ALL:
        raise Refused(f"{CATCH_ALL} stands for everybody; no account can have it")
    return domain, local_part


def folded_domain(name: str) -> str:
    """A domain, as it is kept."""
    try:
        return fold_domain(name)
    except ValueError as error:
        raise Refused(f"{name!r} is no domain: {error}") from error
