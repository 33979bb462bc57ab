"""The driver: one event at a time, back-pressure, time-outs, STARTTLS, our own bugs."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides, providedBy

from mailtraq_py.servers.driver import (
    HANDSHAKE_SECONDS,
    HIGH_WATER_OCTETS,
    LINGER_SECONDS,
    LOCAL_ERRORS_MAX,
    SLICE_SECONDS,
    STALL_SECONDS,
    ConnectionEnded,
    Driver,
)
from mailtraq_py.wire.lines import LineBuffer
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close
from tests.fakes import make_connection
from tests.tlspair import client_context, server_context


class LineCore:
    """Each line is a command; a reply is any octets."""

    def __init__(self) -> None:
        self.buffer = LineBuffer()
        self.out = bytearray()
        self.waiting = False

    @property
    def buffered_octets(self) -> int:
        """What is left."""
        return len(self.buffer)

    def receive_data(self, octets: bytes) -> None:
        """Keep them."""
        self.buffer.add(octets)

    def next_event(self) -> object:
        """A line."""
        if self.waiting:
            return PAUSED
        line = self.buffer.take_line(1_000_000)
        if line is None:
            return NEED_DATA
        if line == b"quit":
            self.out += b"bye\n"
            return Close("quit")
        self.waiting = True
        return line

    def reply(self, octets: bytes) -> None:
        """The reply to the line."""
        self.waiting = False
        self.out += octets

    def data_to_send(self) -> bytes:
        """Give and forget."""
        octets = bytes(self.out)
        self.out.clear()
        return octets

    def forget_input(self) -> None:
        """Forget what came."""
        self.buffer.clear()


@dataclass
class LineSession:
    """
    Answers `x` with `[x]`, at once. `wait` waits for `later`; `big N` sends N octets and waits until they
    are drained; `bug` raises; `silent` gives no reply; `tls` begins TLS; `refuse` aborts.
    """

    core: LineCore = field(default_factory=LineCore)
    later: list[Deferred[None]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    greeting: bytes | Exception = b"hello\n"
    local_error_fails: bool = False
    in_message: bool = False
    ends_message: bool = False
    driver: Driver = field(init=False)

    def begin(self, driver: Driver) -> Awaitable[None] | None:
        """Greet."""
        self.driver = driver
        if isinstance(self.greeting, Exception):
            raise self.greeting
        self.core.out += self.greeting
        return None

    def handle(self, event: Any) -> Awaitable[None] | None:
        """Answer a line."""
        self.heard.append(event.decode())
        self.in_message = self.in_message and not self.ends_message
        if event == b"bug":
            raise ZeroDivisionError("secret")
        if event == b"silent":
            return None
        if event == b"tls":
            self.core.reply(b"go\n")
            self.driver.start_tls(server_context())
            return None
        if event == b"refuse":
            self.driver.abort("refused")
            return None
        if event in (b"wait", b"late bug") or event.startswith(b"big"):
            return self.answer_late(event)
        self.core.reply(b"[" + event + b"]\n")
        return None

    async def answer_late(self, event: bytes) -> None:
        """Answer after something."""
        if event.startswith(b"big"):
            try:
                for _ in range(3):
                    self.core.out += b"x" * int(event[4:])
                    await self.driver.drained()
            except ConnectionEnded:
                self.heard.append("ended in the middle")
                raise
        else:
            self.later.append(Deferred())
            await self.later[-1]
        if event == b"late bug":
            raise ZeroDivisionError("secret")
        self.core.reply(b"[" + event + b"]\n")

    def tls_started(self) -> None:
        """After STARTTLS."""
        self.heard.append("tls started")

    def timed_out(self) -> None:
        """Farewell."""
        self.core.out += b"too late\n"

    def stopping(self) -> None:
        """Farewell."""
        self.core.out += b"stopping\n"

    def local_error(self, reference: str) -> None:
        """The reply to what failed."""
        if self.local_error_fails:
            raise ZeroDivisionError
        self.core.reply(b"local error " + reference.encode() + b"\n")

    def ended(self, reason: str) -> None:
        """The end."""
        self.heard.append(f"ended: {reason}")


class DriverTests(SynchronousTestCase):
    """A driver on a string in place of a socket, time moved by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.session = LineSession()
        self.transport = StringTransport()
        self.ended: list[Driver] = []
        self.driver = Driver(self.session, self.clock, make_connection(), self.ended.append)

    def connect(self) -> None:
        """The connection is up."""
        self.driver.makeConnection(self.transport)

    def sent(self) -> bytes:
        """What went to the peer since the last call."""
        octets = self.transport.value()
        self.transport.clear()
        return octets

    def lose(self, reason: Exception | None = None) -> None:
        """The connection is gone."""
        self.driver.connectionLost(Failure(reason or ConnectionDone()))

    def test_pipelined_commands_are_answered_in_one_write(self) -> None:
        """Replies of a group leave together, in order."""
        self.connect()
        writes: list[bytes] = []
        self.transport.write = writes.append
        self.driver.dataReceived(b"a\nb\nc\n")
        self.assertEqual(writes, [b"[a]\n[b]\n[c]\n"])

    def test_a_late_answer_keeps_the_order(self) -> None:
        """Nothing behind a waiting command is looked at before its reply."""
        self.connect()
        self.driver.dataReceived(b"a\nwait\nb\n")
        self.assertEqual(self.session.heard, ["a", "wait"])
        self.session.later[0].callback(None)
        self.assertEqual(self.sent(), b"hello\n[a]\n[wait]\n[b]\n")

    def test_a_failing_greeting_ends_the_connection(self) -> None:
        """Nobody decided about the client, so nothing that it sent is handled."""
        self.session.greeting = ZeroDivisionError("secret")
        self.connect()
        self.driver.dataReceived(b"a\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertNotIn("a", self.session.heard)

    def test_input_is_paused_while_a_command_waits(self) -> None:
        """A peer cannot fill our memory while we wait for something else."""
        self.connect()
        self.driver.dataReceived(b"wait\n")
        self.driver.dataReceived(b"x" * HIGH_WATER_OCTETS)
        self.assertEqual(self.transport.producerState, "producing")
        self.driver.dataReceived(b"x\nwait\n")
        self.assertEqual(self.transport.producerState, "paused")
        self.session.later[0].callback(None)
        self.assertEqual(self.transport.producerState, "producing")

    def test_no_event_while_the_transport_is_full(self) -> None:
        """A peer that pipelines and does not read gets no further command worked on."""
        self.connect()
        self.driver.pauseProducing()
        self.driver.dataReceived(b"a\nb\n")
        self.assertEqual(self.session.heard, [])
        self.driver.resumeProducing()
        self.assertEqual(self.sent(), b"hello\n[a]\n[b]\n")

    def test_a_handler_waits_until_its_octets_are_drained(self) -> None:
        """One piece at a time is in the transport's buffer."""
        self.connect()
        self.sent()
        self.driver.pauseProducing()
        self.driver.resumeProducing()
        write = self.transport.write

        def write_and_be_full(octets: bytes) -> None:
            write(octets)
            self.driver.pauseProducing()

        self.transport.write = write_and_be_full
        self.driver.dataReceived(b"big 10\n")
        self.assertEqual(self.sent(), b"x" * 10)
        self.driver.resumeProducing()
        self.assertEqual(self.sent(), b"x" * 10)
        self.driver.resumeProducing()
        self.driver.resumeProducing()
        self.assertEqual(self.sent(), b"x" * 10 + b"[big 10]\n")

    def test_a_handler_breathes(self) -> None:
        """It goes on at once within half of a slice; when that is over, others have their turn first."""
        self.connect()
        self.sent()

        async def work(step_seconds: float) -> None:
            for _ in range(3):
                self.session.core.out += b"."
                self.clock.rightNow += step_seconds
                await self.driver.breathe()
            self.session.core.reply(b"done\n")

        self.session.handle = lambda event: work(float(event))
        self.driver.dataReceived(b"0\n")
        self.assertEqual(self.sent(), b"...done\n")
        self.driver.dataReceived(b"%.4f\n" % (SLICE_SECONDS * 0.6))
        self.assertEqual(self.sent(), b".")
        self.clock.advance(0)
        self.assertEqual(self.sent(), b"..done\n")

    def test_a_lost_connection_wakes_the_handler(self) -> None:
        """A handler that waits for the transport ends; `ended` comes once."""
        self.connect()
        self.transport.write = lambda octets: self.driver.pauseProducing()
        self.driver.dataReceived(b"big 10\na\n")
        self.lose(ConnectionLost())
        self.assertEqual(self.session.heard, ["big 10", "ended in the middle", f"ended: {ConnectionLost()}"])
        self.assertEqual(self.ended, [self.driver])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_peer_that_says_nothing_more_is_answered(self) -> None:
        """Who closes his side behind his commands hears the answers to all of them; who has said nothing, the end."""
        self.connect()
        self.driver.dataReceived(b"a\nwait\nb\n")
        self.driver.readConnectionLost()
        self.assertFalse(self.transport.disconnecting)
        self.session.later.pop().callback(None)
        self.assertEqual(self.sent(), b"hello\n[a]\n[wait]\n[b]\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.driver.close_reason, "closed by the peer")
        self.setUp()
        self.connect()
        self.driver.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)

    def test_a_handler_that_ends_after_the_connection_does_no_harm(self) -> None:
        """Its reply goes nowhere."""
        self.connect()
        self.driver.dataReceived(b"wait\na\n")
        self.lose()
        self.session.later[0].callback(None)
        self.driver.set_idle_time(600)
        self.assertEqual(self.session.heard, ["wait", "ended: closed by the peer"])
        self.assertEqual(self.sent(), b"hello\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_our_bug_is_told_with_the_session_only(self) -> None:
        """The peer learns the session's identifier and no more; the connection goes on."""
        self.connect()
        self.driver.dataReceived(b"bug\na\n")
        self.assertEqual(self.sent(), b"hello\nlocal error S1\n[a]\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_late_bug_too(self) -> None:
        """An exception out of a handler that waited."""
        self.connect()
        self.driver.dataReceived(b"late bug\na\n")
        self.session.later[0].callback(None)
        self.assertEqual(self.sent(), b"hello\nlocal error S1\n[a]\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_many_bugs_end_the_connection(self) -> None:
        """Whoever found one cannot go on with it for ever."""
        self.connect()
        self.driver.dataReceived(b"bug\n" * 10)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), LOCAL_ERRORS_MAX)
        self.assertTrue(self.transport.disconnecting)

    def test_a_bug_while_reporting_a_bug_aborts(self) -> None:
        """There is nothing left to say."""
        self.session.local_error_fails = True
        self.connect()
        self.driver.dataReceived(b"bug\na\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertNotIn("a", self.session.heard)
        self.assertTrue(self.transport.disconnecting)

    def test_a_command_without_reply_is_a_bug(self) -> None:
        """A session that forgets to reply would hang the connection for ever."""
        self.connect()
        self.driver.dataReceived(b"silent\na\n")
        self.assertEqual(self.sent(), b"hello\nlocal error S1\n[a]\n")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_no_idle_end_while_a_command_runs(self) -> None:
        """The idle time begins when the reply is out."""
        self.connect()
        self.driver.set_idle_time(60)
        self.driver.dataReceived(b"wait\n")
        self.clock.advance(59)
        self.clock.advance(600)
        self.assertFalse(self.transport.disconnecting)
        self.session.later[0].callback(None)
        self.clock.advance(59)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(60)
        self.assertTrue(self.transport.disconnecting)
        self.assertTrue(self.sent().endswith(b"too late\n"))

    def test_octets_put_the_idle_end_off(self) -> None:
        """The clock runs from what came last; a shorter time takes effect at once."""
        self.connect()
        self.driver.set_idle_time(60)
        self.clock.advance(50)
        self.driver.dataReceived(b"a\n")
        self.clock.advance(59)
        self.assertFalse(self.transport.disconnecting)
        self.driver.set_idle_time(5)
        self.clock.advance(5)
        self.assertTrue(self.transport.disconnecting)

    def test_a_peer_that_does_not_read_is_aborted(self) -> None:
        """A full buffer that does not empty ends the connection, idle or not."""
        self.connect()
        self.driver.set_idle_time(3600)
        self.driver.pauseProducing()
        self.driver.dataReceived(b"a\n")
        self.clock.advance(STALL_SECONDS - 1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnected)

    def test_a_peer_that_does_not_close_is_aborted(self) -> None:
        """After the farewell the connection lives on for a bounded time."""
        self.connect()
        self.driver.dataReceived(b"quit\na\n")
        self.assertEqual(self.sent(), b"hello\nbye\n")
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer, "Twisted does not close while a producer is registered")
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(LINGER_SECONDS)
        self.assertTrue(self.transport.disconnected)

    def test_abort_sends_nothing(self) -> None:
        """What a refused client sent is neither answered nor read."""
        self.connect()
        self.sent()
        self.driver.dataReceived(b"a\nrefuse\nb\n")
        self.assertEqual(self.sent(), b"")
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.session.heard, ["a", "refuse"])

    def test_stop_when_idle(self) -> None:
        """An idle session ends at once with its farewell."""
        self.connect()
        self.driver.stop()
        self.assertEqual(self.sent(), b"hello\nstopping\n")
        self.assertTrue(self.transport.disconnecting)

    def test_stop_while_a_command_runs(self) -> None:
        """The running command ends, what is pipelined behind it is not begun."""
        self.connect()
        self.driver.dataReceived(b"wait\na\n")
        self.driver.stop()
        self.assertFalse(self.transport.disconnecting)
        self.session.later[0].callback(None)
        self.assertEqual(self.sent(), b"hello\n[wait]\nstopping\n")
        self.assertTrue(self.transport.disconnecting)

    def test_stop_in_a_message(self) -> None:
        """A message that is coming in may come to its end; nothing behind it is begun."""
        self.connect()
        self.session.in_message = True
        self.driver.stop()
        self.driver.dataReceived(b"a\n")
        self.assertEqual(self.sent(), b"hello\n[a]\n")
        self.session.ends_message = True
        self.driver.dataReceived(b"b\nc\n")
        self.assertEqual(self.sent(), b"[b]\nstopping\n")
        self.assertTrue(self.transport.disconnecting)

    def test_wake_sends_what_the_session_put_in(self) -> None:
        """A notice outside a command."""
        self.connect()
        self.sent()
        self.session.core.out += b"news\n"
        self.driver.wake()
        self.assertEqual(self.sent(), b"news\n")

    def test_a_flood_lets_others_have_their_turn(self) -> None:
        """After a slice of time the pump goes on in a later turn of the reactor."""
        self.connect()
        self.session.heard.clear()
        handle = self.session.handle

        def slow(event: Any) -> Awaitable[None] | None:
            self.clock.rightNow += 0.002
            return handle(event)

        self.session.handle = slow
        self.driver.dataReceived(b"a\n" * 10)
        self.assertEqual(len(self.session.heard), 3)
        self.clock.advance(0)
        self.assertEqual(len(self.session.heard), 10)

    def test_implicit_tls_waits_for_the_handshake(self) -> None:
        """No greeting before TLS is up; without a handshake the end comes soon."""
        directlyProvides(self.transport, providedBy(self.transport), ISSLTransport)
        self.connect()
        self.assertEqual(self.sent(), b"")
        self.clock.advance(HANDSHAKE_SECONDS)
        self.assertTrue(self.transport.disconnected)

    def test_stop_in_a_handshake(self) -> None:
        """There is nobody to say farewell to yet."""
        directlyProvides(self.transport, providedBy(self.transport), ISSLTransport)
        self.connect()
        self.driver.stop()
        self.assertTrue(self.transport.disconnected)


class Client(Protocol):
    """Keeps what comes, and can wait for it."""

    def __init__(self) -> None:
        self.heard = b""
        self.expected = b""
        self.came: Deferred[None] | None = None
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data
        if self.came is not None and self.heard.endswith(self.expected):
            came, self.came = self.came, None
            came.callback(None)

    async def until(self, octets: bytes) -> None:
        """Wait until these are the last octets that came."""
        if not self.heard.endswith(octets):
            self.expected, self.came = octets, Deferred()
            await self.came

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """The end."""
        self.lost.callback(None)


class TLSTests(TestCase):
    """Real TLS on a loopback socket: the one place where the TLS transport itself is tried."""

    timeout = 10

    async def serve(self, wrap: bool = False) -> tuple[LineSession, Deferred[None], TCP4ClientEndpoint]:
        """Listen on a free port; the session, its end, and a way to it."""
        session, ended = LineSession(), Deferred[None]()

        class OneDriver(Factory):
            noisy = False

            def buildProtocol(self, address: object) -> Driver:
                return Driver(session, reactor, make_connection(), lambda driver: ended.callback(None))

        factory: Any = TLSMemoryBIOFactory(server_context(), False, OneDriver()) if wrap else OneDriver()
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return session, ended, TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)

    def test_implicit_tls(self) -> None:
        """The greeting comes inside TLS, `tls` tells what was negotiated, the connection ends in order."""
        return Deferred.fromCoroutine(self.implicit_tls())

    async def implicit_tls(self) -> None:
        session, ended, endpoint = await self.serve(wrap=True)
        client: Any = await connectProtocol(wrapClientTLS(client_context(), endpoint), Client())
        await client.until(b"hello\n")
        assert session.driver.tls is not None
        self.assertEqual(session.driver.tls.version, "TLSv1.3")
        self.assertTrue(session.driver.tls.cipher)
        self.assertGreaterEqual(session.driver.tls.bits, 128)
        client.transport.write(b"a\nquit\n")
        await client.until(b"[a]\nbye\n")
        await client.lost
        await ended
        self.assertEqual(session.heard, ["a", "ended: quit"])

    def test_starttls(self) -> None:
        """What was sent behind STARTTLS is forgotten; then the session hears of TLS and goes on inside it."""
        return Deferred.fromCoroutine(self.starttls())

    async def starttls(self) -> None:
        session, ended, endpoint = await self.serve()
        client: Any = await connectProtocol(endpoint, Client())
        await client.until(b"hello\n")
        client.transport.write(b"tls\ninjected\n")
        await client.until(b"go\n")
        client.transport.startTLS(client_context())
        client.transport.write(b"a\nbig 300000\n")
        await client.until(b"[big 300000]\n")
        self.assertEqual(len(client.heard), len(b"hello\ngo\n[a]\n[big 300000]\n") + 900000)
        self.assertEqual(session.heard, ["tls", "tls started", "a", "big 300000"])
        assert session.driver.tls is not None
        self.assertEqual(session.driver.tls.version, "TLSv1.3")
        client.transport.write(b"quit\n")
        await client.lost
        await ended

    def test_a_slow_reader_gets_everything_in_order(self) -> None:
        """What the socket does not take at once waits its turn, and what comes later goes behind it."""
        return Deferred.fromCoroutine(self.slow_reader())

    async def slow_reader(self) -> None:
        session, ended, endpoint = await self.serve()
        client: Any = await connectProtocol(endpoint, Client())
        await client.until(b"hello\n")
        client.transport.pauseProducing()
        client.transport.write(b"big 2000000\n" + b"a\n" * 1000 + b"quit\n")
        await deferLater(reactor, 0.2, lambda: None)
        self.assertEqual(session.heard, ["big 2000000"])
        client.transport.resumeProducing()
        await client.lost
        await ended
        answers = b"x" * 6000000 + b"[big 2000000]\n" + b"[a]\n" * 1000 + b"bye\n"
        self.assertTrue(client.heard == b"hello\n" + answers)

    def test_no_handshake(self) -> None:
        """Plain text where a handshake should come ends the connection, and nothing of it is handled."""
        return Deferred.fromCoroutine(self.no_handshake())

    async def no_handshake(self) -> None:
        session, ended, endpoint = await self.serve()
        client: Any = await connectProtocol(endpoint, Client())
        await client.until(b"hello\n")
        client.transport.write(b"tls\n")
        await client.until(b"go\n")
        client.transport.write(b"a\nquit\n")
        await ended
        self.assertEqual(session.heard[0], "tls")
        self.assertEqual(len(session.heard), 2)
        await client.lost
