"""Tests of UID sets, against Python's own sets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.uidset import EMPTY, UIDSet

NUMBERS = st.sets(st.integers(1, 40), max_size=20)
RANGES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), max_size=6)


class UIDSetTests(SynchronousTestCase):
    """Sets as ranges behave as sets."""

    def check(self, uids: UIDSet, members: set[int]) -> None:
        """The set has these members, in ranges that rise and do not touch."""
        self.assertEqual(sorted(members), list(uids))
        self.assertEqual(len(members), len(uids))
        self.assertEqual(bool(members), bool(uids))
        self.assertTrue(all(low <= high for low, high in uids.ranges))
        self.assertTrue(all(one[1] + 1 < other[0] for one, other in zip(uids.ranges, uids.ranges[1:], strict=False)))

    @settings(max_examples=200, deadline=None)
    @given(NUMBERS)
    def test_numbers(self, numbers: set[int]) -> None:
        """Made of numbers, it has them."""
        uids = UIDSet.from_numbers(numbers)
        self.check(uids, numbers)
        self.assertEqual([number in numbers for number in range(50)], [number in uids for number in range(50)])

    @settings(max_examples=200, deadline=None)
    @given(RANGES)
    def test_ranges(self, ranges: list[tuple[int, int]]) -> None:
        """Made of ranges, also reversed and overlapping ones, it has all in them."""
        members = {number for one, other in ranges for number in range(min(one, other), max(one, other) + 1)}
        self.check(UIDSet.from_ranges(ranges), members)

    @settings(max_examples=300, deadline=None)
    @given(NUMBERS, NUMBERS)
    def test_operations(self, left: set[int], right: set[int]) -> None:
        """Union, intersection and difference."""
        one, other = UIDSet.from_numbers(left), UIDSet.from_numbers(right)
        self.check(one.union(other), left | right)
        self.check(one.intersection(other), left & right)
        self.check(one.difference(other), left - right)

    @settings(max_examples=100, deadline=None)
    @given(NUMBERS)
    def test_print(self, numbers: set[int]) -> None:
        """Printed as a sequence-set, it reads back."""
        uids = UIDSet.from_numbers(numbers)
        pairs = [part.split(":") for part in str(uids).split(",") if part]
        self.assertEqual(uids, UIDSet.from_ranges((int(pair[0]), int(pair[-1])) for pair in pairs))

    def test_large(self) -> None:
        """A huge range costs a pair."""
        uids = UIDSet.from_ranges([(1, 4_294_967_295)])
        self.assertEqual((1, 4_294_967_295), (len(uids.ranges), len(uids)))
        self.assertEqual("1:9,11:4294967295", str(uids.difference(UIDSet.from_numbers([10]))))
        self.assertIn(4_294_967_295, uids)
        self.assertNotIn(0, uids)
        self.assertEqual("", str(EMPTY))
