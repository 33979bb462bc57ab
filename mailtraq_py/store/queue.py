"""
The outbound queue as runners and the command line see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zope.interface import implementer

from mailtraq_py.interfaces.queue import (
    Deferred,
    IQueue,
    Outcome,
    QueuedRecipient,
)
from mailtraq_py.interfaces.store import Acceptance

from .acceptance import Batch
from .content import Content
from .database import Database
from .queuelisting import QueueListing, recipient_of


@implementer(IQueue)
class Queue(QueueListing):
    """
    See `IQueue`.

    Args:
        database: the main one.
        content: where reports go.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, content: Content, clock: Callable[[], float]) -> None:
        super().__init__(database.read, clock)
        self._database = database
        self._content = content

    async def lease(self, owner: str, now: float, seconds: float, limit: int) -> list[QueuedRecipient]:
        """See `IQueue`. A runner that finds nothing due costs no write."""
        ready = self._database.read("next_ready")
        if ready is None or ready > now:
            return []
        rows = await self._database.run("lease_rows", owner, now, now + seconds, limit)
        return [recipient_of(row) for row in rows]

    async def release(self, owner: str) -> None:
        """See `IQueue`."""
        await self._database.run("release_rows", owner)

    async def next_due(self) -> float | None:
        """See `IQueue`. A row that is held counts from the end of its lease, when nobody holds it any more."""
        ready: float | None = self._database.read("next_ready")
        return ready

    async def settle(self, owner: str, outcomes: Sequence[Outcome], reports: Sequence[Acceptance]) -> None:
        """See `IQueue`."""
        ended = [outcome.id for outcome in outcomes if not isinstance(outcome, Deferred)]
        deferred = [
            (outcome.id, outcome.due, str(outcome.reply), int(outcome.delay_reported))
            for outcome in outcomes
            if isinstance(outcome, Deferred)
        ]
        with Batch(self._content, self._clock) as batch:
            entries = [await batch.entry(report) for report in reports]
            await self._database.run("settle_rows", owner, ended, deferred, entries, octets=batch.octets)
            batch.keep()

    async def count(self) -> int:
        """How many rows there are."""
        count: int = self._database.read("count_queue")
        return count

    async def delete_granted_by(self, name: str, since: float) -> int:
        """Delete what the grant `name` let in since a time, seconds since the epoch; returns how many rows."""
        deleted: int = await self._database.run("delete_entries", name, since)
        return deleted
