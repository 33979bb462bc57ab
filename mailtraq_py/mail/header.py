"""
The header of a message: fields in their raw octets, and what stands in them.

Everything takes bytes and answers something for any input: what cannot be understood is passed over or given back as it
stands, and nothing raises. Costs are linear in the octets given; there is no recursion, and lists are cut at a limit.

In reading order: fields, text (RFC 2047), msg-ids, parameters (RFC 2045 5.1, RFC 2231). Addresses are read
in `mail/addresslist.py`.

RFC 5322 2.2, 3.6 and 4.5
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .charsets import decode_unlabelled, decoder

PARAMETERS_MAX = 200
MESSAGE_IDS_MAX = 1000
COMMENT_MARKS_MAX = 500

# RFC 5322 2.2: a field's name is printable and has no colon. A blank before the colon is obsolete but seen (4.5.1).
_FIELD = re.compile(rb"^([!-9;-~]++)[ \t]*+:([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_LINE_ENDS = re.compile(rb"[\r\n\0]+")

# RFC 2047 2: encoded-word; spaces in the text are forgiven. RFC 2231 5 adds "*" and a language to the charset.
_ENCODED_WORD = re.compile(rb"=\?([!-)+->@-~]{1,64})(?:\*[^?\s]{0,64})?\?([BbQq])\?([^?\n]*+)\?=")
_Q_OCTET = re.compile(rb"=([0-9A-Fa-f]{2})")

_MESSAGE_ID = re.compile(rb"<[^<>\s\0]++>")

_TOKEN = rb"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]"
_CONTENT_TYPE = re.compile(rb"[ \t\r\n]*(" + _TOKEN + rb"++)[ \t]*/[ \t]*(" + _TOKEN + rb"++)")
# A multipart's type as most write it.
_USUAL_MULTIPART = re.compile(rb'[ \t]?multipart/([a-z]++);\s*+boundary="([^"\\\r\n\0(]++)"\r?\Z')
_VALUE = re.compile(rb"[ \t\r\n]*(" + _TOKEN + rb"++)")
_PARAMETER = re.compile(
    rb";[ \t\r\n]*+([^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]++)[ \t\r\n]*+=[ \t\r\n]*+"
    rb'(?:"((?:[^"\\]|\\.)*+)"?|([^;\r\n"]*+))',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_SEGMENT = re.compile(rb"([^*]+)\*(0|[1-9][0-9]{0,5})(\*?)\Z")
_UNSAFE_IN_EXTENDED = re.compile(rb"[^A-Za-z0-9!#$&+.^_`{|}~-]")

Parameters = tuple[tuple[bytes, bytes], ...]


class Field(NamedTuple):
    """A header field: its name, and all after the colon as it stands, folded, without the last line end."""

    name: bytes
    value: bytes


class ContentType(NamedTuple):
    """A Content-Type, names in lower case; parameters in their order, RFC 2231 continuations joined."""

    maintype: bytes
    subtype: bytes
    parameters: Parameters

    def parameter(self, name: bytes) -> bytes:
        """The parameter's value as it stands, b"" without."""
        for candidate, value in self.parameters:
            if candidate == name:
                return value
        return b""


# RFC 2045 5.2
TEXT_PLAIN = ContentType(b"text", b"plain", ((b"charset", b"us-ascii"),))


def fields(header: bytes) -> list[Field]:
    """All fields of a raw header in their order; lines that are no field are passed over."""
    return [Field(name, value.rstrip(b"\r")) for name, value in _FIELD.findall(header)]


def field_values(header: bytes, name: bytes) -> list[bytes]:
    """The raw values of all fields of one name, in order."""
    name = name.lower()
    return [value.rstrip(b"\r") for candidate, value in _FIELD.findall(header) if candidate.lower() == name]


def field_around(header: bytes, place: int) -> bytes:
    """The octets of the field that an offset of a raw header is in, b"" where it is in none."""
    for match in _FIELD.finditer(header):
        if match.end() > place:
            return match[0]
    return b""


