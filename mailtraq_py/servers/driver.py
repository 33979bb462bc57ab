"""
One Twisted protocol for every core: the pump between transport, core and session.

    dataReceived -> core.receive_data -> pump: event = core.next_event()
                                               session.handle(event)  (awaited when it must wait)
                                               core.data_to_send() -> transport
    dataReceived while the pump waits only stores; past HIGH_WATER octets the transport is paused.

The session (one per protocol, `ISession`) answers events by calling its core's `reply`; it never touches the
transport but through this driver: `flush`, `drained`, `start_tls`, `close`. Replies of a pipelined group leave in one
write: the pump flushes when the core needs data, and a handler that is going to wait for long calls `flush` first.

Any exception that reaches the pump is our bug. This is the one place that catches it: the peer hears the session's
"local error" with the session's identifier, the log has the traceback under the same identifier.

RFC 2920 3.1, RFC 3207 6
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection, TLSInfo
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close, Core

HIGH_WATER_OCTETS = 64 * 1024
FLUSH_OCTETS = 16 * 1024
LOCAL_ERRORS_MAX = 3


class ConnectionEnded(Exception):
    """The peer is gone while a handler waited for the transport; ends the pump quietly."""


class ISession(TypingProtocol):
    """What the driver asks of a session."""

    core: Core

    def begin(self, driver: Driver) -> Awaitable[None] | None:
        """The connection is up (and, on an implicit-TLS service, encrypted): decide CONNECT, greet."""

    def handle(self, event: Any) -> Awaitable[None] | None:
        """Answer one event by calling the core's `reply`. Return None when it is answered already."""

    def tls_started(self) -> None:
        """The handshake after STARTTLS is done; `driver.tls` is set."""

    def timed_out(self) -> None:
        """The idle time is over: put a farewell into the core. The driver then flushes and closes."""

    def stopping(self) -> None:
        """The server stops: put a farewell into the core. The driver then flushes and closes."""

    def local_error(self, reference: str) -> None:
        """Our bug while the last event was handled: give the core a temporary-failure reply with this reference."""

    def ended(self, reason: str) -> None:
        """The connection is gone; free everything. Called once, always last."""


