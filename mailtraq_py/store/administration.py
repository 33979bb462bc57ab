"""
What an administrator changes: domains, accounts, aliases, distribution lists, black and white lists.

Every change is one transaction and acts on running servers at once: they read what is committed, and hear of
sessions to close through the notices of that same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from os import cpu_count
from typing import Any

from mailtraq_py.interfaces.directory import Account, MailboxLists
from mailtraq_py.mail.address import Address, fold_domain, parse_address
from mailtraq_py.mail.md5 import md5_block_states

from .database import Database
from .hashing import hash_password
from .lookup import lists_of
from .resolution import ALIAS_MEMBERS_MAX, CATCH_ALL, account_of
from .sql.accounts import ACCOUNT_COLUMNS, Missing, Taken
from .sql.rows import Row
from .workers import Workers

POSTING = ("anyone", "members", "insiders")
LIST_ENTRIES_MAX = 1000

PASSWORD_MIN_CHARACTERS = 8
_ACCOUNTS_AT_ONCE = 200


class Refused(Exception):
    """The change was not made; the message is a sentence for the administrator."""


class NotFound(Refused):
    """There is no such domain, account, alias or list."""


class AlreadyExists(Refused):
    """The name is taken."""


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


class Administration:
    """
    See the file's head. Every method may raise Refused (NotFound, AlreadyExists) and TemporaryFailure.

    Args:
        database: the main one.
        recent: the one of recent logins.
        workers: where passwords are hashed.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, recent: Database, workers: Workers, clock: Callable[[], float]) -> None:
        self._database = database
        self._recent = recent
        self._workers = workers
        self._clock = clock

    # --- domains -----------------------------------------------------------------------------------------------

    async def add_domain(self, name: str, alias_of: str | None = None) -> None:
        """Host a domain, or let it stand for another one that is hosted."""
        await self._change("add_domain", _domain(name), _domain(alias_of) if alias_of else "", self._clock())

    async def delete_domain(self, name: str) -> None:
        """Host a domain no more; it has no accounts left."""
        await self._change("delete_domain", _domain(name))

    async def list_domains(self) -> list[DomainEntry]:
        """All, by name."""
        return [DomainEntry(*row) for row in self._database.read("list_domains")]

    # --- accounts ----------------------------------------------------------------------------------------------

    async def add_account(
        self, address: str, password: bytes, relay: bool = True, cram_md5: bool = False
    ) -> Account:
        """Add an account with INBOX and the usual mailboxes."""
        row = await self._workers.run(_account_row, _split(address), password, relay, cram_md5)
        await self._change("add_accounts", [row], self._clock())
        return await self.find(address)

    async def add_accounts(self, accounts: Iterable[tuple[str, bytes]], relay: bool = True) -> int:
        """
        Add many accounts; returns how many. Passwords are hashed on all cores.

        Raises:
            Refused: of the `_ACCOUNTS_AT_ONCE` around the one named none was added, those before were.
        """
        added = 0
        rest = iter(accounts)
        while some := list(islice(rest, _ACCOUNTS_AT_ONCE)):
            split = [(_split(address), password) for address, password in some]
            rows = await self._workers.run(_account_rows, split, relay)
            await self._change("add_accounts", rows, self._clock())
            added += len(rows)
        return added

    async def find(self, address: str) -> Account:
        """An account by its address."""
        domain, local_part = _split(address)
        found = self._database.read("find_domain", domain)
        row = found and self._database.read("find_account", found[0], local_part)
        if not row:
            raise NotFound(f"no account {local_part}@{domain}")
        return account_of(row)

    async def set_account(
        self,
        address: str,
        relay: bool | None = None,
        enabled: bool | None = None,
        cram_md5: bool | None = None,
        quota_octets: int | None = None,
        quota_messages: int | None = None,
    ) -> Account:
        """
        Change what is given; a quota below 0 is none.

        Disabling ends sessions and recent-login grants at once. CRAM-MD5 works from the next login with the
        password on, because its states come from the password.
        """
        values: list[tuple[str, object]] = []
        if relay is not None:
            values.append(("relay", int(relay)))
        if enabled is not None:
            values.append(("state", "enabled" if enabled else "disabled"))
        if cram_md5 is not None:
            values.append(("cram_md5", int(cram_md5)))
            if not cram_md5:
                values += [("cram_inner", None), ("cram_outer", None)]
        for column, quota in (("quota_octets", quota_octets), ("quota_messages", quota_messages)):
            if quota is not None:
                values.append((column, None if quota < 0 else quota))
        if values:
            await self._set(address, values)
        return await self.find(address)

    async def set_password(self, address: str, password: bytes, cram_md5: bool | None = None) -> None:
        """Give a new password. Sessions and recent-login grants of the old one end at once."""
        domain, local_part = _split(address)
        found = self._database.read("find_domain", domain)
        row = found and self._database.read("find_credentials", found[0], local_part)
        if not row:
            raise NotFound(f"no account {local_part}@{domain}")
        wants_cram = bool(row[ACCOUNT_COLUMNS + 1]) if cram_md5 is None else cram_md5
        _, _, hashed, _, *cram = await self._workers.run(
            _account_row, (domain, local_part), password, True, wants_cram
        )
        columns = ("cram_md5", "cram_inner", "cram_outer")
        await self._set(address, [("password_hash", hashed), *zip(columns, cram, strict=True)])

    async def delete_account(self, address: str) -> None:
        """
        Delete an account with its mail, for good. Its sessions and grants end at once; the mail is purged after that.
        """
        account = await self._change("delete_account", *_split(address))
        await self._recent.run("revoke_logins", None, account, self._clock())
        while await self._database.run("purge_condemned"):
            pass
        await self._database.run("end_purge")

    async def list_accounts(self, domain: str | None = None) -> list[AccountEntry]:
        """Accounts of one domain or of all, by address; NotFound where the domain is not hosted."""
        if domain and not self._database.read("find_domain", _domain(domain)):
            raise NotFound(f"no domain {domain}")
        rows = self._database.read("list_accounts", _domain(domain) if domain else "")
        return [
            AccountEntry(account_of(row), bool(cram_md5), octets, messages, recoverable)
            for row in rows
            for cram_md5, octets, messages, recoverable in [row[ACCOUNT_COLUMNS:]]
        ]

    # --- aliases -----------------------------------------------------------------------------------------------

    async def add_alias(self, address: str, targets: Sequence[str]) -> None:
        """Add an alias of one or more addresses, here or elsewhere; "*@domain" takes what nobody else does."""
        parsed = [_address(target) for target in targets]
        if not parsed:
            raise Refused("an alias needs at least one target")
        await self._change("add_alias", *_split(address, catch_all=True), [str(target) for target in parsed])

    async def delete_alias(self, address: str) -> None:
        """Delete an alias."""
        await self._change("delete_alias", *_split(address, catch_all=True))

    async def list_aliases(self) -> list[AliasEntry]:
        """All, by address."""
        targets: dict[str, list[str]] = {}
        for address, target in self._database.read("list_aliases"):
            targets.setdefault(address, []).append(target)
        return [AliasEntry(address, tuple(listed)) for address, listed in targets.items()]

    # --- distribution lists ------------------------------------------------------------------------------------

    async def set_list(self, address: str, owner: str | None = None, posting: str | None = None) -> None:
        """
        Add a distribution list, or change what is given of one.

        Args:
            owner: who administers it and gets what comes back; None or "" for the domain's postmaster.
            posting: who may write to it, one of POSTING; insiders' lists are there for nobody else.
        """
        if posting is not None and posting not in POSTING:
            raise Refused(f"{posting!r} is not one of {', '.join(POSTING)}")
        named = str(_address(owner)) if owner else owner
        await self._change("write_list", *_split(address), named, posting, self._clock())

    async def add_members(self, address: str, members: Iterable[str]) -> int:
        """Add members to a list; returns how many are new."""
        parsed = [_address(member) for member in members]
        own = "@".join(reversed(_split(address)))
        if any(member.key == own for member in parsed):
            raise Refused("a list cannot be a member of itself")
        pairs = [(member.key, str(member)) for member in parsed]
        added: int = await self._change("add_members", *_split(address), pairs, ALIAS_MEMBERS_MAX)
        return added

    async def remove_members(self, address: str, members: Iterable[str]) -> int:
        """Take members off a list; returns how many were on it."""
        keys = [_address(member).key for member in members]
        removed: int = await self._change("remove_members", *_split(address), keys)
        return removed

    async def delete_list(self, address: str) -> None:
        """Delete a list."""
        await self._change("delete_list", *_split(address))

    async def list_lists(self) -> list[ListEntry]:
        """All, by address."""
        return [ListEntry(*row) for row in self._database.read("list_lists")]

    async def members_of(self, address: str) -> list[str]:
        """The addresses on a list."""
        domain, local_part = _split(address)
        found = self._database.read("find_domain", domain)
        row = found and self._database.read("find_list", found[0], local_part)
        if not row:
            raise NotFound(f"no list {local_part}@{domain}")
        members: list[str] = self._database.read("list_members", row[0])
        return members

    # --- black and white lists of accounts ---------------------------------------------------------------------

    async def mailbox_lists(self, address: str) -> MailboxLists:
        """The lists of an account."""
        return lists_of(self._database.read, await self.find(address))

    async def set_mailbox_lists(self, address: str, lists: MailboxLists) -> None:
        """Put these lists in place of an account's, in force with the next recipient. Patterns are judged before."""
        entries = [("white", pattern) for pattern in lists.white] + [("black", pattern) for pattern in lists.black]
        if len(entries) > LIST_ENTRIES_MAX:
            raise Refused(f"an account has at most {LIST_ENTRIES_MAX} entries")
        options = None
        if lists != MailboxLists():
            options = (int(lists.black_everyone), int(lists.white_local_domains), lists.black_folder)
        await self._change("set_account_lists", *_split(address), entries, options)

    async def _set(self, address: str, values: list[tuple[str, object]]) -> None:
        account, revokes = await self._change("set_account", *_split(address), values, self._clock())
        if revokes:
            await self._recent.run("revoke_logins", None, account, self._clock())

    async def _change(self, name: str, *arguments: object) -> Any:
        try:
            return await self._database.run(name, *arguments)
        except Taken as error:
            raise AlreadyExists(str(error)) from error
        except Missing as error:
            raise NotFound(str(error)) from error


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise Refused(f"{text!r} is no address: {error}") from error


