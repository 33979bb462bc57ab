"""
The open-relay proof against an outsider, over sockets: the listener's factory and the session are the real ones, the
client's address alone is another than loopback's.
"""

from __future__ import annotations

import socket
from itertools import islice
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailtraq_py.interfaces.connection import Protocol
from mailtraq_py.policy.proof import prove
from mailtraq_py.policy.settings import PolicySettings
from mailtraq_py.servers.admission import Admission, ConnectionCounts
from mailtraq_py.servers.listener import Listener
from tests.policy.fakes import run
from tests.policy.outsider import Outsider, configurations, settings_of
from tests.policy.test_outsider import ALICE, SEED, Service, hosted

EACH = 5


class Disguised(Listener):
    """Believes that whoever comes next comes from `client`."""

    client = ""

    def arrived(self, transport: Any) -> None:
        """Put a mask on."""
        mask, port = self.client, transport.getPeer().port
        transport.getPeer = lambda: IPv4Address("TCP", mask, port)
        transport.getHost = lambda: IPv4Address("TCP", "192.0.2.1", 25)
        super().arrived(transport)


class Sockets:
    """An outsider's connections, each for one message."""

    def __init__(self, listener: Disguised, port: int) -> None:
        self._listener = listener
        self._port = port

    def send(self, client: str, sender: str, recipient: str) -> bool:
        """Whether a message is taken; a connection that is cut says no."""
        self._listener.client = client
        try:
            return self._say_all(sender, recipient)
        except ConnectionError:
            return False

    def _say_all(self, sender: str, recipient: str) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), 20) as connection:
            stream = connection.makefile("rwb", 0)
            if not stream.readline().startswith(b"220"):
                return False
            for line, good in (
                ("HELO client.outside.invalid", b"250"),
                (f"MAIL FROM:<{sender}>", b"250"),
                (f"RCPT TO:<{recipient}>", b"250"),
                ("DATA", b"354"),
                ("Subject: x\r\n\r\nx\r\n.", b"250"),
            ):
                stream.write(line.encode() + b"\r\n")
                if not stream.readline().startswith(good):
                    return False
            return True


class OutsiderOverSockets(TestCase):
    """Some of the configurations of tests/policy/test_outsider.py."""

    timeout = 300

    async def opens(self, settings: PolicySettings) -> bool:
        """Whether the outsider gets through."""
        service = Service(settings)
        counts = Admission("test", ConnectionCounts(), 1000, 1000)
        listener = Disguised(
            "test",
            Protocol.SMTP,
            lambda connection: service.make_session(reactor, connection),
            counts,
            reactor,
            reactor.seconds,
            service.settings.role,
        )
        port = reactor.listenTCP(0, listener, interface="127.0.0.1")
        try:
            return await deferToThread(Outsider(Sockets(listener, port.getHost().port).send).opens)
        finally:
            await port.stopListening()
            await listener.stop_sessions(1.0)

    async def test_the_proof_says_open_exactly_when_the_outsider_gets_through(self) -> None:
        """Five configurations that are open, five that are not."""
        texts = [text for text in configurations(SEED, 100) if "delay_seconds = 0" in text]
        judged = [(text, bool(run(prove(settings_of(text), hosted(), (ALICE.address,))))) for text in texts]
        for is_open in (True, False):
            chosen = list(islice((text for text, found in judged if found is is_open), EACH))
            self.assertEqual(len(chosen), EACH)
            for text in chosen:
                self.assertEqual(await self.opens(settings_of(text)), is_open, text)
