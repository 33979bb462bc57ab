"""
The store without a reactor: everything at once, in the calling thread.

The command line and unit tests use it. It is the same SQL on the same SQLite, in a file or in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from .database import LocalDatabase, news
from .now import run_now as run_now
from .sql.rows import Written


class ImmediateDatabase(LocalDatabase):
    """Each write is a transaction of its own, done when `run` returns."""

    def run(self, name: str, *arguments: Any, octets: int = 0) -> Deferred[Any]:
        """See `Database`."""
        outcomes = self._writer.execute([(name, arguments)])
        self._tell(*news(outcomes))
        self._writer.checkpoint()
        outcome = outcomes[0]
        return succeed(outcome.value) if isinstance(outcome, Written) else fail(outcome)

    async def close(self) -> None:
        """See `Database`."""
        self._writer.close()
        self._connections.close()