def unfold(value: bytes) -> bytes:
    """
    One line of a raw value: folds undone, blanks at both ends dropped, no line end or NUL left.

    RFC 5322 2.2.3
    """
    value = value.strip()
    if b"\n" in value:
        value = _FOLD.sub(b"", value)
    if b"\r" in value or b"\n" in value or b"\0" in value:
        value = _LINE_ENDS.sub(b" ", value)
    return value


def decode_text(value: bytes) -> str:
    """
    The text of a raw unstructured value: unfolded, encoded words decoded, 8-bit octets as UTF-8 or else
    Windows-1252. An encoded word that cannot be decoded (unknown charset, broken base64) stays as it stands.

    RFC 2047 6.2, RFC 6532 3
    """
    value = unfold(value)
    if b"=?" not in value:
        return decode_unlabelled(value)
    pieces: list[str] = []
    charset, octets = "", bytearray()
    end = 0
    for match in _ENCODED_WORD.finditer(value):
        between = value[end : match.start()]
        name = match[1].decode("latin-1").lower()
        decoded = _decode_word(match[2], match[3]) if decoder(name) else None
        adjacent = bool(charset) and not between.strip()
        if charset and not (adjacent and decoded is not None and name == charset):
            pieces.append(_decode(charset, octets))
            charset, octets = "", bytearray()
        # RFC 2047 6.2: blanks between two encoded words are not part of the text.
        if not (adjacent and decoded is not None):
            pieces.append(decode_unlabelled(between))
        if decoded is None:
            pieces.append(decode_unlabelled(match[0]))
        else:
            # Words of one charset are decoded together: senders cut characters in two between them.
            charset = name
            octets += decoded
        end = match.end()
    if charset:
        pieces.append(_decode(charset, octets))
    pieces.append(decode_unlabelled(value[end:]))
    return "".join(pieces)


def message_ids(value: bytes) -> list[bytes]:
    """
    The msg-ids of a raw value, with their brackets, the first `MESSAGE_IDS_MAX`; phrases between are passed over.

    RFC 5322 3.6.4, 4.5.4
    """
    return _MESSAGE_ID.findall(value)[:MESSAGE_IDS_MAX]


@lru_cache(maxsize=1024)
def _cached_content_type(value: bytes) -> ContentType | None:
    return _read_content_type(value)


def parse_content_type(value: bytes) -> ContentType | None:
    """
    Read a raw Content-Type value; None where there is no type and subtype in it (RFC 2045 5.2: the default
    applies, which depends on what the entity is in).

    RFC 2045 5.1
    """
    # Boundaries are new each time and would only push the few common values out.
    usual = _USUAL_MULTIPART.match(value)
    if usual is not None:
        return ContentType(b"multipart", usual[1], ((b"boundary", usual[2]),))
    if len(value) > 100 or b"oundary" in value:
        return _read_content_type(value)
    return _cached_content_type(value)


def _read_content_type(value: bytes) -> ContentType | None:
    if b"(" in value:
        value = strip_comments(value)
    match = _CONTENT_TYPE.match(value)
    if match is None:
        return None
    return ContentType(match[1].lower(), match[2].lower(), parse_parameters(value))


def parse_value(value: bytes) -> tuple[bytes, Parameters] | None:
    """
    Read a raw value that is a token with parameters, as Content-Disposition is; None without a token.

    RFC 2183 2
    """
    if b"(" in value:
        value = strip_comments(value)
    match = _VALUE.match(value)
    return (match[1].lower(), parse_parameters(value)) if match else None


def parse_token(value: bytes) -> bytes:
    """The one token of a raw value in lower case, as Content-Transfer-Encoding has it; b"" where there is none."""
    if b"(" in value:
        value = strip_comments(value)
    match = _VALUE.match(value)
    return match[1].lower() if match else b""


