"""
SEARCH: the index narrows (`narrowing.py`), rows answer what they can (`sql/search.py`); for the rest messages are read,
in another thread, some at a time. What came since the index was written is searched without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from mailtraq_py.mail.header import decode_text, field_values
from mailtraq_py.mail.search import And, Contains, HeaderContains, Not, Or, SearchKey, TextField
from mailtraq_py.mail.text import BREAK, body_texts, contains, header_text, nearby_texts
from mailtraq_py.mail.uidset import UIDSet

from .content import Content, fold
from .database import Database
from .narrowing import IndexedMailbox, Narrowed, expressions, narrow
from .searchindex import IndexUnavailable, SearchIndexes
from .sql.rows import Row
from .sql.search import known_leaves, needs_octets
from .workers import Workers

_SLICE = 64
# Where more than this part of a mailbox may match, its rows are read in their order rather than picked.
_MOST_PICKED = 0.25
# In messages above this a string is not looked for in the raw octets first.
_RAW_MAX_OCTETS = 128 * 1024


@dataclass(frozen=True, slots=True)
class MailboxSearch:
    """What a search of a mailbox needs of the store."""

    database: Database
    content: Content
    workers: Workers
    indexes: SearchIndexes
    mailbox: IndexedMailbox

    async def find(self, key: SearchKey) -> UIDSet:
        """UIDs of messages that match."""
        key = _folded(key)
        asked, narrowed = expressions(key), Narrowed()
        if asked:
            narrowed = await self.workers.run(narrow, self.indexes, self.mailbox, key, asked)
        if needs_octets(key):
            return UIDSet.from_numbers(await self._read(key, narrowed))
        picked = narrowed.worthwhile
        if picked is None or len(picked) > narrowed.last_uid * _MOST_PICKED:
            return UIDSet.from_numbers(await self._matches(key, 0))
        found = await self.database.read_apart("matches_among", self.mailbox.mailbox_id, key, picked)
        return UIDSet.from_numbers([*found, *await self._matches(key, narrowed.last_uid)])

    async def _matches(self, key: SearchKey, after: int) -> list[int]:
        found: list[int] = await self.database.read_apart("matches", self.mailbox.mailbox_id, key, after)
        return found

    async def _read(self, key: SearchKey, narrowed: Narrowed) -> list[int]:
        """The same where octets have a say."""
        leaves = known_leaves(key)
        picked, after = narrowed.worthwhile, 0
        found: list[int] = []
        if picked is not None:
            after = narrowed.last_uid
            for place in range(0, len(picked), _SLICE):
                some = picked[place : place + _SLICE]
                found += await self.workers.run(self._judge_picked, key, leaves, narrowed, some)
        found += await self._matches(key, after)
        while after >= 0:
            some, after = await self.workers.run(self._judge_next, key, leaves, narrowed, after)
            found += some
        return found

    def _judge_picked(self, key: SearchKey, leaves: list[SearchKey], narrowed: Narrowed, uids: list[int]) -> list[int]:
        """Which of some messages match."""
        rows = self.database.read("candidates_among", self.mailbox.mailbox_id, key, uids)
        candidates = [row[1:] for row in rows if not row[0]]
        return [row[1] for row in rows if row[0]] + self._judge(key, leaves, narrowed, candidates)

    def _judge_next(
        self, key: SearchKey, leaves: list[SearchKey], narrowed: Narrowed, after: int
    ) -> tuple[list[int], int]:
        """UIDs of the next candidates that match, and the UID to go on after, -1 at the end."""
        rows = self.database.read("candidates", self.mailbox.mailbox_id, key, after, _SLICE)
        return self._judge(key, leaves, narrowed, rows), rows[-1][0] if len(rows) == _SLICE else -1

    def _judge(self, key: SearchKey, leaves: list[SearchKey], narrowed: Narrowed, rows: list[Row]) -> list[int]:
        """Which of some candidates match."""
        asked = [row[1] for row in rows if not narrowed.rules_out_all(row[0])]
        readers = self.content.readers(asked) if asked else {}
        return [
            row[0]
            for row in rows
            if _Message(self.content, row, leaves, narrowed, readers.get(row[1]), self._extract).matches(key)
        ]

    def _extract(self, content_id: int, head: int) -> str:
        """What the index has of a message's attachments."""
        try:
            with self.indexes.reading(self.mailbox.account_id) as index:
                return index.extract(content_id, head) if index else ""
        except IndexUnavailable:
            return ""


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

    def __init__(
        self,
        content: Content,
        row: Row,
        leaves: list[SearchKey],
        narrowed: Narrowed,
        reader: Callable[[int, int], bytes] | None,
        extract: Callable[[int, int], str],
    ) -> None:
        self._uid, self._content_id, self._head_number, octets, head, self._header_octets, self._parts, *values = row
        self._head: bytes = head or b""
        self._octets = octets - len(self._head)
        self._known = {id(leaf): bool(value) for leaf, value in zip(leaves, values, strict=True)}
        self._narrowed = narrowed
        self._extract = extract
        self._content = content
        self._reader = reader

    def matches(self, key: SearchKey) -> bool:
        match key:
            case And(keys):
                return all(map(self.matches, keys))
            case Or(left, right):
                return self.matches(left) or self.matches(right)
            case Not(inner):
                return not self.matches(inner)
        known = self._known.get(id(key))
        if known is not None:
            return known
        return not self._narrowed.rules_out(key, self._uid) and self._look(key)

    def _look(self, key: SearchKey) -> bool:
        match key:
            case HeaderContains(name, text):
                return self._has_field(name, text)
            case Contains(TextField.BCC, text):
                return self._has_field("bcc", text)
            case Contains(TextField.BODY, text):
                return self._has_raw(text, False) or contains(self._body(), text) or self._has_attached(text)
            case Contains(TextField.TEXT, text):
                if self._has_raw(text, True):
                    return True
                whole = chain([header_text(self._header()), BREAK], self._body())
                return contains(whole, text) or self._has_attached(text)
        return False

    def _has_field(self, name: str, text: str) -> bool:
        values = field_values(self._header(), name.encode("utf-8", "replace"))
        return any(text in fold(decode_text(value)) for value in values)

    def _has_raw(self, text: str, in_header: bool) -> bool:
        """Whether the text stands where the raw octets have it first: most do, and most of the message is not read."""
        if self._octets > _RAW_MAX_OCTETS or not text.isascii():
            return False
        start = 0 if in_header else self._header_octets
        place = self._read(start, self._octets - start).lower().find(text.encode())
        if place < 0:
            return False
        texts = nearby_texts(self._read, self._parts, self._header_octets, self._octets, start + place)
        return contains(texts, text)

    def _has_attached(self, text: str) -> bool:
        if self._uid not in self._narrowed.extracted:
            return False
        return text.casefold() in self._extract(self._content_id, self._head_number)

    def _header(self) -> bytes:
        return self._head + self._read(0, self._header_octets)

    def _body(self) -> Iterator[str]:
        return body_texts(self._read, self._parts, self._header_octets, self._octets)

    def _read(self, offset: int, length: int) -> bytes:
        if self._reader is None:
            self._reader = self._content.reader(self._content_id)
        return self._reader(offset, offset + length)
