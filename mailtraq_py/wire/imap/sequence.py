"""
Sets of message numbers as they come from the wire.

`*` stands for the largest number in use, which only the client's view knows; until then it is STAR, a number above
all others. What leaves here for the store is a merged `UIDSet`: work follows its ranges, never the numbers written.

RFC 3501 9 (sequence-set), RFC 9051 9
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtraq_py.mail.uidset import Range, UIDSet

from .tokens import NUMBER_MAX, BadCommand

STAR = NUMBER_MAX + 1
RANGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Merged ranges of numbers from 1 on, STAR among them."""

    numbers: UIDSet

    @property
    def largest(self) -> int:
        """The largest number that has to exist besides `*`, 0 where only `*` was written."""
        ranges = self.numbers.ranges
        if ranges[-1][1] < STAR:
            return ranges[-1][1]
        if ranges[-1][0] < STAR:
            return ranges[-1][0]
        return ranges[-2][1] if len(ranges) > 1 else 0

    def resolve(self, star: int) -> UIDSet:
        """
        Put a number in the place of `*`.

        Args:
            star: the largest number in use. `559:*` holds it even when it is below 559 (RFC 3501 6.4.8).
        """
        ranges = self.numbers.ranges
        low, high = ranges[-1]
        if high < STAR:
            return self.numbers
        if low == STAR:
            low = star
        return UIDSet.from_ranges((*ranges[:-1], (low, star)))


def parse_sequence_set(octets: bytes) -> SequenceSet:
    """
    Read a sequence-set.

        sequence-set = (seq-number / seq-range) *("," sequence-set)

    Raises:
        BadCommand: it is none, or has more than RANGES_MAX parts.
    """
    pieces = octets.split(b",", RANGES_MAX)
    if len(pieces) > RANGES_MAX:
        raise BadCommand("message set too long")
    ranges: list[Range] = []
    for piece in pieces:
        first, colon, second = piece.partition(b":")
        low = _number(first)
        high = _number(second) if colon else low
        ranges.append((low, high) if low <= high else (high, low))
    if len(ranges) == 1:
        return SequenceSet(UIDSet((ranges[0],)))
    return SequenceSet(UIDSet.from_ranges(ranges))


def _number(octets: bytes) -> int:
    if octets == b"*":
        return STAR
    if not octets.isdigit() or len(octets) > 10:
        raise BadCommand("bad message set")
    number = int(octets)
    if not 0 < number <= NUMBER_MAX:
        raise BadCommand("bad number in the message set")
    return number

