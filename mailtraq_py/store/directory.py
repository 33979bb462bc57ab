"""
The directory: who we host, with their passwords; what a forward-path leads to is in `lookup.py`.
"""

from __future__ import annotations

import zlib

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Account, CramSecret, IDirectory
from mailtraq_py.mail.address import fold_local_part, parse_address
from mailtraq_py.mail.md5 import md5_block_states

from .database import Database
from .lookup import Lookup, no_pause
from .passwords import Passwords
from .resolution import Pause, account_of
from .sql.accounts import ACCOUNT_COLUMNS
from .sql.rows import Row


@implementer(IDirectory)
class Directory(Lookup):
    """
    See `IDirectory`.

    Args:
        database: the main one.
        passwords: checks them.
        default_domain: where a login without a domain belongs; "" is the domain that was added first.
        pause: lets others have their turn while a long list is resolved.
    """

    def __init__(
        self, database: Database, passwords: Passwords, default_domain: str = "", pause: Pause = no_pause
    ) -> None:
        super().__init__(database.read, pause)
        self._database = database
        self._passwords = passwords
        self.default_domain = default_domain

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """See `IDirectory`."""
        row = self._credentials(login)
        account = account_of(row) if row else None
        known = (account.id, account.credential_number, row[ACCOUNT_COLUMNS]) if row and account else None
        right, upgraded, remembered = await self._passwords.check(known, password, client)
        if not right or row is None or account is None:
            return None
        if not remembered:
            await self._keep_up(row, password, upgraded)
        return account

    async def verify_hash(self, hashed: str, password: bytes, client: str) -> bool:
        """
        Whether a password fits a hash that is no account's.

        Raises:
            TemporaryFailure: too many wait to have theirs checked.
        """
        right, _, _ = await self._passwords.check((0, zlib.crc32(hashed.encode()), hashed), password, client)
        return right

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """See `IDirectory`."""
        row = self._credentials(login)
        if row is None:
            return None
        _, _, inner, outer = row[ACCOUNT_COLUMNS:]
        return None if inner is None or outer is None else CramSecret(account_of(row), inner, outer)

    async def offers_cram_md5(self) -> bool:
        """See `IDirectory`."""
        return bool(self._database.read("has_cram_secret"))

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
        hashed, wants_cram, inner, outer = row[ACCOUNT_COLUMNS:]
        if wants_cram and inner is None:
            inner, outer = md5_block_states(password)
        elif upgraded is None:
            return
        await self._database.run("replace_credentials", row[0], hashed, upgraded or hashed, inner, outer)
