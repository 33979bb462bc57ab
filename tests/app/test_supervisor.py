"""
Who is started, replaced and ended when; the processes are notes of what was asked of the fork server.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app import supervisor as room
from mailtraq_py.app.channel import Begin, Orders, Stop, Tidings, decode_message, encode_tidings
from mailtraq_py.app.config import Configuration, ConfigurationError, parse
from mailtraq_py.app.forkserver import Forking
from mailtraq_py.app.listfiles import ListFiles
from mailtraq_py.app.supervisor import CannotServe, Supervisor
from mailtraq_py.store.frames import Incoming

TEXT = """\
hostname = "mx.here.example"
data_dir = "{data}"
workers = 2
[store]
url = "sqlite:{data}/mail.db"
[[smtp]]
tls = "none"
"""


class FakeForkServer:
    """Processes that do nothing by themselves."""

    def __init__(self, reactor: Any, ended: Any, lost: Any) -> None:
        self.forked: list[int] = []
        self.closed = False
        self.end = ended
        self.lose = lost

    def fork(self, request: Forking, descriptors: list[int]) -> None:
        """Note it."""
        self.forked.append(request.number)

    def close(self) -> None:
        """Note it."""
        self.closed = True


class FakeReactor(Clock):
    """Time moved by hand; what is written to a process can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.transports: list[StringTransport] = []

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        """Connect the newest channel."""
        self.transports.append(StringTransport())
        factory.buildProtocol(None).makeConnection(self.transports[-1])


