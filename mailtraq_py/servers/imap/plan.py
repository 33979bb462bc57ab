"""
How a FETCH is answered: data items to columns, rows to lines.

What is asked of every message is printed with one format string, its values taken out of the rows by prepared
functions, column after column. Sections that must be read are left to `fetch.py`.

RFC 3501 6.4.5, 7.4.2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from mailtraq_py.interfaces.store import Column
from mailtraq_py.mail.dates import print_internal_date
from mailtraq_py.wire.imap import responses
from mailtraq_py.wire.imap.fetchitems import BodyItem, FetchItem, Item
from mailtraq_py.wire.imap.sections import are_usual, field_filter

BATCH_ROWS_MAX = 500
BATCH_ROWS_NARROW = 2000
# What a row may weigh is found out with the first few: a structure may be a mebibyte, and ten thousand are small.
BATCH_ROWS_FIRST = 50
BATCH_ROWS_WITH_BODIES = 100
BATCH_OCTETS = 1024 * 1024

Row = tuple[Any, ...]
# The values of one data item, in the order of the rows.
Values = Callable[[Sequence[Row], int], Iterable[Any]]

_FORMATS = {
    Item.UID: (Column.UID, b"UID %d"),
    Item.FLAGS: (Column.FLAGS, b"FLAGS %b"),
    Item.INTERNALDATE: (Column.INTERNAL_DATE, b'INTERNALDATE "%b"'),
    Item.SIZE: (Column.OCTETS, b"RFC822.SIZE %d"),
    Item.ENVELOPE: (Column.ENVELOPE, b"ENVELOPE %b"),
    Item.BODY: (Column.BODY, b"BODY %b"),
    Item.MODSEQ: (Column.MOD_SEQ, b"MODSEQ (%d)"),
    Item.BODYSTRUCTURE: (Column.BODY_STRUCTURE, b"BODYSTRUCTURE %b"),
}
_NARROW = frozenset((Column.UID, Column.MOD_SEQ, Column.FLAGS, Column.INTERNAL_DATE, Column.OCTETS))
UID_OF, FLAGS_OF = itemgetter(0), itemgetter(1)


class Plan:
    """
    How a FETCH is answered. Column 0 is the UID, column 1 the flags where they are read at all; `content`, `fields`,
    `header_octets` and `parts` are -1 where the column is not read.

    Args:
        items: what was asked for.
        by_uid: UID FETCH, which always tells the UID (RFC 3501 6.4.8).
        read_only: nothing becomes \\Seen.
        may_list_fields: where all sections are usual header fields, print them from the stored ones like any other
            item; each row must then have some.
    """

    def __init__(
        self, items: tuple[FetchItem, ...], by_uid: bool, read_only: bool, may_list_fields: bool = True
    ) -> None:
        bodies = tuple(item for item in items if isinstance(item, BodyItem))
        self.marks_seen = not read_only and any(not body.peek for body in bodies)
        self.lists_fields = (
            may_list_fields
            and not self.marks_seen
            and bool(bodies)
            and all(body.partial is None and are_usual(body.section) for body in bodies)
        )
        self.bodies = () if self.lists_fields else bodies
        simple = [item for item in items if isinstance(item, Item)]
        if by_uid and Item.UID not in simple:
            simple.insert(0, Item.UID)
        self.tells_uid, self.tells_flags = Item.UID in simple, Item.FLAGS in simple
        self.tells_mod_seq = Item.MODSEQ in simple
        self.columns: list[Column] = [Column.UID]
        if self.marks_seen or self.tells_flags:
            self.columns.append(Column.FLAGS)
        self._values = [self._values_of(item) for item in simple]
        formats = [_FORMATS[item][1] for item in simple]
        sections = [body.section for body in bodies]
        self.fields = self._place(Column.FIELDS, any(map(are_usual, sections)))
        self.fields_of = itemgetter(self.fields)
        if self.lists_fields:
            self._values += [self._fields_values(body) for body in bodies]
            formats += [body.label.replace(b"%", b"%%") + b" %b" for body in bodies]
        self._format = b" ".join(formats)
        self._line = b"* %d FETCH (" + self._format + b")\r\n"
        self.content = self._place(Column.CONTENT, bool(self.bodies))
        self.header_octets = self._place(
            Column.HEADER_OCTETS, bool(self.bodies) and any(section.kind or section.part for section in sections)
        )
        self.parts = self._place(Column.PARTS, any(section.part for section in sections))
        self._is_narrow = _NARROW.issuperset(self.columns)

    @property
    def first_rows(self) -> int:
        """How many rows to read at first."""
        if self.bodies:
            return BATCH_ROWS_WITH_BODIES
        return BATCH_ROWS_NARROW if self._is_narrow else BATCH_ROWS_FIRST

    def next_rows(self, rows: int, octets: int) -> int:
        """How many rows to read next, after so many became so many octets."""
        most = BATCH_ROWS_NARROW if self._is_narrow else BATCH_ROWS_MAX
        return max(1, min(most, BATCH_OCTETS * rows // max(1, octets)))

    def _place(self, column: Column, wanted: bool = True) -> int:
        if not wanted:
            return -1
        if column not in self.columns:
            self.columns.append(column)
        return self.columns.index(column)

    def _values_of(self, item: Item) -> Values:
        if item is Item.FLAGS:
            return lambda rows, first_recent: responses.flag_lists(
                list(map(UID_OF, rows)), list(map(FLAGS_OF, rows)), first_recent
            )
        value = itemgetter(self._place(_FORMATS[item][0]))
        if item is Item.INTERNALDATE:
            return lambda rows, first_recent: map(_internal_date, map(value, rows))
        return lambda rows, first_recent: map(value, rows)

    def _fields_values(self, body: BodyItem) -> Values:
        value, chosen = self.fields_of, field_filter(body.section.names, True)
        return lambda rows, first_recent: map(responses.literal, map(chosen, map(value, rows)))

    def lines(self, rows: Sequence[Row], numbers: Sequence[int], first_recent: int) -> bytes:
        """
        Whole responses for rows without bodies. Column after column, so that no step of the interpreter is taken
        for a single value.
        """
        values = [values(rows, first_recent) for values in self._values]
        return b"".join(map(self._line.__mod__, zip(numbers, *values, strict=True)))

    def beginning(self, row: Row, number: int, first_recent: int) -> bytes:
        """A response up to where its bodies come, with a space at its end when there is anything before them."""
        values = tuple(next(iter(values((row,), first_recent))) for values in self._values)
        return b"* %d FETCH (" % number + self._format % values + (b" " if values else b"")


# Clients ask in the same few ways over and over.
make_plan = lru_cache(maxsize=64)(Plan)


def _internal_date(seconds: int) -> bytes:
    return print_internal_date(seconds).encode("ascii")
