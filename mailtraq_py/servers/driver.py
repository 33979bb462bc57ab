"""
One Twisted protocol for every core: the pump between transport, core and session.

    dataReceived -> core.receive_data -> pump: event = core.next_event()
                                               session.handle(event)  (awaited when it must wait)
                                               core.data_to_send() -> transport

The session (one per protocol, `ISession`) answers events by calling its core's `reply`; it never touches the
transport but through this driver: `flush`, `drained`, `start_tls`, `close`, `abort`. What is promised to it:

- One event at a time: the next comes when the last is answered. Replies of a pipelined group leave in one write,
  when the core needs data or FLUSH_OCTETS have gathered; a handler that is going to wait for long calls `flush` first.
- Back-pressure both ways. While the pump waits and more than HIGH_WATER_OCTETS lie in the core, nothing is read from
  the peer; while the transport's buffer is full, no further event is handled.
- Fairness: after SLICE_SECONDS of a pipelined flood the other connections get their turn.
- A peer that says nothing more (it closed its side, without TLS) gets the answers to what it has said, then the end.
- Every wait for the peer ends: handshake, idle time, a peer that does not read, a peer that does not close.
- `ended` is called once, last. A handler under way then finishes into the void.

Any exception that reaches the pump is our bug. This is the one place that catches it: the peer hears the session's
"local error" with the session's identifier, the log has the traceback under the same identifier.

RFC 2920 3.1, RFC 3207 6, RFC 2595 4
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
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

from .ahead import Waiting, run_ahead
from .sending import may_send_at_once, send_at_once

HIGH_WATER_OCTETS = 64 * 1024
FLUSH_OCTETS = 16 * 1024
SLICE_SECONDS = 0.005
HANDSHAKE_SECONDS = 30.0
STALL_SECONDS = 300.0  # for a full transport buffer to empty; 256 KiB then pass at 900 octets/s
LINGER_SECONDS = 30.0  # for what was sent last, and the peer's own close
LOCAL_ERRORS_MAX = 3
CLOSED_BY_PEER = "closed by the peer"


class ConnectionEnded(Exception):
    """The connection ended while a handler waited for the transport; ends the pump quietly, let it pass."""


class ISession(TypingProtocol):
    """What the driver asks of a session."""

    core: Core

    @property
    def in_message(self) -> bool:
        """Whether a message is coming in: a server that stops lets it come to its end."""

    def begin(self, driver: Driver) -> Waiting | None:
        """The connection is up (and, on an implicit-TLS service, encrypted): decide CONNECT, greet."""

    def handle(self, event: Any) -> Waiting | None:
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


class _TLS(Enum):
    """Where TLS stands: no handshake asked for; implicit TLS before the greeting; after STARTTLS; up."""

    CLEAR = "clear"
    IMPLICIT = "implicit"
    UPGRADING = "upgrading"
    UP = "up"


@implementer(IPushProducer, IHandshakeListener, IHalfCloseableProtocol)
class Driver(Protocol):
    """
    One connection. Whether it is TLS from its first octet is asked of the transport.

    Args:
        session: its protocol's session.
        reactor: for time-outs.
        connection: the facts of the connection.
        ended: called with the driver after `session.ended`.

    `tls` is None until a handshake is done; `closing` says that nothing more is read or written, `close_reason` why.
    """

    log = Logger()
    noisy = False
    transport: Any = None

    def __init__(
        self,
        session: ISession,
        reactor: IReactorTime,
        connection: Connection,
        ended: Callable[[Driver], None] | None = None,
    ) -> None:
        self.session = session
        self.reactor = reactor
        self.connection = connection
        self.tls: TLSInfo | None = None
        self.connected_now = False
        self.closing = False
        self._ended = ended
        self._core = session.core
        self._sends_at_once = False
        self._tls_state = _TLS.CLEAR
        self._pumping = False
        self._slice_end = 0.0
        self._outgoing: list[bytes] = []
        self._outgoing_octets = 0
        self._input_paused = False
        self._full_since: float | None = None
        self._drained: Deferred[None] | None = None
        self._idle_seconds: float | None = None
        self._last_activity = 0.0
        self._handshake_end = 0.0
        self._look_call: IDelayedCall | None = None
        self._local_errors = 0
        self.close_reason = ""
        self._stopping = False
        self._input_over = False

    # -- Twisted calls these ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Set the socket up and begin; with implicit TLS the greeting waits for the handshake."""
        self.connected_now = True
        if hasattr(self.transport, "setTcpNoDelay"):  # a Unix socket has none
            try:
                self.transport.setTcpNoDelay(True)
                self.transport.setTcpKeepAlive(True)
            except OSError:  # the peer is gone already
                pass
        self.transport.registerProducer(self, True)
        self._sends_at_once = may_send_at_once(self.transport)
        if ISSLTransport.providedBy(self.transport):
            self._await_handshake(_TLS.IMPLICIT)
        else:
            self._pump(self._begin())

    def handshakeCompleted(self) -> None:
        """TLS is up, implicit or after STARTTLS."""
        implicit = self._tls_state is _TLS.IMPLICIT
        self._tls_state = _TLS.UP
        self.tls = _tls_info(self.transport)
        self._last_activity = self.reactor.seconds()
        if self.closing:
            return
        if implicit:
            self._pump(self._begin())
        else:
            self.session.tls_started()

    def dataReceived(self, data: bytes) -> None:
        """Store, and pump unless the pump runs already."""
        if self.closing:
            return
        self._last_activity = self.reactor.seconds()
        self._core.receive_data(data)
        if not self._pumping:
            self._pump(None)
        elif not self._input_paused and self._core.buffered_octets > HIGH_WATER_OCTETS:
            self._input_paused = True
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The peer says nothing more. It may still listen: what it has sent is answered before the connection ends."""
        self._input_over = True
        if not self._pumping:
            self.close(CLOSED_BY_PEER)

    def writeConnectionLost(self) -> None:
        """We never close our side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the session; a handler that waits for the transport is woken."""
        self.connected_now = False
        self.closing = True
        self._stop_looking()
        self._end_waiting()
        if not self.close_reason:
            self.close_reason = CLOSED_BY_PEER if isinstance(reason.value, ConnectionDone) else str(reason.value)
        self.session.ended(self.close_reason)
        if self._ended is not None:
            self._ended(self)

    # the transport calls these three as our consumer

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._full_since = self.reactor.seconds()
        self._look_within(STALL_SECONDS)

    def resumeProducing(self) -> None:
        """The transport's buffer has room again."""
        self._full_since = None
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # -- sessions call these ---------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the core has to send; nothing any more once the connection closes."""
        octets = self._core.data_to_send()
        if self._outgoing:
            self._outgoing.append(octets)
            octets = b"".join(self._outgoing)
            self._outgoing.clear()
            self._outgoing_octets = 0
        if octets and self.connected_now and not self.closing:
            if self._sends_at_once:
                octets = send_at_once(self.transport, octets)
            if octets:
                self.transport.write(octets)

    async def drained(self) -> None:
        """
        Flush, and wait while the transport's buffer is full. For the handler of the event under way only.

        Raises:
            ConnectionEnded: the connection is gone or closing; let it pass.
        """
        self.flush()
        if self.closing:
            raise ConnectionEnded
        if self._full_since is not None:
            self._drained = Deferred()
            await self._drained

    async def breathe(self) -> None:
        """
        Flush, wait while the transport's buffer is full, and let others go when half of the slice is used up: for a
        handler that works in steps of up to the other half.
        """
        await self.drained()
        if self.reactor.seconds() > self._slice_end - SLICE_SECONDS / 2:
            await self.let_others_go()

    async def let_others_go(self) -> None:
        """Flush, and wait for one turn of the reactor; for a handler that computes for long without another wait."""
        self.flush()
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(0, turn.callback, None)
        await turn
        self._slice_end = self.reactor.seconds() + SLICE_SECONDS

    def start_tls(self, context: Any) -> None:
        """
        Send the reply to STARTTLS in clear, forget what the peer sent behind it, and begin the handshake.

        RFC 3207 6, RFC 2595 2.1
        """
        self.flush()
        self._core.forget_input()
        # Twisted moves our registration as a producer to the TLS layer, which says anew when it is full.
        self._full_since = None
        self._sends_at_once = False
        self._await_handshake(_TLS.UPGRADING)
        self.transport.startTLS(context)

    def close(self, reason: str) -> None:
        """Send what is to be sent and close; nothing that the peer still sends is looked at."""
        if self.closing:
            return
        self.flush()
        self._shut(reason)
        if self.connected_now:
            # A transport with a producer waits for it, and TLS waits for the peer's close alert.
            self.transport.unregisterProducer()
            if self._input_paused:
                self.transport.resumeProducing()
            self.transport.loseConnection()
            if self.connected_now:
                self._look_within(LINGER_SECONDS)

    def abort(self, reason: str) -> None:
        """Close at once without sending anything (refuse = "close")."""
        self._shut(reason)
        if self.connected_now:
            self.transport.abortConnection()

    def set_idle_time(self, seconds: float) -> None:
        """Close after this many seconds without octets from the peer while no command is being worked on."""
        self._idle_seconds = seconds
        self._last_activity = self.reactor.seconds()
        self._look_within(seconds)

    def wake(self) -> None:
        """The session put something into the core outside an event (an IDLE notice): send and go on pumping."""
        if self.closing:
            return
        if self._pumping:
            self.flush()
        else:
            self._pump(None)

    def stop(self) -> None:
        """The server stops: end after the command that runs or the message that comes in, else at once."""
        if self.closing:
            return
        self._stopping = True
        if self._tls_state in (_TLS.IMPLICIT, _TLS.UPGRADING):
            self.abort("server stops")
        elif not self._pumping and not self.session.in_message:
            self._farewell()

    # -- the pump --------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        try:
            waiting = self.session.begin(self)
            if waiting is not None:
                await waiting
        except ConnectionEnded:
            return
        except Exception:
            # Nobody has decided that this client may go on.
            self._report()
            self.close("local error")

    def _pump(self, beginning: Waiting | None) -> None:
        self._pumping = True
        self._slice_end = self.reactor.seconds() + SLICE_SECONDS
        waiting = None if beginning is None else run_ahead(beginning)
        if waiting is None:
            waiting = self._handle_events()
        if waiting is None:
            self._pumped()
        else:
            Deferred.fromCoroutine(self._pump_waiting(waiting))

    async def _pump_waiting(self, waiting: Waiting | None) -> None:
        while waiting is not None:
            try:
                await waiting
            except ConnectionEnded:
                break
            except Exception:
                self._report()
            self._gather()
            waiting = self._handle_events()
        self._last_activity = self.reactor.seconds()
        self._pumped()

    def _handle_events(self) -> Waiting | None:
        """Handle events until one must be waited for, whose rest is returned, or until there is none: None."""
        core, session, seconds = self._core, self.session, self.reactor.seconds
        while not (self.closing or (self._stopping and not session.in_message)):
            try:
                if self._full_since is not None:
                    return self.drained()
                if self._input_paused and core.buffered_octets <= HIGH_WATER_OCTETS:
                    self._resume_input()
                if seconds() > self._slice_end and core.buffered_octets:
                    return self.let_others_go()
                event = core.next_event()
                if event is NEED_DATA:
                    return None
                if event is PAUSED:
                    raise RuntimeError("the session left a command without its reply")
                if type(event) is Close:
                    self.close(event.reason)
                    return None
                waiting = session.handle(event)
                if waiting is not None:
                    waiting = run_ahead(waiting)
                    if waiting is not None:
                        return waiting
                self._gather()
            except ConnectionEnded:
                return None
            except Exception:
                self._report()
        return None

    def _gather(self) -> None:
        """Take what was answered; it leaves when enough has come together, or at the end."""
        octets = self._core.data_to_send()
        if octets:
            self._outgoing.append(octets)
            self._outgoing_octets += len(octets)
            if self._outgoing_octets > FLUSH_OCTETS:
                self.flush()

    def _pumped(self) -> None:
        self._pumping = False
        if self.closing:
            return
        if self._stopping and not self.session.in_message:
            self._farewell()
        elif self._input_over:
            self.close(CLOSED_BY_PEER)
        else:
            self.flush()
            if self._input_paused:
                self._resume_input()

    def _report(self) -> None:
        """Log the exception being handled and tell the peer; after too many, or when that fails, end the connection."""
        session_id = self.connection.session_id
        self.log.failure("local error in a session", event="local-error", session=session_id)
        if self.closing:
            return
        self._local_errors += 1
        try:
            self.session.local_error(session_id)
        except Exception:
            self.log.failure("local error while reporting one", event="local-error", session=session_id)
            self.abort("local error")
            return
        if self._local_errors >= LOCAL_ERRORS_MAX:
            self.close("local errors")

    def _resume_input(self) -> None:
        self._input_paused = False
        if self.connected_now:
            self.transport.resumeProducing()

    # -- the end, and time -----------------------------------------------------------------------------

    def _farewell(self) -> None:
        self.session.stopping()
        self.close("server stops")

    def _shut(self, reason: str) -> None:
        self.closing = True
        self.close_reason = self.close_reason or reason
        self._core.forget_input()
        self._core.data_to_send()
        self._outgoing.clear()
        self._stop_looking()
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.errback(ConnectionEnded())

    def _await_handshake(self, state: _TLS) -> None:
        self._tls_state = state
        self._handshake_end = self.reactor.seconds() + HANDSHAKE_SECONDS
        self._look_within(HANDSHAKE_SECONDS)

    def _look_within(self, seconds: float) -> None:
        """Have `_look` called in this many seconds at the latest. Too early does no harm: it looks again."""
        if not self.connected_now:
            return
        if self._look_call is None:
            self._look_call = self.reactor.callLater(seconds, self._look)
        elif self._look_call.getTime() > self.reactor.seconds() + seconds:
            self._look_call.reset(seconds)

    def _stop_looking(self) -> None:
        if self._look_call is not None:
            self._look_call.cancel()
            self._look_call = None

    def _look(self) -> None:
        """Whether the peer has kept us waiting for too long."""
        self._look_call = None
        now = self.reactor.seconds()
        if self.closing:
            self.transport.abortConnection()
            return
        if self._tls_state in (_TLS.IMPLICIT, _TLS.UPGRADING):
            left = self._handshake_end - now
        elif self._full_since is not None:
            left = self._full_since + STALL_SECONDS - now
        elif self._idle_seconds is not None:
            left = self._idle_seconds if self._pumping else self._last_activity + self._idle_seconds - now
        else:
            return
        if left > 0:
            self._look_within(left)
        elif self._tls_state in (_TLS.IMPLICIT, _TLS.UPGRADING):
            self.abort("TLS handshake timed out")
        elif self._full_since is not None:
            self.abort("the peer does not read")
        else:
            self.session.timed_out()
            self.close("timed out")


def _tls_info(transport: Any) -> TLSInfo:
    """
    What was negotiated. The handle of a TLS transport is its TLS connection: of one that is TLS from its beginning and
    of one that `startTLS` turned into TLS.
    """
    connection = transport.getHandle()
    return TLSInfo(
        connection.get_protocol_version_name(), connection.get_cipher_name() or "", connection.get_cipher_bits() or 0
    )
