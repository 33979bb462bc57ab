"""
COPY of more messages than a slice holds: staged in slices where no reader sees them, then shown by one short statement.

A COPY is done as a whole or not at all (RFC 9051 6.4.7), but its rows take too long for one transaction. They are
gathered in a mailbox that has no name and the state "staged", with their references to contents counted. Showing them
moves the rows over as they are. What is staged and never shown is condemned, and purged like a deleted mailbox.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.interfaces.failures import NoSuchMailbox, OverQuota
from mailtraq_py.mail.uidset import Range

from .acceptance import MESSAGE_COLUMNS
from .content import add_references
from .ledger import Ledger, take_numbers
from .messages import whole_rows
from .rows import Cursor, Written, every, insert, lock_rows, one

_STAGED = "mailboxes (id, account_id, parent_id, name, state, uid_validity, highest_mod_seq, created)"


def stage_copies(
    cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], stage_id: int, now: float, limit: int
) -> Written:
    """
    Stage copies of the first `limit` messages of a set.

    Args:
        stage_id: where the slices before went, 0 for the first one.

    Returns:
        (stage id, UIDs that were staged, UID to go on after or 0 when the set is done).

    Raises:
        NoSuchMailbox: the mailbox or the stage is gone.
    """
    source = Ledger(cursor).mailbox(mailbox_id)
    if not stage_id:
        stage_id = take_numbers(cursor, "mailbox", 1)
        insert(cursor, _STAGED, 8, [(stage_id, source.account_id, -stage_id, "", "staged", 0, 0, now)])
    _, first = _stage(cursor, stage_id)
    rows = whole_rows(cursor, mailbox_id, ranges, limit)
    add_references(cursor, (row[7] for row in rows))
    staged = [(stage_id, uid, 0, *row[2:]) for uid, row in enumerate(rows, first)]
    insert(cursor, "messages", MESSAGE_COLUMNS, staged)
    cursor.execute("UPDATE mailboxes SET uid_next = ? WHERE id = ?", (first + len(rows), stage_id))
    return Written((stage_id, [row[0] for row in rows], rows[-1][0] if len(rows) >= limit else 0))


def show_copies(cursor: Cursor, stage_id: int, destination: str, now: int) -> Written:
    """
    Show what is staged, all in one instant.

    Returns:
        (UIDVALIDITY of the destination, the new UIDs' first one).

    Raises:
        NoSuchMailbox: the destination or the stage is gone.
        OverQuota: no room for all.
    """
    account_id, uid_next = _stage(cursor, stage_id)
    ledger = Ledger(cursor)
    account = ledger.account(account_id)
    target = ledger.find_mailbox(account_id, destination)
    if target is None or account is None:
        raise NoSuchMailbox(destination)
    counts = every(
        cursor, "SELECT flags, count(*), sum(octets) FROM messages WHERE mailbox_id = ? GROUP BY flags", (stage_id,)
    )
    if not account.has_room(sum(row[2] for row in counts), sum(row[1] for row in counts)):
        raise OverQuota
    first = target.uid_next
    target.uid_next += uid_next - 1
    for bits, messages, octets in counts:
        ledger.count(target, bits, messages, octets)
    cursor.execute(
        "INSERT INTO messages SELECT ?, uid + ?, ?, flags, keywords, internal_date, ?, octets, content_id, head"
        " FROM messages WHERE mailbox_id = ?",
        (target.id, first - 1, ledger.touch(target, only_new=True), now, stage_id),
    )
    cursor.execute("DELETE FROM messages WHERE mailbox_id = ?", (stage_id,))
    cursor.execute("DELETE FROM mailboxes WHERE id = ?", (stage_id,))
    return Written((target.uid_validity, first), ledger.write())


def condemn_staged(cursor: Cursor, stage_id: int, before: float) -> Written:
    """Condemn a stage (0: any) from before a time; nobody shows it any more. Returns how many there were."""
    rows = every(
        cursor,
        "UPDATE mailboxes SET state = 'condemned' WHERE state = 'staged' AND ? IN (0, id) AND created < ? RETURNING id",
        (stage_id, before),
    )
    return Written(len(rows))


def _stage(cursor: Cursor, stage_id: int) -> tuple[int, int]:
    """(account, next UID) of a stage, held until the commit. Raises NoSuchMailbox."""
    lock_rows(cursor, "mailboxes", "id", [stage_id])
    row = one(cursor, "SELECT account_id, uid_next FROM mailboxes WHERE id = ? AND state = 'staged'", (stage_id,))
    if row is None:
        raise NoSuchMailbox(str(stage_id))
    return row[0], row[1]
