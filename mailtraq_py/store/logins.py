"""
The rows of the recent-login whitelist, in the second database.

A row is alive when its account is enabled and its newest session logged in after the account's last revocation,
which stands in the account's own row, so that disabling an account or changing its password ends its grants in the
same commit, whatever happens to the process after that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zope.interface import implementer

from mailtraq_py.interfaces.policy import RecentLogin
from mailtraq_py.interfaces.store import IRecentLoginRows

from .lookup import Read
from .resolution import account_of
from .sql.accounts import ACCOUNT_COLUMNS
from .sql.rows import Row

if TYPE_CHECKING:
    from .database import Database

_NEAR_MAX = 20


class RecentLoginListing:
    """
    Those of them that are alive.

    Args:
        read_recent: of the database of recent logins.
        read: of the main one, where the accounts are.
    """

    def __init__(self, read_recent: Read, read: Read) -> None:
        self._read_recent = read_recent
        self._read = read

    async def list_rows(self, since: float) -> list[RecentLogin]:
        """See `IRecentLoginRows`."""
        return self._alive(self._read_recent("list_logins", since))

    def _alive(self, rows: Iterable[Row]) -> list[RecentLogin]:
        logins = []
        for address, account_id, protocol, tls, first_login, last_login, logged_in in rows:
            account = self._account(account_id, logged_in)
            if account is not None:
                logins.append(RecentLogin(address, account_of(account), protocol, bool(tls), first_login, last_login))
        return logins

    def _account(self, account_id: int, logged_in: float) -> Row | None:
        """The row of an account that is enabled and was not revoked after a login."""
        row: Row | None = self._read("find_account_by_id", account_id)
        if row is None or not account_of(row).enabled or row[ACCOUNT_COLUMNS] > logged_in:
            return None
        return row


@implementer(IRecentLoginRows)
class RecentLoginRows(RecentLoginListing):
    """
    See `IRecentLoginRows`.

    Args:
        recent: the database of recent logins.
        main: where the accounts are.
    """

    def __init__(self, recent: Database, main: Database) -> None:
        super().__init__(recent.read, main.read)
        self._recent = recent

    async def write(
        self, address: str, account_id: int, protocol: str, tls: bool, now: float, logged_in: float
    ) -> bool:
        """See `IRecentLoginRows`."""
        if self._account(account_id, logged_in) is None:
            return False
        written: bool = await self._recent.run("write_login", address, account_id, protocol, tls, now, logged_in)
        return written

    async def find(self, address: str, since: float) -> list[RecentLogin]:
        """See `IRecentLoginRows`."""
        return self._alive(self._read_recent("find_logins", address, since))

    async def find_near(self, prefix: str, since: float) -> list[RecentLogin]:
        """See `IRecentLoginRows`."""
        return self._alive(self._read_recent("find_logins_near", prefix, since, _NEAR_MAX))

    async def revoke(self, address: str | None, account_id: int | None, now: float) -> int:
        """See `IRecentLoginRows`."""
        if address is None and account_id is None:
            raise ValueError("a revocation names an address, an account or both")
        removed: int = await self._recent.run("revoke_logins", address, account_id, now)
        return removed

    async def expire(self, before: float, limit: int) -> int:
        """See `IRecentLoginRows`."""
        removed: int = await self._recent.run("expire_logins", before, limit)
        return removed
