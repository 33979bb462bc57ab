"""
The text of a message for SEARCH: transfer encodings and charsets undone, what cannot be decoded passed over.

Texts come in pieces, so that a large part is never whole in memory; `contains` finds a string across their borders.
HTML comes twice: as it stands, because SEARCH asks for substrings, and as its reader sees it. Parts that are no text
are not read.

RFC 9051 6.4.4 (BODY, TEXT)
"""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable, Iterable, Iterator
from html import unescape

from .charsets import decode_unlabelled, decoder
from .entity import read_header
from .header import TEXT_PLAIN, decode_text, field_around, fields, parse_token
from .partmap import Kind, Part, unpack

PIECE_OCTETS = 256 * 1024

# Stands between texts that have nothing to do with each other.
BREAK = "\n\n"

Read = Callable[[int, int], bytes]
"""Reads octets [offset, offset + length) of the content."""

# Tags that part no words; any other does.
_INLINE = re.compile(
    r"</?(?:a|abbr|b|bdi|bdo|big|cite|code|em|font|i|ins|kbd|mark|o:p|q|s|small|span|strike|strong|sub|sup|tt|u|wbr)"
    r"(?:\s[^<>]*)?>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^<>]*>")

_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _BASE64)


def header_text(header: bytes) -> str:
    """A raw header as text: a line for each field, unfolded, encoded words decoded."""
    return "\n".join([f"{name.decode('latin-1')}: {decode_text(value)}" for name, value in fields(header)])


def body_texts(read: Read, parts: bytes, header_octets: int, octets: int) -> Iterator[str]:
    """
    The texts of a message's body: its text parts, and the headers of messages inside it.

    Args:
        read: reads octets of the content; asked for at most `PIECE_OCTETS` at once.
        parts: the packed map (`ContentFacts.parts`).
        header_octets, octets: of the whole content.
    """
    carrier = False
    for part in unpack(parts, header_octets, octets):
        header = _read_header(read, part)
        if carrier:
            yield header_text(header)
            yield BREAK
        carrier = part.kind is Kind.MESSAGE
        if part.kind is Kind.LEAF:
            yield from part_texts(read, part, header)
            yield BREAK


def nearby_texts(read: Read, parts: bytes, header_octets: int, octets: int, place: int) -> Iterator[str]:
    """
    Those of the texts of a message that come of the octets around an offset of the content: of a leaf, or of a field of
    the message's own header. None where they are of something else.
    """
    if place < header_octets:
        return iter([header_text(field_around(read(0, header_octets), place))])
    for part in unpack(parts, header_octets, octets):
        if part.kind is Kind.LEAF and part.body_start <= place < part.end:
            return part_texts(read, part, _read_header(read, part))
    return iter(())


def part_texts(read: Read, part: Part, header: bytes) -> Iterator[str]:
    """The text of one leaf, piece by piece; nothing when it is no text. `header` is its raw header."""
    content_fields, content_type = read_header(header)
    content_type = content_type or TEXT_PLAIN
    # A multipart or a message among the leaves could not be taken apart and is shown as text.
    if content_type.maintype not in (b"text", b"multipart", b"message"):
        return
    encoding = parse_token(content_fields.get(b"content-transfer-encoding", b""))
    decode = decoder(content_type.parameter(b"charset").decode("latin-1") or "us-ascii") or decode_unlabelled
    for piece in part_octets(read, part, encoding):
        yield decode(piece)
    if content_type.subtype == b"html":
        yield BREAK
        for piece in part_octets(read, part, encoding):
            yield visible_text(decode(piece))


def part_octets(read: Read, part: Part, encoding: bytes) -> Iterator[bytes]:
    """The octets of one leaf, their transfer encoding undone, cut behind line ends."""
    return _whole_lines(_decoded(encoding, _pieces(read, part.body_start, part.end)))


def visible_text(markup: str) -> str:
    """HTML as its reader sees it: words parted by one blank, without tags, character references resolved."""
    return " ".join(unescape(_TAG.sub(" ", _INLINE.sub("", markup))).split()) + " "


def contains(texts: Iterable[str], wanted: str) -> bool:
    """
    Whether a string stands in texts, without regard to case, also across the border of two pieces.

    Args:
        wanted: not empty.
    """
    wanted = wanted.casefold()
    overlap = len(wanted) - 1
    tail = ""
    for text in texts:
        tail += text.casefold()
        if wanted in tail:
            return True
        tail = tail[-overlap:] if overlap else ""
    return False


def _read_header(read: Read, part: Part) -> bytes:
    return read(part.start, min(part.body_start - part.start, PIECE_OCTETS))


def _pieces(read: Read, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        piece = read(start, min(PIECE_OCTETS, end - start))
        if not piece:
            return
        yield piece
        start += len(piece)


def _decoded(encoding: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if encoding == b"base64":
        return _from_base64(pieces)
    if encoding == b"quoted-printable":
        # A soft line break ends a line, so lines can be decoded one after the other.
        return map(a2b_qp, _whole_lines(pieces))
    return pieces


def _from_base64(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 2045 6.8: what is not in the alphabet is passed over; the first "=" ends the data."""
    rest = b""
    for piece in pieces:
        rest += piece.translate(None, _NOT_BASE64)
        octets, padding, _ = rest.partition(b"=")
        usable = len(octets) & ~3
        yield a2b_base64(octets[:usable])
        rest = octets[usable:]
        if padding:
            break
    # A lone last character holds no octet.
    if len(rest) > 1:
        yield a2b_base64(rest + b"==")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same octets, cut behind line ends, where no character and no soft line break is cut in two."""
    rest = b""
    for piece in pieces:
        rest += piece
        end = rest.rfind(b"\n") + 1
        if not end and len(rest) > PIECE_OCTETS:
            end = len(rest)  # a line without an end: better cut in a character than held for ever
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest
