"""
Stand-ins around the outbound queue: the rows, the name service, the hub, and hosts that speak SMTP from a script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.interfaces.queue import Deferred as Postponed
from mailtraq_py.interfaces.queue import (
    Failed,
    IQueue,
    Outcome,
    Outgoing,
    QueuedRecipient,
    QueueEntry,
    Sent,
)
from mailtraq_py.interfaces.store import Acceptance, ContentRef, IChangeHub
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.changes import Change
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Recipient, ReversePath
from mailtraq_py.queue.nexthop import Hop


def make_row(
    number: int,
    to: str,
    content: ContentRef | None = None,
    *,
    sender: str = "s@here.example",
    message: str = "M1",
    received: float = 0.0,
    attempts: int = 0,
    delay_reported: bool = False,
    **more: Any,
) -> QueuedRecipient:
    """A row; `sender` "" is the null path; `notify` and `original` are the recipient's, the rest Outgoing's."""
    recipient = Recipient(
        ForwardPath(parse_address(to)),
        **{name: more.pop(name) for name in ("notify", "original") if name in more},
    )
    path = ReversePath(parse_address(sender)) if sender else NULL_PATH
    outgoing = Outgoing(path, recipient, **{"due": received, "expires": 1e9, **more})
    return QueuedRecipient(
        number, message, content or ContentRef(1, 100), outgoing, received, attempts, "", delay_reported
    )


@implementer(IResolver)
class FakeResolver:
    """`mxs` and `hosts` by name; an exception in place of an answer is raised."""

    def __init__(self) -> None:
        self.mxs: dict[str, Any] = {}
        self.hosts: dict[str, Any] = {}
        self.asked: list[str] = []

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """What was set, else no MX where the name has addresses, else no such name."""
        return self._answer(self.mxs, domain, [] if domain in self.hosts else NoSuchName(domain))

    async def addresses(self, host: str) -> list[str]:
        """What was set, else no such name."""
        return self._answer(self.hosts, host, NoSuchName(host))

    async def txt(self, name: str) -> list[bytes]:
        """None."""
        raise NoSuchName(name)

    async def pointers(self, address: str) -> list[str]:
        """None."""
        raise NoSuchName(address)

    def _answer(self, answers: dict[str, Any], name: str, default: Any) -> Any:
        self.asked.append(name)
        answer = answers.get(name, default)
        if isinstance(answer, Exception):
            raise answer
        return answer


@implementer(IQueue)
class FakeQueue:
    """Rows with their due time and lease; `failing` settles and leases fail so many times."""

    def __init__(self) -> None:
        self.rows: dict[int, QueuedRecipient] = {}
        self.due: dict[int, float] = {}
        self.leases: dict[int, tuple[str, float]] = {}
        self.settled: list[tuple[list[Outcome], list[Acceptance]]] = []
        self.failing = 0
        self.now: Callable[[], float] = lambda: 0.0

    def add(self, *rows: QueuedRecipient) -> None:
        """Queue rows."""
        for row in rows:
            self.rows[row.id], self.due[row.id] = row, row.outgoing.due

    @property
    def outcomes(self) -> list[Outcome]:
        """All that were settled, in order."""
        return [outcome for outcomes, _ in self.settled for outcome in outcomes]

    @property
    def reports(self) -> list[Acceptance]:
        """All reports."""
        return [report for _, reports in self.settled for report in reports]

    async def lease(self, owner: str, now: float, seconds: float, limit: int) -> list[QueuedRecipient]:
        """Due rows that nobody holds."""
        self._may_fail()
        free = [row for row in self.rows.values() if self.due[row.id] <= now and not self._is_held(row.id, now)]
        for row in free[:limit]:
            self.leases[row.id] = (owner, now + seconds)
        return free[:limit]

    async def release(self, owner: str) -> None:
        """Drop the owner's leases."""
        self._may_fail()
        self.leases = {number: lease for number, lease in self.leases.items() if lease[0] != owner}

    async def next_due(self) -> float | None:
        """The soonest of rows that nobody holds."""
        return min((due for number, due in self.due.items() if not self._is_held(number, self.now())), default=None)

    async def settle(self, owner: str, outcomes: Sequence[Outcome], reports: Sequence[Acceptance]) -> None:
        """End or defer."""
        self._may_fail()
        self.settled.append((list(outcomes), list(reports)))
        for outcome in outcomes:
            self.leases.pop(outcome.id, None)
            row = self.rows.pop(outcome.id)
            self.due.pop(outcome.id)
            if isinstance(outcome, Postponed):
                self.rows[row.id] = replace(
                    row, attempts=row.attempts + 1, delay_reported=outcome.delay_reported
                )
                self.due[row.id] = outcome.due

    async def list_entries(self, limit: int) -> list[QueueEntry]:
        """All rows."""
        return [QueueEntry(row, self.due[row.id]) for row in list(self.rows.values())[:limit]]

    def _is_held(self, number: int, now: float) -> bool:
        return number in self.leases and self.leases[number][1] > now

    def _may_fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise TemporaryFailure("store")


