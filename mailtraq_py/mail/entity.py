"""
One pass over a message: the tree of its MIME parts with octet offsets, sizes and line counts.

`EntityParser` is fed chunks of any size and gives the same tree however the message is cut. It is in one of two
states: in a header, looking for its blank line; or in a body, looking for a delimiter of one of the multiparts that
are open. Both look with one search over what has come, never line by line: all delimiters share a prefix ("\\n--" at
least), and only lines that begin with it are looked at. What has been searched is dropped, so memory is a header or
a chunk.

The open entities are a stack: a delimiter ends all above its multipart. Lines are counted once, between the offsets
that matter. A header ends at its blank line or at a delimiter; an entity ends at a delimiter, at its parent's end, or
at the end of the message.

Limits: what is nested deeper than `DEPTH_MAX`, a multipart without a usable boundary or without parts, is one opaque
part of text; after `PARTS_MAX` parts (sooner where they are tiny), or after `MISSES_MAX` lines that only look like
delimiters, the rest of the message belongs to the part before. A header's first `HEADER_MAX_OCTETS` are read; its end
is found all the same.

Most messages need no machine: `read_flat` reads a leaf or a multipart of leaves that is at hand as a whole with a few
searches, and gives up where anything is out of the ordinary.

RFC 2045 5.2, RFC 2046 5.1 and 5.2
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from . import partmap
from .header import TEXT_PLAIN, ContentType, parse_content_type, parse_token
from .partmap import Kind

DEPTH_MAX = 100
PARTS_MAX = 10_000
# So many may be tiny, and one more for so many octets: whoever reads a small message must not wait long for it.
PARTS_ANYWHERE_MAX = 500
PART_OCTETS = 1024
MISSES_MAX = 100_000
HEADER_MAX_OCTETS = 256 * 1024

# RFC 2046 5.1.1 allows 70. A delimiter line may have padding behind it.
BOUNDARY_MAX_OCTETS = 256
_DELIMITER_LINE_MAX = 1000

# More parts than this are no usual message.
_FLAT_PARTS_MAX = 100

# Headers of parts up to this size are alike in many messages, and what was read of them is remembered.
_REMEMBERED_OCTETS = 512

_BLANK_LINE = re.compile(rb"\n\r?\n")
_CONTENT_FIELD = re.compile(rb"\n(content-[a-z0-9-]++)[ \t]*+:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE)

_MESSAGE_RFC822 = ContentType(b"message", b"rfc822", ())
_UNENCODED = (b"", b"7bit", b"8bit", b"binary")


@dataclass(slots=True)
class Entity:
    """
    A message or a part of one.

    [start, body_start) is the header with its blank line, [body_start, end) the body, counted from the
    message's first octet; `lines` are the line ends in the body. `header` is the raw header, at most
    `HEADER_MAX_OCTETS`; `content_fields` the first raw value of each Content-* field by its name in lower case.
    `content_type` is what the entity is taken for: defaults are filled in, and what could not be taken apart is
    text/plain with `is_opaque` set. `parts` are a multipart's parts, or the one message in a message/rfc822;
    `inferiors` counts all entities below.
    """

    start: int
    body_start: int = 0
    end: int = 0
    lines: int = 0
    kind: Kind = Kind.LEAF
    header: bytes = b""
    content_fields: Mapping[bytes, bytes] = field(default_factory=dict)
    content_type: ContentType = TEXT_PLAIN
    is_opaque: bool = False
    parts: list[Entity] = field(default_factory=list)
    inferiors: int = 0

    @property
    def body_octets(self) -> int:
        """Octets of the body as they stand, transfer encoding included."""
        return self.end - self.body_start

    def make_opaque(self) -> None:
        """Take it for a leaf of text, whatever its type says and whatever was found in it."""
        self.kind = Kind.LEAF
        self.is_opaque = True
        self.content_type = TEXT_PLAIN
        self.parts = []
        self.inferiors = 0

    def walk(self) -> list[Entity]:
        """This entity and all below it, in the order of their headers."""
        if self.inferiors == len(self.parts):
            return [self, *self.parts]
        found: list[Entity] = []
        waiting = [self]
        while waiting:
            entity = waiting.pop()
            found.append(entity)
            waiting.extend(reversed(entity.parts))
        return found


def pack(entity: Entity) -> bytes:
    """The packed map of a whole message's parts (`mail/partmap.py`)."""
    return partmap.pack(entity.walk()) if entity.parts else b""


def parse(message: bytes) -> Entity:
    """The tree of a message that is at hand as a whole."""
    return read([message])[0]


