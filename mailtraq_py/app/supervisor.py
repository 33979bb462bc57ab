"""
The supervisor: keeps the writer's process and the workers alive, and tells them what to serve by. It holds the sockets
and the lock on data_dir; it serves nobody and has no database open.

    launch      the fork server begins, as whoever started us
    start       writer, then workers; all serve, or why not
    a worker    that ends is replaced; the others go on
    the writer  that ends ends all workers, since what it was asked last nobody knows; then all begin anew
    take        a judged configuration, for all workers, and for those that come later
    stop        workers in order, then the writer, when nobody is left to ask it

What dies again and again is started again ever later.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.servers.sharedcounts import CountsMemory
from mailtraq_py.store.writerprocess import send_worker

from .binding import BoundSocket, close_all
from .channel import Begin, Channel, Message, Orders, Reopen, Stop, decode_tidings
from .commons import SECRET_OCTETS
from .config import Configuration, ConfigurationError
from .forkserver import Forking, ForkServer
from .hosted import hosted
from .judging import judge
from .listfiles import ListFiles
from .location import StoreUnusable
from .privileges import Identity
from .reload import IGoverned
from .writer import LogPlace

WRITER = 0
AGAIN_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_SECONDS = 60.0
ORDERS_SECONDS = 60.0
ORPHANED_SECONDS = 5.0
STOP_SECONDS = 5.0


class CannotServe(Exception):
    """A process cannot begin; the message says why."""


class _Child:
    """A process, and how far it has come."""

    def __init__(self, number: int, started: float, heard: Callable[[_Child, bytes], None]) -> None:
        self.number = number
        self.started = started
        self.channel = Channel(lambda octets: heard(self, octets), lambda: None)
        self.process = 0
        self.taken = 0
        self.waiting: dict[int, Deferred[None]] = {}
        self.failure = ""

    @property
    def name(self) -> str:
        """For the log."""
        return "writer" if self.number == WRITER else f"worker {self.number}"


@implementer(IGoverned)
class Supervisor:
    """
    See the file's head.

    Args:
        configuration: judged already.
        lists: its list files, read.
        bound: listening sockets.
        log_path: of the log file, None for standard output.
        reactor: to work on.
        lost: called with the reason when no process can be made any more.
    """

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        lists: ListFiles,
        bound: Sequence[BoundSocket],
        log_path: str | None,
        reactor: Any,
        lost: Callable[[str], None],
    ) -> None:
        settings = configuration.keys.log
        self._workers = configuration.workers
        self._location = configuration.location
        # A database on a server takes from each worker by itself.
        self._has_writer = self._location.is_file
        self._orders = Orders(1, configuration, lists)
        self._bound = list(bound)
        self._log_place = LogPlace(log_path, settings.format, settings.level)
        self._reactor = reactor
        self._lost = lost
        self._fork_server = ForkServer(reactor, self._ended, self._fork_server_lost)
        self._counts = CountsMemory(self._workers)
        self._maildrops = os.memfd_create("mailtraq-maildrops")
        self._secret = os.urandom(SECRET_OCTETS)
        self._writer_control: socket.socket | None = None
        self._children: dict[int, _Child] = {}
        self._deaths: dict[int, int] = {}
        self._not_before: dict[int, float] = {}
        self._failures: dict[int, str] = {}
        self._is_up = False
        self._stopped: Deferred[None] | None = None

    def launch(self, identity: Identity | None) -> None:
        """Begin with the fork server, whose processes become somebody."""
        self._fork_server.launch(identity)

    async def start(self) -> None:
        """
        Begin with everything.

        Raises:
            CannotServe: and nothing is left behind.
        """
        if self._has_writer:
            self._begin_writer()
        for number in range(1, self._workers + 1):
            self._begin_worker(number)
        try:
            await self._obeyed(self._orders.number)
        except FirstError:
            await self.stop(0.0)
            # What stopped the writer stopped the workers; its number is the lowest.
            raise CannotServe(self._failures[min(self._failures)]) from None
        self._is_up = True

    # -- configurations --------------------------------------------------------------------------------------

    def judged(
        self, configuration: Configuration, lists: ListFiles, number: int
    ) -> tuple[Orders, tuple[str, ...]]:
        """See `IGoverned`."""
        try:
            with hosted(self._location) as (directory, accounts):
                warnings = judge(configuration, directory, accounts, lists)
        except StoreUnusable as error:
            raise ConfigurationError([error]) from None
        return Orders(number, configuration, lists), warnings

    async def take(self, fresh: Orders) -> None:
        """See `IGoverned`. A worker that does not obey in time is replaced by one that begins with the new orders."""
        self._orders = fresh
        self._tell(fresh)
        deadline = self._reactor.callLater(ORDERS_SECONDS, self._kill_disobedient, fresh.number)
        await self._obeyed(fresh.number)
        if deadline.active():
            deadline.cancel()

    def reopen(self) -> None:
        """Have all open the log file anew."""
        self._tell(Reopen())

    def _serving(self) -> list[_Child]:
        return [child for child in self._children.values() if child.number != WRITER]

    def _tell(self, message: Message) -> None:
        for child in self._serving():
            child.channel.tell(message)

    async def _obeyed(self, number: int) -> None:
        """Wait until every worker there is serves by this configuration or a later one."""
        waiting = [
            child.waiting.setdefault(number, Deferred())
            for child in self._serving()
            if child.taken < number
        ]
        await gatherResults(waiting, consumeErrors=True)

    def _kill_disobedient(self, number: int) -> None:
        self._kill(child for child in self._serving() if child.taken < number)

    # -- processes -------------------------------------------------------------------------------------------

    def _begin_writer(self) -> None:
        self._writer_control, theirs = socket.socketpair()
        with theirs:
            self._fork(WRITER, [theirs.fileno()])

    def _begin_worker(self, number: int) -> None:
        to_writer, to_worker = socket.socketpair()
        if self._writer_control is None:
            to_writer.close()
        else:
            send_worker(self._writer_control, to_writer)
        listening = [bound.socket.fileno() for bound in self._bound]
        with to_worker:
            shared = [to_worker.fileno(), self._counts.descriptor, self._maildrops]
            child = self._fork(number, [*shared, *listening])
        services = tuple(bound.service for bound in self._bound)
        child.channel.tell(Begin(self._workers, services, self._secret, self._orders))

    def _fork(self, number: int, descriptors: Sequence[int]) -> _Child:
        child = self._children[number] = _Child(number, self._reactor.seconds(), self._heard)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            factory = Factory.forProtocol(lambda: child.channel)
            self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
            request = Forking(number, self._log_place, self._location.store_url, str(self._location.data_dir))
            self._fork_server.fork(request, [theirs.fileno(), *descriptors])
        return child

    def _heard(self, child: _Child, octets: bytes) -> None:
        tidings = decode_tidings(octets)
        child.failure = child.failure or tidings.failure
        if not child.process:
            child.process = tidings.process
            self.log.info("process-begun", event="process-begun", process=child.name, pid=child.process)
        if tidings.number:
            child.taken = tidings.number
            for number in [number for number in child.waiting if number <= tidings.number]:
                child.waiting.pop(number).callback(None)

    def _ended(self, number: int, status: int) -> None:
        """A process is gone."""
        child = self._children.pop(number)
        self._failures[number] = child.failure or f"a process ended with status {status}"
        if number != WRITER:
            self._counts.wipe(number - 1)
        if self._stopped is None:
            self.log.error(
                "process-ended",
                event="process-ended",
                process=child.name,
                pid=child.process,
                status=status,
                reason=child.failure or None,
            )
        for waiting in child.waiting.values():
            if self._is_up:
                waiting.callback(None)  # its successor begins with the newest orders
            else:
                waiting.errback(CannotServe())
        if self._stopped is not None:
            self._go_on_stopping()
        elif self._is_up:
            self._replace(child)

    def _replace(self, child: _Child) -> None:
        if child.number == WRITER:
            self._close_writer_control()
            # Its workers end by themselves, having told their clients.
            self._reactor.callLater(ORPHANED_SECONDS, self._kill, list(self._children.values()))
        lived = self._reactor.seconds() - child.started
        deaths = 0 if lived > HEALTHY_SECONDS else self._deaths.get(child.number, 0)
        self._deaths[child.number] = deaths + 1
        wait = AGAIN_SECONDS[min(deaths, len(AGAIN_SECONDS) - 1)]
        self._not_before[child.number] = self._reactor.seconds() + wait
        self._reactor.callLater(wait, self._fill)

    def _fill(self) -> None:
        """Begin with whoever is missing and due; with a new writer only when no worker of the old one is left."""
        if self._stopped is not None:
            return
        if self._has_writer and WRITER not in self._children:
            if self._children or not self._is_due(WRITER):
                return
            self._begin_writer()
        elif self._has_writer and self._writer_control is None:
            return
        for number in range(1, self._workers + 1):
            if number not in self._children and self._is_due(number):
                try:
                    self._begin_worker(number)
                except OSError:  # the writer has just ended, which is told next
                    return

    def _is_due(self, number: int) -> bool:
        now: float = self._reactor.seconds()
        return self._not_before.get(number, 0.0) <= now

    def _kill(self, children: Iterable[_Child]) -> None:
        for child in list(children):
            if child.process and self._children.get(child.number) is child:
                os.kill(child.process, signal.SIGKILL)

    def _fork_server_lost(self) -> None:
        """Nobody tells us of ends any more, and nobody can be replaced."""
        self._kill(self._children.values())
        self._children.clear()
        if self._stopped is None:
            self._lost("the fork server has ended")
        else:
            self._go_on_stopping()

    # -- stop ------------------------------------------------------------------------------------------------

    async def stop(self, grace_seconds: float) -> None:
        """Accept nothing more; all end in order within the grace, or are ended a little later."""
        self._stopped = Deferred()
        close_all(self._bound)
        self._tell(Stop(grace_seconds))
        deadlines = [
            self._reactor.callLater(grace_seconds + STOP_SECONDS, lambda: self._kill(self._serving())),
            self._reactor.callLater(grace_seconds + 2 * STOP_SECONDS, lambda: self._kill(self._children.values())),
        ]
        self._go_on_stopping()
        await self._stopped
        for deadline in deadlines:
            if deadline.active():
                deadline.cancel()
        self._fork_server.close()

    def _go_on_stopping(self) -> None:
        """The writer ends after the last worker, and then it is done."""
        if not self._children.keys() - {WRITER}:
            self._close_writer_control()
        if not self._children and self._stopped is not None and not self._stopped.called:
            self._stopped.callback(None)

    def _close_writer_control(self) -> None:
        if self._writer_control is not None:
            self._writer_control.close()
            self._writer_control = None
