"""
Recent-login rows in memory, for `explain`, `policy diff` and the open-relay proof, which must not see the server's own.
"""

from __future__ import annotations

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.policy import RecentLogin
from mailtraq_py.interfaces.store import IRecentLoginRows


@implementer(IRecentLoginRows)
class MemoryRows:
    """
    Rows that live as long as this object.

    Args:
        accounts: those that may log in, by id; `write` refuses others.
    """

    def __init__(self, accounts: dict[int, Account] | None = None) -> None:
        self.accounts = accounts if accounts is not None else {}
        self._rows: dict[tuple[str, int], RecentLogin] = {}
        self._revoked: list[tuple[str | None, int | None, float]] = []

    def put(self, row: RecentLogin) -> None:
        """Add a row as it is."""
        self.accounts[row.account.id] = row.account
        self._rows[row.address, row.account.id] = row

    def clear(self) -> None:
        """Forget all rows."""
        self._rows.clear()

    async def write(
        self, address: str, account_id: int, protocol: str, tls: bool, now: float, logged_in: float
    ) -> bool:
        """Insert or move a row; see IRecentLoginRows."""
        account = self.accounts.get(account_id)
        if account is None or not account.enabled:
            return False
        for revoked_address, revoked_account, since in self._revoked:
            if revoked_address in (None, address) and revoked_account in (None, account_id) and logged_in < since:
                return False
        before = self._rows.get((address, account_id))
        first = before.first_login if before else now
        self._rows[address, account_id] = RecentLogin(address, account, protocol, tls, first, now)
        return True

    async def find(self, address: str, since: float) -> list[RecentLogin]:
        """Rows of an address."""
        return [row for row in await self.list_rows(since) if row.address == address]

    async def find_near(self, prefix: str, since: float) -> list[RecentLogin]:
        """Rows whose address begins so."""
        return [row for row in await self.list_rows(since) if row.address.startswith(prefix)][:20]

    async def list_rows(self, since: float) -> list[RecentLogin]:
        """All rows of enabled accounts, newest first, each with its account as it is now."""
        rows = []
        for (address, account_id), row in self._rows.items():
            account = self.accounts.get(account_id)
            if account is not None and account.enabled and row.last_login >= since:
                rows.append(
                    RecentLogin(address, account, row.protocol, row.tls, row.first_login, row.last_login)
                )
        return sorted(rows, key=lambda row: -row.last_login)

    async def revoke(self, address: str | None, account_id: int | None, now: float) -> int:
        """Remove rows, and keep older sessions from renewing them."""
        gone = [
            key for key in self._rows if address in (None, key[0]) and account_id in (None, key[1])
        ]
        for key in gone:
            del self._rows[key]
        self._revoked.append((address, account_id, now))
        return len(gone)

    async def expire(self, before: float, limit: int) -> int:
        """Remove old rows."""
        gone = [key for key, row in self._rows.items() if row.last_login < before][:limit]
        for key in gone:
            del self._rows[key]
        return len(gone)
