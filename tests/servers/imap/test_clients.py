"""A real client on a loopback socket: imaplib in a thread, in clear, with STARTTLS and with implicit TLS."""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.servers.admission import Admission, ConnectionCounts
from mailtraq_py.servers.imap.session import IMAPSession
from mailtraq_py.servers.listener import Listener
from tests.fakes import FakeTLSContexts
from tests.tlspair import server_context

from .house import ALICE, MESSAGE, House

LARGE = b"Subject: large\r\n\r\n" + b"0123456789\r\n" * 100_000


class RealTLSContexts(FakeTLSContexts):
    """With a certificate that works."""

    def for_server(self) -> Any:
        """The context."""
        return server_context()


class ClientTests(TestCase):
    """imaplib against a listener."""

    timeout = 20

    def setUp(self) -> None:
        self.house = House()
        self.addCleanup(self.house.close)
        self.house.tls = RealTLSContexts()

        def make_session(connection: Connection) -> IMAPSession:
            return IMAPSession(self.house.settings, self.house.around(reactor), connection)

        self.listener = Listener(
            "imap", Protocol.IMAP, make_session, Admission("imap", ConnectionCounts(), 10, 10), reactor, reactor.seconds
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

    def work(self, client: imaplib.IMAP4) -> None:
        """Log in, append, fetch back, search, move, expunge, leave."""
        client.login(ALICE, "right")
        self.assertEqual(client.select(), ("OK", [b"0"]))
        self.assertEqual(client.append("INBOX", "(\\Seen)", None, MESSAGE)[0], "OK")
        self.assertEqual(client.append("INBOX", None, None, LARGE)[0], "OK")
        fetched = client.fetch("1:*", "(FLAGS BODY.PEEK[])")[1]
        self.assertEqual([piece[1] for piece in fetched if isinstance(piece, tuple)], [MESSAGE, LARGE])
        self.assertEqual(client.search(None, "SUBJECT", "large"), ("OK", [b"2"]))
        self.assertEqual(client.create("Work/Later")[0], "OK")
        self.assertEqual(client.uid("MOVE", "1", "Work/Later")[0], "OK")
        self.assertEqual(client.store("1", "+FLAGS", "\\Deleted")[0], "OK")
        self.assertEqual(client.expunge()[0], "OK")
        self.assertEqual(client.status("Work/Later", "(MESSAGES)"), ("OK", [b'"Work/Later" (MESSAGES 1)']))
        self.assertEqual(client.logout()[0], "BYE")

    def test_clear_and_starttls(self) -> None:
        """A session that begins in clear and goes on in TLS."""

        def client(port: int) -> None:
            imap = imaplib.IMAP4("127.0.0.1", port, timeout=10)
            self.assertIn("STARTTLS", imap.capabilities)
            imap.starttls(ssl._create_unverified_context())
            self.assertNotIn("STARTTLS", imap.capabilities)
            self.work(imap)

        return self.run_client(client)

    def test_implicit_tls(self) -> None:
        """A session that is TLS from its first octet."""

        def client(port: int) -> None:
            self.work(imaplib.IMAP4_SSL("127.0.0.1", port, timeout=10, ssl_context=ssl._create_unverified_context()))

        return self.run_client(client, self.listener.with_tls(server_context()))
