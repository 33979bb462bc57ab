"""
What FETCH asks for: data items and body sections.

RFC 3501 6.4.5, 9 (fetch-att)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from .responses import astring
from .sections import Section
from .tokens import NUMBER_MAX, BadCommand, Tokens

ITEMS_MAX = 100
PART_LEVELS_MAX = 50
FIELD_NAMES_MAX = 200
# A whole item or list of items, up to a modifier or the end, without strings.
_PLAIN = re.compile(
    rb"(?:\((?:[^\x00-\x1f\"{}()\\]|\([^\x00-\x1f\"{}()\\]*\)){1,500}\)"
    rb"|[A-Za-z0-9.]{1,30}(?:\[[^\x00-\x1f\"{}\[\]\\]{0,200}\](?:<[0-9.]{1,25}>)?)?)(?= \(|\Z)"
)
_WORD = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")
_PARTIAL = re.compile(rb"<([0-9]{1,10})\.([1-9][0-9]{0,9})>")
_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]{1,200}\Z")


class Item(Enum):
    """A data item that is no section; the value is its name in the response."""

    UID = "UID"
    FLAGS = "FLAGS"
    INTERNALDATE = "INTERNALDATE"
    SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODY = "BODY"
    BODYSTRUCTURE = "BODYSTRUCTURE"
    MODSEQ = "MODSEQ"


@dataclass(frozen=True, slots=True)
class BodyItem:
    """
    BODY[section]<start.count>, or RFC822 and its kin.

    `label` is the item's name as the response has it. `peek` leaves \\Seen alone. `partial` is (start, count) in
    octets.
    """

    section: Section
    label: bytes
    peek: bool = False
    partial: tuple[int, int] | None = None


FetchItem = Item | BodyItem

_FAST = (Item.FLAGS, Item.INTERNALDATE, Item.SIZE)
_MACROS: dict[bytes, tuple[FetchItem, ...]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, Item.ENVELOPE),
    b"FULL": (*_FAST, Item.ENVELOPE, Item.BODY),
}
_ITEMS: dict[bytes, FetchItem] = {item.value.encode(): item for item in Item} | {
    b"RFC822": BodyItem(Section(), b"RFC822"),
    b"RFC822.HEADER": BodyItem(Section((), "HEADER"), b"RFC822.HEADER", peek=True),
    b"RFC822.TEXT": BodyItem(Section((), "TEXT"), b"RFC822.TEXT"),
}
_KINDS = ("HEADER.FIELDS.NOT", "HEADER.FIELDS", "HEADER", "TEXT", "MIME")


def parse_fetch_items(tokens: Tokens) -> tuple[FetchItem, ...]:
    """
    Read FETCH's items, each kept once, in their order.

        "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"

    Raises:
        BadCommand: bad syntax, too many items or part levels.
    """
    text = tokens.take_match(_PLAIN)
    return _items(tokens) if text is None else _remembered(text)


@lru_cache(maxsize=512)
def _remembered(text: bytes) -> tuple[FetchItem, ...]:
    # Clients ask in the same few ways over and over; what raises is not remembered.
    tokens = Tokens([text], [])
    items = _items(tokens)
    tokens.end()
    return items


def _items(tokens: Tokens) -> tuple[FetchItem, ...]:
    if not tokens.take(b"("):
        name = tokens.match(_WORD, "expected a data item").upper()
        macro = _MACROS.get(name)
        return macro if macro is not None else (_item(tokens, name),)
    items: dict[FetchItem, None] = {}
    while True:
        items[_item(tokens, tokens.match(_WORD, "expected a data item").upper())] = None
        if len(items) > ITEMS_MAX:
            raise BadCommand("too many data items")
        if not tokens.take(b" "):
            break
    tokens.expect(b")")
    return tuple(items)


def _item(tokens: Tokens, name: bytes) -> FetchItem:
    if name in (b"BODY", b"BODY.PEEK") and tokens.take(b"["):
        return _body_item(tokens, name == b"BODY.PEEK")
    try:
        return _ITEMS[name]
    except KeyError:
        raise BadCommand("unknown data item") from None


def _body_item(tokens: Tokens, peek: bool) -> BodyItem:
    section = _section(tokens)
    tokens.expect(b"]")
    partial = None
    label = b"BODY[" + _print(section) + b"]"
    if tokens.next_is(b"<"):
        match = tokens.groups(_PARTIAL, "bad partial")
        start, count = int(match[1]), int(match[2])
        if max(start, count) > NUMBER_MAX:
            raise BadCommand("number too large")
        partial = (start, count)
        label += b"<%d>" % start
    return BodyItem(section, label, peek, partial)


def _section(tokens: Tokens) -> Section:
    """`[section-msgtext / (section-part ["." section-text])]`, without the brackets."""
    if tokens.next_is(b"]"):
        return Section()
    part: tuple[int, ...] = ()
    found = tokens.take_match(_PART)
    if found is not None:
        if found.count(b".") >= PART_LEVELS_MAX:
            raise BadCommand("too many part levels")
        part = tuple(map(int, found.split(b".")))
        if max(part) > NUMBER_MAX:
            raise BadCommand("number too large")
        if not tokens.take(b"."):
            return Section(part)
    kind = tokens.match(_WORD, "expected a section").upper().decode("ascii")
    if kind not in _KINDS or (kind == "MIME" and not part):
        raise BadCommand("unknown section")
    if not kind.startswith("HEADER.FIELDS"):
        return Section(part, kind)
    tokens.space()
    tokens.expect(b"(")
    names: list[bytes] = []
    while True:
        name = tokens.astring()
        if not _FIELD_NAME.match(name):
            raise BadCommand("bad header field name")
        names.append(name)
        if len(names) > FIELD_NAMES_MAX:
            raise BadCommand("too many header field names")
        if not tokens.take(b" "):
            break
    tokens.expect(b")")
    return Section(part, kind, tuple(names))


def _print(section: Section) -> bytes:
    pieces = [b"%d" % number for number in section.part]
    if section.kind:
        pieces.append(section.kind.encode("ascii"))
    text = b".".join(pieces)
    if section.names:
        text += b" (" + b" ".join(astring(name) for name in section.names) + b")"
    return text