def read(chunks: Iterable[bytes]) -> tuple[Entity, int]:
    """The tree of a message that comes in chunks of any size, and the line ends in the whole of it."""
    waiting = iter(chunks)
    first, second = next(waiting, b""), next(waiting, None)
    root = read_flat(first) if second is None else None
    if root is not None:
        return root, root.header.count(b"\n") + root.lines
    parser = EntityParser()
    parser.feed(first)
    for chunk in chain((second or b"",), waiting):
        parser.feed(chunk)
    return parser.finish(), parser.lines


def read_flat(message: bytes) -> Entity | None:
    """
    Read a message that is at hand as a whole and is as most are: a leaf, or a well-formed multipart of leaves.

    Returns:
        what `EntityParser` would find, in a fifth of the time; None where that has to look closer.
    """
    blank = _BLANK_LINE.search(message)
    if blank is None or blank.end() > HEADER_MAX_OCTETS or message.startswith((b"\n", b"\r\n")):
        return None
    root = _flat_entity(message, 0, blank.end())
    maintype, subtype, _ = root.content_type
    if maintype == b"message" or (maintype == b"multipart" and (subtype == b"digest" or not _add_parts(message, root))):
        return None
    counted = root.body_start
    for part in root.parts:
        root.lines += message.count(b"\n", counted, part.body_start)
        part.lines = message.count(b"\n", part.body_start, part.end)
        root.lines += part.lines
        counted = part.end
    root.lines += message.count(b"\n", counted)
    return root


def _add_parts(message: bytes, root: Entity) -> bool:
    """Find the parts of a multipart; False where they are not well-formed leaves."""
    boundary = root.content_type.parameter(b"boundary").rstrip()
    if not 0 < len(boundary) <= BOUNDARY_MAX_OCTETS:
        return False
    delimiter = b"\n--" + boundary
    place = message.find(delimiter, root.body_start - 1)
    while place >= 0:
        padding = place + len(delimiter)
        line_end = message.find(b"\n", padding)
        if line_end < 0:
            line_end = len(message)
        rest = message[padding:line_end]
        if rest in (b"--\r", b"--"):
            break
        if rest not in (b"\r", b"") or len(root.parts) == _FLAT_PARTS_MAX:
            return False
        blank = _BLANK_LINE.search(message, line_end)
        place = message.find(delimiter, line_end)
        if blank is None or 0 <= place < blank.start():
            return False
        part = _flat_entity(message, line_end + 1, blank.end())
        if part.content_type.maintype in (b"multipart", b"message"):
            return False
        if place >= 0:
            # RFC 2046 5.1.1: the line end before the delimiter belongs to it, but not the header's.
            part.end = max(place - message.endswith(b"\r", 0, place), part.body_start)
        root.parts.append(part)
    root.kind = Kind.MULTIPART
    root.inferiors = len(root.parts)
    return bool(root.parts)


def _flat_entity(message: bytes, start: int, body_start: int) -> Entity:
    header = message[start:body_start]
    fields, content_type = _read_remembered(header)
    return Entity(start, body_start, len(message), 0, Kind.LEAF, header, fields, content_type or TEXT_PLAIN)


@dataclass(slots=True)
class _Open:
    """An entity that has not ended; how many came before it, and how many line ends before its body."""

    entity: Entity
    number: int
    lines_before: int = 0


class _Watched(NamedTuple):
    """
    The delimiters that may come while a multipart is open, its parents' among them.

    `level` is the multipart's place on the stack; `lines` maps a delimiter line without its "--" and padding to the
    place of its multipart and whether it is the last; all begin with `prefix`.
    """

    level: int
    lines: dict[bytes, tuple[int, bool]]
    prefix: bytes


# A delimiter: where the line end before it lies and where the next line begins, the place of its multipart on
# the stack, and whether it is the last.
_Delimiter = tuple[int, int, int, bool]


