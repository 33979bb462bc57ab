"""
One question to one nameserver: by UDP, and once more by TCP when the answer was cut.

Each question has a socket of its own: the kernel picks a random source port, the socket is connected, so that
only the nameserver's address is heard, and an answer must carry the question's random identifier and the question
itself. What does not is passed over and the wait goes on, for it may be a forger's.

RFC 1035 4.2, RFC 5452 9, RFC 7766 5
"""

from __future__ import annotations

import struct
from typing import Any

import dns.exception
import dns.flags
import dns.message
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

# Decoding costs about 100 microseconds a record: what is longer than this is decoded off the reactor thread.
DECODE_INLINE_OCTETS = 4096
# What a UDP answer may measure without being fragmented (RFC 9715 3.2).
UDP_PAYLOAD_OCTETS = 1232

Nameserver = tuple[str, int]


class NoAnswer(Exception):
    """This nameserver gave no answer that could be used, in time."""


async def ask(reactor: Any, query: dns.message.Message, server: Nameserver, seconds: float) -> dns.message.Message:
    """
    Put a question.

    Args:
        reactor: for sockets, threads and time.
        query: the question, with a random identifier.
        server: the nameserver's IP address and port.
        seconds: how long both ways together may take.

    Raises:
        NoAnswer: time-out, refusal of the connection, octets that are no DNS message.
    """
    deadline = reactor.seconds() + seconds
    wire = query.to_wire()
    response = await _ask_by_udp(reactor, query, wire, server, seconds)
    if response.flags & dns.flags.TC:
        left = deadline - reactor.seconds()
        if left <= 0:
            raise NoAnswer("time-out")
        response = await _ask_by_tcp(reactor, query, wire, server, left)
    return response


async def _ask_by_udp(
    reactor: Any, query: dns.message.Message, wire: bytes, server: Nameserver, seconds: float
) -> dns.message.Message:
    question = _Datagram(query, wire, server)
    try:
        port = reactor.listenUDP(0, question, interface="::" if ":" in server[0] else "")
    except CannotListenError as error:
        raise NoAnswer("no UDP port") from error
    try:
        response: dns.message.Message = await _within(question.answer, seconds, reactor)
        return response
    finally:
        await maybeDeferred(port.stopListening)


async def _ask_by_tcp(
    reactor: Any, query: dns.message.Message, wire: bytes, server: Nameserver, seconds: float
) -> dns.message.Message:
    endpoint_class = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
    deadline = reactor.seconds() + seconds
    try:
        endpoint = endpoint_class(reactor, *server, timeout=seconds)
        stream: Any = await endpoint.connect(Factory.forProtocol(_Stream))
    except (ConnectError, ConnectTimeout) as error:
        raise NoAnswer("no TCP connection") from error
    try:
        octets: bytes = await _within(stream.ask(wire), max(deadline - reactor.seconds(), 0.001), reactor)
    finally:
        stream.transport.abortConnection()
        await stream.ended
    if len(octets) <= DECODE_INLINE_OCTETS:
        response = _decode(octets, query)
    else:
        response = await deferToThreadPool(reactor, reactor.getThreadPool(), _decode, octets, query)
    if response is None:
        raise NoAnswer("bad answer by TCP")
    return response


async def _within(waiting: Deferred[Any], seconds: float, reactor: Any) -> Any:
    late = reactor.callLater(seconds, waiting.errback, NoAnswer("time-out"))
    try:
        return await waiting
    except CancelledError as error:
        raise NoAnswer("given up") from error
    finally:
        if late.active():
            late.cancel()


def _decode(octets: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """The message, when it is one and answers the query."""
    try:
        response = dns.message.from_wire(octets, ignore_trailing=True)
        return response if query.is_response(response) else None
    except (dns.exception.DNSException, struct.error, ValueError):
        return None


class _Datagram(DatagramProtocol):
    noisy = False

    def __init__(self, query: dns.message.Message, wire: bytes, server: Nameserver) -> None:
        self.answer: Deferred[dns.message.Message] = Deferred()
        self._query = query
        self._wire = wire
        self._server = server

    def startProtocol(self) -> None:
        transport: Any = self.transport
        transport.connect(*self._server)
        transport.write(self._wire)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        # The identifier first: a flood of forged datagrams must not cost a decoding each.
        if self.answer.called or datagram[:2] != self._wire[:2]:
            return
        response = _decode(datagram, self._query)
        if response is not None:
            self.answer.callback(response)

    def connectionRefused(self) -> None:
        if not self.answer.called:
            self.answer.errback(NoAnswer("connection refused"))


class _Stream(Int16StringReceiver):
    noisy = False

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self._answer: Deferred[bytes] = Deferred()

    def ask(self, wire: bytes) -> Deferred[bytes]:
        self.sendString(wire)  # type: ignore[no-untyped-call]
        return self._answer

    def stringReceived(self, string: bytes) -> None:
        if not self._answer.called:
            self._answer.callback(string)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._answer.called:
            self._answer.errback(NoAnswer("connection lost"))
        self.ended.callback(None)
