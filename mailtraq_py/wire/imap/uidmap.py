"""
The UIDs of a mailbox in a client's order, as runs of neighbours.

A mailbox is a few runs of consecutive UIDs with gaps where messages were expunged, so the map of an idle connection
is as small as its number of gaps, whatever the number of messages: eight octets a run. A map never changes, and
`shared` lets all connections that see the same have one: those that hear the same news share their next map again.

RFC 3501 2.3.1
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from weakref import WeakValueDictionary

from mailtraq_py.mail.uidset import Range, UIDSet

SHARED_RUNS = 64
"""A map of fewer runs is smaller than what it takes to find another that is the same."""


class UIDMap:
    """Places (from 0) to UIDs and back. Build it with `from_uids`."""

    __slots__ = ("__weakref__", "_lows", "_places", "count")

    def __init__(self) -> None:
        # Run k has its first UID in _lows[k], and that UID's place in _places[k].
        self._lows = array("I")
        self._places = array("I")
        self.count = 0

    @classmethod
    def from_uids(cls, uids: UIDSet) -> UIDMap:
        """The map of these UIDs."""
        result = cls()
        for low, high in uids.ranges:
            result._add(low, high - low + 1)
        return result

    @property
    def last(self) -> int:
        """The largest UID, 0 without any."""
        return self._lows[-1] + self.count - self._places[-1] - 1 if self.count else 0

    def uid_at(self, place: int) -> int:
        """The UID at a place below `count`."""
        run = bisect_right(self._places, place) - 1
        return self._lows[run] + place - self._places[run]

    def place_of(self, uid: int) -> int:
        """The place of the first UID that is this one or larger; `count` when there is none."""
        run = bisect_right(self._lows, uid) - 1
        if run < 0:
            return 0
        return min(self._places[run] + uid - self._lows[run], self._end(run))

    def ranges(self) -> Iterator[Range]:
        """The runs as inclusive ranges of UIDs."""
        for run, low in enumerate(self._lows):
            yield low, low + self._end(run) - self._places[run] - 1

    def numbers_of(self, uids: Iterable[int]) -> Iterator[int]:
        """Places from 1 for UIDs in any order, 0 for one that is not here. Neighbours cost no search."""
        low, high, ahead = 1, 0, 0
        for uid in uids:
            if not low <= uid <= high:
                run = bisect_right(self._lows, uid) - 1
                if run < 0:
                    yield 0
                    continue
                low = self._lows[run]
                high = low + self._end(run) - self._places[run] - 1
                ahead = self._places[run] + 1 - low
                if uid > high:
                    yield 0
                    continue
            yield uid + ahead

    def number_ranges(self, uids: UIDSet) -> list[Range]:
        """Inclusive ranges of places from 1 of those UIDs of a set that are here."""
        found: list[Range] = []
        for low, high in uids.ranges:
            first, end = self.place_of(low), self.place_of(high + 1)
            if end > first:
                found.append((first + 1, end))
        return found

    def extended(self, uids: Iterable[int]) -> UIDMap:
        """A map of these UIDs too, which rise and are all above `last`."""
        result = UIDMap()
        result._lows, result._places, result.count = self._lows[:], self._places[:], self.count
        for uid in uids:
            result._add(uid, 1)
        return result

    def without(self, uids: UIDSet) -> UIDMap:
        """A map of what is left."""
        return self.from_uids(UIDSet(tuple(self.ranges())).difference(uids))

    def shared(self) -> UIDMap:
        """This map, or one that is the same and that somebody has already."""
        if len(self._lows) < SHARED_RUNS:
            return self
        # Two that differ may have one key: then the older one is shared no further.
        key = (self.count, self.last, len(self._lows), self._lows[0])
        known = _SHARED.get(key)
        if known is not None and known._lows == self._lows and known._places == self._places:
            return known
        _SHARED[key] = self
        return self

    def _end(self, run: int) -> int:
        return self._places[run + 1] if run + 1 < len(self._places) else self.count

    def _add(self, low: int, count: int) -> None:
        if not self.count or low != self.last + 1:
            self._lows.append(low)
            self._places.append(self.count)
        self.count += count


_SHARED: WeakValueDictionary[tuple[int, int, int, int], UIDMap] = WeakValueDictionary()
"""Maps that connections have, by their count, last UID, number of runs and first UID."""
