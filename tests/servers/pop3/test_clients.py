"""A real client on a loopback socket: poplib in a thread, in clear, with STLS and with implicit TLS."""

from __future__ import annotations

import poplib
import ssl
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailtraq_py.interfaces.connection import Protocol
from mailtraq_py.servers.admission import Admission, ConnectionCounts
from mailtraq_py.servers.listener import REFUSALS, Listener
from mailtraq_py.servers.login import Logins
from mailtraq_py.servers.pop3.service import MaildropLocks, POP3Service, POP3ServiceSettings
from mailtraq_py.servers.pop3.session import POP3Session
from tests.fakes import FakeDirectory, FakePolicy, FakeRecentLogins, FakeTLSContexts
from tests.tlspair import server_context

from .fakes import FakeInbox

ALICE = "alice@example.test"
LARGE = b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 100_000


class RealTLSContexts(FakeTLSContexts):
    """With a certificate that works."""

    def for_server(self) -> Any:
        """The context."""
        return server_context()


class ClientTests(TestCase):
    """poplib against a listener."""

    timeout = 20

    def setUp(self) -> None:
        self.inbox: Any = FakeInbox(b"Subject: one\r\n\r\nbody\r\n", LARGE)
        policy = FakePolicy()
        service = POP3Service(
            POP3ServiceSettings("pop", "mx.example.test"),
            lambda: policy,
            Logins(lambda: policy, FakeDirectory({ALICE: b"right"}), FakeRecentLogins(), reactor),
            lambda client: True,
            self.inbox.of_account,
            self.inbox,
            self.inbox,
            RealTLSContexts(),
            MaildropLocks(),
            reactor.seconds,
        )
        self.listener = Listener(
            "pop",
            Protocol.POP3,
            lambda connection: POP3Session(service, connection),
            Admission("pop", ConnectionCounts(), 10, 1),
            reactor,
            reactor.seconds,
        )

    def run_client(self, client: Callable[[int], None], factory: Any = None) -> Deferred[None]:
        """Run a client in a thread, given the port; then stop in order."""
        port = reactor.listenTCP(0, factory or self.listener, interface="127.0.0.1")

        async def run() -> None:
            try:
                await deferToThread(client, port.getHost().port)
            finally:
                await port.stopListening()
                await self.listener.stop_sessions(1)

        return Deferred.fromCoroutine(run())

    def collect(self, client: poplib.POP3) -> None:
        """Log in, fetch all, delete one, quit."""
        client.user(ALICE)
        self.assertIn(b"2 messages", client.pass_("right"))
        self.assertEqual(client.stat()[0], 2)
        self.assertEqual(b"\r\n".join(client.retr(2)[1]) + b"\r\n", LARGE)
        self.assertEqual(client.top(1, 0)[1], [b"Subject: one", b""])
        client.dele(1)
        client.quit()

    def test_clear_and_stls(self) -> None:
        """A session that begins in clear and goes on in TLS."""

        def client(port: int) -> None:
            pop = poplib.POP3("127.0.0.1", port, timeout=10)
            self.assertIn("STLS", pop.capa())
            pop.stls(ssl._create_unverified_context())
            self.assertNotIn("STLS", pop.capa())
            self.collect(pop)

        return self.run_client(client).addCallback(lambda _: self.assertEqual(self.inbox.removed, [10]))

    def test_implicit_tls(self) -> None:
        """A session that is TLS from its first octet."""

        def client(port: int) -> None:
            self.collect(poplib.POP3_SSL("127.0.0.1", port, timeout=10, context=ssl._create_unverified_context()))

        tls = self.listener.with_tls(server_context())
        return self.run_client(client, tls).addCallback(lambda _: self.assertEqual(self.inbox.removed, [10]))

    def test_one_too_many(self) -> None:
        """The second connection of the address is told so; when the first has gone there is room."""

        def client(port: int) -> None:
            first = poplib.POP3("127.0.0.1", port, timeout=10)
            with self.assertRaises(poplib.error_proto) as caught:
                poplib.POP3("127.0.0.1", port, timeout=10)
            self.assertEqual(caught.exception.args[0] + b"\r\n", REFUSALS[Protocol.POP3])
            first.quit()
            for _ in range(100):  # the server hears a moment later that the first has gone
                try:
                    poplib.POP3("127.0.0.1", port, timeout=10).quit()
                    break
                except poplib.error_proto:
                    time.sleep(0.01)
            else:
                self.fail("no room after the first has gone")

        return self.run_client(client)
