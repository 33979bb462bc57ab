"""
STORE: flags of many messages in a slice.

System flags are bits of one column, so a slice is one statement whatever its size; keywords take a row each.

RFC 9051 6.4.6, RFC 7162 3.1.3
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.mail.flags import StoreOperation
from mailtraq_py.mail.uidset import Range, UIDSet

from .ledger import DELETED_BIT, SEEN_BIT, Ledger
from .messages import state_rows
from .rows import Cursor, Row, Written, update_from

_ALL_BITS = 31


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
    Change flags of the first `limit` messages of a set.

    Args:
        operation: a value of StoreOperation.

    Returns:
        (rows (uid, mod_seq, flags, keywords) as they are now, UIDs that were changed since `unchanged_since`, UID to
        go on after or 0 when the set is done, the mailbox's highest MODSEQ before and after).
    """
    ledger = Ledger(cursor)
    mailbox = ledger.mailbox(mailbox_id)
    rows = state_rows(cursor, mailbox_id, ranges, limit)
    goes_on = rows[-1][0] if len(rows) >= limit else 0
    modified: list[int] = []
    if unchanged_since is not None:
        modified = [row[0] for row in rows if row[1] > unchanged_since]
        rows = [row for row in rows if row[1] <= unchanged_since]
    keep, add = _masks(StoreOperation(operation), bits)
    before = mailbox.highest_mod_seq
    states: list[Row] = []
    by_bits: list[int] = []
    by_row: list[Row] = []
    mod_seq = 0
    # What becomes of flags, by what they were: a whole mailbox shares a few sets.
    known: dict[tuple[int, str], tuple[int, str]] = {}
    for row in rows:
        uid, _, old_bits, old_keywords = row
        new = known.get((old_bits, old_keywords))
        if new is None:
            new = (old_bits & keep | add, _keywords(StoreOperation(operation), old_keywords, keywords))
            known[old_bits, old_keywords] = new
        new_bits, new_keywords = new
        if new_bits == old_bits and new_keywords == old_keywords:
            states.append(row)
            continue
        mod_seq = mod_seq or ledger.touch(mailbox)
        if new_bits != old_bits:
            mailbox.unseen += (old_bits & SEEN_BIT) - (new_bits & SEEN_BIT)
            mailbox.deleted += ((new_bits & DELETED_BIT) - (old_bits & DELETED_BIT)) // DELETED_BIT
        states.append((uid, mod_seq, new_bits, new_keywords))
        if new_keywords == old_keywords:
            by_bits.append(uid)
        else:
            by_row.append((mailbox_id, uid, mod_seq, new_bits, new_keywords))
    for low, high in UIDSet.from_numbers(by_bits).ranges:
        cursor.execute(
            "UPDATE messages SET flags = flags & ? | ?, mod_seq = ? WHERE mailbox_id = ? AND uid BETWEEN ? AND ?",
            (keep, add, mod_seq, mailbox_id, low, high),
        )
    update_from(
        cursor,
        "UPDATE messages SET mod_seq = given.column3, flags = given.column4, keywords = given.column5",
        5,
        "WHERE mailbox_id = given.column1 AND uid = given.column2",
        by_row,
    )
    return Written((states, modified, goes_on, before, mailbox.highest_mod_seq), ledger.write())


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
