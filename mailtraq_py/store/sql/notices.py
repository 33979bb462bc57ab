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
from .rows import Cursor, every, insert, one

_KEPT_SECONDS = 600


def add_notices(cursor: Cursor, origin: str, now: float, changes: Iterable[Change]) -> None:
    """Write changes in the transaction that makes them; what is minutes old goes."""
    rows = [_print(change) for change in dict.fromkeys(changes)]
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
    return rows[-1][0], [_parse(kind, subject, value) for _, by, kind, subject, value in rows if by != origin]


def _print(change: Change) -> tuple[str, int, float]:
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


def _parse(kind: str, subject: int, value: float) -> Change:
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
