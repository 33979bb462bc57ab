"""
Sets of UIDs (or sequence numbers) as merged ranges.

The set stays as small as its number of gaps, whatever its number of members, so that `1:*` on a mailbox of
100,000 costs one pair.

RFC 9051 9 (sequence-set), RFC 4315 3 (uid-set)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class UIDSet:
    """Rising, non-touching, inclusive ranges. Build it with `from_ranges` or `from_numbers`."""

    ranges: tuple[Range, ...] = ()

    @classmethod
    def from_ranges(cls, ranges: Iterable[Range]) -> UIDSet:
        """Merge any inclusive ranges; a reversed one is turned round (RFC 9051 9, seq-range)."""
        merged: list[Range] = []
        for low, high in sorted((min(pair), max(pair)) for pair in ranges):
            if merged and low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def from_numbers(cls, numbers: Iterable[int]) -> UIDSet:
        """Merge single numbers, in any order."""
        ranges: list[Range] = []
        low = high = None
        for number in sorted(numbers):
            if high is not None and number <= high + 1:
                high = number
            else:
                if low is not None and high is not None:
                    ranges.append((low, high))
                low = high = number
        if low is not None and high is not None:
            ranges.append((low, high))
        return cls(tuple(ranges))

    def __iter__(self) -> Iterator[int]:
        """Members in rising order."""
        for low, high in self.ranges:
            yield from range(low, high + 1)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.ranges, (number, 1 << 64)) - 1
        return place >= 0 and number <= self.ranges[place][1]

    def __str__(self) -> str:
        """As a sequence-set, "" when empty."""
        return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in self.ranges)

    def union(self, other: UIDSet) -> UIDSet:
        """What is in either."""
        return UIDSet.from_ranges(self.ranges + other.ranges)

    def intersection(self, other: UIDSet) -> UIDSet:
        """What is in both; linear in the number of ranges."""
        result: list[Range] = []
        left, right = 0, 0
        while left < len(self.ranges) and right < len(other.ranges):
            low = max(self.ranges[left][0], other.ranges[right][0])
            high = min(self.ranges[left][1], other.ranges[right][1])
            if low <= high:
                result.append((low, high))
            if self.ranges[left][1] < other.ranges[right][1]:
                left += 1
            else:
                right += 1
        return UIDSet(tuple(result))

    def difference(self, other: UIDSet) -> UIDSet:
        """What is here and not there; linear in the number of ranges."""
        result: list[Range] = []
        place = 0
        for low, high in self.ranges:
            while place < len(other.ranges) and other.ranges[place][1] < low:
                place += 1
            current = place
            while current < len(other.ranges) and other.ranges[current][0] <= high:
                cut_low, cut_high = other.ranges[current]
                if cut_low > low:
                    result.append((low, cut_low - 1))
                low = max(low, cut_high + 1)
                current += 1
            if low <= high:
                result.append((low, high))
        return UIDSet(tuple(result))


EMPTY = UIDSet()
