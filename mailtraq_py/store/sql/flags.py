"""
STORE: flags of many messages in a slice.

Where all messages of a slice are alike, which is asked first, they are one run and nothing is read. Else system flags
are bits of one column, so a slice is one statement whatever its size; keywords take a row each.

RFC 9051 6.4.6, RFC 7162 3.1.3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from mailtraq_py.mail.flags import StoreOperation
from mailtraq_py.mail.uidset import Range, UIDSet

from .ledger import DELETED_BIT, SEEN_BIT, Ledger, MailboxCounters
from .messages import state_rows
from .rows import Cursor, Row, Written, one, update_from

_ALL_BITS = 31
_ANY_MOD_SEQ = 1 << 62
# How many times more messages are done in the time of a slice when none has to be read.
_ALIKE = 4
_FLAGS_OF = itemgetter(2, 3)


def store_flags(
    cursor: Cursor,
    mailbox_id: int,
    ranges: Sequence[Range],
    operation: str,
    bits: int,
    keywords: frozenset[str],
    unchanged_since: int | None,
    limit: int,
) -> Written:
    """
    Change flags of the first messages of a set: `limit` of them, or more where they are alike.

    Args:
        operation: a value of StoreOperation.

    Returns:
        (runs (low, high, mod_seq, flags, keywords) as they are now, UIDs that were changed since `unchanged_since`, UID
        to go on after or 0 when the set is done, the mailbox's highest MODSEQ before and after, and before it the
        MODSEQ of the last change that was no new message).
    """
    ledger = Ledger(cursor)
    mailbox = ledger.mailbox(mailbox_id)
    before, last_change = mailbox.highest_mod_seq, mailbox.changed_mod_seq
    given = StoreOperation(operation), bits, keywords
    alike = _alike(cursor, mailbox_id, ranges, limit * _ALIKE)
    if alike is not None and (unchanged_since is None or alike[2] <= unchanged_since):
        low, high, _, *old = alike
        new = _becomes(*given, old)
        if list(new) != old:
            run = _store_run(ledger, mailbox, low, high, old, new)
            goes_on = high if low + limit * _ALIKE <= ranges[-1][1] else 0
            return Written(([run], [], goes_on, before, run[2], last_change), ledger.write())
    rows = state_rows(cursor, mailbox_id, ranges, limit)
    goes_on = rows[-1][0] if len(rows) >= limit else 0
    modified: list[int] = []
    if unchanged_since is not None:
        modified = [row[0] for row in rows if row[1] > unchanged_since]
        rows = [row for row in rows if row[1] <= unchanged_since]
    if not rows:
        return Written(([], modified, goes_on, before, before, last_change))
    keep, add = _masks(*given[:2])
    # What becomes of flags, by what they were: a whole mailbox shares a few sets.
    becomes: dict[Row, tuple[int, str]] = {}
    kinds = Counter(map(_FLAGS_OF, rows))
    for old, count in kinds.items():
        new = _becomes(*given, old)
        if new != old:
            becomes[old] = new
            _count(mailbox, old[0], new[0], count)
    mod_seq = ledger.touch(mailbox) if becomes else 0
    by_row: list[Row] = []
    if any(new[1] != old[1] for old, new in becomes.items()):
        by_row = [
            (mailbox_id, row[0], mod_seq, *becomes[row[2:]])
            for row in rows
            if row[2:] in becomes and becomes[row[2:]][1] != row[3]
        ]
    if any(new[0] != old[0] for old, new in becomes.items()):
        bound = _ANY_MOD_SEQ if unchanged_since is None else unchanged_since
        for low, high in UIDSet(tuple(ranges)).intersection(UIDSet(((rows[0][0], rows[-1][0]),))).ranges:
            cursor.execute(
                "UPDATE messages SET flags = (flags & ? | ?), mod_seq = ? WHERE mailbox_id = ?"
                " AND uid BETWEEN ? AND ? AND (flags & ? | ?) <> flags AND mod_seq <= ?",
                (keep, add, mod_seq, mailbox_id, low, high, keep, add, bound),
            )
    update_from(
        cursor,
        "UPDATE messages SET mod_seq = given.column3, flags = given.column4, keywords = given.column5",
        5,
        "WHERE mailbox_id = given.column1 AND uid = given.column2",
        by_row,
    )
    runs = _runs(rows, mod_seq, becomes)
    return Written((runs, modified, goes_on, before, mailbox.highest_mod_seq, last_change), ledger.write())


def _alike(cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], limit: int) -> Row | None:
    """
    (low, high, highest MODSEQ, flags, keywords) of the first `limit` UIDs of a range, where a message has each of them
    and all have the same flags; None where that is not so.
    """
    if len(ranges) != 1:
        return None
    low, high = ranges[0]
    first = one(
        cursor, "SELECT min(uid) FROM messages WHERE mailbox_id = ? AND uid BETWEEN ? AND ?", (mailbox_id, low, high)
    )
    if first is None or first[0] is None:
        return None
    found = one(
        cursor,
        "SELECT min(uid), max(uid), max(mod_seq), min(flags), min(keywords), count(*), max(flags), max(keywords)"
        " FROM messages WHERE mailbox_id = ? AND uid BETWEEN ? AND ?",
        (mailbox_id, first[0], min(high, first[0] + limit - 1)),
    )
    if found is None or found[5] != found[1] - found[0] + 1 or found[3:5] != found[6:]:
        return None
    return found[:5]


def _store_run(
    ledger: Ledger, mailbox: MailboxCounters, low: int, high: int, old: Sequence[Any], new: tuple[int, str]
) -> Row:
    """Change messages of neighbouring UIDs that are alike; returns the run that they are now."""
    mod_seq = ledger.touch(mailbox)
    _count(mailbox, old[0], new[0], high - low + 1)
    ledger.cursor.execute(
        "UPDATE messages SET flags = ?, keywords = ?, mod_seq = ? WHERE mailbox_id = ? AND uid BETWEEN ? AND ?",
        (*new, mod_seq, mailbox.id, low, high),
    )
    return (low, high, mod_seq, *new)


def _count(mailbox: MailboxCounters, old: int, new: int, count: int) -> None:
    """Count messages whose system flags change."""
    mailbox.unseen += count * ((old & SEEN_BIT) - (new & SEEN_BIT))
    mailbox.deleted += count * ((new & DELETED_BIT) - (old & DELETED_BIT)) // DELETED_BIT


def _runs(rows: Sequence[Row], mod_seq: int, becomes: dict[Row, tuple[int, str]]) -> list[Row]:
    """What rows (uid, mod_seq, flags, keywords) are now, neighbours in the same state as one."""
    runs: list[Row] = []
    low, high = 0, -1
    state: Row = ()
    for row in rows:
        old = row[2:]
        now = (mod_seq, *becomes[old]) if old in becomes else row[1:]
        if row[0] == high + 1 and now == state:
            high = row[0]
            continue
        if low:
            runs.append((low, high, *state))
        low, high, state = row[0], row[0], now
    runs.append((low, high, *state))
    return runs


def _becomes(operation: StoreOperation, bits: int, keywords: frozenset[str], old: Sequence[Any]) -> tuple[int, str]:
    """What flags and keywords of a row become."""
    keep, add = _masks(operation, bits)
    return old[0] & keep | add, _keywords(operation, old[1], keywords)


def _masks(operation: StoreOperation, bits: int) -> tuple[int, int]:
    """(bits that stay, bits that are set)."""
    if operation is StoreOperation.ADD:
        return _ALL_BITS, bits
    if operation is StoreOperation.REMOVE:
        return _ALL_BITS & ~bits, 0
    return 0, bits


def _keywords(operation: StoreOperation, old: str, keywords: frozenset[str]) -> str:
    if operation is StoreOperation.REPLACE:
        return " ".join(sorted(keywords))
    if not keywords:
        return old
    if operation is StoreOperation.ADD:
        known = {keyword.lower() for keyword in old.split()}
        return " ".join(sorted([*old.split(), *(k for k in keywords if k.lower() not in known)]))
    gone = {keyword.lower() for keyword in keywords}
    return " ".join(keyword for keyword in old.split() if keyword.lower() not in gone)
