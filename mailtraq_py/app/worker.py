"""
A worker: a process that serves, one of several over one store.

    supervisor        Begin: what to serve by; the sockets came with the process
    serving.py        the same server that one process alone is
    Orders            other policy, judged already: built in a thread, brought into force
    Stop              no new connections; running commands end, within the grace; then the process
    the channel ends  the supervisor is gone: so are we, at once. Nothing acknowledged is lost by that
    the writer ends   sessions end, and the process; the supervisor starts all anew
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import apsw
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from mailtraq_py.servers.pop3.service import MaildropLocks
from mailtraq_py.servers.sharedcounts import CountsMemory, SharedCounts
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.sqlite import LibraryTooOld
from mailtraq_py.store.store import Peers

from .binding import BoundSocket
from .certificates import read_certificates
from .channel import Begin, Channel, Message, Orders, Reopen, Stop, Tidings, decode_message, encode_tidings
from .commons import Commons
from .config import ConfigurationError
from .logs import LogFile, LogLines
from .serving import Serving
from .writer import LogPlace

WRITER_LOST_GRACE_SECONDS = 1.0


class Worker:
    """
    Args:
        number: from 1.
        reactor: to work on; this process's own.
        log_file: reopened when the supervisor says so.
        descriptors: of the writer's socket, the counts, the maildrop locks, the listening sockets.
    """

    log = Logger()

    def __init__(self, number: int, reactor: Any, log_file: LogFile, descriptors: Sequence[int]) -> None:
        self.channel = Channel(self._hear, self._supervisor_lost)
        self._number = number
        self._reactor = reactor
        self._log_file = log_file
        self._writer, self._counts, self._maildrops, *self._listening = descriptors
        self._serving: Serving | None = None
        self._shared: SharedCounts | None = None
        self._stopping = False
        self._ended = False
        self._turn = DeferredLock()

    def _hear(self, octets: bytes) -> None:
        match decode_message(octets):
            case Begin() as begin:
                self._do(self._begin, begin)
            case Orders() as orders:
                self._do(self._obey, orders)
            case Reopen():
                self._log_file.reopen()
            case Stop(grace_seconds):
                self._stop(grace_seconds)

    def _do(self, what: Callable[[Any], Coroutine[Any, Any, None]], message: Message) -> None:
        """One after the other."""
        doing = self._turn.run(lambda: Deferred.fromCoroutine(what(message)))
        doing.addErrback(self._fail)

    async def _begin(self, begin: Begin) -> None:
        self._shared = counts = SharedCounts(CountsMemory(begin.workers, self._counts), self._number - 1)
        orders = begin.orders
        peers = Peers(
            socket.socket(fileno=self._writer), begin.workers, self._number == 1, self._writer_lost
        )
        commons = Commons(
            counts,
            MaildropLocks(self._maildrops),
            begin.secret,
            self._number == 1,
            counts.has_least,
            peers,
            f"worker-{self._number}",
        )
        bound = [
            BoundSocket(service, socket.socket(fileno=descriptor))
            for service, descriptor in zip(begin.services, self._listening, strict=True)
        ]
        self._serving = Serving(
            orders.configuration,
            orders.lists,
            read_certificates(orders.configuration),
            bound,
            commons,
            self._reactor,
            time.time,
            orders.number,
        )
        await self._serving.start()
        counts.begin()
        self.tell(orders.number)

    async def _obey(self, orders: Orders) -> None:
        assert self._serving is not None  # noqa: S101 - orders come after it serves
        server = self._serving.server
        server.take(await deferToThread(server.prepared, orders.configuration, orders.lists, orders.number))
        self.tell(orders.number)

    def tell(self, number: int = 0, failure: str = "") -> None:
        """Say what has been reached; see `Tidings`."""
        self.channel.send(encode_tidings(Tidings(os.getpid(), number, failure)))

    # -- the end ---------------------------------------------------------------------------------------------

    def _stop(self, grace_seconds: float) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self._shared is not None:
            self._shared.end()
        ending: Deferred[None] = succeed(None)
        if self._serving is not None:
            ending = Deferred.fromCoroutine(self._serving.stop(grace_seconds))
        ending.addErrback(lambda failure: self.log.failure("the worker did not stop in order", failure=failure))
        ending.addBoth(self._end)

    def _end(self, _: object) -> None:
        self._ended = True
        self._reactor.stop()

    def _writer_lost(self) -> None:
        self.log.error("writer-lost", event="writer-lost")
        self._stop(WRITER_LOST_GRACE_SECONDS)

    def _supervisor_lost(self) -> None:
        if not self._ended:
            os._exit(1)

    def _fail(self, failure: Failure) -> None:
        """It cannot go on: the supervisor is told why."""
        if not isinstance(
            failure.value, (ConfigurationError, StoreRefused, LibraryTooOld, OSError, apsw.Error)
        ):
            self.log.failure("the worker cannot go on", failure=failure)
        self.tell(failure=failure.getErrorMessage())
        self._stop(0.0)


def run_worker(number: int, log: LogPlace, descriptors: Sequence[int]) -> None:
    """
    Serve until the supervisor says otherwise. The process must have no reactor yet.

    Args:
        descriptors: of the channel, and then as `Worker` takes them.
    """
    reactor: Any = EPollReactor()  # type: ignore[no-untyped-call]
    installReactor(reactor)  # type: ignore[no-untyped-call]
    log_file = LogFile(log.path)
    observer = LogLines(log_file.write, log.format, log.level, number)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    worker = Worker(number, reactor, log_file, descriptors[1:])
    channel = socket.socket(fileno=descriptors[0])
    reactor.adoptStreamConnection(
        channel.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: worker.channel)
    )
    channel.close()
    worker.tell()
    log_file.gather(reactor)
    reactor.run(installSignalHandlers=False)
    log_file.gather(None)
