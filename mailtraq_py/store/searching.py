"""
SEARCH: rows answer what they can (`sql/search.py`); for the rest messages are read, in another thread, some at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from mailtraq_py.mail.header import decode_text, field_values
from mailtraq_py.mail.search import And, Contains, HeaderContains, Not, Or, SearchKey, TextField
from mailtraq_py.mail.text import BREAK, body_texts, contains, header_text
from mailtraq_py.mail.uidset import UIDSet

from .content import Content, fold
from .database import Database
from .sql.rows import Row
from .sql.search import known_leaves, needs_octets
from .workers import Workers

_SLICE = 100


async def search_mailbox(
    database: Database, content: Content, workers: Workers, mailbox_id: int, key: SearchKey
) -> UIDSet:
    """UIDs of a mailbox that match."""
    key = _folded(key)
    found: list[int] = list(await database.read_apart("matches", mailbox_id, key))
    if needs_octets(key):
        leaves = known_leaves(key)
        after = 0
        while after >= 0:
            some, after = await workers.run(_check_slice, database, content, mailbox_id, key, leaves, after)
            found.extend(some)
    return UIDSet.from_numbers(found)


def _check_slice(
    database: Database, content: Content, mailbox_id: int, key: SearchKey, leaves: list[SearchKey], after: int
) -> tuple[list[int], int]:
    """UIDs of the next candidates that match, and the UID to go on after, -1 at the end."""
    rows = database.read("candidates", mailbox_id, key, after, _SLICE)
    found = [row[0] for row in rows if _Message(content, row, leaves).matches(key)]
    return found, rows[-1][0] if len(rows) == _SLICE else -1


def _folded(key: SearchKey) -> SearchKey:
    """The key with its texts in the form in which texts are compared."""
    match key:
        case And(keys):
            return And(tuple(map(_folded, keys)))
        case Or(left, right):
            return Or(_folded(left), _folded(right))
        case Not(inner):
            return Not(_folded(inner))
        case Contains(text_field, text):
            return Contains(text_field, fold(text))
        case HeaderContains(name, text):
            return HeaderContains(name, fold(text))
    return key


class _Message:
    """A candidate: what its row says, and its octets when they are asked for."""

    def __init__(self, content: Content, row: Row, leaves: list[SearchKey]) -> None:
        _, self._content_id, octets, head, self._header_octets, self._parts, *values = row
        self._head: bytes = head or b""
        self._octets = octets - len(self._head)
        self._known = {id(leaf): bool(value) for leaf, value in zip(leaves, values, strict=True)}
        self._content = content
        self._reader: Callable[[int, int], bytes] | None = None

    def matches(self, key: SearchKey) -> bool:
        match key:
            case And(keys):
                return all(map(self.matches, keys))
            case Or(left, right):
                return self.matches(left) or self.matches(right)
            case Not(inner):
                return not self.matches(inner)
        known = self._known.get(id(key))
        return self._look(key) if known is None else known

    def _look(self, key: SearchKey) -> bool:
        match key:
            case HeaderContains(name, text):
                return self._has_field(name, text)
            case Contains(TextField.BCC, text):
                return self._has_field("bcc", text)
            case Contains(TextField.BODY, text):
                return contains(self._body(), text)
            case Contains(TextField.TEXT, text):
                return contains(chain([header_text(self._header()), BREAK], self._body()), text)
        return False

    def _has_field(self, name: str, text: str) -> bool:
        values = field_values(self._header(), name.encode("utf-8", "replace"))
        return any(text in fold(decode_text(value)) for value in values)

    def _header(self) -> bytes:
        return self._head + self._read(0, self._header_octets)

    def _body(self) -> Iterator[str]:
        return body_texts(self._read, self._parts, self._header_octets, self._octets)

    def _read(self, offset: int, length: int) -> bytes:
        if self._reader is None:
            self._reader = self._content.reader(self._content_id)
        return self._reader(offset, offset + length)
