"""
What policy decided, kept for a while in the second database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from zope.interface import implementer

from mailtraq_py.interfaces.policy import RecentLogin
from mailtraq_py.interfaces.store import DecisionRow, IDecisionRows, RecordedSession

from .database import Database
from .resolution import account_of
from .sql.rows import Row

_PAGE = 500
_EXPIRE_ROWS = 1000


@implementer(IDecisionRows)
class DecisionRows:
    """
    See `IDecisionRows`.

    Args:
        recent: the second database.
        main: where the accounts are.
    """

    def __init__(self, recent: Database, main: Database) -> None:
        self._recent = recent
        self._main = main

    async def write(self, rows: Sequence[DecisionRow]) -> None:
        """See `IDecisionRows`."""
        octets = sum(len(row.record) for row in rows)
        plain = [(row.decided, row.session, row.service, row.client, row.address, row.record) for row in rows]
        await self._recent.run("write_decisions", plain, octets=octets)

    async def expire(self, before: float, most_octets: int) -> bool:
        """See `IDecisionRows`."""
        gone: int = await self._recent.run("expire_decisions", before, most_octets, _EXPIRE_ROWS)
        return gone == _EXPIRE_ROWS

    def read(self, since: float) -> Iterator[RecordedSession]:
        """See `IDecisionRows`."""
        session = ""
        while rows := self._recent.read("read_decisions", since, session, _PAGE):
            for row in rows:
                yield self._recorded(row)
            since, session = rows[-1][:2]

    def _recorded(self, row: Row) -> RecordedSession:
        decided, session, service, client, logins, record = row
        found = []
        for account_id, protocol, tls, first_login, last_login in json.loads(logins):
            account = self._main.read("find_account_by_id", account_id)
            if account is not None:
                found.append(RecentLogin("", account_of(account), protocol, bool(tls), first_login, last_login))
        return RecordedSession(decided, session, service, client, tuple(found), json.loads(record))
