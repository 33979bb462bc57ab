"""
What is done again and again.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.rounds import Rounds


class RoundsTests(SynchronousTestCase):
    """A clock moved by hand."""

    def test_again_and_again(self) -> None:
        """First after one span, then once a span, until it is stopped; to stop twice does nothing."""
        clock, done = Clock(), []
        rounds = Rounds(lambda: done.append(clock.seconds()))
        rounds.stop()
        rounds.start(clock, 2.0)
        clock.pump([1.0] * 5)
        self.assertEqual(done, [2.0, 4.0])
        rounds.stop()
        rounds.stop()
        clock.advance(10.0)
        self.assertEqual(done, [2.0, 4.0])

    def test_a_failure_ends_nothing(self) -> None:
        """Work that raises is done again all the same."""
        clock, done = Clock(), []

        def work() -> None:
            done.append(clock.seconds())
            raise ValueError

        Rounds(work).start(clock, 1.0)
        for _ in range(2):
            self.assertRaises(ValueError, clock.advance, 1.0)
        self.assertEqual(done, [1.0, 2.0])
