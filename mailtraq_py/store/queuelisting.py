"""
The outbound queue as it is listed, and what a row of it is. Nothing is changed, so a glance into the store is enough.
"""

from __future__ import annotations

from collections.abc import Callable

from mailtraq_py.interfaces.queue import Origin, Outgoing, QueuedRecipient, QueueEntry
from mailtraq_py.interfaces.store import ContentRef
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Recipient, ReversePath, parse_notify

from .lookup import Read
from .sql.rows import Row


class QueueListing:
    """
    The part of `IQueue` that is about looking at it.

    Args:
        read: of the main database.
        clock: seconds since the epoch.
    """

    def __init__(self, read: Read, clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock

    async def list_entries(self, limit: int) -> list[QueueEntry]:
        """See `IQueue`."""
        now = self._clock()
        return [QueueEntry(recipient_of(row), row[9], row[-1] > now) for row in self._read("list_queue", limit)]


def recipient_of(row: Row) -> QueuedRecipient:
    """One recipient, of a row as `queue.lease_rows` and `queue.list_queue` give it."""
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
