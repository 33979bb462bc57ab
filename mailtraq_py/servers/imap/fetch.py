"""
FETCH: data items to columns, rows to octets.

    items -> Plan           which columns to read, how a row becomes a line
    plan  -> IMailbox.fetch in batches; no transaction stays open while the client is slow
    rows  -> lines, joined; bodies read and, when large, streamed behind their announced length

What is asked of every message is printed with one format string, its values taken out of the rows by prepared
functions. Bodies are read one after the other, at most PIECE_OCTETS at once.

RFC 3501 6.4.5, 7.4.2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from mailtraq_py.interfaces.store import Column, ContentRef
from mailtraq_py.mail.dates import print_internal_date
from mailtraq_py.mail.flags import SEEN, StoreOperation
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.fetchitems import BodyItem, FetchItem, Item
from mailtraq_py.wire.imap.sections import OctetRange, are_usual, filter_fields, locate, usual_fields

from .dialogue import Dialogue
from .selected import named_uids

BATCH_ROWS_MAX = 500
# What a row may weigh is found out with the first few: a structure may be a mebibyte, and ten thousand are small.
BATCH_ROWS_FIRST = 50
BATCH_ROWS_WITH_BODIES = 100
BATCH_OCTETS = 1024 * 1024
PIECE_OCTETS = 256 * 1024
FLUSH_OCTETS = 64 * 1024
HEADER_MAX_OCTETS = 1024 * 1024

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
    Item.BODYSTRUCTURE: (Column.BODY_STRUCTURE, b"BODYSTRUCTURE %b"),
}
_NARROW = frozenset((Column.UID, Column.FLAGS, Column.INTERNAL_DATE, Column.OCTETS))
_UID, _FLAGS = itemgetter(0), itemgetter(1)


class Plan:
    """
    How a FETCH is answered. Column 0 is the UID, column 1 the flags where they are read at all; the other places are
    -1 where the column is not read.

    Args:
        items: what was asked for.
        by_uid: UID FETCH, which always tells the UID (RFC 3501 6.4.8).
        read_only: nothing becomes \\Seen.
    """

    def __init__(self, items: tuple[FetchItem, ...], by_uid: bool, read_only: bool) -> None:
        self.bodies = tuple(item for item in items if isinstance(item, BodyItem))
        self.marks_seen = not read_only and any(not body.peek for body in self.bodies)
        simple = [item for item in items if isinstance(item, Item)]
        if by_uid and Item.UID not in simple:
            simple.insert(0, Item.UID)
        self.tells_flags = Item.FLAGS in simple
        self.columns: list[Column] = [Column.UID]
        if self.marks_seen or self.tells_flags:
            self.columns.append(Column.FLAGS)
        self._values = [self._values_of(item) for item in simple]
        self._format = b" ".join(_FORMATS[item][1] for item in simple)
        self._line = b"* %d FETCH (" + self._format + b")\r\n"
        sections = [body.section for body in self.bodies]
        self.content = self._place(Column.CONTENT, bool(sections))
        self.fields = self._place(Column.FIELDS, any(map(are_usual, sections)))
        self.header_octets = self._place(
            Column.HEADER_OCTETS, any(section.kind or section.part for section in sections)
        )
        self.parts = self._place(Column.PARTS, any(section.part for section in sections))

    @property
    def first_rows(self) -> int:
        """How many rows to read at first."""
        if self.bodies:
            return BATCH_ROWS_WITH_BODIES
        return BATCH_ROWS_MAX if _NARROW.issuperset(self.columns) else BATCH_ROWS_FIRST

    def _place(self, column: Column, wanted: bool = True) -> int:
        if not wanted:
            return -1
        if column not in self.columns:
            self.columns.append(column)
        return self.columns.index(column)

    def _values_of(self, item: Item) -> Values:
        if item is Item.FLAGS:
            return lambda rows, first_recent: map(
                responses.flag_list, map(_FLAGS, rows), map(first_recent.__le__, map(_UID, rows))
            )
        value = itemgetter(self._place(_FORMATS[item][0]))
        if item is Item.INTERNALDATE:
            return lambda rows, first_recent: map(_internal_date, map(value, rows))
        return lambda rows, first_recent: map(value, rows)

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
_plan = lru_cache(maxsize=256)(Plan)


def _internal_date(seconds: int) -> bytes:
    return print_internal_date(seconds).encode("ascii")


async def fetch(dialogue: Dialogue, command: commands.Fetch) -> None:
    """RFC 3501 6.4.5; messages that others expunged are passed over (RFC 2180 4.1.2, RFC 5530 3)."""
    uids = named_uids(dialogue, command.numbers, command.by_uid)
    if uids is None:
        return
    selection = dialogue.selected
    view = selection.view
    plan = _plan(command.items, command.by_uid, selection.read_only)
    limit = plan.first_rows
    named = 0 if command.by_uid else sum(high - low + 1 for low, high in view.number_ranges(uids))
    sent = 0
    while uids:
        rows: list[Row] = await selection.mailbox.fetch(uids, plan.columns, limit)
        if not rows:
            break
        last: int = _UID(rows[-1])
        numbers = list(view.numbers_of(map(_UID, rows)))
        if 0 in numbers:
            rows = [row for number, row in zip(numbers, rows, strict=True) if number]
            numbers = [number for number in numbers if number]
        if plan.bodies:
            await _send_with_bodies(dialogue, plan, rows, numbers)
        else:
            lines = plan.lines(rows, numbers, view.first_recent)
            dialogue.core.send(lines)
            limit = max(1, min(BATCH_ROWS_MAX, BATCH_OCTETS * len(rows) // max(1, len(lines))))
        sent += len(rows)
        uids = uids.difference(UIDSet(((1, last),)))
        if uids:
            await dialogue.breathe()
    if sent < named:
        await dialogue.tell(expunges=False)
        dialogue.core.no("some messages are gone", "EXPUNGEISSUED")
        dialogue.end_if_gone()
        return
    await dialogue.done("fetched", expunges=command.by_uid, with_uid=command.by_uid)


async def _send_with_bodies(dialogue: Dialogue, plan: Plan, rows: list[Row], numbers: Sequence[int]) -> None:
    newly_seen = await _mark_seen(dialogue, plan, rows) if plan.marks_seen else {}
    first_recent = dialogue.selected.view.first_recent
    waiting = 0
    for row, number in zip(rows, numbers, strict=True):
        flags = newly_seen.get(row[0])
        if flags is not None:
            row = (row[0], flags, *row[2:])
        pieces = [plan.beginning(row, number, first_recent)]
        for place, body in enumerate(plan.bodies):
            pieces.append((b" " if place else b"") + body.label + b" ")
            found = await _find_body(dialogue, plan, row, body)
            if isinstance(found, OctetRange):
                pieces.append(b"{%d}\r\n" % found.octets)
                dialogue.core.send(b"".join(pieces))
                pieces.clear()
                await _stream(dialogue, row[plan.content], found)
                continue
            pieces.append(found)
            if len(found) > FLUSH_OCTETS:
                dialogue.core.send(b"".join(pieces))
                pieces.clear()
                await dialogue.driver.drained()
        if flags is not None and not plan.tells_flags:
            pieces.append(b" FLAGS " + responses.flag_list(flags, row[0] >= first_recent))
        pieces.append(b")\r\n")
        octets = b"".join(pieces)
        dialogue.core.send(octets)
        waiting += len(octets)
        if waiting > FLUSH_OCTETS:
            waiting = 0
            await dialogue.driver.drained()


async def _mark_seen(dialogue: Dialogue, plan: Plan, rows: Sequence[Row]) -> dict[int, frozenset[str]]:
    """Set \\Seen where it is missing, in one call; the new flags by UID."""
    unseen = [row[0] for row in rows if SEEN not in _FLAGS(row)]
    if not unseen:
        return {}
    selection = dialogue.selected
    stored = await selection.mailbox.store(UIDSet.from_numbers(unseen), StoreOperation.ADD, frozenset((SEEN,)))
    selection.view.mark_told(stored.states)
    return {state.uid: state.flags for state in stored.states}


async def _find_body(dialogue: Dialogue, plan: Plan, row: Row, body: BodyItem) -> bytes | OctetRange:
    """A section as the response has it, or, when it is large, the range that is to be streamed."""
    content: ContentRef = row[plan.content]
    section = body.section
    if plan.fields >= 0 and are_usual(section):
        octets = usual_fields(section, content.head, row[plan.fields])
        if octets is not None:
            return _literal(octets, body)
    place = locate(
        section,
        row[plan.parts] if plan.parts >= 0 else b"",
        head_octets=len(content.head),
        header_octets=row[plan.header_octets] if plan.header_octets >= 0 else 0,
        total_octets=content.total_octets,
    )
    if place is None:
        return b"NIL"
    if section.names:
        header = await dialogue.around.content.read(content, place.offset, min(place.octets, HEADER_MAX_OCTETS))
        return _literal(filter_fields(header, section.names, section.kind == "HEADER.FIELDS"), body)
    if body.partial is not None:
        place = place.partial(*body.partial)
    if place.octets > PIECE_OCTETS:
        return place
    return responses.literal(await dialogue.around.content.read(content, place.offset, place.octets))


def _literal(octets: bytes, body: BodyItem) -> bytes:
    if body.partial is not None:
        start, count = body.partial
        octets = octets[start : start + count]
    return responses.literal(octets)


async def _stream(dialogue: Dialogue, content: ContentRef, place: OctetRange) -> None:
    """
    Send the octets of a literal that is announced. When they end too early, for whatever reason, so does the
    connection: whatever else were sent would be taken for them.
    """
    offset, end = place.offset, place.offset + place.octets
    try:
        while offset < end:
            octets = await dialogue.around.content.read(content, offset, min(PIECE_OCTETS, end - offset))
            if not octets:
                break
            dialogue.core.send(octets)
            offset += len(octets)
            await dialogue.driver.drained()
    finally:
        if offset < end:
            dialogue.driver.abort("a message could not be read to its end")
    dialogue.must_be_there()
