"""
SEARCH as SQL, in the three-valued logic that SQL has anyway.

What rows can answer (flags, dates, sizes, UIDs, the decoded texts of the usual fields) becomes a condition; what only
the message's octets can answer becomes NULL, unknown. A row whose whole condition is true matches, one that is false
does not, and one that is NULL is a candidate: its octets decide, and the values of the conditions that are known come
with it, so that each is decided in one place.

RFC 9051 6.4.4
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from mailtraq_py.mail.flags import SYSTEM_BITS
from mailtraq_py.mail.search import (
    All,
    And,
    Comparison,
    Contains,
    DateField,
    DateIs,
    HasFlag,
    Larger,
    ModSeqSince,
    Not,
    Or,
    SearchKey,
    Smaller,
    TextField,
    UIDs,
)
from mailtraq_py.mail.uidset import UIDSet

from .rows import Cursor, Row, every, one, where_in

_EPOCH = date(1970, 1, 1)
_DAY_SECONDS = 86400
_RANGES_MAX = 50

_TEXT_COLUMNS = {
    TextField.SUBJECT: "c.subject",
    TextField.FROM: "c.sender",
    TextField.TO: "c.to_text",
    TextField.CC: "c.cc_text",
}
_OPERATORS = {Comparison.BEFORE: "<", Comparison.ON: "=", Comparison.SINCE: ">="}


@dataclass(slots=True)
class Condition:
    """
    A search key as a condition. `known` are the leaves that rows can answer, with their SQL; `is_partial` says
    that some leaf needs the octets.
    """

    last_uid: int
    expression: str = ""
    bindings: tuple[object, ...] = ()
    known: list[tuple[SearchKey, str, tuple[object, ...]]] = field(default_factory=list)
    is_partial: bool = False

    def compile(self, key: SearchKey) -> Condition:
        """Fill in from a key."""
        self.expression, self.bindings = self._compile(key)
        return self

    def _compile(self, key: SearchKey) -> tuple[str, tuple[object, ...]]:
        match key:
            case And(keys):
                return self._join([self._compile(inner) for inner in keys], "AND")
            case Or(left, right):
                return self._join([self._compile(left), self._compile(right)], "OR")
            case Not(inner):
                expression, bindings = self._compile(inner)
                return f"NOT ({expression})", bindings
        leaf = self._leaf(key)
        if leaf is None:
            self.is_partial = True
            return "NULL", ()
        self.known.append((key, *leaf))
        return leaf

    def _join(self, parts: list[tuple[str, tuple[object, ...]]], word: str) -> tuple[str, tuple[object, ...]]:
        """Joined in halves, because a database bounds the depth of an expression."""
        if not parts:
            return "1 = 1", ()
        if len(parts) == 1:
            return parts[0]
        middle = len(parts) // 2
        left, right = self._join(parts[:middle], word), self._join(parts[middle:], word)
        return f"({left[0]} {word} {right[0]})", left[1] + right[1]

    def _leaf(self, key: SearchKey) -> tuple[str, tuple[object, ...]] | None:
        match key:
            case All():
                return "1 = 1", ()
            case UIDs(uids):
                return self._uids(uids)
            case HasFlag(flag):
                if flag in SYSTEM_BITS:
                    return f"m.flags & {SYSTEM_BITS[flag]} <> 0", ()
                return "instr(' ' || lower(m.keywords) || ' ', ?) > 0", (f" {flag.lower()} ",)
            case Larger(octets):
                return "m.octets > ?", (octets,)
            case Smaller(octets):
                return "m.octets < ?", (octets,)
            case ModSeqSince(mod_seq):
                return "m.mod_seq >= ?", (mod_seq,)
            case DateIs(DateField.INTERNAL, comparison, day):
                number = (day - _EPOCH).days
                return f"m.internal_date / {_DAY_SECONDS} {_OPERATORS[comparison]} ?", (number,)
            case DateIs(DateField.SENT, comparison, day):
                # A message without a Date field was sent on no day.
                number = (day - _EPOCH).days
                return f"(c.sent_day IS NOT NULL AND c.sent_day {_OPERATORS[comparison]} ?)", (number,)
            case Contains(text_field, text) if text_field in _TEXT_COLUMNS:
                return f"instr({_TEXT_COLUMNS[text_field]}, ?) > 0", (text,)
            case Contains(_, ""):
                return "1 = 1", ()
        return None

    def _uids(self, uids: UIDSet) -> tuple[str, tuple[object, ...]]:
        if not uids:
            return "1 = 0", ()
        if len(uids.ranges) <= _RANGES_MAX:
            return self._join([("m.uid BETWEEN ? AND ?", pair) for pair in uids.ranges], "OR")
        existing = uids.intersection(UIDSet(((1, self.last_uid),)))
        return "m.uid IN (SELECT value FROM json_each(?))", (json.dumps(list(existing)),)


def matches(cursor: Cursor, mailbox_id: int, key: SearchKey, after: int) -> list[int]:
    """UIDs behind `after` of messages that match for sure, in one step of the statement."""
    condition = _condition(cursor, mailbox_id, key)
    row = one(
        cursor,
        f"SELECT group_concat(m.uid) FROM messages m{_joined(condition.expression)}"
        f" WHERE m.mailbox_id = ? AND m.uid > ? AND {condition.expression}",
        (mailbox_id, after, *condition.bindings),
    )
    return [int(uid) for uid in row[0].split(",")] if row and row[0] else []


def matches_among(cursor: Cursor, mailbox_id: int, key: SearchKey, uids: Sequence[int]) -> list[int]:
    """Which of some UIDs match for sure."""
    condition = _condition(cursor, mailbox_id, key)
    rows = where_in(
        cursor,
        f"SELECT m.uid FROM messages m{_joined(condition.expression)}"
        f" WHERE m.mailbox_id = ? AND {condition.expression} AND m.uid IN {{keys}}",
        uids,
        (mailbox_id, *condition.bindings),
    )
    return [row[0] for row in rows]


def candidates(cursor: Cursor, mailbox_id: int, key: SearchKey, after: int, limit: int) -> list[Row]:
    """
    Messages whose octets decide, in rising UID order behind `after`.

    Returns:
        (uid, content id, head's number, content octets with head, head or None, header octets, parts, values of the
        known leaves in the order of `known_leaves`).
    """
    condition = _condition(cursor, mailbox_id, key)
    if not condition.is_partial:
        return []
    columns, bindings = _candidate(condition)
    return every(
        cursor,
        f"SELECT {columns} WHERE m.mailbox_id = ? AND m.uid > ? AND ({condition.expression}) IS NULL"
        " ORDER BY m.uid LIMIT ?",
        (*bindings, mailbox_id, after, *condition.bindings, limit),
    )


def candidates_among(cursor: Cursor, mailbox_id: int, key: SearchKey, uids: Sequence[int]) -> list[Row]:
    """Those of some UIDs that match, and those whose octets decide: whether it does, then as in `candidates`."""
    condition = _condition(cursor, mailbox_id, key)
    columns, bindings = _candidate(condition)
    return where_in(
        cursor,
        f"SELECT {condition.expression}, {columns}"
        f" WHERE m.mailbox_id = ? AND ({condition.expression}) IS NOT FALSE AND m.uid IN {{keys}}",
        uids,
        (*condition.bindings, *bindings, mailbox_id, *condition.bindings),
    )


def known_leaves(key: SearchKey) -> list[SearchKey]:
    """The leaves that rows answer, in the order of their values in `candidates`."""
    return [leaf for leaf, _, _ in Condition(0).compile(key).known]


def needs_octets(key: SearchKey) -> bool:
    """Whether some leaf cannot be answered from rows."""
    return Condition(0).compile(key).is_partial


def _condition(cursor: Cursor, mailbox_id: int, key: SearchKey) -> Condition:
    row = one(cursor, "SELECT uid_next FROM mailboxes WHERE id = ?", (mailbox_id,))
    return Condition(row[0] if row else 1).compile(key)


def _candidate(condition: Condition) -> tuple[str, tuple[object, ...]]:
    """The columns of a candidate and the tables they come from, with their bindings."""
    leaves = "".join(f", {expression}" for _, expression, _ in condition.known)
    return (
        f"m.uid, m.content_id, m.head, m.octets, h.head, c.header_octets, c.parts{leaves} FROM messages m"
        " JOIN contents c ON c.id = m.content_id"
        " LEFT JOIN heads h ON h.content_id = m.content_id AND h.number = m.head",
        tuple(value for _, _, bindings in condition.known for value in bindings),
    )


def _joined(expression: str) -> str:
    return " JOIN contents c ON c.id = m.content_id" if "c." in expression else ""
