"""
An indexer that cannot be started; one that runs is shown end to end.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.indexer import IndexerTask
from mailtraq_py.app.indexing import AGAIN_SECONDS, START_SECONDS, IndexerProcess
from mailtraq_py.store.attachments import AttachmentLimits


class Unreadable(Clock):
    """A reactor on a machine whose Python we may not read."""

    asked = 0

    def spawnProcess(self, *arguments: Any, **keywords: Any) -> None:
        """Fail."""
        self.asked += 1
        raise PermissionError(13, "Permission denied")


class IndexerProcessTests(SynchronousTestCase):
    """Time moved by hand."""

    def test_cannot_be_started(self) -> None:
        """The log says why, it is tried again, and a stop has nothing to wait for."""
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        reactor = Unreadable()
        process = IndexerProcess(IndexerTask("sqlite:x", "x", AttachmentLimits()), reactor)
        process.start()
        reactor.advance(START_SECONDS)
        reactor.advance(AGAIN_SECONDS[0])
        self.assertEqual(reactor.asked, 2)
        reasons = [event["reason"] for event in logged if event.get("event") == "indexer-ended"]
        self.assertEqual(len(reasons), 2)
        self.assertIn("Permission denied", reasons[0])
        self.successResultOf(process.stop())
        reactor.advance(1000)
        self.assertEqual(reactor.asked, 2)