@implementer(IChangeHub)
class FakeHub:
    """Remembers who watches the queue."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Change], None]] = []

    def watch_queue(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """QueueGrew."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def watch_mailbox(self, mailbox_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Nothing."""
        return lambda: None

    def watch_account(self, account_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Nothing."""
        return lambda: None


class HostTransport:
    """One connection to a Host: what is written is answered at the clock's next turn."""

    def __init__(self, host: Host, protocol: Any) -> None:
        self.host = host
        self.protocol = protocol
        self.disconnected = False
        self.producer: Any = None
        self.contexts: list[Any] = []
        self._received = b""
        self._in_data = False
        self.secure = False

    def write(self, octets: bytes) -> None:
        """Take octets; hand them to the script at the next turn."""
        self.host.clock.callLater(0, self._take, octets)

    def say(self, octets: bytes) -> None:
        """Octets to the protocol."""
        if not self.disconnected:
            self.protocol.dataReceived(octets)

    def startTLS(self, context: Any) -> None:
        """The script decides how the handshake ends."""
        self.contexts.append(context)
        self.host.clock.callLater(0, self._shake)

    def getHandle(self) -> Any:
        """The TLS connection."""
        return self

    def get_protocol_version_name(self) -> str:
        """As OpenSSL's."""
        return "TLSv1.3"

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Note it."""
        self.producer = producer

    def loseConnection(self) -> None:
        """End it."""
        self.abortConnection()

    def abortConnection(self) -> None:
        """End it."""
        self.end(ConnectionDone())

    def end(self, error: Exception) -> None:
        """The connection is lost for this reason."""
        if not self.disconnected:
            self.disconnected = True
            self.host.clock.callLater(0, self.protocol.connectionLost, Failure(error))

    def _shake(self) -> None:
        if self.host.handshake_fails:
            self.end(SSL.Error([("ssl", "", "handshake failure")]))
        elif not self.disconnected:
            self.secure = True
            self.protocol.handshakeCompleted()

    def _take(self, octets: bytes) -> None:
        if self.disconnected:
            return
        self._received += octets
        while True:
            if self._in_data:
                end = (b"\r\n" + self._received).find(b"\r\n.\r\n")
                if end < 0:
                    return
                if end:
                    self.host.messages.append(self._received[:end])
                self._received = self._received[end + 3 :]
                self._in_data = False
                self._answer("end")
                continue
            line, found, rest = self._received.partition(b"\r\n")
            if not found:
                return
            self._received = rest
            self.host.commands.append(line.decode())
            self._answer(line.decode())

    def _answer(self, line: str) -> None:
        reply = self.host.reply(line, self.secure)
        if reply is None:
            return
        self._in_data = line == "DATA" and reply.startswith("354")
        if reply == "drop":
            self.end(ConnectionDone())
        else:
            self.say(reply.encode() + b"\r\n")


@implementer(IStreamClientEndpoint)
class Host:
    """
    A host that speaks SMTP.

    `replies` by the beginning of a command ("greeting", "EHLO", "RCPT TO:<x@", "end" ...) replace the usual ones; None
    is silence, "drop" ends the connection. `commands` and `messages` are what it heard.
    """

    def __init__(self, clock: Clock, extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SIZE 1000000")) -> None:
        self.clock = clock
        self.extensions = list(extensions)
        self.replies: dict[str, str | None] = {}
        self.commands: list[str] = []
        self.messages: list[bytes] = []
        self.transports: list[HostTransport] = []
        self.refuses_connection = False
        self.handshake_fails = False

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """A connection, with its greeting at the next turn."""
        if self.refuses_connection:
            failed: Deferred[Any] = Deferred()
            failed.errback(ConnectionRefusedError())
            return failed
        protocol = protocolFactory.buildProtocol(None)
        transport = HostTransport(self, protocol)
        self.transports.append(transport)
        protocol.makeConnection(transport)
        self.clock.callLater(0, transport._answer, "greeting")
        return succeed(protocol)

    def reply(self, line: str, secure: bool) -> str | None:
        """What the script says to a command."""
        for beginning, reply in self.replies.items():
            if line.startswith(beginning):
                return reply
        if line.startswith("EHLO"):
            offered = [word for word in self.extensions if not (secure and word == "STARTTLS")]
            lines = ["host.example", *offered]
            return "\r\n".join(f"250{'-' if word != lines[-1] else ' '}{word}" for word in lines)
        usual = {"greeting": "220 host.example", "DATA": "354 go on", "STARTTLS": "220 go", "QUIT": "221 bye"}
        return usual.get(line, "250 2.0.0 ok")


class Hosts:
    """Hosts by address, for `Connections(endpoint=...)`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.by_address: dict[str, Host] = {}
        self.tried: list[Hop] = []

    def __call__(self, hop: Hop) -> Host:
        """The host at a hop's address; nobody listens where none was set."""
        self.tried.append(hop)
        if hop.address not in self.by_address:
            nobody = Host(self.clock)
            nobody.refuses_connection = True
            return nobody
        return self.by_address[hop.address]


def turn(clock: Clock, times: int = 60) -> None:
    """Let what is due now happen."""
    for _ in range(times):
        clock.advance(0)


def failed(outcome: Outcome) -> bool:
    """Whether it ended the row as undeliverable."""
    return isinstance(outcome, Failed)


def sent(outcome: Outcome) -> bool:
    """Whether it ended the row as sent."""
    return isinstance(outcome, Sent)
