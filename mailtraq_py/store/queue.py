"""
The outbound queue as runners and the command line see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zope.interface import implementer

from mailtraq_py.interfaces.queue import (
    Deferred,
    IQueue,
    Origin,
    Outcome,
    Outgoing,
    QueuedRecipient,
    QueueEntry,
)
from mailtraq_py.interfaces.store import Acceptance, ContentRef
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Recipient, ReversePath, parse_notify

from .acceptance import Batch
from .content import Content
from .database import Database
from .sql.rows import Row


@implementer(IQueue)
class Queue:
    """
    See `IQueue`.

    Args:
        database: the main one.
        content: where reports go.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, content: Content, clock: Callable[[], float]) -> None:
        self._database = database
        self._content = content
        self._clock = clock

    async def lease(self, owner: str, now: float, seconds: float, limit: int) -> list[QueuedRecipient]:
        """See `IQueue`. A runner that finds nothing due costs no write."""
        ready = self._database.read("next_ready")
        if ready is None or ready > now:
            return []
        rows = await self._database.run("lease_rows", owner, now, now + seconds, limit)
        return [_recipient(row) for row in rows]

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

    async def list_entries(self, limit: int) -> list[QueueEntry]:
        """See `IQueue`."""
        now = self._clock()
        return [QueueEntry(_recipient(row), row[9], row[-1] > now) for row in self._database.read("list_queue", limit)]

    async def count(self) -> int:
        """How many rows there are."""
        count: int = self._database.read("count_queue")
        return count

    async def delete_granted_by(self, name: str, since: float) -> int:
        """Delete what the grant `name` let in since a time, seconds since the epoch; returns how many rows."""
        deleted: int = await self._database.run("delete_entries", name, since)
        return deleted


def _recipient(row: Row) -> QueuedRecipient:
    number, acceptance_id, content_id, octets, head, received, attempts, last_reply, delay_reported, due, *rest = row
    expires, reverse_path, forward_path, notify, original, origin, ret, envid, body, smtputf8, *grant = rest
    return QueuedRecipient(
        number,
        acceptance_id,
        ContentRef(content_id, octets, head or b""),
        Outgoing(
            ReversePath(parse_address(reverse_path)) if reverse_path else NULL_PATH,
            Recipient(ForwardPath(parse_address(forward_path)), parse_notify(notify), original),
            due,
            expires,
            head or b"",
            Origin(origin),
            ret,
            envid,
            body,
            bool(smtputf8),
            *grant[:3],
        ),
        received,
        attempts,
        last_reply,
        bool(delay_reported),
    )
