"""
Who accepts a connection that several workers might take; how evenly real ones do is shown end to end.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.servers.sharedport import AFTER_YOU_MAX, AFTER_YOU_SECONDS, SharedPort


class SharedPortTests(SynchronousTestCase):
    """A port whose socket is a note of what it was asked."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.port = SharedPort(0, Factory(), reactor=self.reactor)
        self.port.is_our_turn = lambda: self.ours
        self.ours = True
        self.accepted = 0
        self.reading: list[str] = []
        self.port.startReading = lambda: self.reading.append("start")
        self.port.stopReading = lambda: self.reading.append("stop")
        accepting = patch.object(Port, "doRead", self.accept)
        accepting.start()
        self.addCleanup(accepting.stop)

    def accept(self) -> None:
        """As a port with a long queue does: as many as it may."""
        self.accepted += self.port.numberAccepts
        self.port.numberAccepts += 20

    def test_one_at_a_time(self) -> None:
        """However long the queue is, the others get theirs."""
        self.port.doRead()
        self.port.doRead()
        self.assertEqual((self.accepted, self.reading), (2, []))

    def test_after_you(self) -> None:
        """Who has more looks away for a moment; if it is his turn by then, he takes the one who still waits."""
        self.ours = False
        self.port.doRead()
        self.assertEqual((self.accepted, self.reading), (0, ["stop"]))
        self.reactor.advance(AFTER_YOU_SECONDS)
        self.assertEqual((self.accepted, self.reading), (0, ["stop", "start"]))
        self.ours = True
        self.port.doRead()
        self.assertEqual(self.accepted, 1)

    def test_nobody_else_comes(self) -> None:
        """He takes one after a while all the same: the others may be busy, or hang."""
        self.ours = False
        for _ in range(AFTER_YOU_MAX):
            self.port.doRead()
            self.reactor.advance(AFTER_YOU_SECONDS)
        self.assertEqual(self.accepted, 0)
        self.port.doRead()
        self.assertEqual(self.accepted, 1)
        self.port.doRead()
        self.assertEqual(self.accepted, 1)

    def test_closed_meanwhile(self) -> None:
        """A port that is closed while it waits accepts nothing more."""
        self.ours = False
        self.port.doRead()
        self.port.stopListening()
        self.reactor.advance(AFTER_YOU_SECONDS)
        self.assertEqual((self.accepted, "start" in self.reading), (0, False))
