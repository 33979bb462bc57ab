"""
The indexer's loop, and who keeps it alive; that it is another process is tested in tests/e2e/test_indexing.py.
"""

from __future__ import annotations

import json
import mailbox
from types import SimpleNamespace
from typing import Any

from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app import indexing as process_module
from mailtraq_py.app.config import load
from mailtraq_py.app.indexer import IndexerTask, keep_up
from mailtraq_py.app.indexing import IndexerProcess, indexer_task
from mailtraq_py.app.offline import offline_store
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.store.attachments import AttachmentLimits
from mailtraq_py.store.indexing import Indexing
from mailtraq_py.store.searchindex import SearchIndexes

from .installation import InstallationTestCase


class LoopTests(InstallationTestCase):
    """On a store with a message."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="a long secret\n")
        mailbox.Maildir(str(self.folder / "Maildir")).add(b"Subject: x\n\nlorem\n")
        self.mailtraq("import", "alice@here.example", "--maildir", str(self.folder / "Maildir"))
        self.configuration = load(self.file)
        self.pauses: list[float] = []

    def keep_up(self, turns: int) -> int:
        """So many turns of the loop; returns how many messages are in the index."""

        def is_over(seconds: float) -> bool:
            if seconds:
                self.pauses.append(seconds)
            return len(self.pauses) >= turns

        with offline_store(self.configuration.location) as store:
            try:
                keep_up(store, indexer_task(self.configuration), is_over)
            finally:
                store.indexes.release()
        return int(self.answer("index", "status")[0]["indexed"])

    def test_keeps_up(self) -> None:
        """What is there is indexed in the first turn; with nothing to do it sleeps."""
        self.assertEqual(self.keep_up(3), 1)
        self.assertEqual(self.pauses, [1.0] * 3)

    def test_one_at_a_time(self) -> None:
        """While another process does it, it waits."""
        other = SearchIndexes(self.folder / "var" / "search")
        self.assertTrue(other.take())
        self.assertEqual(self.keep_up(4), 0)
        other.release()

    def test_store_unavailable(self) -> None:
        """It tries again a little later."""
        look, failures = Indexing.look, [TemporaryFailure("for now")]

        def failing(indexing: Indexing, only: int | None = None) -> bool:
            if failures:
                raise failures.pop()
            return look(indexing, only)

        self.patch(Indexing, "look", failing)
        self.assertEqual(self.keep_up(3), 1)
        self.assertEqual(self.pauses[0], 10.0)


class _Reactor(Clock):
    """A clock that starts processes, and shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Any] = []

    def spawnProcess(self, protocol: Any, *_arguments: Any, **_options: Any) -> Any:
        process = SimpleNamespace(protocol=protocol, written=b"", is_closed=False, signals=[])
        process.writeToChild = lambda _, octets: setattr(process, "written", octets)
        process.closeStdin = lambda: setattr(process, "is_closed", True)
        process.signalProcess = process.signals.append
        self.processes.append(process)
        return process


class ProcessTests(SynchronousTestCase):
    """Start, end and what it says."""

    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.indexer = IndexerProcess(IndexerTask("sqlite:/x/y.db", "/x", AttachmentLimits()), self.reactor)
        self.indexer.start()
        self.logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def die(self) -> None:
        """The newest process ends."""
        self.reactor.processes[-1].protocol.processEnded(Failure(ProcessTerminated(signal=9)))

    def test_start(self) -> None:
        """A moment after the server; it hears what to do, nothing of that is in its arguments."""
        self.assertEqual(self.reactor.processes, [])
        self.reactor.advance(process_module.START_SECONDS)
        (process,) = self.reactor.processes
        self.assertEqual(json.loads(process.written)["store_url"], "sqlite:/x/y.db")

    def test_again(self) -> None:
        """One that dies is replaced, ever later."""
        self.reactor.advance(process_module.START_SECONDS)
        for number, seconds in enumerate((1.0, 5.0, 30.0, 120.0, 120.0), 1):
            self.die()
            self.reactor.advance(seconds - 0.1)
            self.assertEqual(len(self.reactor.processes), number)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.reactor.processes), number + 1)
        self.reactor.advance(process_module.HEALTHY_SECONDS + 1)
        self.die()
        self.reactor.advance(1.0)
        self.assertEqual(len(self.reactor.processes), 7)

    def test_stop(self) -> None:
        """Its input is closed; it is killed when it does not end."""
        self.successResultOf(IndexerProcess(IndexerTask("", "", AttachmentLimits()), self.reactor).stop())
        self.reactor.advance(process_module.START_SECONDS)
        stopped = self.indexer.stop()
        (process,) = self.reactor.processes
        self.assertTrue(process.is_closed)
        self.assertNoResult(stopped)
        self.reactor.advance(process_module.STOP_SECONDS)
        self.assertEqual(process.signals, ["KILL"])
        self.die()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_before_it_began(self) -> None:
        """It does not begin any more."""
        self.successResultOf(self.indexer.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_says(self) -> None:
        """Its lines become ours, however they are cut; a last word too."""
        self.reactor.advance(process_module.START_SECONDS)
        protocol = self.reactor.processes[0].protocol
        line = b'{"level": "warn", "values": {"event": "index-unavailable", "account": 3}}\n'
        for octet in line:
            protocol.outReceived(bytes((octet,)))
        protocol.errReceived(b"Traceback")
        said = [(event["log_level"].name, event["event"]) for event in self.logged]
        self.assertEqual(said, [("warn", "index-unavailable"), ("error", "indexer-failed")])
        self.assertEqual(self.logged[0]["account"], 3)
