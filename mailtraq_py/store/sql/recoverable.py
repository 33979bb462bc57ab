"""
Deleted messages until they are purged: a mailbox of each account, which no path leads to, and runs of its UIDs.

`messages.take_away` puts messages there: an expunge is a move. UIDs are given in the order of deletion, so the oldest
come first. A run is a row of `deletions`: messages that went from one mailbox at one time. Who comes back or is moved
out leaves a hole in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.interfaces.failures import NoSuchMailbox

from .content import release
from .ledger import MAILBOX_COLUMNS, Ledger, MailboxCounters, take_numbers
from .messages import forget, note_purge, whole_rows
from .rows import Cursor, Row, Written, every, insert, one

# Above every UID.
_NEVER_RECENT = 1 << 32

# --- reading ---------------------------------------------------------------------------------------------------


def find_recoverable(cursor: Cursor, account_id: int) -> Row | None:
    """The row of MAILBOX_COLUMNS of the mailbox of an account's deleted messages."""
    return one(
        cursor,
        f"SELECT {MAILBOX_COLUMNS} FROM mailboxes"
        " WHERE id = (SELECT mailbox_id FROM recoverable WHERE account_id = ?)",
        (account_id,),
    )


def purged_until(cursor: Cursor, account_id: int) -> float:
    """Of what was deleted until then something is gone for good; seconds since the epoch."""
    row = one(cursor, "SELECT purged_until FROM recoverable WHERE account_id = ?", (account_id,))
    return float(row[0]) if row else 0.0


def deleted_messages(cursor: Cursor, account_id: int, since: float) -> list[Row]:
    """(uid, id of the mailbox it was in, save date, octets, content id, head) of what was deleted since, in order."""
    return every(
        cursor,
        "SELECT m.uid, d.origin_id, m.save_date, m.octets, m.content_id, m.head FROM recoverable r"
        " JOIN deletions d ON d.mailbox_id = r.mailbox_id AND d.deleted > ?"
        " JOIN messages m ON m.mailbox_id = d.mailbox_id AND m.uid BETWEEN d.low AND d.high"
        " WHERE r.account_id = ? ORDER BY m.uid",
        (since, account_id),
    )


def living_copies(cursor: Cursor, account_id: int) -> list[Row]:
    """(mailbox id, content id, head) of messages in mailboxes whose content deleted ones have, too."""
    return every(
        cursor,
        "SELECT b.id, m.content_id, m.head FROM mailboxes b JOIN messages m ON m.mailbox_id = b.id"
        " WHERE b.account_id = ? AND b.state = 'open' AND m.content_id IN (SELECT d.content_id FROM recoverable r"
        " JOIN messages d ON d.mailbox_id = r.mailbox_id WHERE r.account_id = ?)",
        (account_id, account_id),
    )


def deleted_mailboxes(cursor: Cursor, account_id: int) -> list[Row]:
    """(id, name, special use, created, deleted) of mailboxes that may come back, in the order of their deletion."""
    return every(
        cursor,
        "SELECT id, name, special_use, created, deleted FROM deleted_mailboxes WHERE account_id = ?"
        " ORDER BY deleted, id",
        (account_id,),
    )


def deletions(cursor: Cursor, account_id: int) -> list[Row]:
    """(recoverable mailbox, low, origin's id, messages, octets) of all runs of an account, the oldest first."""
    return every(
        cursor,
        "SELECT d.mailbox_id, d.low, d.origin_id, count(m.uid), coalesce(sum(m.octets), 0) FROM recoverable r"
        " JOIN deletions d ON d.mailbox_id = r.mailbox_id"
        " LEFT JOIN messages m ON m.mailbox_id = d.mailbox_id AND m.uid BETWEEN d.low AND d.high"
        " WHERE r.account_id = ? GROUP BY d.mailbox_id, d.low, d.origin_id ORDER BY d.low",
        (account_id,),
    )


def oldest_deletion(cursor: Cursor, before: float) -> Row | None:
    """(recoverable mailbox, low) of the oldest run of all accounts, if it was deleted before a time."""
    return one(
        cursor,
        "SELECT mailbox_id, low FROM deletions WHERE deleted < ? ORDER BY deleted LIMIT 1",
        (before,),
    )


def oldest_deletion_of(cursor: Cursor, mailbox_id: int) -> Row | None:
    """The same of one recoverable mailbox."""
    return one(
        cursor, "SELECT mailbox_id, low FROM deletions WHERE mailbox_id = ? ORDER BY low LIMIT 1", (mailbox_id,)
    )


def recoverable_octets(cursor: Cursor) -> int:
    """Octets of deleted messages of all accounts."""
    row = one(cursor, "SELECT sum(b.octets) FROM recoverable r JOIN mailboxes b ON b.id = r.mailbox_id")
    return int(row[0] or 0) if row else 0


