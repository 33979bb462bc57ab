"""
A worker's side of the writer's process: what it asks goes over one socket, and what comes back is told here.

    RemoteDatabase   one for each database; reads on connections of its own, writes by asking
    WriterLink       the socket both share, on the reactor

What comes up in one turn of the reactor leaves in one piece at its end. When the writer is gone its word is too:
nothing is asked twice, since the new writer meets new workers only. Whoever waits for an acceptance is told whether it
was committed, which its id says (a commit that a reader sees is on disk: the log's index is written after the log was
synced); for everything else the fate is unknown and nothing is acknowledged.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure

from . import database
from .database import Committed, FileDatabase, answer
from .frames import (
    Incoming,
    Report,
    decode_report,
    encode_call,
    encode_distrust,
    encode_withdrawal,
    prepare_socket,
)
from .migrate import StoreRefused
from .sql.acceptance import Entry
from .sql.notices import parse_change
from .sql.rows import Written
from .sqlite import Connections
from .workers import Workers
from .writer import Outcome
from .writermetrics import WriterMetrics

_READ_OCTETS = 256 * 1024
_PIECES_MAX = 1000  # the kernel takes 1024


@implementer(IReadWriteDescriptor)
class WriterLink:
    """
    A worker's end of the socketpair.

    Args:
        reactor: to work on.
        connection: the socket; it is closed here.
        lost: called when the writer is gone and everybody who waited knows.

    `ready` fires with the writer's first word, which comes when the databases are open; it fails with StoreRefused when
    the writer ends before.
    """

    def __init__(self, reactor: Any, connection: socket.socket, lost: Callable[[], None]) -> None:
        self.ready: Deferred[None] = Deferred()
        self.is_lost = False
        self._reactor = reactor
        self._socket = connection
        self._told_lost = lost
        self._databases: dict[str, RemoteDatabase] = {}
        self._incoming = Incoming()
        self._outgoing: deque[bytes | memoryview] = deque()
        self._number = 0
        prepare_socket(connection)
        reactor.addReader(self)

    def add(self, kind: str, remote: RemoteDatabase) -> None:
        """Reports about a database are for it."""
        self._databases[kind] = remote

    def next_number(self) -> int:
        """A number that no call has had."""
        self._number += 1
        return self._number

    def send(self, message: bytes) -> None:
        """Send a framed message at the end of this turn of the reactor."""
        if not self._outgoing and not self.is_lost:
            self._reactor.callLater(0, self.doWrite)
        self._outgoing.append(message)

    def close(self) -> None:
        """Say no more and hear no more; the writer sees a worker that has ended."""
        self.is_lost = True
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket.close()

    # -- what the reactor asks -------------------------------------------------------------------------------

    def fileno(self) -> int:
        """See `IReadWriteDescriptor`."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """See `IReadWriteDescriptor`."""
        return "store-writer"

    def doRead(self) -> Failure | None:
        """See `IReadWriteDescriptor`."""
        try:
            octets = self._socket.recv(_READ_OCTETS)
        except BlockingIOError:
            return None
        except ConnectionError:
            octets = b""
        if not octets:
            return CONNECTION_LOST  # type: ignore[return-value] # reactors take exceptions too
        for message in self._incoming.receive(octets):
            self._hear(decode_report(message))
        return None

    def doWrite(self) -> None:
        """See `IReadWriteDescriptor`."""
        try:
            while self._outgoing and not self.is_lost:
                self._forget(self._socket.sendmsg(list(islice(self._outgoing, _PIECES_MAX))))
        except BlockingIOError:
            self._reactor.addWriter(self)
            return
        except ConnectionError:
            # What it said before it died is read first; its end comes after that.
            self._outgoing.clear()
        self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadWriteDescriptor`."""
        self.close()
        for remote in self._databases.values():
            remote.lose()
        if not self.ready.called:
            self.ready.errback(StoreRefused("the writer's process has ended"))
        self._told_lost()

    def _forget(self, octets: int) -> None:
        """Drop what was sent."""
        while octets:
            piece = self._outgoing.popleft()
            if len(piece) > octets:
                self._outgoing.appendleft(memoryview(piece)[octets:])
                return
            octets -= len(piece)

    def _hear(self, report: Report) -> None:
        self._databases[report.database].hear(report)
        if not self.ready.called:
            self.ready.callback(None)