def _split(address: str, catch_all: bool = False) -> tuple[str, str]:
    """(domain, local part) of an address, both folded."""
    if catch_all and address.startswith(f"{CATCH_ALL}@"):
        return _domain(address[len(CATCH_ALL) + 1 :]), CATCH_ALL
    local_part, _, domain = _address(address).key.rpartition("@")
    if local_part == CATCH_ALL:
        raise Refused(f"{CATCH_ALL} stands for everybody; no account can have it")
    return domain, local_part


def _domain(name: str) -> str:
    try:
        return fold_domain(name)
    except ValueError as error:
        raise Refused(f"{name!r} is no domain: {error}") from error


def _account_row(split: tuple[str, str], password: bytes, relay: bool, cram_md5: bool) -> Row:
    """(domain, local part, hash, relay, cram_md5, inner, outer)."""
    if len(password.decode("utf-8", "replace")) < PASSWORD_MIN_CHARACTERS:
        raise Refused(f"a new password has at least {PASSWORD_MIN_CHARACTERS} characters")
    try:
        hashed = hash_password(password)
    except ValueError as error:
        raise Refused(str(error)) from error
    inner, outer = md5_block_states(password) if cram_md5 else (None, None)
    return (*split, hashed, int(relay), int(cram_md5), inner, outer)


def _account_rows(accounts: Sequence[tuple[tuple[str, str], bytes]], relay: bool) -> list[Row]:
    """Rows of many accounts; the hash lets other threads run."""
    with ThreadPoolExecutor(cpu_count() or 1) as threads:
        return list(threads.map(lambda pair: _account_row(pair[0], pair[1], relay, False), accounts))
