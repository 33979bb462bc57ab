"""`store/heap.py`: when memory is given back."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.heap import QUIET_SECONDS, QuietHeap, give_back, share_one_heap
from mailtraq_py.store.workers import AtOnce


class QuietHeapTests(SynchronousTestCase):
    """When memory is given back."""

    def setUp(self) -> None:
        """A heap, and when it was trimmed."""
        self.clock = Clock()
        self.trims: list[float] = []
        self.heap = QuietHeap(self.clock, AtOnce(), lambda: self.trims.append(self.clock.seconds()))

    def test_it_goes_when_nothing_was_used_for_a_while(self) -> None:
        """Once, and not again without another use."""
        self.heap.used()
        self.clock.pump([QUIET_SECONDS] * 10)
        self.assertEqual(self.trims, [QUIET_SECONDS])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_stays_while_it_is_used(self) -> None:
        """A use in each second keeps it, and it goes in the second after the last."""
        for _ in range(10):
            self.heap.used()
            self.clock.advance(QUIET_SECONDS / 2)
            self.heap.used()
            self.clock.advance(QUIET_SECONDS / 2)
        self.assertEqual(self.trims, [])
        self.clock.pump([QUIET_SECONDS / 2] * 4)
        self.assertEqual(len(self.trims), 1)

    def test_what_has_stopped_does_nothing(self) -> None:
        """Neither what was on its way, nor what comes after."""
        self.heap.used()
        self.heap.stop()
        self.heap.used()
        self.heap.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.pump([QUIET_SECONDS] * 3)
        self.assertEqual(self.trims, [])

    def test_the_command_line_gives_nothing_back(self) -> None:
        """Its process ends soon."""
        heap = QuietHeap(None, AtOnce(), lambda: self.trims.append(0.0))
        heap.used()
        heap.stop()
        self.assertEqual(self.trims, [])

    def test_any_c_library_will_do(self) -> None:
        """What it does not have is left."""
        share_one_heap()
        give_back()