class EntityParser:
    """Chunks of a message in, its tree out."""

    def __init__(self) -> None:
        # A line end before the message is imagined, so that each line has one before it.
        self._octets = bytearray(b"\n")
        # What is added to a place in _octets for the offset in the message.
        self._base = -1
        # Places in _octets: where the search goes on, and up to where lines have been counted.
        self._scan = 0
        self._counted = 1
        self._lines = 0
        self._count = 0
        self._misses = 0
        self._stack: list[_Open] = []
        self._watched: list[_Watched] = []
        self._given_up = False
        self._in_header = False
        self._kept_header: bytes | None = None
        self._root = self._open(1)

    @property
    def lines(self) -> int:
        """Line ends in the whole message, once it has ended."""
        return self._lines

    def feed(self, chunk: bytes) -> None:
        """Take the next octets of the message, of any number."""
        self._octets += chunk
        self._advance(False)
        self._drop_searched()

    def finish(self) -> Entity:
        """The message has ended; returns its root."""
        self._advance(True)
        end = len(self._octets)
        while self._in_header:
            self._end_header(end)
        self._close(0, end)
        return self._root

    def _advance(self, final: bool) -> None:
        while self._take_header(final) if self._in_header else self._take_delimiter(final):
            pass

    def _take_header(self, final: bool) -> bool:
        """Look for the end of the open header; whether it was there."""
        prefix = self._watched[-1].prefix if self._watched else b""
        candidate = self._octets.find(prefix, self._scan) if prefix else -1
        # Only up to there: a search to the end for each of many parts without a blank line would be quadratic.
        blank = _BLANK_LINE.search(self._octets, self._scan, candidate + 1 if candidate >= 0 else len(self._octets))
        if blank is not None:
            self._end_header(blank.end())
            return True
        if candidate < 0:
            self._scan = max(self._scan, len(self._octets) - max(len(prefix) - 1, 2))
            return False
        delimiter = self._find_delimiter(candidate + 1, final)
        if delimiter is None:
            # A header line that only looks like one, or too little of it has come to tell.
            return self._scan > candidate
        # A part without a blank line. Inside a message/rfc822 part the message's header ends there too.
        while self._in_header:
            self._end_header(delimiter[0] + 1)
        self._pass(delimiter)
        return True

    def _take_delimiter(self, final: bool) -> bool:
        """Look for the next delimiter; whether it was there."""
        if not self._watched:
            self._scan = len(self._octets)
            return False
        delimiter = self._find_delimiter(len(self._octets), final)
        if delimiter is None:
            return False
        self._pass(delimiter)
        return True

    def _find_delimiter(self, stop: int, final: bool) -> _Delimiter | None:
        """
        Find the first delimiter whose line follows a line end before `stop`.

        None when there is none; the search then goes on at `_scan`, which may be a line that has not ended yet.

        RFC 2046 5.1.1, but the whole line must be the delimiter, not only begin with it: boundaries that begin
        alike are common.
        """
        octets = self._octets
        _, lines, prefix = self._watched[-1]
        size = len(octets)
        limit = min(stop + len(prefix) - 1, size)
        place = self._scan
        while True:
            place = octets.find(prefix, place, limit)
            if place < 0:
                self._scan = max(self._scan, limit - len(prefix) + 1)
                return None
            line_end = octets.find(b"\n", place + 3, place + 3 + _DELIMITER_LINE_MAX)
            if line_end < 0:
                if size - place - 3 >= _DELIMITER_LINE_MAX:
                    place += 3
                    continue
                if not final:
                    self._scan = place
                    return None
                line_end = size
            found = lines.get(bytes(octets[place + 3 : line_end]).rstrip(b" \t\r"))
            if found is not None:
                return place, min(line_end + 1, size), *found
            self._misses += 1
            if self._misses > MISSES_MAX:
                self._give_up()
                return None
            place = self._scan = line_end

    def _pass(self, delimiter: _Delimiter) -> None:
        """End what the delimiter ends, and begin the part after it."""
        place, next_line, level, is_last = delimiter
        # RFC 2046 5.1.1: the line end before the delimiter belongs to it.
        if place and self._octets[place - 1] == 0x0D:
            place -= 1
        self._close(level + 1, place)
        if is_last:
            self._watched.pop()
            self._scan = next_line - 1
        else:
            self._open(next_line)

    def _open(self, place: int) -> Entity:
        entity = Entity(place + self._base)
        if self._stack:
            self._stack[-1].entity.parts.append(entity)
        self._stack.append(_Open(entity, self._count))
        self._count += 1
        if self._count >= min(PARTS_MAX, PARTS_ANYWHERE_MAX + entity.start // PART_OCTETS):
            self._give_up()
        self._in_header = True
        self._scan = place - 1
        return entity

    def _close(self, level: int, place: int) -> None:
        """End all entities from this place of the stack on."""
        closing = self._stack[level:]
        if not closing:
            return
        # An empty body lies behind its header's blank line, whose line end the delimiter claims as well.
        place = max(place, closing[-1].entity.body_start - self._base)
        self._count_lines(place)
        for opened in closing:
            entity = opened.entity
            entity.end = place + self._base
            entity.lines = self._lines - opened.lines_before
            entity.inferiors = self._count - 1 - opened.number
            if entity.kind is Kind.MULTIPART and not entity.parts:
                entity.make_opaque()
        del self._stack[level:]
        while self._watched and self._watched[-1].level >= level:
            self._watched.pop()

    def _end_header(self, body_start: int) -> None:
        """The open header ends; decide what the body is."""
        opened = self._stack[-1]
        entity = opened.entity
        start = entity.start - self._base
        if self._kept_header is None:
            entity.header = bytes(self._octets[start : min(body_start, start + HEADER_MAX_OCTETS)])
        else:
            entity.header = self._kept_header[: body_start + self._base - entity.start]
            self._kept_header = None
        entity.body_start = body_start + self._base
        self._count_lines(body_start)
        opened.lines_before = self._lines
        self._in_header = False
        self._scan = body_start - 1
        entity.content_fields, content_type = _read_remembered(entity.header)
        if content_type is None:
            content_type = self._default_type()
        entity.content_type = content_type
        if content_type.maintype == b"multipart":
            boundary = content_type.parameter(b"boundary").rstrip()
            if not 0 < len(boundary) <= BOUNDARY_MAX_OCTETS or self._is_full():
                entity.make_opaque()
                return
            entity.kind = Kind.MULTIPART
            self._watch(boundary)
        elif _is_message(entity):
            if self._is_full():
                entity.make_opaque()
                return
            entity.kind = Kind.MESSAGE
            self._open(body_start)

    def _default_type(self) -> ContentType:
        """RFC 2045 5.2, RFC 2046 5.1.5."""
        if len(self._stack) > 1 and self._stack[-2].entity.content_type[:2] == (b"multipart", b"digest"):
            return _MESSAGE_RFC822
        return TEXT_PLAIN

    def _is_full(self) -> bool:
        return len(self._stack) >= DEPTH_MAX or self._given_up

    def _watch(self, boundary: bytes) -> None:
        """Look for the delimiters of the innermost entity too; a boundary of a parent's is its own from now on."""
        level = len(self._stack) - 1
        own = {boundary: (level, False), boundary + b"--": (level, True)}
        prefix = b"\n--" + boundary
        if self._watched:
            parents = self._watched[-1]
            own = parents.lines | own
            prefix = _common_prefix(parents.prefix, prefix)
        self._watched.append(_Watched(level, own, prefix))

    def _give_up(self) -> None:
        """No delimiter means anything from here on."""
        self._watched.clear()
        self._given_up = True

    def _count_lines(self, place: int) -> None:
        if place > self._counted:
            self._lines += self._octets.count(b"\n", self._counted, place)
            self._counted = place

    def _drop_searched(self) -> None:
        keep = max(self._scan - 1, 0)
        if self._in_header:
            start = self._stack[-1].entity.start - self._base
            if self._kept_header is None and len(self._octets) - start > HEADER_MAX_OCTETS:
                self._kept_header = bytes(self._octets[start : start + HEADER_MAX_OCTETS])
            if self._kept_header is None:
                keep = min(keep, start)
        self._count_lines(keep)
        del self._octets[:keep]
        self._base += keep
        self._scan -= keep
        self._counted -= keep


def read_header(header: bytes) -> tuple[Mapping[bytes, bytes], ContentType | None]:
    """The Content-* fields of a header, and its type where it has one."""
    fields: dict[bytes, bytes] = {}
    for name, value in _CONTENT_FIELD.findall(b"\n" + header):
        fields.setdefault(name.lower(), value)
    value = fields.get(b"content-type")
    return fields, parse_content_type(value) if value is not None else None


_read_common_header = lru_cache(maxsize=1024)(read_header)


def _read_remembered(header: bytes) -> tuple[Mapping[bytes, bytes], ContentType | None]:
    return _read_common_header(header) if len(header) <= _REMEMBERED_OCTETS else read_header(header)


def _is_message(entity: Entity) -> bool:
    """message/rfc822 whatever its encoding says; message/global only where its octets lie open (RFC 6532 3.7)."""
    maintype, subtype, _ = entity.content_type
    if maintype != b"message" or subtype not in (b"rfc822", b"global"):
        return False
    encoding = entity.content_fields.get(b"content-transfer-encoding", b"")
    return subtype == b"rfc822" or parse_token(encoding) in _UNENCODED


def _common_prefix(one: bytes, other: bytes) -> bytes:
    size = min(len(one), len(other))
    for place in range(size):
        if one[place] != other[place]:
            return one[:place]
    return one[:size]
