"""
The writer's process: one on a host, where the server has workers. It takes from all and tells each what changed.

    supervisor    run_writer(...) in a process of its own; send_worker(...) for each worker it starts
    worker        Store(..., peers=Peers(the other end, ...)): see remote.py

    select        what workers sent goes into the backlog of its database; a death takes what waits of that worker along
    take          one batch out of the backlog, round robin over workers and kinds of operation
    execute       one commit, by the same `Writer` that a server of one process has in a thread
    report        to each worker its answers and everybody's changes, in one message; who has no answer to come hears
                  of changes at most every NEWS_SECONDS: to be woken at each commit costs as much as one does

One thread and no reactor: while a commit waits for the disk, what comes up waits in the sockets and makes the next
batch. It knows no clients. A worker that dies takes nothing along but what it was waiting for; when the writer dies its
workers end, so that no operation is ever asked of two writers.

The signals that stop a server are for the workers: the writer ends by itself after the last of them, when the
supervisor's end of the control socket is closed.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailtraq_py.interfaces.failures import TemporaryFailure

from .backlog import Backlog
from .content import Content
from .database import MAX_BATCH, MAX_BATCH_OCTETS, news
from .frames import (
    FAILURES,
    Answer,
    Incoming,
    Report,
    Request,
    answer,
    decode_arguments,
    decode_request,
    encode_report,
    prepare_socket,
)
from .immediate import ImmediateDatabase
from .opening import MAIN, connect, database_paths, open_writer
from .spool import SpoolFolder
from .sql.notices import PrintedChange, print_change
from .sql.rows import Written
from .sqlite import Connections
from .workers import AtOnce
from .writer import Outcome, Writer

NEWS_SECONDS = 0.01
_READ_OCTETS = 1024 * 1024
# What a worker leaves unread; its own calls are bounded, so this is one that hangs.
_UNREAD_MAX_OCTETS = 64 * 1024 * 1024


def run_writer(
    url: str, data_dir: str | os.PathLike[str], control: socket.socket, clock: Callable[[], float] = time.time
) -> None:
    """
    Write for all workers of a host, until the control socket is at its end and no worker is left.

    Everything a worker was answered is committed. The logger's observer is the caller's affair.

    Args:
        url: of the store.
        data_dir: of the store.
        control: from where workers come (`send_worker`).
        clock: seconds since the epoch.

    Raises:
        StoreRefused: the file is not ours or a newer program's.
        LibraryTooOld: the SQLite library has a bug that corrupts databases.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process = WriterProcess(url, data_dir, control, clock)
    try:
        process.serve()
    finally:
        process.close()


def send_worker(control: socket.socket, theirs: socket.socket) -> None:
    """
    Hand the writer its end of a new worker's socketpair, and close it here.

    Nobody but the worker may keep the other end open, or its death would go unnoticed; nobody but the writer this one.
    """
    socket.send_fds(control, [b"w"], [theirs.fileno()])
    theirs.close()


class _WorkerGone(Exception):
    """Its socket is at its end."""


class _Worker:
    """A worker as the writer sees it."""

    def __init__(self, connection: socket.socket) -> None:
        prepare_socket(connection)
        self.socket = connection
        self._incoming = Incoming()
        self._unread = bytearray()

    def receive(self) -> list[bytes]:
        """Messages that have come. Raises _WorkerGone."""
        try:
            octets = self.socket.recv(_READ_OCTETS)
        except BlockingIOError:
            return []
        except OSError:
            raise _WorkerGone from None
        if not octets:
            raise _WorkerGone
        return self._incoming.receive(octets)

    def send(self, octets: bytes = b"") -> bool:
        """Send a message, or what is left of those before; returns whether all is sent. Raises _WorkerGone."""
        self._unread += octets
        try:
            while self._unread:
                del self._unread[: self.socket.send(self._unread)]
        except BlockingIOError:
            if len(self._unread) > _UNREAD_MAX_OCTETS:
                raise _WorkerGone from None
            return False
        except OSError:
            raise _WorkerGone from None
        return True


