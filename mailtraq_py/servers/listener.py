"""
From an accepted socket to a driver with its session.

    Listener.buildProtocol -> Arrival     has a transport, and with it both ends' addresses
    Arrival.makeConnection -> Admission   too many: one line, closed
                           -> Connection  the facts, with a fresh session identifier
                           -> session     made by the service's callable
                           -> Driver      takes the arrival's place at the transport

A driver needs the facts of its connection when it is made, and Twisted knows the local address only once there is a
transport; so an `Arrival` stands between the two for one call.
"""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime, ISSLTransport, ITransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from mailtraq_py.interfaces import connection as facts
from mailtraq_py.mail.identifiers import make_identifier

from .admission import Admission
from .driver import Driver, ISession
from .peer import normal_address

SESSION_RANDOM_OCTETS = 4

# RFC 5321 3.8; RFC 1939 4 and RFC 3206 4; RFC 9051 7.1.5
REFUSALS = {
    facts.Protocol.SMTP: b"421 4.7.0 Too many connections, try again later\r\n",
    facts.Protocol.LMTP: b"421 4.7.0 Too many connections, try again later\r\n",
    facts.Protocol.POP3: b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
    facts.Protocol.IMAP: b"* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
}


class Listener(ServerFactory):
    """
    One service's factory; listen with it on each of the service's addresses.

    Args:
        service: its name.
        protocol: what it speaks.
        make_session: makes the session of one connection.
        admission: its limits.
        reactor: for the drivers' time-outs.
        clock: seconds since the epoch.
        role: of an SMTP service.

    `drivers` are the live connections.
    """

    log = Logger()
    noisy = False

    def __init__(
        self,
        service: str,
        protocol: facts.Protocol,
        make_session: Callable[[facts.Connection], ISession],
        admission: Admission,
        reactor: IReactorTime,
        clock: Callable[[], float],
        role: facts.Role = facts.Role.BOTH,
    ) -> None:
        self.drivers: set[Driver] = set()
        self._service = service
        self._protocol = protocol
        self._make_session = make_session
        self._admission = admission
        self._reactor = reactor
        self._clock = clock
        self._role = role
        self._all_ended: Deferred[None] | None = None

    def with_tls(self, context: Any) -> TLSMemoryBIOFactory:
        """The factory to listen with for implicit TLS. `context` is what `ITLSContexts.for_server` gives."""
        return TLSMemoryBIOFactory(context, False, self)

    def buildProtocol(self, address: IAddress | None) -> Protocol:
        """What Twisted gives the transport to."""
        return Arrival(self.arrived)

    def arrived(self, transport: Any) -> None:
        """Make a driver for a fresh transport, or turn it away."""
        peer, host = transport.getPeer(), transport.getHost()
        client = normal_address(peer.host)
        refusal = self._admission.admit(client)
        if refusal:
            self._turn_away(transport, client, refusal)
            return
        now = self._clock()
        connection = facts.Connection(
            make_identifier(now, urandom(SESSION_RANDOM_OCTETS)),
            self._service,
            self._protocol,
            client,
            peer.port,
            normal_address(host.host),
            host.port,
            now,
            self._role,
        )
        driver = Driver(self._make_session(connection), self._reactor, connection, self._ended)
        self.drivers.add(driver)
        self.log.info(
            "connect",
            event="connect",
            session=connection.session_id,
            service=self._service,
            client=client,
            port=peer.port,
        )
        if isinstance(transport, TLSMemoryBIOProtocol):
            transport.wrappedProtocol = driver
        else:
            transport.protocol = driver
        driver.makeConnection(transport)  # type: ignore[no-untyped-call]

    def stop_sessions(self, grace_seconds: float) -> Deferred[None]:
        """
        End all sessions: idle ones at once with their farewell, the others when their command is done, the rest by
        aborting them when the grace is over. Stop listening first.

        Returns:
            a Deferred that fires when no connection is left.
        """
        for driver in list(self.drivers):
            driver.stop()
        if not self.drivers:
            return succeed(None)
        self._all_ended = Deferred()
        grace = self._reactor.callLater(grace_seconds, self._abort_all)

        def ended(_: None) -> None:
            if grace.active():
                grace.cancel()

        return self._all_ended.addCallback(ended)

    def _abort_all(self) -> None:
        for driver in list(self.drivers):
            driver.abort("server stops")

    def _turn_away(self, transport: Any, client: str, reason: str) -> None:
        self.log.info("connect-refused", event="connect-refused", service=self._service, client=client, reason=reason)
        if ISSLTransport.providedBy(transport):
            # A handshake to carry the refusal would cost more than the connection that is refused.
            transport.abortConnection()
        else:
            transport.write(REFUSALS[self._protocol])
            transport.loseConnection()

    def _ended(self, driver: Driver) -> None:
        connection = driver.connection
        self.drivers.discard(driver)
        self._admission.release(connection.client)
        self.log.info(
            "disconnect",
            event="disconnect",
            session=connection.session_id,
            service=self._service,
            client=connection.client,
            tls=driver.tls.version if driver.tls is not None else None,
            seconds=round(self._clock() - connection.accepted, 3),
            reason=driver.close_reason,
        )
        if self._all_ended is not None and not self.drivers:
            all_ended, self._all_ended = self._all_ended, None
            all_ended.callback(None)


class Arrival(Protocol):
    """Holds a transport's place until it is known what becomes of the connection."""

    def __init__(self, arrived: Callable[[Any], None]) -> None:
        self._arrived = arrived

    def makeConnection(self, transport: ITransport) -> None:
        """There is a transport."""
        self._arrived(transport)