@dataclass(slots=True)
class _Waiting:
    name: str
    arguments: tuple[Any, ...]
    octets: int
    deferred: Deferred[Any]


class RemoteDatabase(FileDatabase):
    """
    A database that the writer's process writes.

    Args:
        link: to the writer.
        kind: "main" or "recent".
    """

    def __init__(
        self,
        connections: Connections,
        link: WriterLink,
        kind: str,
        workers: Workers,
        reactor: Any,
        committed: Committed | None = None,
    ) -> None:
        super().__init__(connections, workers, committed)
        self._link = link
        self._kind = kind
        self._reactor = reactor
        self._metrics = WriterMetrics()
        self._healthy = True
        self._waiting: dict[int, _Waiting] = {}
        self._waiting_octets = 0
        self._closed: Deferred[None] | None = None
        link.add(kind, self)

    @property
    def metrics(self) -> WriterMetrics:
        """See `Database`. What the writer did for all workers, as of its last report to this one."""
        return self._metrics

    @property
    def is_healthy(self) -> bool:
        """See `Database`. False also when the writer is gone."""
        return self._healthy

    def distrust(self, what: str) -> None:
        """See `Database`."""
        self._healthy = False
        self._reactor.callFromThread(self._link.send, encode_distrust(self._kind, what))

    def run(self, name: str, *arguments: Any, octets: int = 0) -> Deferred[Any]:
        """See `Database`."""
        number = self._link.next_number()
        try:
            self.check_room()
            message = encode_call(number, self._kind, name, arguments)
        except (TemporaryFailure, TypeError, ValueError, OverflowError) as failure:
            return fail(failure)
        deferred: Deferred[Any] = Deferred(lambda _: self._link.send(encode_withdrawal(number, self._kind)))
        self._waiting[number] = _Waiting(name, arguments, len(message), deferred)
        self._waiting_octets += len(message)
        self._link.send(message)
        return deferred

    def check_room(self) -> None:
        """See `Database`."""
        super().check_room()
        if self._closed is not None:
            raise TemporaryFailure("the store is closed")
        if len(self._waiting) >= database.MAX_WAITING_OPERATIONS or self._waiting_octets >= database.MAX_WAITING_OCTETS:
            raise TemporaryFailure("too much waits for the store's writer")

    async def close(self) -> None:
        """See `Database`."""
        if self._closed is None:
            self._closed = Deferred()
            self._end()
            await self._closed
            self._connections.close()

    def hear(self, report: Report) -> None:
        """Tell the hub, then the callers."""
        self._healthy = self._healthy and report.is_healthy
        self._metrics = report.metrics
        self._tell([parse_change(*printed) for printed in report.changes], report.purged)
        for given in report.answers:
            call = self._waiting.pop(given.number)
            self._waiting_octets -= call.octets
            answer(call.deferred, given.outcome)
        self._end()

    def lose(self) -> None:
        """The writer is gone: tell everybody who waits, and take no more."""
        self._healthy = False
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for call in waiting:
            answer(call.deferred, self._fate(call))
        self._end()

    def _fate(self, call: _Waiting) -> Outcome:
        """What came of a call whose answer is lost."""
        if call.name == "accept" and isinstance(call.arguments[0], Entry) and call.arguments[0].id:
            try:
                places = self.read("acceptance_places", call.arguments[0].id)
            except TemporaryFailure as failure:
                return failure
            if places is not None:
                return Written(places)
        return TemporaryFailure("the store's writer is gone, and with it the answer")

    def _end(self) -> None:
        if self._closed is not None and not self._waiting and not self._closed.called:
            self._closed.callback(None)