class SupervisorTests(SynchronousTestCase):
    """Two workers and a writer."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "mailtraq.toml"
        self.configuration = self.parse(TEXT)
        self.reactor = FakeReactor()
        self.killed: list[int] = []
        self.lost: list[str] = []
        for name, fake in (("ForkServer", FakeForkServer), ("send_worker", lambda control, theirs: theirs.close())):
            patching = patch.object(room, name, fake)
            patching.start()
            self.addCleanup(patching.stop)
        killing = patch.object(os, "kill", lambda process, number: self.killed.append(process))
        killing.start()
        self.addCleanup(killing.stop)
        self.supervisor = Supervisor(
            self.configuration, ListFiles(), [], None, self.reactor, lambda reason: self.lost.append(reason)
        )
        self.forks: Any = self.supervisor._fork_server
        self.starting = Deferred.fromCoroutine(self.supervisor.start())

    def parse(self, text: str) -> Configuration:
        """A configuration in our folder."""
        return parse(text.replace("{data}", str(self.file.parent)), self.file)

    def say(self, process: int, number: int = 0, failure: str = "") -> None:
        """A process says how far it is; its identifier is 100 more than its number."""
        tidings = Tidings(100 + process, number, failure)
        self.supervisor._heard(self.supervisor._children[process], encode_tidings(tidings))

    def begin(self) -> None:
        """All serve."""
        self.say(0)
        for number in (1, 2):
            self.say(number, number=1)
        self.successResultOf(self.starting)

    def heard(self, transport: int) -> list[Any]:
        """What the process that was forked as the n-th was told."""
        return [decode_message(each) for each in Incoming().receive(self.reactor.transports[transport].value())]

    def test_start(self) -> None:
        """The writer comes first; all is up when every worker serves."""
        self.assertEqual(self.forks.forked, [0, 1, 2])
        self.say(0)
        self.say(1, number=1)
        self.assertNoResult(self.starting)
        self.say(2, number=1)
        self.successResultOf(self.starting)
        [begin] = self.heard(1)
        self.assertIsInstance(begin, Begin)
        self.assertEqual((begin.workers, begin.orders.configuration), (2, self.configuration))

    def test_a_start_that_fails(self) -> None:
        """It says what the writer said, and leaves nobody behind."""
        self.say(0, failure="the file is not ours")
        self.forks.end(0, 0)
        for number in (1, 2):
            self.say(number, failure="the writer's process has ended")
            self.forks.end(number, 0)
        failure = self.failureResultOf(self.starting, CannotServe)
        self.assertEqual(str(failure.value), "the file is not ours")
        self.assertTrue(self.forks.closed)

    def test_a_worker_that_dies(self) -> None:
        """Another one at once; then ever later while it goes on dying, whatever becomes of the others."""
        self.begin()
        waits = []
        for _ in range(8):
            self.forks.end(1, -signal.SIGKILL)
            before = len(self.forks.forked)
            began = self.reactor.seconds()
            while len(self.forks.forked) == before:
                self.reactor.advance(0.5)
            waits.append(self.reactor.seconds() - began)
        self.assertEqual(waits[0], 0.5)  # the step of this clock
        self.assertEqual(sorted(waits), waits)
        self.assertEqual(waits[-1], room.AGAIN_SECONDS[-1])
        self.forks.end(2, -signal.SIGKILL)
        self.forks.end(1, -signal.SIGKILL)
        self.reactor.advance(0)
        self.assertEqual(self.forks.forked[-1], 2)
        self.reactor.advance(room.AGAIN_SECONDS[-1])
        self.reactor.advance(room.HEALTHY_SECONDS + 1)
        self.forks.end(1, -signal.SIGKILL)
        self.reactor.advance(0)
        self.assertEqual(self.forks.forked[-1], 1)

    def test_the_writer_dies(self) -> None:
        """Nobody begins before all workers are gone, which are helped along in the end."""
        self.begin()
        self.forks.end(0, 1)
        self.reactor.advance(1)
        self.assertEqual((len(self.forks.forked), self.killed), (3, []))
        self.forks.end(1, 0)
        self.reactor.advance(room.ORPHANED_SECONDS)
        self.assertEqual((len(self.forks.forked), self.killed), (3, [102]))
        self.forks.end(2, -signal.SIGKILL)
        self.reactor.advance(room.AGAIN_SECONDS[-1])
        self.assertEqual(self.forks.forked[3:], [0, 1, 2])

    def test_orders(self) -> None:
        """They are in force when every worker says so; who does not obey is replaced by one that does."""
        self.begin()
        orders = Orders(2, self.configuration, ListFiles())
        taking = Deferred.fromCoroutine(self.supervisor.take(orders))
        self.assertIsInstance(self.heard(1)[-1], Orders)
        self.say(1, number=2)
        self.assertNoResult(taking)
        self.reactor.advance(room.ORDERS_SECONDS)
        self.assertEqual(self.killed, [102])
        self.forks.end(2, -signal.SIGKILL)
        self.successResultOf(taking)
        self.reactor.advance(0)
        self.assertEqual(self.heard(3)[0].orders.number, 2)

    def test_judging(self) -> None:
        """A configuration that would relay for strangers is none; one that would not is ready to be sent."""
        fresh, _ = self.supervisor.judged(self.configuration, ListFiles(), 2)
        self.assertEqual((fresh.number, fresh.configuration), (2, self.configuration))
        open_relay = self.parse(TEXT + '[smtp.relay]\npreset = "imail"\nmode = "anyone"\n')
        self.assertRaises(ConfigurationError, self.supervisor.judged, open_relay, ListFiles(), 3)

    def test_stop(self) -> None:
        """Workers first, then the writer; who does not come to an end is ended; nobody is replaced."""
        self.begin()
        control = self.supervisor._writer_control
        assert isinstance(control, socket.socket)
        stopping = Deferred.fromCoroutine(self.supervisor.stop(10.0))
        self.assertEqual([self.heard(transport)[-1] for transport in (1, 2)], [Stop(10.0)] * 2)
        self.forks.end(1, 0)
        self.assertGreaterEqual(control.fileno(), 0)
        self.reactor.advance(10.0 + room.STOP_SECONDS)
        self.assertEqual(self.killed, [102])
        self.reactor.advance(room.STOP_SECONDS)
        self.assertEqual(self.killed, [102, 100, 102])
        self.forks.end(2, -signal.SIGKILL)
        self.assertEqual(control.fileno(), -1)
        self.assertNoResult(stopping)
        self.forks.end(0, 0)
        self.successResultOf(stopping)
        self.reactor.advance(100)
        self.assertEqual((len(self.forks.forked), self.forks.closed), (3, True))

    def test_no_fork_server(self) -> None:
        """Nobody could be replaced any more: all end, and whoever starts us is told."""
        self.begin()
        self.forks.lose()
        self.assertEqual((self.killed, self.lost), ([100, 101, 102], ["the fork server has ended"]))
        self.successResultOf(Deferred.fromCoroutine(self.supervisor.stop(10.0)))
