"""
Notices: changes as rows, for the hubs of other processes.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailtraq_py.mail.changes import (
    AccountRevoked,
    Change,
    MailboxChanged,
    MailboxesChanged,
    MailboxGone,
    QueueGrew,
)

from .ledger import take_numbers
from .rows import Cursor, Written, every, insert, one

_KEPT_SECONDS = 600

PrintedChange = tuple[str, int, float]
"""Kind, subject and value of a change."""


def add_notices(cursor: Cursor, origin: str, now: float, changes: Iterable[Change]) -> None:
    """Write changes in the transaction that makes them; what is minutes old goes."""
    rows = [print_change(change) for change in dict.fromkeys(changes)]
    if not rows:
        return
    first = take_numbers(cursor, "notice", len(rows))
    insert(
        cursor,
        "notices (id, origin, written, kind, subject, value)",
        6,
        [(number, origin, now, *row) for number, row in enumerate(rows, first)],
    )
    cursor.execute("DELETE FROM notices WHERE written < ? AND id < ?", (now - _KEPT_SECONDS, first))


def last_notice(cursor: Cursor) -> int:
    """The number of the newest notice, 0 when there never was one."""
    row = one(cursor, "SELECT next FROM counters WHERE name = 'notice'")
    return int(row[0]) - 1 if row else 0


def notices_after(cursor: Cursor, number: int, origin: str) -> tuple[int, list[Change]]:
    """Changes that other processes noted after a number, and the number up to which that is all."""
    rows = every(
        cursor, "SELECT id, origin, kind, subject, value FROM notices WHERE id > ? ORDER BY id", (number,)
    )
    if not rows:
        return number, []
    return rows[-1][0], [parse_change(kind, subject, value) for _, by, kind, subject, value in rows if by != origin]


def print_change(change: Change) -> PrintedChange:
    """A change as plain values: kind, subject, value."""
    match change:
        case MailboxChanged(mailbox_id, mod_seq):
            return "mailbox-changed", mailbox_id, mod_seq
        case MailboxGone(mailbox_id):
            return "mailbox-gone", mailbox_id, 0
        case MailboxesChanged(account_id):
            return "mailboxes-changed", account_id, 0
        case AccountRevoked(account_id):
            return "account-revoked", account_id, 0
        case QueueGrew(due):
            return "queue-grew", 0, due


def parse_change(kind: str, subject: int, value: float) -> Change:
    """What `print_change` printed."""
    match kind:
        case "mailbox-changed":
            return MailboxChanged(subject, int(value))
        case "mailbox-gone":
            return MailboxGone(subject)
        case "mailboxes-changed":
            return MailboxesChanged(subject)
        case "account-revoked":
            return AccountRevoked(subject)
        case _:
            return QueueGrew(value)


# --- where several write at the same time ----------------------------------------------------------------------


def add_shared_notices(cursor: Cursor, origin: str, now: float, changes: Iterable[Change]) -> int:
    """Write changes in the transaction that makes them; returns its number, 0 where there are none."""
    rows = [(origin, now, *print_change(change)) for change in dict.fromkeys(changes)]
    if not rows:
        return 0
    into = "notices (origin, written, kind, subject, value)"
    insert(cursor, into, 5, rows[1:])
    (number,) = one(cursor, f"INSERT INTO {into} VALUES (?, ?, ?, ?, ?) RETURNING transaction", rows[0]) or (0,)
    return int(number)


def shared_notices(cursor: Cursor, horizon: int | None, origin: str) -> tuple[int, dict[int, Change]]:
    """
    What other processes noted in transactions from `horizon` on, all of one instant; None for what is under way.

    Returns:
        the oldest transaction that is under way, which is where to go on, and the changes by their keys.
    """
    rows = every(
        cursor,
        "SELECT h.horizon, n.id, n.kind, n.subject, n.value FROM (SELECT"
        " CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS horizon) AS h"
        " LEFT JOIN notices n ON n.transaction >= coalesce(?, h.horizon) AND n.origin <> ?"
        " ORDER BY n.transaction, n.id",
        (horizon, origin),
    )
    found = {key: parse_change(kind, subject, value) for _, key, kind, subject, value in rows if key is not None}
    return int(rows[0][0]), found


def expire_shared_notices(cursor: Cursor, now: float) -> Written:
    """Forget notices that are minutes old."""
    cursor.execute("DELETE FROM notices WHERE written < ?", (now - _KEPT_SECONDS,))
    return Written()