def recoverable_excess(cursor: Cursor, most: int) -> list[Row]:
    """(recoverable mailbox, octets too much) where there are more than `most`, or, if that is 0, than the quota."""
    bound, bindings = ("?", (most, most)) if most else ("a.quota_octets", ())
    return every(
        cursor,
        f"SELECT b.id, b.octets - {bound} FROM recoverable r JOIN mailboxes b ON b.id = r.mailbox_id"
        f" JOIN accounts a ON a.id = r.account_id WHERE b.octets > {bound}",
        bindings,
    )


# --- writing ---------------------------------------------------------------------------------------------------


def add_recoverable(cursor: Cursor, rows: Sequence[Row], now: float) -> None:
    """Make the recoverable mailboxes of accounts out of (account id, mailbox id, UIDVALIDITY)."""
    insert(cursor, "recoverable (account_id, mailbox_id)", 2, [row[:2] for row in rows])
    insert(
        cursor,
        "mailboxes (id, account_id, parent_id, name, state, uid_validity, highest_mod_seq, first_recent, created)",
        9,
        [
            (mailbox_id, account_id, -mailbox_id, "", "recoverable", uid_validity, 1, _NEVER_RECENT, now)
            for account_id, mailbox_id, uid_validity in rows
        ],
    )


def mend_recoverable(cursor: Cursor, account_id: int) -> Written:
    """Give an account its recoverable mailbox, where it has none."""
    ledger = Ledger(cursor)
    account = ledger.account(account_id)
    if account is None or find_recoverable(cursor, account_id) is not None:
        return Written()
    cursor.execute("DELETE FROM recoverable WHERE account_id = ?", (account_id,))
    add_recoverable(cursor, [(account_id, take_numbers(cursor, "mailbox", 1), account.next_uid_validity)], 0.0)
    account.next_uid_validity += 1
    return Written(None, ledger.write())


def purge_deletion(cursor: Cursor, mailbox_id: int, low: int, octets: int, limit: int) -> Written:
    """
    Take a slice of a run away for good, the run with the last of it.

    Args:
        octets: enough of it is gone when so many are.
        limit: at most so many messages.

    Returns:
        (messages, octets) that are gone, and the lowest UID that is left of the run or 0.
    """
    ledger = Ledger(cursor)
    try:
        mailbox = ledger.mailbox(mailbox_id)
    except NoSuchMailbox:
        return Written((0, 0, 0))
    run = one(cursor, "SELECT high, deleted FROM deletions WHERE mailbox_id = ? AND low = ?", (mailbox_id, low))
    if run is None:
        return Written((0, 0, 0))
    high, deleted = run
    rows = whole_rows(cursor, mailbox_id, [(low, high)], limit + 1)
    chosen: list[Row] = []
    gone = 0
    for row in rows[:limit]:
        if gone >= octets:
            break
        chosen.append(row)
        gone += row[6]
    left = rows[len(chosen)][0] if len(chosen) < len(rows) else 0
    if left:
        cursor.execute("UPDATE deletions SET low = ? WHERE mailbox_id = ? AND low = ?", (left, mailbox_id, low))
    else:
        cursor.execute("DELETE FROM deletions WHERE mailbox_id = ? AND low = ?", (mailbox_id, low))
    if not chosen:
        return Written((0, 0, left))
    forget(ledger, mailbox, chosen)
    _join_tombstones(ledger, mailbox)
    note_purge(cursor, mailbox.account_id, deleted)
    purged = release(cursor, [row[7] for row in chosen])
    return Written((len(chosen), gone, left), ledger.write(), purged)


def end_purge(_cursor: Cursor) -> Written:
    """What was purged shall not stay in the write-ahead log either."""
    return Written(erases=True)


def expire_deleted_mailboxes(cursor: Cursor, before: float) -> Written:
    """Forget mailboxes that were deleted before a time; their messages were purged, or go now."""
    cursor.execute("DELETE FROM deleted_mailboxes WHERE deleted < ?", (before,))
    return Written()


def _join_tombstones(ledger: Ledger, mailbox: MailboxCounters) -> None:
    """The oldest go first, so those of what lies before all that is left are one."""
    cursor = ledger.cursor
    (first,) = one(cursor, "SELECT min(uid) FROM messages WHERE mailbox_id = ?", (mailbox.id,)) or (None,)
    first = first or mailbox.uid_next
    cursor.execute("DELETE FROM vanished WHERE mailbox_id = ? AND high < ?", (mailbox.id, first))
    if first > 1:
        insert(cursor, "vanished", 4, [(mailbox.id, mailbox.highest_mod_seq, 1, first - 1)])
