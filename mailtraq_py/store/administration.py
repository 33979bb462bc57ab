"""
What an administrator changes: domains, accounts, aliases, distribution lists, black and white lists.

Every change is one transaction and acts on running servers at once: they read what is committed, and hear of
sessions to close through the notices of that same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from os import cpu_count
from typing import Any

from mailtraq_py.interfaces.directory import Account, MailboxLists
from mailtraq_py.mail.md5 import md5_block_states

from .database import Database
from .hashing import hash_password
from .listings import Listings, NotFound, Refused, folded_domain, parsed_address, split_address
from .resolution import ALIAS_MEMBERS_MAX
from .sql.accounts import ACCOUNT_COLUMNS, Missing, Taken
from .sql.rows import Row
from .workers import Workers

POSTING = ("anyone", "members", "insiders")
LIST_ENTRIES_MAX = 1000

PASSWORD_MIN_CHARACTERS = 8
_ACCOUNTS_AT_ONCE = 200


class AlreadyExists(Refused):
    """The name is taken."""


class Administration(Listings):
    """
    See the file's head. Every method may raise Refused (NotFound, AlreadyExists) and TemporaryFailure.

    Args:
        database: the main one.
        recent: the one of recent logins.
        workers: where passwords are hashed.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, recent: Database, workers: Workers, clock: Callable[[], float]) -> None:
        super().__init__(database.read)
        self._database = database
        self._recent = recent
        self._workers = workers
        self._clock = clock

    # --- domains -----------------------------------------------------------------------------------------------

    async def add_domain(self, name: str, alias_of: str | None = None) -> None:
        """Host a domain, or let it stand for another one that is hosted."""
        other = folded_domain(alias_of) if alias_of else ""
        await self._change("add_domain", folded_domain(name), other, self._clock())

    async def delete_domain(self, name: str) -> None:
        """Host a domain no more; it has no accounts left."""
        await self._change("delete_domain", folded_domain(name))

    # --- accounts ----------------------------------------------------------------------------------------------

    async def add_account(
        self, address: str, password: bytes, relay: bool = True, cram_md5: bool = False
    ) -> Account:
        """Add an account with INBOX and the usual mailboxes."""
        row = await self._workers.run(_account_row, split_address(address), password, relay, cram_md5)
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
            split = [(split_address(address), password) for address, password in some]
            rows = await self._workers.run(_account_rows, split, relay)
            await self._change("add_accounts", rows, self._clock())
            added += len(rows)
        return added

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
        domain, local_part = split_address(address)
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
        account = await self._change("delete_account", *split_address(address))
        await self._recent.run("revoke_logins", None, account, self._clock())
        while await self._database.run("purge_condemned"):
            pass
        await self._database.run("end_purge")

    # --- aliases -----------------------------------------------------------------------------------------------

    async def add_alias(self, address: str, targets: Sequence[str]) -> None:
        """Add an alias of one or more addresses, here or elsewhere; "*@domain" takes what nobody else does."""
        parsed = [parsed_address(target) for target in targets]
        if not parsed:
            raise Refused("an alias needs at least one target")
        await self._change("add_alias", *split_address(address, catch_all=True), [str(target) for target in parsed])

    async def delete_alias(self, address: str) -> None:
        """Delete an alias."""
        await self._change("delete_alias", *split_address(address, catch_all=True))

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
        named = str(parsed_address(owner)) if owner else owner
        await self._change("write_list", *split_address(address), named, posting, self._clock())

    async def add_members(self, address: str, members: Iterable[str]) -> int:
        """Add members to a list; returns how many are new."""
        parsed = [parsed_address(member) for member in members]
        own = "@".join(reversed(split_address(address)))
        if any(member.key == own for member in parsed):
            raise Refused("a list cannot be a member of itself")
        pairs = [(member.key, str(member)) for member in parsed]
        added: int = await self._change("add_members", *split_address(address), pairs, ALIAS_MEMBERS_MAX)
        return added

    async def remove_members(self, address: str, members: Iterable[str]) -> int:
        """Take members off a list; returns how many were on it."""
        keys = [parsed_address(member).key for member in members]
        removed: int = await self._change("remove_members", *split_address(address), keys)
        return removed

    async def delete_list(self, address: str) -> None:
        """Delete a list."""
        await self._change("delete_list", *split_address(address))

    # --- black and white lists of accounts ---------------------------------------------------------------------

    async def set_mailbox_lists(self, address: str, lists: MailboxLists) -> None:
        """Put these lists in place of an account's, in force with the next recipient. Patterns are judged before."""
        entries = [("white", pattern) for pattern in lists.white] + [("black", pattern) for pattern in lists.black]
        if len(entries) > LIST_ENTRIES_MAX:
            raise Refused(f"an account has at most {LIST_ENTRIES_MAX} entries")
        options = None
        if lists != MailboxLists():
            options = (int(lists.black_everyone), int(lists.white_local_domains), lists.black_folder)
        await self._change("set_account_lists", *split_address(address), entries, options)

    async def _set(self, address: str, values: list[tuple[str, object]]) -> None:
        account, revokes = await self._change("set_account", *split_address(address), values, self._clock())
        if revokes:
            await self._recent.run("revoke_logins", None, account, self._clock())

    async def _change(self, name: str, *arguments: object) -> Any:
        try:
            return await self._database.run(name, *arguments)
        except Taken as error:
            raise AlreadyExists(str(error)) from error
        except Missing as error:
            raise NotFound(str(error)) from error


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
