"""The relay on loopback sockets: real connections, real handshakes, a host that speaks from a script."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailtraq_py.net.selfsigned import make_self_signed
from mailtraq_py.net.tls import CertificatePaths, TLSContexts
from mailtraq_py.queue.attempt import Attempt
from mailtraq_py.queue.connections import Connections
from mailtraq_py.queue.nexthop import NextHops
from mailtraq_py.queue.relay import Relay
from mailtraq_py.queue.settings import OutboundSettings
from mailtraq_py.queue.tlspolicy import TLSUse
from tests.delivery.fakes import FakeContent
from tests.queue.fakes import FakeResolver, make_row

MESSAGE = b"Subject: hi\r\n\r\n" + b"0123456789" * 50_000 + b"\r\n"


class ScriptedServer(LineReceiver):
    """A small SMTP server. `injects` is what it says in clear behind its 220 to STARTTLS."""

    MAX_LENGTH = 10_000_000
    noisy = False

    def __init__(self, factory: ServerFactory) -> None:
        self.home = factory
        self.data: list[bytes] | None = None
        self.secure = False

    def connectionMade(self) -> None:
        """Greet."""
        self.home.connections.add(self)
        self.sendLine(b"220 host.example")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits for the end."""
        self.home.connections.discard(self)
        if not self.home.connections and self.home.emptied is not None:
            emptied, self.home.emptied = self.home.emptied, None
            emptied.callback(None)

    def lineReceived(self, line: bytes) -> None:
        """One command, or a line of the message."""
        if self.data is not None:
            if line == b".":
                self.home.messages.append((self.secure, b"\r\n".join([*self.data, b""])))
                self.data = None
                self.sendLine(b"250 2.0.0 taken")
            else:
                self.data.append(line)
            return
        self.home.commands.append(line)
        verb = line.split(b" ")[0].split(b":")[0]
        if verb == b"EHLO":
            self.sendLine(b"250-host.example\r\n250-PIPELINING" + (b"" if self.secure else b"\r\n250-STARTTLS"))
            self.sendLine(b"250 8BITMIME")
        elif verb == b"STARTTLS":
            self.transport.write(b"220 go\r\n" + self.home.injects)
            if self.home.breaks_handshake:
                self.setRawMode()
            else:
                self.transport.startTLS(self.home.contexts.for_server())
                self.secure = True
        elif verb == b"DATA":
            self.data = []
            self.sendLine(b"354 go on")
        else:
            self.sendLine(b"221 bye" if verb == b"QUIT" else b"250 2.0.0 ok")
            if verb == b"QUIT":
                self.transport.loseConnection()


    def rawDataReceived(self, data: bytes) -> None:
        """Answer a ClientHello with what looks like replies."""
        self.transport.write(b"250 2.0.0 forged\r\n" * 3)


class ServerFactory(Factory):
    """What the server heard."""

    noisy = False

    def __init__(self, contexts: TLSContexts) -> None:
        self.contexts = contexts
        self.injects = b""
        self.breaks_handshake = False
        self.commands: list[bytes] = []
        self.messages: list[tuple[bool, bytes]] = []
        self.connections: set[Any] = set()
        self.emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: Any) -> ScriptedServer:
        """One connection."""
        return ScriptedServer(self)


class SocketTests(TestCase):
    """One host on loopback, which MX look-up may reach in these tests only."""

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        paths = CertificatePaths(str(folder / "cert.pem"), str(folder / "key.pem"))
        make_self_signed("mx.far.example", paths.certificate, paths.key)
        self.contexts = TLSContexts([paths], trust_roots=paths.certificate)
        self.server = ServerFactory(self.contexts)
        self.port = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.resolver = FakeResolver()
        self.resolver.mxs["far.example"] = [(10, "mx.far.example")]
        self.resolver.hosts |= {"mx.far.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
        self.content = FakeContent()
        self.ref = self.content.put(MESSAGE)

    async def carry(self, **settings: Any) -> Attempt:
        """One message through a relay, its connections ended."""
        number = self.port.getHost().port
        if "smarthost" in settings:
            settings["smarthost"] += f":{number}"
        given = OutboundSettings("mx.here.example", port=number, allow_private=True, **settings)
        connections = Connections(reactor, given, self.contexts)
        next_hops = NextHops(given, self.resolver, lambda hosts: None)
        relay = Relay(given, next_hops, connections, self.content, reactor.seconds)
        try:
            (attempt,) = await relay.carry([make_row(1, "x@far.example", self.ref)])
            return attempt
        finally:
            await relay.stop()
            if self.server.connections:
                self.server.emptied = Deferred()
                await self.server.emptied
            await self.port.stopListening()

    async def test_under_tls(self) -> None:
        """A large message goes out under opportunistic TLS, byte for byte."""
        attempt = await self.carry()
        self.assertEqual((attempt.reply.text, attempt.tls), ("taken", "TLSv1.3"))
        self.assertEqual(self.server.messages, [(True, MESSAGE)])
        self.assertEqual(self.server.commands[-1], b"QUIT")

    async def test_in_clear(self) -> None:
        """Without TLS."""
        attempt = await self.carry(tls=TLSUse.NONE)
        self.assertEqual((attempt.reply.text, attempt.tls), ("taken", ""))
        self.assertEqual(self.server.messages, [(False, MESSAGE)])

    async def test_forged_replies_with_the_220(self) -> None:
        """S 11: replies in clear, in one segment with the 220, are forgotten; the message is taken under TLS or not."""
        self.server.injects = b"250 forged\r\n" * 4 + b"354 forged\r\n250 2.0.0 forged\r\n"
        attempt = await self.carry()
        if attempt.reply.is_positive:
            self.assertEqual(self.server.messages[0][1], MESSAGE)
            self.assertEqual(attempt.reply.text, "taken")
        else:
            self.assertEqual(self.server.messages, [])

    async def test_forged_replies_in_place_of_a_handshake(self) -> None:
        """S 11: a host that never shakes hands gets the message in clear on a new connection, or not at all."""
        self.server.breaks_handshake = True
        attempt = await self.carry(tls=TLSUse.REQUIRED)
        self.assertTrue(attempt.reply.is_temporary)
        self.assertEqual(self.server.messages, [])

    async def test_falls_back(self) -> None:
        """The same with opportunistic TLS: a second connection, in clear."""
        self.server.breaks_handshake = True
        attempt = await self.carry()
        self.assertEqual((attempt.reply.text, attempt.tls), ("taken", ""))
        self.assertEqual(self.server.messages, [(False, MESSAGE)])

    async def test_verified_smarthost(self) -> None:
        """Where TLS is required a smarthost's certificate must be for its name."""
        attempt = await self.carry(tls=TLSUse.REQUIRED, smarthost="mx.far.example")
        self.assertEqual((attempt.reply.text, attempt.tls), ("taken", "TLSv1.3"))

    async def test_wrong_smarthost(self) -> None:
        """A certificate for another name is none."""
        attempt = await self.carry(tls=TLSUse.REQUIRED, smarthost="other.example")
        self.assertTrue(attempt.reply.is_temporary)
        self.assertEqual(self.server.messages, [])
