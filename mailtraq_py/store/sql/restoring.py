"""
What a store needs that goes on from a copy of itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from .content import release
from .rows import Cursor, every, one, where_in
from .verify import recount_mailbox


def highest_uid_validity(cursor: Cursor) -> int:
    """The highest number that may have been given as a UIDVALIDITY."""
    row = one(
        cursor,
        "SELECT coalesce((SELECT next FROM counters WHERE name = 'uid_validity'), 1),"
        " coalesce((SELECT max(next_uid_validity) FROM account_counters), 1)",
    )
    return max(row) - 1 if row else 0


def renew_uid_validities(cursor: Cursor, above: int) -> int:
    """
    Give every mailbox a UIDVALIDITY above a number: what clients remember of its UIDs may be of messages that this copy
    does not know, and their UIDs will be given again.

    Returns:
        how many mailboxes there are.

    RFC 9051 2.3.1.1
    """
    number = above
    mailboxes = every(
        cursor,
        "SELECT id, account_id FROM mailboxes WHERE state IN ('open', 'recoverable') ORDER BY account_id, id",
    )
    for mailbox_id, account_id in mailboxes:
        number += 1
        cursor.execute("UPDATE mailboxes SET uid_validity = ? WHERE id = ?", (number, mailbox_id))
        cursor.execute(
            "UPDATE account_counters SET next_uid_validity = ? WHERE account_id = ?", (number + 1, account_id)
        )
    cursor.execute("UPDATE counters SET next = ? WHERE name = 'uid_validity'", (number + 1,))
    return len(mailboxes)


def forget_contents(cursor: Cursor, content_ids: Sequence[int]) -> int:
    """Take messages and queue rows of contents away; returns how many messages."""
    gone = where_in(
        cursor, "DELETE FROM messages WHERE content_id IN {keys} RETURNING mailbox_id, content_id", content_ids
    )
    queued = where_in(cursor, "DELETE FROM queue WHERE content_id IN {keys} RETURNING content_id", content_ids)
    release(cursor, [*(row[1] for row in gone), *(row[0] for row in queued)])
    for mailbox_id in {row[0] for row in gone}:
        if one(cursor, "SELECT 1 FROM mailboxes WHERE id = ? AND state <> 'condemned'", (mailbox_id,)):
            recount_mailbox(cursor, mailbox_id)
    return len(gone)


def forget_queue(cursor: Cursor) -> int:
    """Take everything out of the queue; returns how many rows."""
    rows = every(cursor, "DELETE FROM queue RETURNING content_id")
    release(cursor, [row[0] for row in rows])
    return len(rows)
