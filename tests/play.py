"""
A dialogue with a session, without a socket and with time moved by hand.

    play = Play(lambda clock, connection: SMTPSession(...))
    play >> 220
    play << "EHLO c.example" >> 250
    play << "RCPT TO:<x@elsewhere.example>" >> "550 5.7.1"

`<<` sends a line (text, CRLF added) or octets as they are. `>>` takes the next reply and compares it: an int with
the reply code, a text with the reply's beginning, a compiled pattern by search, a list with that many replies. For
SMTP a reply is all its lines; for the other protocols it is one line. `play.rest()` takes all that is there. Time
moves with `play.clock.advance(seconds)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.servers.driver import Driver
from tests.fakes import make_connection

_REPLY = re.compile(rb"(?:[0-9]{3}-[^\n]*\n)*[^\n]*\n")
_LINE = re.compile(rb"[^\n]*\n")


class PlayTransport(StringTransport):
    """A StringTransport with the parts of a TCP and TLS transport that the driver touches."""

    def __init__(self) -> None:
        super().__init__()
        self.tls_context: Any = None

    def startTLS(self, context: Any) -> None:
        """The handshake begins; `Play.handshake` ends it."""
        self.tls_context = context

    def getHandle(self) -> PlayTransport:
        """The TLS connection."""
        return self

    def get_protocol_version_name(self) -> str:
        """As OpenSSL's."""
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        """As OpenSSL's."""
        return "TLS_AES_256_GCM_SHA384"

    def get_cipher_bits(self) -> int:
        """As OpenSSL's."""
        return 256


class Play:
    """
    One connection to one session.

    Args:
        make_session: given the clock and the connection's facts, makes the session.
        protocol: of the connection, SMTP unless `connection` is given.
        connection: its facts, or None for those of `tests.fakes.make_connection`.
        implicit_tls: the transport is TLS from its first octet; `handshake` must be called before the greeting comes.
    """

    def __init__(
        self,
        make_session: Callable[[Clock, Connection], Any],
        protocol: Protocol = Protocol.SMTP,
        connection: Connection | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.clock = Clock()
        self.connection = connection or make_connection(protocol)
        self.session = make_session(self.clock, self.connection)
        self.transport = PlayTransport()
        self.driver = Driver(self.session, self.clock, self.connection)
        self._reply = _REPLY if self.connection.protocol in (Protocol.SMTP, Protocol.LMTP) else _LINE
        self._heard = b""
        if implicit_tls:
            directlyProvides(self.transport, providedBy(self.transport), ISSLTransport)
        self.driver.makeConnection(self.transport)
        self.turn()

    def __lshift__(self, sent: str | bytes) -> Play:
        self.send(sent if isinstance(sent, bytes) else sent.encode() + b"\r\n")
        return self

    def __rshift__(self, expected: int | str | re.Pattern[str] | list[Any]) -> Play:
        for one in expected if isinstance(expected, list) else [expected]:
            self._compare(one, self.take())
        return self

    def send(self, octets: bytes) -> None:
        """Send octets in one piece."""
        self.driver.dataReceived(octets)
        self.turn()

    def turn(self) -> None:
        """Let the reactor go round without time passing."""
        for _ in range(4):
            self.clock.advance(0)

    def take(self) -> str:
        """The next reply, its line ends as LF, without the last one; fails when there is none."""
        self._collect()
        match = self._reply.match(self._heard)
        if match is None:
            raise AssertionError(f"no reply; there is {self._heard!r}")
        self._heard = self._heard[match.end() :]
        return match[0].decode("utf-8", "backslashreplace").replace("\r\n", "\n").removesuffix("\n")

    def rest(self) -> bytes:
        """All octets that were sent to us and not yet taken."""
        self._collect()
        octets, self._heard = self._heard, b""
        return octets

    def handshake(self) -> None:
        """The TLS handshake is done."""
        self.driver.handshakeCompleted()
        self.turn()

    @property
    def closed(self) -> bool:
        """Whether the session closed or aborted the connection."""
        return self.transport.disconnecting

    @property
    def aborted(self) -> bool:
        """Whether it was closed without sending what was left."""
        return self.transport.disconnected

    def end(self) -> None:
        """The peer is gone, or the transport is done closing."""
        self.driver.connectionLost(Failure(ConnectionDone()))

    def _collect(self) -> None:
        self._heard += self.transport.value()
        self.transport.clear()

    def _compare(self, expected: int | str | re.Pattern[str], reply: str) -> None:
        if isinstance(expected, re.Pattern):
            right = expected.search(reply) is not None
        else:
            right = reply.startswith(str(expected))
        if not right:
            raise AssertionError(f"expected {expected!r}, came {reply!r}")
