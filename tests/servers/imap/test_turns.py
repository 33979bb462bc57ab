"""Many calls, each in its turn."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.servers.imap.turns import SLICE_SECONDS, Turns


class TurnsTests(SynchronousTestCase):
    """What is added is called once, in order, in slices."""

    def test_slices(self) -> None:
        """Calls that take long leave the rest to later turns of the reactor."""
        clock = Clock()
        turns, called = Turns(clock), []

        def call(number: int) -> None:
            called.append(number)
            clock.rightNow += SLICE_SECONDS * 0.6

        for number in range(5):
            turns.add(lambda number=number: call(number))  # type: ignore[misc]
        self.assertEqual(called, [])
        calls = clock.calls
        clock.calls = []
        calls[0].func()
        self.assertEqual(called, [0, 1])
        self.assertEqual(len(clock.calls), 1)
        clock.advance(1)
        self.assertEqual(called, [0, 1, 2, 3, 4])

    def test_added_meanwhile(self) -> None:
        """A call may add another."""
        clock = Clock()
        turns, called = Turns(clock), []
        turns.add(lambda: turns.add(lambda: called.append("second")))
        clock.advance(0)
        self.assertEqual(called, ["second"])