def parse_parameters(value: bytes) -> Parameters:
    """
    The parameters of a raw value without comments: (name in lower case, value unquoted), at most
    `PARAMETERS_MAX`, the first of each name.

    Continuations are joined (RFC 2231 3). Where one of the segments is extended, so is the whole: its name keeps
    the "*" and its value is `charset'language'percent-encoded` (RFC 2231 4), which `parameter_text` decodes.
    """
    found: dict[bytes, bytes] = {}
    segments: dict[bytes, dict[int, tuple[bool, bytes]]] = {}
    for count, match in enumerate(_PARAMETER.finditer(value)):
        if count == PARAMETERS_MAX:
            break
        name, quoted, plain = match.groups()
        name = name.lower()
        if quoted is None:
            text = plain.strip()
        else:
            text = _QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        if b"\n" in text or b"\r" in text or b"\0" in text:
            text = unfold(text)
        segment = _SEGMENT.match(name) if b"*" in name else None
        if segment is None:
            found.setdefault(name, text)
        else:
            segments.setdefault(segment[1], {}).setdefault(int(segment[2]), (bool(segment[3]), text))
    for name, numbered in segments.items():
        joined = _join_segments(numbered)
        if joined is not None:
            extended, text = joined
            found.setdefault(name + b"*" if extended else name, text)
    return tuple(found.items())


def parameter_text(parameters: Parameters, name: bytes) -> str:
    """
    A parameter's text, "" without: from its extended form if it has one (RFC 2231 4), else with encoded words
    decoded, which RFC 2047 5 forbids there and senders use.
    """
    plain = ""
    for candidate, value in parameters:
        if candidate == name + b"*":
            charset, _, rest = value.partition(b"'")
            decode = decoder(charset.decode("latin-1")) or decode_unlabelled
            return decode(unquote_to_bytes(rest.partition(b"'")[2]))
        if candidate == name:
            plain = decode_text(value)
    return plain


def strip_comments(value: bytes) -> bytes:
    """
    A structured value with each comment turned into a blank; an unclosed one reaches to the end.

    What stands behind `COMMENT_MARKS_MAX` parentheses, quoted strings and escapes is dropped.
    """
    kept: list[bytes] = []
    depth = position = 0
    for count, match in enumerate(_COMMENT_MARK.finditer(value)):
        if count == COMMENT_MARKS_MAX:
            value = value[: match.start()]
            break
        mark = value[match.start() : match.start() + 1]
        if mark == b"(":
            if not depth:
                kept.append(value[position : match.start()])
            depth += 1
        elif mark == b")" and depth:
            depth -= 1
            position = match.end()
            if not depth:
                kept.append(b" ")
        elif mark == b'"' and depth:
            # Inside a comment a quote means nothing, so the match must not swallow what follows it.
            return _strip_comments_slowly(value)
    if not depth:
        kept.append(value[position:])
    return b"".join(kept)


# A quoted string counts as one mark, so that parentheses in it are text.
_COMMENT_MARK = re.compile(rb'[()]|\\.|"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def _strip_comments_slowly(value: bytes) -> bytes:
    kept = bytearray()
    depth = 0
    quoted = escaped = False
    for octet in value:
        if escaped:
            escaped = False
        elif octet == 0x5C:
            escaped = True
        elif octet == 0x22 and not depth:
            quoted = not quoted
        elif octet == 0x28 and not quoted:
            depth += 1
            if depth == 1:
                kept.append(0x20)
        elif octet == 0x29 and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(octet)
    return bytes(kept)


def _join_segments(numbered: dict[int, tuple[bool, bytes]]) -> tuple[bool, bytes] | None:
    """The segments from 0 to the first gap as one value, and whether it is an extended one."""
    run: list[tuple[bool, bytes]] = []
    while len(run) in numbered:
        run.append(numbered[len(run)])
    if not run:
        return None
    if not any(extended for extended, _ in run):
        return False, b"".join(text for _, text in run)
    encoded = [text if extended else _UNSAFE_IN_EXTENDED.sub(_percent, text) for extended, text in run]
    # RFC 2231 4.1: charset and language stand in the first segment; without it they are unknown.
    return True, b"".join(encoded) if run[0][0] else b"''" + b"".join(encoded)


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _decode_word(encoding: bytes, text: bytes) -> bytes | None:
    if encoding in b"Qq":
        return _Q_OCTET.sub(_unhex, text.replace(b"_", b" "))
    try:
        return a2b_base64(text + b"===")
    except Base64Error:
        return None


def _unhex(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode("ascii"))


def _decode(charset: str, octets: bytearray) -> str:
    decode = decoder(charset)
    text = decode(bytes(octets)) if decode else ""
    # A decoded line end would be a new line to whoever prints the text.
    return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")
