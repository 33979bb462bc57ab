"""Admission of connections, their facts, and the orderly stop of all of a service's sessions."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides, providedBy

from mailtraq_py.interfaces.connection import Connection, Protocol, Role
from mailtraq_py.servers.admission import Admission, ConnectionCounts
from mailtraq_py.servers.listener import REFUSALS, Listener
from tests.servers.test_driver import LineSession


class SocketTransport(StringTransport):
    """A transport that delivers to its protocol, and ends it when it is closed."""

    protocol: Any = None

    def loseConnection(self) -> None:
        """Closed in order, at once."""
        if not self.disconnecting:
            super().loseConnection()
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        """Closed at once."""
        self.disconnected = True
        self.loseConnection()


class AdmissionTests(SynchronousTestCase):
    """Limits in all and by address."""

    def test_limits(self) -> None:
        """Past either limit the connection is refused and not counted; a release makes room."""
        admission = Admission("mx", ConnectionCounts(), 3, 2)
        self.assertEqual([admission.admit("192.0.2.1") for _ in range(2)], ["", ""])
        self.assertIn("address", admission.admit("192.0.2.1"))
        self.assertEqual(admission.admit("192.0.2.2"), "")
        self.assertIn("service", admission.admit("192.0.2.3"))
        admission.release("192.0.2.1")
        self.assertEqual(admission.admit("192.0.2.1"), "")

    def test_services_are_apart(self) -> None:
        """A full service does not close another."""
        counts = ConnectionCounts()
        self.assertEqual(Admission("a", counts, 1, 1).admit("192.0.2.1"), "")
        self.assertEqual(Admission("b", counts, 1, 1).admit("192.0.2.1"), "")

    def test_ipv6_by_its_64(self) -> None:
        """One customer's addresses count as one."""
        admission = Admission("mx", ConnectionCounts(), 10, 1)
        self.assertEqual(admission.admit("2001:db8::1"), "")
        self.assertIn("address", admission.admit("2001:db8::2"))
        self.assertEqual(admission.admit("2001:db8:0:1::2"), "")

    def test_nothing_stays(self) -> None:
        """Counts of addresses that are gone do not gather."""
        counts = ConnectionCounts()
        admission = Admission("mx", counts, 10, 1)
        admission.admit("192.0.2.1")
        admission.admit("192.0.2.1")
        admission.release("192.0.2.1")
        self.assertEqual(counts._counts, {})


class ListenerTests(SynchronousTestCase):
    """A listener with sockets that are strings."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sessions: list[LineSession] = []
        self.connections: list[Connection] = []
        self.listener = Listener(
            "mx",
            Protocol.SMTP,
            self.make_session,
            Admission("mx", ConnectionCounts(), 3, 2),
            self.clock,
            lambda: 1_700_000_000.25 + self.clock.seconds(),
            Role.MX,
        )

    def make_session(self, connection: Connection) -> LineSession:
        """Keeps both."""
        self.connections.append(connection)
        self.sessions.append(LineSession())
        return self.sessions[-1]

    def connect(self, client: str = "198.51.100.7", tls: bool = False) -> SocketTransport:
        """A client comes."""
        kind = IPv6Address if ":" in client else IPv4Address
        transport = SocketTransport(
            hostAddress=kind("TCP", "::ffff:192.0.2.1", 25), peerAddress=kind("TCP", client, 40000)
        )
        if tls:
            directlyProvides(transport, providedBy(transport), ISSLTransport)
        transport.protocol = self.listener.buildProtocol(transport.getPeer())
        transport.protocol.makeConnection(transport)
        return transport

    def test_facts(self) -> None:
        """Addresses are in their one form, the time is the clock's, identifiers rise with it."""
        self.connect("::ffff:198.51.100.7")
        self.clock.advance(1)
        self.connect("fe80::1%eth0")
        first, second = self.connections
        self.assertEqual(
            (first.service, first.protocol, first.role, first.client, first.client_port, first.local, first.local_port),
            ("mx", Protocol.SMTP, Role.MX, "198.51.100.7", 40000, "192.0.2.1", 25),
        )
        self.assertEqual((first.accepted, second.accepted), (1_700_000_000.25, 1_700_000_001.25))
        self.assertEqual(second.client, "fe80::1")
        self.assertEqual((len(first.session_id), len(second.session_id)), (20, 20))
        self.assertLess(first.session_id, second.session_id)

    def test_the_driver_takes_over(self) -> None:
        """What the client sends reaches the session."""
        transport = self.connect()
        transport.protocol.dataReceived(b"a\n")
        self.assertEqual(transport.value(), b"hello\n[a]\n")
        self.assertEqual(len(self.listener.drivers), 1)

    def test_too_many(self) -> None:
        """One line, closed, no session made; when another ends there is room again."""
        first = self.connect()
        self.connect()
        refused = self.connect()
        self.assertEqual(refused.value(), REFUSALS[Protocol.SMTP])
        self.assertTrue(refused.disconnecting)
        self.assertEqual(len(self.sessions), 2)
        first.loseConnection()
        self.assertEqual(len(self.listener.drivers), 1)
        self.assertEqual(self.connect().value(), b"hello\n")

    def test_too_many_with_tls(self) -> None:
        """No handshake is spent on a refusal."""
        self.connect()
        self.connect()
        refused = self.connect(tls=True)
        self.assertEqual(refused.value(), b"")
        self.assertTrue(refused.disconnected)

    def test_each_protocol_has_its_refusal(self) -> None:
        """A temporary failure in each one's words."""
        self.assertEqual(set(REFUSALS), set(Protocol))

    def test_stop_without_sessions(self) -> None:
        """Nothing to wait for."""
        self.assertIsNone(self.successResultOf(self.listener.stop_sessions(10)))

    def test_stop(self) -> None:
        """Idle sessions end at once, running commands end first, what remains is aborted after the grace."""
        idle, running, stuck = self.connect(), self.connect(), self.connect("198.51.100.8")
        running.protocol.dataReceived(b"wait\n")
        stuck.protocol.dataReceived(b"wait\n")
        stopping = self.listener.stop_sessions(10)
        self.assertTrue(idle.disconnecting)
        self.assertEqual(idle.value(), b"hello\nstopping\n")
        self.assertFalse(running.disconnecting)
        self.clock.advance(5)
        self.sessions[1].later[0].callback(None)
        self.assertEqual(running.value(), b"hello\n[wait]\nstopping\n")
        self.assertTrue(running.disconnecting)
        self.assertNoResult(stopping)
        self.clock.advance(5)
        self.assertTrue(stuck.disconnected)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_before_the_grace_is_over(self) -> None:
        """When all have ended nobody waits on."""
        running = self.connect()
        running.protocol.dataReceived(b"wait\n")
        stopping = self.listener.stop_sessions(10)
        self.sessions[0].later[0].callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