@implementer(IPushProducer, IHandshakeListener)
class Driver(Protocol):
    """
    One connection.

    Args:
        session: its protocol's session.
        connection: the facts of the connection.
        reactor: for time-outs.
        implicit_tls: whether the transport is TLS from its first octet.
    """

    log = Logger()
    noisy = False

    def __init__(self, session: ISession, reactor: IReactorTime, connection: Connection) -> None:
        self.session = session
        self.reactor = reactor
        self.connection = connection
        self.tls: TLSInfo | None = None
        self.connected_now = False
        self.closing = False
        self._core = session.core
        self._pumping = False
        self._input_paused = False
        self._output_full = False
        self._drained: Deferred[None] | None = None
        self._idle_seconds = 0.0
        self._last_activity = 0.0
        self._idle_call: IDelayedCall | None = None
        self._local_errors = 0
        self._tls_pending = False
        self._close_reason = ""
        self._stopping = False

    # -- Twisted calls these ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Set the socket up and begin; with implicit TLS the greeting waits for the handshake."""
        self.connected_now = True
        transport: Any = self.transport
        if hasattr(transport, "setTcpNoDelay"):
            try:
                transport.setTcpNoDelay(True)
                transport.setTcpKeepAlive(True)
            except OSError:  # the peer is gone already
                pass
        transport.registerProducer(self, True)
        if ISSLTransport.providedBy(transport):
            self._tls_pending = True
            self.set_idle_time(30.0)
        else:
            self._start_pump(self.session.begin(self))

    def handshakeCompleted(self) -> None:
        """TLS is up, implicit or after STARTTLS."""
        first = not hasattr(self, "_began_tls")
        self._began_tls = True
        self._tls_pending = False
        self.tls = _tls_info(self.transport)
        if first and not getattr(self, "_upgrading", False):
            self._start_pump(self.session.begin(self))
        else:
            self.session.tls_started()

    def dataReceived(self, data: bytes) -> None:
        """Store, and pump unless the pump runs already."""
        if self.closing:
            return
        self._last_activity = self.reactor.seconds()
        self._core.receive_data(data)
        if not self._pumping:
            self._start_pump(None)
        elif self._core.buffered_octets > HIGH_WATER_OCTETS:
            self._pause_input()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the session; a handler that waits for the transport is woken."""
        self.connected_now = False
        self.closing = True
        self._cancel_idle()
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.errback(ConnectionEnded())
        self.session.ended(self._close_reason or reason.type.__name__)

    # the transport calls these three as our consumer

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._output_full = True

    def resumeProducing(self) -> None:
        """The transport's buffer has room again."""
        self._output_full = False
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # -- sessions call these ---------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the core has to send."""
        octets = self._core.data_to_send()
        if octets and self.connected_now:
            self.transport.write(octets)

    async def drained(self) -> None:
        """
        Flush, and wait while the transport's buffer is full.

        Raises:
            ConnectionEnded: the peer is gone; let it pass.
        """
        self.flush()
        if not self.connected_now:
            raise ConnectionEnded
        if self._output_full:
            self._drained = Deferred()
            await self._drained

    def start_tls(self, context: Any) -> None:
        """
        Send the reply to STARTTLS in clear, forget what the peer sent behind it, and begin the handshake.

        RFC 3207 6, RFC 2595 2.1
        """
        self.flush()
        self._core.forget_input()
        self._upgrading = True
        transport: Any = self.transport
        transport.startTLS(context)

    def close(self, reason: str) -> None:
        """Send what is to be sent and close; nothing that the peer still sends is looked at."""
        if self.closing:
            return
        self.closing = True
        self._close_reason = reason
        self.flush()
        self._core.forget_input()
        self._cancel_idle()
        transport: Any = self.transport
        if transport is not None:
            # A peer that never reads must not hold the connection: lose it politely, abort after a while.
            transport.loseConnection()
            if self.connected_now:
                self._idle_call = self.reactor.callLater(10.0, self._abort)

    def abort(self, reason: str) -> None:
        """Close at once without sending anything (refuse = "close")."""
        self.closing = True
        self._close_reason = reason
        self._core.data_to_send()
        self._cancel_idle()
        transport: Any = self.transport
        transport.abortConnection() if hasattr(transport, "abortConnection") else transport.loseConnection()

    def set_idle_time(self, seconds: float) -> None:
        """Close after this many seconds without octets from the peer while no command is being worked on."""
        self._idle_seconds = seconds
        self._last_activity = self.reactor.seconds()
        if self._idle_call is None or not self._idle_call.active():
            self._idle_call = self.reactor.callLater(seconds, self._check_idle)
        elif self._idle_call.getTime() > self._last_activity + seconds:
            self._idle_call.reset(seconds)

    def wake(self) -> None:
        """The session put something into the core outside an event (an IDLE notice): send and go on pumping."""
        if self.closing:
            return
        if self._pumping:
            self.flush()
        else:
            self._start_pump(None)

    def stop(self) -> None:
        """The server stops: end after the command that runs, at once when none does."""
        self._stopping = True
        if not self._pumping and not self.closing:
            self._farewell()

    # -- the pump --------------------------------------------------------------------------------------

    def _start_pump(self, first: Awaitable[None] | None) -> None:
        self._pumping = True
        Deferred.fromCoroutine(self._pump(first))

    async def _pump(self, first: Awaitable[None] | None) -> None:
        core, session = self._core, self.session
        waiting = first
        try:
            while True:
                try:
                    if waiting is not None:
                        await waiting
                    if self.closing:
                        break
                    event = core.next_event()
                    if event is NEED_DATA:
                        break
                    if event is PAUSED:
                        raise RuntimeError("the session left a command without its reply")
                    if type(event) is Close:
                        self.close(event.reason)
                        break
                    waiting = session.handle(event)
                    if self._input_paused and core.buffered_octets <= HIGH_WATER_OCTETS:
                        self._resume_input()
                except ConnectionEnded:
                    break
                except Exception:
                    waiting = None
                    if not self._report(Failure()):
                        break
        finally:
            self._pumping = False
        if not self.closing:
            self._last_activity = self.reactor.seconds()
            if self._stopping:
                self._farewell()
                return
            self.flush()
            if self._input_paused:
                self._resume_input()

    def _report(self, failure: Failure) -> bool:
        """Log our bug, tell the peer; whether to go on."""
        self._local_errors += 1
        self.log.failure(
            "local error in session {session}", failure=failure, session=self.connection.session_id
        )
        if self.closing:
            return False
        try:
            self.session.local_error(self.connection.session_id)
        except Exception:
            self.log.failure("while reporting it", session=self.connection.session_id)
            self.abort("local error")
            return False
        if self._local_errors >= LOCAL_ERRORS_MAX:
            self.close("local errors")
            return False
        return True

    def _pause_input(self) -> None:
        if not self._input_paused:
            self._input_paused = True
            self.transport.pauseProducing()

    def _resume_input(self) -> None:
        self._input_paused = False
        if self.connected_now:
            self.transport.resumeProducing()

    # -- time ------------------------------------------------------------------------------------------

    def _check_idle(self) -> None:
        self._idle_call = None
        left = self._last_activity + self._idle_seconds - self.reactor.seconds()
        if self._pumping:
            left = max(left, 1.0)
        if left > 0:
            self._idle_call = self.reactor.callLater(left, self._check_idle)
        elif self._tls_pending:
            self.abort("TLS handshake timed out")
        else:
            self.session.timed_out()
            self.close("timed out")

    def _farewell(self) -> None:
        self.session.stopping()
        self.close("server stops")

    def _cancel_idle(self) -> None:
        if self._idle_call is not None and self._idle_call.active():
            self._idle_call.cancel()
        self._idle_call = None

    def _abort(self) -> None:
        self._idle_call = None
        if self.connected_now:
            transport: Any = self.transport
            transport.abortConnection()


def _tls_info(transport: Any) -> TLSInfo:
    connection = transport.getHandle()
    return TLSInfo(
        connection.get_protocol_version_name(),
        connection.get_cipher_name() or "",
        connection.get_cipher_bits() or 0,
    )
