"""
Message rows: selecting, listing, copying, expunging, and what changed since a MODSEQ.

Sets of UIDs come as ranges. Reading functions give at most `limit` rows; the caller goes on behind the last UID.

RFC 7162 3, RFC 4315, RFC 6851
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from mailtraq_py.interfaces.failures import NoSuchMailbox, OverQuota
from mailtraq_py.mail.uidset import Range, UIDSet

from .acceptance import MESSAGE_COLUMNS
from .content import COMPRESSION_NONE, add_references, release
from .ledger import DELETED_BIT, MAILBOX_COLUMNS, SEEN_BIT, Ledger, MailboxCounters
from .rows import Cursor, Row, Written, every, insert, lock_rows, one

# What comes along with its row: there are many rows at once.
_AT_HAND_OCTETS = 16 * 1024
_IS_SMALL = f"c.octets <= {_AT_HAND_OCTETS} AND c.compression = {COMPRESSION_NONE}"
# SQL of each column but the UID by the name of `interfaces.store.Column`; FLAGS and CONTENT take more than one.
_EXPRESSIONS = {
    "mod_seq": "m.mod_seq",
    "flags": "m.flags, m.keywords",
    "internal_date": "m.internal_date",
    "save_date": "m.save_date",
    "octets": "m.octets",
    "content": "m.content_id, m.octets, h.head, o.octets",
    "envelope": "c.envelope",
    "body": "c.body",
    "body_structure": "c.body_structure",
    "header_octets": "c.header_octets",
    "fields": "c.fields",
    "parts": "c.parts",
    "email_id": "m.content_id, m.head",
    "thread_id": "c.thread_id",
    "sent": "coalesce(k.sent, m.internal_date)",
    "subject": "k.subject",
    "is_reply": "k.is_reply",
    "message_key": "k.message_key",
    "parent_key": "k.parent_key",
    "ancestor_keys": "k.ancestor_keys",
}
_OF_CONTENT = {
    "content", "envelope", "body", "body_structure", "header_octets", "fields", "parts", "thread_id",
}  # fmt: skip
_OF_SORT_KEYS = {"sent", "subject", "is_reply", "message_key", "parent_key", "ancestor_keys"}

_STATES = "SELECT uid, mod_seq, flags, keywords FROM messages WHERE mailbox_id = ?"

# Ranges with at most so many UIDs between them are read as one.
_GAP_MAX = 8
_SPAN_MAX = 1024
_NO_LIMIT = 1 << 62


def select_rows(cursor: Cursor, mailbox_id: int) -> tuple[Row, int, int, str] | None:
    """
    A mailbox and its UIDs, of one instant.

    Returns:
        (row of MAILBOX_COLUMNS, first UID, last UID, ranges that were expunged as "1 3,5 5" or "" where none is missing
        between first and last), None when the mailbox is gone.
    """
    with_uids = (
        f"SELECT {MAILBOX_COLUMNS},"
        " coalesce((SELECT min(uid) FROM messages WHERE mailbox_id = ?), 0) AS low,"
        " coalesce((SELECT max(uid) FROM messages WHERE mailbox_id = ?), 0) AS high"
        " FROM mailboxes WHERE id = ? AND state <> 'condemned'"
    )
    listed = (
        "SELECT found.*, CASE WHEN messages > 0 AND messages <= high - low"
        " THEN (SELECT group_concat(v.low || ' ' || v.high) FROM vanished v WHERE mailbox_id = ?) ELSE '' END"
        f" FROM ({with_uids}) AS found"
    )
    row = one(cursor, listed, (mailbox_id,) * 4)
    return None if row is None else (row[:-3], row[-3], row[-2], row[-1])


def list_uids(cursor: Cursor, mailbox_id: int) -> list[int]:
    """All UIDs, read from the messages themselves."""
    return [row[0] for row in every(cursor, "SELECT uid FROM messages WHERE mailbox_id = ?", (mailbox_id,))]


def first_unseen(cursor: Cursor, mailbox_id: int, limit: int) -> int:
    """UID of the first message without \\Seen, if it is less than `limit` behind the first of all; else 0."""
    row = one(
        cursor,
        f"SELECT uid FROM messages WHERE mailbox_id = ? AND flags & {SEEN_BIT} = 0"
        " AND uid < (SELECT min(uid) FROM messages WHERE mailbox_id = ?) + ? ORDER BY uid LIMIT 1",
        (mailbox_id, mailbox_id, limit),
    )
    return row[0] if row else 0


def state_rows(cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], limit: int) -> list[Row]:
    """(uid, mod_seq, flags, keywords) in rising UID order."""
    return _in_ranges(cursor, "SELECT uid, mod_seq, flags, keywords FROM messages m", mailbox_id, ranges, limit)


def fetch_rows(
    cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], columns: tuple[str, ...], limit: int
) -> list[Row]:
    """
    UID, then the SQL columns of the other `columns` (see `_EXPRESSIONS`), in rising UID order.

    "sent" is the internal date where the message has no Date (RFC 5256 2.2).
    """
    return _in_ranges(cursor, _selection(columns), mailbox_id, ranges, limit)


def mod_seqs(cursor: Cursor, mailbox_id: int) -> Row | None:
    """(highest MODSEQ, MODSEQ of the last change that was no new message), None when the mailbox is gone."""
    return one(
        cursor,
        "SELECT highest_mod_seq, changed_mod_seq FROM mailboxes WHERE id = ? AND state <> 'condemned'",
        (mailbox_id,),
    )


def newest_changes(cursor: Cursor, mailbox_id: int, since: int, ranges: Sequence[Range]) -> list[Row]:
    """
    Messages that are new or changed after a MODSEQ, where all that are not new lie in `ranges`.

    New ones have UIDs behind all others, so the first from the back that is old ends the search for them.

    Returns:
        rows (uid, mod_seq, flags, keywords) in rising order.
    """
    newest = _newest(cursor, _STATES, mailbox_id, since)
    before = UIDSet(((1, newest[0][0] - 1 if newest else _NO_LIMIT),))
    older = state_rows(cursor, mailbox_id, UIDSet(tuple(ranges)).intersection(before).ranges, _NO_LIMIT)
    return [row for row in older if row[1] > since] + newest


def changes_after(
    cursor: Cursor, mailbox_id: int, since: int, after_uid: int, limit: int
) -> tuple[list[Row], int]:
    """
    Messages that are new or changed after a MODSEQ, out of a slice of the mailbox.

    Returns:
        (rows (uid, mod_seq, flags, keywords) in rising order, UID to go on after or 0 at the end).
    """
    first, last = one(
        cursor,
        "SELECT min(uid), (SELECT max(uid) FROM messages WHERE mailbox_id = ?) FROM messages"
        " WHERE mailbox_id = ? AND uid > ?",
        (mailbox_id, mailbox_id, after_uid),
    ) or (None, None)
    if first is None:
        return [], 0
    end = first + limit - 1
    rows = every(
        cursor, f"{_STATES} AND uid BETWEEN ? AND ? AND mod_seq > ? ORDER BY uid", (mailbox_id, first, end, since)
    )
    return rows, end if end < last else 0


def vanished_between(cursor: Cursor, mailbox_id: int, since: int, until: int) -> list[Row]:
    """(low, high) ranges of UIDs that were expunged after `since` and not after `until`."""
    return every(
        cursor,
        "SELECT low, high FROM vanished WHERE mailbox_id = ? AND mod_seq > ? AND mod_seq <= ?",
        (mailbox_id, since, until),
    )


def claim_recent(cursor: Cursor, mailbox_id: int) -> Written:
    """Take the \\Recent messages for one session; returns the first UID of them (RFC 3501 2.3.2)."""
    lock_rows(cursor, "mailboxes", "id", [mailbox_id])
    row = one(cursor, "SELECT first_recent FROM mailboxes WHERE id = ? AND state = 'open'", (mailbox_id,))
    if row is None:
        raise NoSuchMailbox(str(mailbox_id))
    cursor.execute("UPDATE mailboxes SET first_recent = uid_next WHERE id = ?", (mailbox_id,))
    return Written(row[0])


def expunge_messages(
    cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], only_deleted: bool, limit: int, now: float, keep: bool
) -> Written:
    """
    Remove a slice of messages: those with \\Deleted, or all of the set.

    Args:
        keep: whether they stay recoverable.

    Returns:
        (UIDs that are gone, UID to go on after or 0 when the set is done).
    """
    ledger = Ledger(cursor)
    mailbox = ledger.mailbox(mailbox_id)
    having = f" AND flags & {DELETED_BIT} <> 0" if only_deleted else ""
    rows = _in_ranges(cursor, _WHOLE_ROWS, mailbox_id, ranges, limit, having)
    if not rows:
        return Written(([], 0))
    gone = [row[0] for row in rows]
    purged = take_away(ledger, mailbox, rows, now, keep)
    return Written((gone, gone[-1] if len(rows) >= limit else 0), ledger.write(), purged)


def take_away(
    ledger: Ledger, mailbox: MailboxCounters, rows: Sequence[Row], now: float, keep: bool
) -> tuple[int, ...]:
    """
    Let messages go: into the account's recoverable mailbox, or for good.

    Args:
        rows: of `_WHOLE_ROWS`, not none.

    Returns:
        ids of the deleted contents that lie in files.
    """
    cursor = ledger.cursor
    recoverable = ledger.recoverable(mailbox.account_id) if keep else None
    if recoverable is None:
        forget(ledger, mailbox, rows)
        note_purge(cursor, mailbox.account_id, now)
        return release(cursor, [row[7] for row in rows])
    uids = _put(ledger, mailbox, recoverable, rows, True, 0)
    insert(cursor, "deletions", 5, [(recoverable.id, uids[0], uids[-1], now, mailbox.id)])
    return ()


def note_purge(cursor: Cursor, account_id: int, deleted: float) -> None:
    """Note that something which was deleted at that time is gone for good."""
    cursor.execute(
        "UPDATE recoverable SET purged_until = ? WHERE account_id = ? AND purged_until < ?",
        (deleted, account_id, deleted),
    )


def whole_rows(cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], limit: int) -> list[Row]:
    """Rows of `_WHOLE_ROWS`, in rising UID order."""
    return _in_ranges(cursor, _WHOLE_ROWS, mailbox_id, ranges, limit)


def copy_messages(
    cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], destination: str, now: int, limit: int
) -> Written:
    """
    Copy messages to another mailbox of the account, all in one instant.

    Returns:
        (UIDVALIDITY of the destination, source UIDs, their new UIDs), or None when there are more than `limit`:
        then nothing is copied, see staging.py.

    Raises:
        NoSuchMailbox: one of the two is not there.
        OverQuota: no room for all.
    """
    ledger, source, target = _ends(cursor, mailbox_id, destination)
    rows = whole_rows(cursor, mailbox_id, ranges, limit + 1)
    if len(rows) > limit:
        return Written()
    _check_room(ledger, source, rows)
    uids = _put(ledger, source, target, rows, False, now)
    return Written((target.uid_validity, [row[0] for row in rows], uids), ledger.write())


def move_messages(
    cursor: Cursor, mailbox_id: int, ranges: Sequence[Range], destination: str, now: int, limit: int
) -> Written:
    """
    Move a slice of messages to another mailbox of the account. A message is in one of the two at any instant.

    Returns:
        (UIDVALIDITY of the destination, source UIDs, their new UIDs, UID to go on after or 0 when the set is done).

    Raises:
        NoSuchMailbox: one of the two is not there.
        OverQuota: no room for deleted ones that come back.

    RFC 6851 3.3
    """
    ledger, source, target = _ends(cursor, mailbox_id, destination)
    if source is target:
        # What is moved within a mailbox has new UIDs that may be of the set too: it is done at once.
        limit = _NO_LIMIT
    rows = whole_rows(cursor, mailbox_id, ranges, limit)
    if not source.counts:
        _check_room(ledger, source, rows)
    uids = _put(ledger, source, target, rows, True, now)
    moved = [row[0] for row in rows]
    return Written((target.uid_validity, moved, uids, moved[-1] if len(rows) >= limit else 0), ledger.write())


def _ends(cursor: Cursor, mailbox_id: int, destination: str) -> tuple[Ledger, MailboxCounters, MailboxCounters]:
    ledger = Ledger(cursor)
    source = ledger.mailbox(mailbox_id)
    target = ledger.find_mailbox(source.account_id, destination)
    if target is None:
        raise NoSuchMailbox(destination)
    return ledger, source, target


def _check_room(ledger: Ledger, mailbox: MailboxCounters, rows: Sequence[Row]) -> None:
    if not ledger.account_of(mailbox).has_room(sum(row[6] for row in rows), len(rows)):
        raise OverQuota


_WHOLE_ROWS = (
    "SELECT uid, mod_seq, flags, keywords, internal_date, save_date, octets, content_id, head FROM messages m"
)


def _put(
    ledger: Ledger, source: MailboxCounters, target: MailboxCounters, rows: Sequence[Row], move: bool, now: int
) -> list[int]:
    """
    Make the copies; returns their UIDs. A move keeps the references to contents, a copy adds to them.

    What is deleted loses \\Deleted: brought back with it, the next EXPUNGE would take it again.
    """
    if not rows:
        return []
    mod_seq = ledger.touch(target, only_new=True)
    copies: list[Row] = []
    mask = -1 if target.counts else ~DELETED_BIT
    for row in rows:
        _, _, bits, keywords, internal_date, save_date, octets, content_id, head = row
        bits &= mask
        uid = ledger.add(target, bits, octets)
        copies.append(
            (target.id, uid, mod_seq, bits, keywords, internal_date, now or save_date, octets, content_id, head)
        )
    if move:
        forget(ledger, source, rows)
    else:
        add_references(ledger.cursor, (row[7] for row in rows))
    insert(ledger.cursor, "messages", MESSAGE_COLUMNS, copies)
    return [row[1] for row in copies]


def forget(ledger: Ledger, mailbox: MailboxCounters, rows: Sequence[Row]) -> None:
    """Delete rows of `_WHOLE_ROWS` from a mailbox, count them out and leave tombstones."""
    mod_seq = ledger.touch(mailbox)
    gone = UIDSet.from_numbers(row[0] for row in rows)
    for row in rows:
        ledger.count(mailbox, row[2], -1, -row[6])
    for low, high in gone.ranges:
        ledger.cursor.execute(
            "DELETE FROM messages WHERE mailbox_id = ? AND uid BETWEEN ? AND ?", (mailbox.id, low, high)
        )
    insert(ledger.cursor, "vanished", 4, [(mailbox.id, mod_seq, low, high) for low, high in gone.ranges])


def _newest(cursor: Cursor, columns: str, mailbox_id: int, since: int) -> list[Row]:
    rows: list[Row] = []
    before, count = 1 << 62, 16
    while True:
        some = every(cursor, f"{columns} AND uid < ? ORDER BY uid DESC LIMIT ?", (mailbox_id, before, count))
        new = [row for row in some if row[1] > since]
        rows.extend(new)
        if len(new) < count:
            rows.reverse()
            return rows
        before, count = new[-1][0], 1024


def _in_ranges(
    cursor: Cursor, selection: str, mailbox_id: int, ranges: Sequence[Range], limit: int, having: str = ""
) -> list[Row]:
    """
    Rows of a selection whose UID is in the ranges, in rising order.

    Many small ranges close together are read as one and what lies between is dropped here, so that a set like
    1,3,5,7 does not cost a statement each.
    """
    rows: list[Row] = []
    statement = f"{selection} WHERE mailbox_id = ? AND uid BETWEEN ? AND ?{having} ORDER BY uid LIMIT ?"
    for part in _spans(ranges):
        room = limit - len(rows)
        if room <= 0:
            break
        low, high = part[0][0], part[-1][1]
        if len(part) == 1:
            rows.extend(every(cursor, statement, (mailbox_id, low, high, room)))
        else:
            wanted = UIDSet(tuple(part))
            found = every(cursor, statement, (mailbox_id, low, high, _SPAN_MAX))
            rows.extend([row for row in found if row[0] in wanted][:room])
    return rows


def _spans(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """Ranges, those close together in one list."""
    part: list[Range] = []
    for low, high in ranges:
        if part and (low - part[-1][1] > _GAP_MAX or high - part[0][0] >= _SPAN_MAX):
            yield part
            part = []
        part.append((low, high))
    if part:
        yield part


@lru_cache(maxsize=128)
def _selection(columns: tuple[str, ...]) -> str:
    """SELECT and FROM for columns by name. The UID comes first, whether asked for or not."""
    expressions = ["m.uid", *(_EXPRESSIONS[column] for column in columns if column != "uid")]
    selection = f"SELECT {', '.join(expressions)} FROM messages m"
    if not _OF_CONTENT.isdisjoint(columns):
        selection += " JOIN contents c ON c.id = m.content_id"
    if not _OF_SORT_KEYS.isdisjoint(columns):
        selection += " JOIN sort_keys k ON k.content_id = m.content_id"
    if "content" in columns:
        selection += " LEFT JOIN heads h ON h.content_id = m.content_id AND h.number = m.head"
        selection += f" LEFT JOIN content_octets o ON o.content_id = m.content_id AND {_IS_SMALL}"
    return selection
