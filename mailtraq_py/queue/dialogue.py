"""
One connection to a host as a coroutine sees it: say something, wait for the answer, send the message.

    dataReceived -> ClientCore.receive_data -> events -> whoever waits in `answer`

The core knows SMTP; this protocol knows the transport: time-outs for each reply, the handshake after STARTTLS,
back-pressure while a message is sent. Whatever ends the connection while something is awaited becomes
`ConnectionFailed`, and `HandshakeFailed` while TLS was being agreed.

RFC 5321 4.5.3.2, RFC 3207 4.2
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailtraq_py.wire.signals import NEED_DATA
from mailtraq_py.wire.smtp.client import ClientCore
from mailtraq_py.wire.smtp.clientevents import Broken, ClientEvent

HANDSHAKE_SECONDS = 60.0
# How long a message's octets may find no taker (RFC 5321 4.5.3.2.5: three minutes for each data block).
BLOCK_SECONDS = 180.0


class ConnectionFailed(Exception):
    """The connection is of no more use; the reason is for the log and a temporary failure."""


class HandshakeFailed(ConnectionFailed):
    """TLS could not be agreed upon."""


@implementer(IPushProducer, IHandshakeListener)
class Dialogue(Protocol):
    """
    Args:
        core: a fresh one.
        reactor: for time-outs.
    """

    noisy = False

    def __init__(self, core: ClientCore, reactor: IReactorTime) -> None:
        self.core = core
        self.tls_version = ""
        self.messages = 0
        self._reactor = reactor
        self._events: deque[ClientEvent] = deque()
        self._waiting: Deferred[None] | None = None
        self._failure: ConnectionFailed | None = None
        self._handshaking = False
        self._full = False

    @property
    def is_usable(self) -> bool:
        """Whether another message may be sent."""
        return self._failure is None and not self._events and self.core.is_usable

    @property
    def has_spoken(self) -> bool:
        """Whether the host has said something that nobody has taken yet."""
        return bool(self._events)

    async def answer(self, *kinds: type[ClientEvent]) -> tuple[Any, list[ClientEvent]]:
        """
        Send what the core has to send and wait for an event of one of these kinds.

        Returns:
            it, and the events that came before it.

        Raises:
            ConnectionFailed: it will not come.
        """
        self.flush()
        before: list[ClientEvent] = []
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, kinds):
                    return event, before
                before.append(event)
            await self._wait(self.core.patience_seconds, "no reply in time")

    async def drained(self) -> None:
        """
        Send what the core has to send, and wait while the transport holds more than it likes, or until the host
        speaks.
        """
        self.flush()
        while self._full and not self._events:
            await self._wait(BLOCK_SECONDS, "the message's octets found no taker in time")
        if self._failure is not None and not self._events:
            raise self._failure

    async def start_tls(self, context: Any) -> None:
        """Shake hands; what was heard in clear is forgotten."""
        transport: Any = self.transport
        self._handshaking = True
        transport.startTLS(context)
        await self.handshake()
        self.core.tls_started()

    async def handshake(self) -> None:
        """Wait for the handshake that has begun, here or with the connection."""
        while self._handshaking:
            await self._wait(HANDSHAKE_SECONDS, "TLS handshake timed out")

    def flush(self) -> None:
        """Send what the core has to send."""
        octets = self.core.data_to_send()
        if octets and self._failure is None:
            transport: Any = self.transport
            transport.write(octets)

    def drop(self) -> None:
        """Close at once. Idempotent."""
        self._fail(ConnectionFailed("given up"))
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    async def _wait(self, seconds: float, late: str) -> None:
        if self._failure is not None:
            raise self._failure
        waiting = self._waiting = Deferred(lambda _: self.drop())
        late_call = self._reactor.callLater(seconds, self._time_out, late)
        try:
            await waiting
        finally:
            self._waiting = None
            if late_call.active():
                late_call.cancel()

    def _time_out(self, reason: str) -> None:
        self._fail(ConnectionFailed(reason))
        transport: Any = self.transport
        transport.abortConnection()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _fail(self, failure: ConnectionFailed) -> None:
        if self._failure is None:
            self._failure = HandshakeFailed(str(failure)) if self._handshaking else failure
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(self._failure)

    # -- Twisted calls these ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Set the socket up."""
        transport: Any = self.transport
        self._handshaking = ISSLTransport.providedBy(transport)
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Feed the core; wake who waits."""
        self.core.receive_data(data)
        while (event := self.core.next_event()) is not NEED_DATA:
            if isinstance(event, Broken):
                self._break(event)
            else:
                self._events.append(event)  # type: ignore[arg-type]
        # The core may have the next command ready, now that it has its reply.
        self.flush()
        if self._events:
            self._wake()

    def _break(self, event: Broken) -> None:
        """What came before it is still told; then nothing more comes."""
        if self._events:
            self._failure = self._failure or ConnectionFailed(event.reason)
            self._wake()
        else:
            self._fail(ConnectionFailed(event.reason))
        transport: Any = self.transport
        transport.loseConnection()

    def handshakeCompleted(self) -> None:
        """TLS is up."""
        self._handshaking = False
        transport: Any = self.transport
        self.tls_version = transport.getHandle().get_protocol_version_name()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits."""
        self._fail(ConnectionFailed(f"connection lost: {reason.type.__name__ if reason.type else 'unknown'}"))

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport's buffer has room again."""
        self._full = False
        self._wake()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""
