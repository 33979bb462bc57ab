"""
The outbound queue: rows, leases, and what became of attempts.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.mail.changes import Change, QueueGrew

from .acceptance import Entry, accept_together
from .content import release
from .rows import Cursor, Row, Written, every, lock_rows, one, update_from, where_in

QUEUE_COLUMNS = (
    "q.id, q.acceptance_id, q.content_id, q.content_octets, h.head, q.received, q.attempts,"
    " q.last_reply, q.delay_reported, q.due, q.expires, q.reverse_path, q.forward_path, q.notify, q.original,"
    " q.origin, q.ret, q.envid, q.body, q.smtputf8, q.granted_by, q.client, q.account, q.lease_until"
)
_FROM = "FROM queue q LEFT JOIN heads h ON h.content_id = q.content_id AND h.number = q.head"


def lease_rows(cursor: Cursor, owner: str, now: float, until: float, limit: int) -> Written:
    """
    Take due rows that nobody holds, oldest first, and with them the other due rows of the same message and domain.

    Returns:
        rows of QUEUE_COLUMNS, oldest due first.
    """
    first = every(
        cursor, "SELECT id, content_id, domain FROM queue WHERE ready <= ? ORDER BY ready, id LIMIT ?", (now, limit)
    )
    chosen = {row[0] for row in first}
    for content_id, domain in {row[1:] for row in first}:
        rows = every(
            cursor,
            "SELECT id FROM queue WHERE content_id = ? AND domain = ? AND ready <= ?",
            (content_id, domain, now),
        )
        chosen.update(row[0] for row in rows)
    # Asked again, because somebody else may have taken some of them meanwhile, and in rising order, as anybody does.
    taken = where_in(
        cursor,
        "UPDATE queue SET lease_owner = ?, lease_until = ?, ready = CASE WHEN due > ? THEN due ELSE ? END"
        " WHERE ready <= ? AND id IN {keys} RETURNING id",
        sorted(chosen),
        (owner, until, until, until, now),
    )
    leased = where_in(cursor, f"SELECT {QUEUE_COLUMNS} {_FROM} WHERE q.id IN {{keys}}", [row[0] for row in taken])
    return Written(sorted(leased, key=lambda row: (row[9], row[0])))


def release_rows(cursor: Cursor, owner: str) -> Written:
    """Give back what an owner holds; returns how many rows."""
    rows = every(
        cursor,
        "UPDATE queue SET lease_owner = '', lease_until = 0, ready = due WHERE lease_owner = ? RETURNING due",
        (owner,),
    )
    return Written(len(rows), (QueueGrew(min(row[0] for row in rows)),) if rows else ())


def next_ready(cursor: Cursor) -> float | None:
    """When somebody may take a row next: it is due, and its lease, if it has one, has ended."""
    row = one(cursor, "SELECT min(ready) FROM queue")
    return row[0] if row else None


def list_queue(cursor: Cursor, limit: int) -> list[Row]:
    """Rows of QUEUE_COLUMNS, soonest due first."""
    return every(cursor, f"SELECT {QUEUE_COLUMNS} {_FROM} ORDER BY q.due, q.id LIMIT ?", (limit,))


def count_queue(cursor: Cursor) -> int:
    """How many rows there are."""
    row = one(cursor, "SELECT count(*) FROM queue")
    return int(row[0]) if row else 0


def settle_rows(
    cursor: Cursor, owner: str, ended: Sequence[int], deferred: Sequence[Row], reports: Sequence[Entry]
) -> Written:
    """
    End and defer rows that `owner` holds, and accept the reports this causes.

    Args:
        ended: ids of rows that are done with, one way or the other.
        deferred: (id, due, last reply, delay reported).

    Raises:
        what a report's acceptance raises: then nothing of all this happened.
    """
    ids = [*ended, *(row[0] for row in deferred)]
    lock_rows(cursor, "queue", "id", ids)
    rows = where_in(cursor, "SELECT id FROM queue WHERE lease_owner = ? AND id IN {keys}", ids, (owner,))
    held = {row[0] for row in rows}
    purged = _delete(cursor, [number for number in ended if number in held])
    update_from(
        cursor,
        "UPDATE queue SET due = given.column2, ready = given.column2, last_reply = given.column3,"
        " delay_reported = given.column4, attempts = attempts + 1, lease_owner = '', lease_until = 0",
        4,
        "WHERE id = given.column1",
        [row for row in deferred if row[0] in held],
    )
    changes: tuple[Change, ...] = tuple(QueueGrew(row[1]) for row in deferred if row[0] in held)
    if held and reports:
        for outcome in accept_together(cursor, [(report,) for report in reports]):
            if isinstance(outcome, Exception):
                raise outcome
            changes += outcome.changes
    return Written(len(held), changes, purged)


def delete_entries(cursor: Cursor, granted_by: str, since: float) -> Written:
    """Delete rows that a grant let in since a time (open-relay recovery), held ones too; returns how many."""
    rows = every(
        cursor, "SELECT id FROM queue WHERE granted_by = ? AND received >= ? ORDER BY id", (granted_by, since)
    )
    return Written(len(rows), (), _delete(cursor, [row[0] for row in rows]))


def _delete(cursor: Cursor, ids: Sequence[int]) -> tuple[int, ...]:
    rows = where_in(cursor, "DELETE FROM queue WHERE id IN {keys} RETURNING content_id", ids)
    return release(cursor, [row[0] for row in rows])
