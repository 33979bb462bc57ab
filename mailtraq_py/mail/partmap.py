"""
The packed map of a message's MIME parts: where each part's header and body lie, without parsing again.

A record of 14 octets a part, in the order of their headers (a part before its inferiors): offsets of the MIME
header, of the body and of the body's end, counted from the content's first octet, then kind and number of inferior
records. A message that is one part has an empty map: its header and total octets say the same.

Part numbers are IMAP's: the parts of a multipart are 1, 2 ...; a message that is no multipart is its own part 1, and
so is one inside a message/rfc822 part.

RFC 9051 6.4.5.1
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

_RECORD = struct.Struct("<IIIH")
_KIND_SHIFT = 14
_INFERIORS = (1 << _KIND_SHIFT) - 1

OFFSET_MAX = (1 << 32) - 1


class Kind(IntEnum):
    """What a part holds: octets, parts, or one message."""

    LEAF = 0
    MULTIPART = 1
    MESSAGE = 2


@dataclass(frozen=True, slots=True)
class Part:
    """
    One part: [start, body_start) is its header with the blank line, [body_start, end) its body.

    `inferiors` counts all parts below it.
    """

    kind: Kind
    start: int
    body_start: int
    end: int
    inferiors: int = 0


class Mapped(Protocol):
    """What `pack` reads; a `Part` is one, and so is `mail.entity.Entity`."""

    kind: Kind
    start: int
    body_start: int
    end: int
    inferiors: int


@dataclass(frozen=True, slots=True)
class Place:
    """A part found by its number. `message` is the message inside a message/rfc822 part, or the whole for ()."""

    part: Part
    message: Part | None


def pack(parts: Sequence[Mapped]) -> bytes:
    """Pack parts in the order of their headers; b"" for a single leaf, and where an offset passes 4 GiB."""
    if len(parts) == 1 and parts[0].kind is Kind.LEAF:
        return b""
    if parts[0].end > OFFSET_MAX:
        return b""
    record = _RECORD.pack
    return b"".join(
        [record(part.start, part.body_start, part.end, part.kind << _KIND_SHIFT | part.inferiors) for part in parts]
    )


def unpack(packed: bytes, header_octets: int, octets: int) -> list[Part]:
    """
    The parts of a map, in the order of their headers.

    Args:
        packed: from `pack`.
        header_octets, octets: of the whole content; what an empty map means.
    """
    if not packed:
        return [Part(Kind.LEAF, 0, header_octets, octets)]
    return [_part(record) for record in _RECORD.iter_unpack(packed)]


def find_part(packed: bytes, numbers: Sequence[int], header_octets: int, octets: int) -> Place | None:
    """
    Find a part by its number.

    Args:
        packed: from `pack`.
        numbers: the part's number, (1, 2) for 1.2, () for the message itself.
        header_octets, octets: of the whole content.

    Returns:
        where it is, None when there is no such part.

    RFC 9051 6.4.5.1
    """
    if not packed:
        root = Part(Kind.LEAF, 0, header_octets, octets)
        if not numbers:
            return Place(root, root)
        return Place(root, None) if tuple(numbers) == (1,) else None
    position, part = 0, _at(packed, 0)
    holds_message = True
    message: Part | None = part
    for number in numbers:
        if holds_message and message is not None:
            # Numbers count inside the message, not inside the part that carries it.
            if part is not message:
                position += 1
            part = message
        if part.kind is Kind.MULTIPART:
            found = _inferior(packed, position, part, number)
            if found is None:
                return None
            position, part = found
        elif number != 1 or not holds_message:
            return None
        holds_message = part.kind is Kind.MESSAGE
        message = _at(packed, position + 1) if holds_message else None
    return Place(part, message)


def _inferior(packed: bytes, position: int, parent: Part, number: int) -> tuple[int, Part] | None:
    """The parent's part of this number with the place of its record."""
    place, end = position + 1, position + parent.inferiors
    while place <= end:
        part = _at(packed, place)
        number -= 1
        if number == 0:
            return place, part
        place += 1 + part.inferiors
    return None


def _at(packed: bytes, position: int) -> Part:
    return _part(_RECORD.unpack_from(packed, position * _RECORD.size))


def _part(record: tuple[int, int, int, int]) -> Part:
    start, body_start, end, kind = record
    return Part(Kind(kind >> _KIND_SHIFT), start, body_start, end, kind & _INFERIORS)