@dataclass(slots=True)
class _Operation:
    """A call that waits."""

    worker: _Worker
    number: int
    name: str
    arguments: tuple[Any, ...]
    octets: int

    @property
    def queue(self) -> tuple[int, str]:
        """See `backlog.Waiting`."""
        return id(self.worker), self.name


@dataclass(slots=True)
class _Desk:
    """A database, what waits for it, when workers were told of it last, and changes they have not been told of yet."""

    kind: str
    connections: Connections
    writer: Writer
    backlog: Backlog[_Operation] = field(default_factory=Backlog)
    last_told: dict[_Worker, float] = field(default_factory=dict)
    news: dict[_Worker, list[PrintedChange]] = field(default_factory=dict)


class WriterProcess:
    """See the file's head; arguments as of `run_writer`."""

    log = Logger()

    def __init__(
        self,
        url: str,
        data_dir: str | os.PathLike[str],
        control: socket.socket,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._control: socket.socket | None = control
        self._workers: list[_Worker] = []
        self._desks: dict[str, _Desk] = {}
        for kind, path in database_paths(url).items():
            connections = connect(kind, path)
            self._desks[kind] = _Desk(kind, connections, open_writer(kind, connections, clock))
        self._sweep(Path(data_dir))
        self._selector = selectors.DefaultSelector()
        control.setblocking(False)
        self._selector.register(control, selectors.EVENT_READ)

    def serve(self) -> None:
        """Until nobody is left to serve."""
        while self._workers or self._control is not None:
            self.turn(waits=not any(desk.backlog for desk in self._desks.values()))

    def turn(self, waits: bool = False) -> None:
        """
        Hear what there is, or what comes first where it `waits`; then a batch of each database, and the news that are
        due.
        """
        for key, events in self._selector.select(self._seconds_to_news() if waits else 0):
            if key.data is None:
                self._take_worker()
            elif key.data in self._workers:
                self._attend(key.data, events)
        for desk in self._desks.values():
            if desk.backlog:
                self._write(desk)
        if self._seconds_to_news() == 0:
            self._tell_news()

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()
        for worker in self._workers:
            worker.socket.close()
        if self._control is not None:
            self._control.close()
        for desk in self._desks.values():
            desk.writer.close()
            desk.connections.close()

    # -- workers ---------------------------------------------------------------------------------------------

    def _take_worker(self) -> None:
        """A new worker, or the end of the supervisor's interest. Its first report says that we are ready."""
        if self._control is None:
            return
        octets, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        if not octets:
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None
        for descriptor in descriptors:
            worker = _Worker(socket.socket(fileno=descriptor))
            self._workers.append(worker)
            self._selector.register(worker.socket, selectors.EVENT_READ, worker)
            for desk in self._desks.values():
                self._tell(worker, desk)

    def _attend(self, worker: _Worker, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and worker.send():
                self._selector.modify(worker.socket, selectors.EVENT_READ, worker)
            if events & selectors.EVENT_READ:
                for message in worker.receive():
                    self._hear(worker, decode_request(message), len(message))
        except _WorkerGone:
            self._lose(worker)
        except (ValueError, msgspec.DecodeError):
            self.log.failure("a worker that speaks another language is let go")
            self._lose(worker)

    def _lose(self, worker: _Worker) -> None:
        """Nobody waits for what it asked any more."""
        if worker in self._workers:
            self._workers.remove(worker)
            self._selector.unregister(worker.socket)
            worker.socket.close()
            for desk in self._desks.values():
                desk.backlog.withdraw(lambda operation: operation.worker is worker)
                desk.news.pop(worker, None)
                desk.last_told.pop(worker, None)

    def _hear(self, worker: _Worker, request: Request, octets: int) -> None:
        desk, number = self._desks[request.database], request.number
        match request.kind:
            case "call":
                try:
                    arguments = decode_arguments(request.name, request.arguments)
                except (KeyError, msgspec.ValidationError) as error:
                    self._settle(desk, [(_Operation(worker, number, request.name, (), 0), error)])
                else:
                    desk.backlog.add(_Operation(worker, number, request.name, arguments, octets))
            case "withdraw":
                gone = desk.backlog.withdraw(lambda one: one.worker is worker and one.number == number)
                self._settle(desk, [(operation, TemporaryFailure("withdrawn")) for operation in gone])
            case "distrust":
                desk.writer.distrust(request.name)
                self._settle(desk, [])

    # -- work ------------------------------------------------------------------------------------------------

    def _write(self, desk: _Desk) -> None:
        taken = desk.backlog.take(MAX_BATCH, MAX_BATCH_OCTETS)
        outcomes = desk.writer.execute([(operation.name, operation.arguments) for operation in taken])
        pairs = list(zip(taken, outcomes, strict=True))
        desk.backlog.put_back([operation for operation, outcome in pairs if outcome is None])
        self._settle(desk, [(operation, outcome) for operation, outcome in pairs if outcome is not None])
        desk.writer.checkpoint()

    def _settle(self, desk: _Desk, settled: Sequence[tuple[_Operation, Outcome]]) -> None:
        """Tell everybody what changed, and each worker what its calls came to."""
        changes, _ = news(outcome for _, outcome in settled)
        printed = [print_change(change) for change in changes]
        answers: dict[_Worker, list[Answer]] = {}
        purged: dict[_Worker, list[int]] = {}
        for operation, outcome in settled:
            answers.setdefault(operation.worker, []).append(answer(operation.number, outcome))
            if isinstance(outcome, Written):
                purged.setdefault(operation.worker, []).extend(outcome.purged)
            elif type(outcome).__name__ not in FAILURES:
                failure = Failure(outcome)  # type: ignore[no-untyped-call]
                self.log.failure("operation {name} failed", failure, name=operation.name)
        for worker in tuple(self._workers):
            if printed:
                desk.news.setdefault(worker, []).extend(printed)
            if worker in answers or not desk.writer.is_healthy:
                self._tell(worker, desk, purged.get(worker, []), answers.get(worker, []))

    def _seconds_to_news(self) -> float | None:
        """Until somebody is to be told of changes; None where nobody is."""
        last_told = [desk.last_told[worker] for desk in self._desks.values() for worker in desk.news]
        return max(0.0, min(last_told) + NEWS_SECONDS - time.monotonic()) if last_told else None

    def _tell_news(self) -> None:
        due = time.monotonic() - NEWS_SECONDS
        for desk in self._desks.values():
            for worker in [worker for worker in desk.news if desk.last_told[worker] <= due]:
                self._tell(worker, desk)

    def _tell(
        self, worker: _Worker, desk: _Desk, purged: Sequence[int] = (), answers: Sequence[Answer] = ()
    ) -> None:
        desk.last_told[worker] = time.monotonic()
        changes = desk.news.pop(worker, ())
        report = Report(desk.kind, desk.writer.is_healthy, desk.writer.metrics, changes, purged, answers)
        try:
            if not worker.send(encode_report(report)):
                self._selector.modify(worker.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, worker)
        except _WorkerGone:
            self._lose(worker)
        except (TypeError, ValueError, OverflowError):
            self.log.failure("a worker whose answer cannot be put into words is let go")
            self._lose(worker)

    def _sweep(self, data_dir: Path) -> None:
        """Remove what dead processes left, before anybody can bring something new."""
        spools = SpoolFolder(data_dir / "spool")
        now = time.time()
        if spools.remove_abandoned():
            main = self._desks[MAIN]
            database = ImmediateDatabase(main.connections, main.writer, AtOnce())
            removed = Content(database, data_dir, spools, AtOnce()).sweep(now)
            if removed:
                self.log.info("contents-removed", event="contents-removed", count=removed)
