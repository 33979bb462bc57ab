"""
The directory: who we host, and what a forward-path leads to.

Every question is a few point reads on the reactor thread, 2 to 5 microseconds each, of what is committed now.

The order in which a local part is looked for in a domain of ours: account, alias, account and then alias of a
sub-address (`user+folder`), the domain's catch-all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zope.interface import implementer

from mailtraq_py.interfaces.directory import (
    Account,
    CramSecret,
    Destination,
    Expansion,
    IDirectory,
    LocalMailbox,
    Remote,
    UnknownUser,
)
from mailtraq_py.mail.address import Address, fold_domain, fold_local_part, parse_address
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.mail.md5 import md5_block_states

from .database import Database
from .passwords import Passwords
from .sql.rows import Row

CATCH_ALL = "*"
DETAIL_SEPARATOR = "+"
ALIAS_DEPTH_MAX = 10
ALIAS_MEMBERS_MAX = 10_000

_RING = UnknownUser("ring of aliases")


def account_of(row: Row) -> Account:
    """The account that a row of `sql/accounts.py` describes."""
    number, address, domain, state, relay, credential_number, quota_octets, quota_messages = row[:8]
    return Account(
        number, address, domain, state == "enabled", bool(relay), credential_number, quota_octets, quota_messages
    )


@dataclass(slots=True)
class _Walk:
    """The way through aliases: what is being expanded, and who was reached."""

    open: set[tuple[int, str]] = field(default_factory=set)
    members: dict[object, LocalMailbox | Remote] = field(default_factory=dict)
    ring: bool = False


@implementer(IDirectory)
class Directory:
    """
    See `IDirectory`.

    Args:
        database: the main one.
        passwords: checks them.
        default_domain: where a login without a domain belongs; "" is the domain that was added first.
    """

    def __init__(self, database: Database, passwords: Passwords, default_domain: str = "") -> None:
        self._database = database
        self._passwords = passwords
        self.default_domain = default_domain

    async def is_local_domain(self, domain: str) -> bool:
        """See `IDirectory`."""
        return self._database.read("find_domain", domain) is not None

    async def find_account(self, address: str) -> Account | None:
        """See `IDirectory`."""
        local_part, _, domain = address.rpartition("@")
        row = self._database.read("find_domain", domain)
        return self._account(row[0], local_part) if row else None

    async def resolve(self, path: ForwardPath) -> Destination:
        """See `IDirectory`."""
        found = self._database.read("find_domain", path.domain_key)
        if found is None:
            return Remote(path)
        return self._resolve_local(found[0], found[1], path.address.local_part)

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """See `IDirectory`."""
        row = self._credentials(login)
        account = account_of(row) if row else None
        known = (account.id, account.credential_number, row[8]) if row and account else None
        right, upgraded, remembered = await self._passwords.check(known, password, client)
        if not right or row is None or account is None:
            return None
        if not remembered:
            await self._keep_up(row, password, upgraded)
        return account

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """See `IDirectory`."""
        row = self._credentials(login)
        if row is None or row[10] is None or row[11] is None:
            return None
        return CramSecret(account_of(row), row[10], row[11])

    async def offers_cram_md5(self) -> bool:
        """See `IDirectory`."""
        return bool(self._database.read("has_cram_secret"))

    def _account(self, domain_id: int, local_part: str) -> Account | None:
        row = self._database.read("find_account", domain_id, local_part)
        return account_of(row) if row else None

    def _credentials(self, login: str) -> Row | None:
        """The account's row with its secrets, for a login name as a client typed it."""
        try:
            if "@" in login:
                address = parse_address(login)
                local_part, domain = fold_local_part(address.local_part), address.domain_key
            else:
                local_part = fold_local_part(login)
                domain = self.default_domain or self._database.read("first_domain") or ""
        except ValueError:
            return None
        found = self._database.read("find_domain", domain)
        row: Row | None = self._database.read("find_credentials", found[0], local_part) if found else None
        return row

    async def _keep_up(self, row: Row, password: bytes, upgraded: str | None) -> None:
        """Now that the password is at hand: a newer hash, and CRAM-MD5 states that were waited for."""
        hashed, wants_cram, inner, outer = row[8:12]
        if wants_cram and inner is None:
            inner, outer = md5_block_states(password)
        elif upgraded is None:
            return
        await self._database.run("replace_credentials", row[0], hashed, upgraded or hashed, inner, outer)

    # --- what a path leads to ----------------------------------------------------------------------------------

    def _resolve_local(self, domain_id: int, domain: str, local_part: str) -> Destination:
        found = self._find(domain_id, local_part)
        if found is None:
            return UnknownUser()
        if isinstance(found, LocalMailbox):
            return found if found.account.enabled else UnknownUser("disabled")
        walk = _Walk()
        self._expand(walk, domain_id, found, 0)
        if walk.ring:
            return _RING
        if not walk.members:
            return UnknownUser("alias leads nowhere")
        return Expansion(tuple(walk.members.values()), f"{found}@{domain}")

    def _find(self, domain_id: int, local_part: str) -> LocalMailbox | str | None:
        """A mailbox, or the local part of the alias that takes it, or None."""
        folded = fold_local_part(local_part)
        account = self._account(domain_id, folded)
        if account is not None:
            return LocalMailbox(account)
        if self._database.read("find_alias", domain_id, folded):
            return folded
        user, separator, folder = local_part.partition(DETAIL_SEPARATOR)
        if separator and user:
            folded = fold_local_part(user)
            account = self._account(domain_id, folded)
            if account is not None:
                return LocalMailbox(account, folder)
            if self._database.read("find_alias", domain_id, folded):
                return folded
        return CATCH_ALL if self._database.read("find_alias", domain_id, CATCH_ALL) else None

    def _expand(self, walk: _Walk, domain_id: int, alias: str, depth: int) -> None:
        key = (domain_id, alias)
        if key in walk.open or depth > ALIAS_DEPTH_MAX:
            walk.ring = True
            return
        walk.open.add(key)
        for target in self._database.read("find_alias", domain_id, alias):
            if walk.ring or len(walk.members) >= ALIAS_MEMBERS_MAX:
                break
            self._add_target(walk, parse_address(target), depth)
        walk.open.discard(key)

    def _add_target(self, walk: _Walk, target: Address, depth: int) -> None:
        found_domain = self._database.read("find_domain", fold_domain(target.domain))
        if found_domain is None:
            walk.members.setdefault(target.key, Remote(ForwardPath(target)))
            return
        found = self._find(found_domain[0], target.local_part)
        if isinstance(found, str):
            self._expand(walk, found_domain[0], found, depth + 1)
        elif found is not None and found.account.enabled:
            walk.members.setdefault((found.account.id, found.folder), found)
