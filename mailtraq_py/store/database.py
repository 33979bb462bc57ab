"""
The way into a database: `run` writes, `read` reads here and now, `read_apart` reads in another thread.

    run         name and plain values -> the writer's queue -> a batch -> one commit -> back in one hop: changes are
                told to the hub first, then the callers hear their results
    read        on this thread's connection, 2 to 20 microseconds for a point read: a hop would cost more
    read_apart  for what takes long

`Database` is the contract; `ThreadedDatabase` has the writer in a thread; `immediate.ImmediateDatabase` does
everything at once in the calling thread.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import apsw
from twisted.internet.defer import Deferred, fail

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.mail.changes import Change

from .dialect import SQLiteDialect
from .operations import READS
from .sql.rows import Written
from .sqlite import Connections
from .workers import Workers
from .writer import Outcome, Writer, WriterMetrics

MAX_WAITING_OPERATIONS = 10_000
MAX_WAITING_OCTETS = 64 * 1024 * 1024
MAX_BATCH = 500

Committed = Callable[[tuple[Change, ...], tuple[int, ...]], None]


class Database(ABC):
    """
    One database file.

    Args:
        connections: to it.
        writer: the one that writes.
        workers: for `read_apart`.
        committed: called on the reactor thread after each commit, before its callers hear, with changes and with
            ids of contents whose files may go.
    """

    def __init__(
        self, connections: Connections, writer: Writer, workers: Workers, committed: Committed | None = None
    ) -> None:
        self._connections = connections
        self._writer = writer
        self._workers = workers
        self._committed = committed
        self._dialect = SQLiteDialect()

    @property
    def metrics(self) -> WriterMetrics:
        """What the writer did so far."""
        return self._writer.metrics

    @property
    def is_healthy(self) -> bool:
        """False from a failed sync on; nothing is written then until a restart."""
        return self._writer.is_healthy

    def distrust(self, what: str) -> None:
        """Take no more until a restart: `what`, such as a sync of a content file, failed. From any thread."""
        self._writer.distrust(what)

    @abstractmethod
    def run(self, name: str, *arguments: Any, octets: int = 0) -> Deferred[Any]:
        """
        Write.

        Args:
            name: of a function in sql/ (`operations.WRITES`).
            octets: how much memory the arguments hold, for the bound of what may wait.

        Returns:
            fires with its value when it is committed and told; or with its exception, StorageFull or
            TemporaryFailure, and then nothing of it has happened.
        """

    @abstractmethod
    async def close(self) -> None:
        """Commit what waits and close."""

    def check_room(self) -> None:
        """
        Ask whether the writer takes more.

        Raises:
            TemporaryFailure: too much waits, or the database is unhealthy.
        """
        if not self.is_healthy:
            raise TemporaryFailure("the store is unhealthy")

    def read(self, name: str, *arguments: Any) -> Any:
        """
        Read here and now what is committed, by whatever process.

        Raises:
            TemporaryFailure: the database could not be read.
        """
        try:
            return READS[name](self._connections.reader().cursor(), *arguments)
        except apsw.Error as error:
            raise self._dialect.failure(error) from error

    def read_apart(self, name: str, *arguments: Any) -> Deferred[Any]:
        """The same in another thread."""
        return self._workers.run(self.read, name, *arguments)

    def data_version(self) -> int:
        """A number that differs from the last one when anybody else committed meanwhile."""
        try:
            return int(self._connections.reader().pragma("data_version"))
        except apsw.Error as error:
            raise self._dialect.failure(error) from error

    def _tell(self, outcomes: Iterable[Outcome]) -> None:
        changes: dict[Change, None] = {}
        purged: list[int] = []
        for outcome in outcomes:
            if isinstance(outcome, Written):
                changes.update(dict.fromkeys(outcome.changes))
                purged.extend(outcome.purged)
        if self._committed is not None and (changes or purged):
            self._committed(tuple(changes), tuple(purged))


@dataclass(slots=True)
class _Operation:
    name: str
    arguments: tuple[Any, ...]
    octets: int
    withdrawn: bool = False
    deferred: Deferred[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.deferred = Deferred(self._withdraw)

    def _withdraw(self, _deferred: Deferred[Any]) -> None:
        self.withdrawn = True


class ThreadedDatabase(Database):
    """
    The writer in a thread of its own, which takes everything that waits into one commit.

    What comes up in one turn of the reactor is handed over at its end: a writer that is woken for the first of it
    would contend with the reactor for the interpreter over the rest, and commit it apart.

    What waits is counted on the reactor thread alone, so it needs no lock. Cancelling an operation withdraws it if
    it was not taken yet.

    Args:
        reactor: whose thread calls `run` and hears results.
    """

    def __init__(
        self,
        connections: Connections,
        writer: Writer,
        workers: Workers,
        reactor: Any,
        committed: Committed | None = None,
    ) -> None:
        super().__init__(connections, writer, workers, committed)
        self._reactor = reactor
        self._queue: SimpleQueue[_Operation | None] = SimpleQueue()
        self._waiting_operations = 0
        self._waiting_octets = 0
        self._fresh: list[_Operation] = []
        self._closed: Deferred[None] | None = None
        self._thread = threading.Thread(target=self._write, name=f"store-writer {connections.path}", daemon=True)
        self._thread.start()

    def run(self, name: str, *arguments: Any, octets: int = 0) -> Deferred[Any]:
        """See `Database`."""
        try:
            self.check_room()
        except TemporaryFailure as failure:
            return fail(failure)
        operation = _Operation(name, arguments, octets)
        self._waiting_operations += 1
        self._waiting_octets += octets
        if not self._fresh:
            self._reactor.callLater(0, self._hand_over)
        self._fresh.append(operation)
        return operation.deferred

    def check_room(self) -> None:
        """See `Database`."""
        super().check_room()
        if self._closed is not None:
            raise TemporaryFailure("the store is closed")
        if self._waiting_operations >= MAX_WAITING_OPERATIONS or self._waiting_octets >= MAX_WAITING_OCTETS:
            raise TemporaryFailure("too much waits for the store's writer")

    async def close(self) -> None:
        """See `Database`."""
        if self._closed is None:
            self._closed = Deferred()
            self._hand_over()
            self._queue.put(None)
            await self._closed
            self._thread.join()
            self._writer.close()
            self._connections.close()

    def _hand_over(self) -> None:
        for operation in self._fresh:
            self._queue.put(operation)
        self._fresh.clear()

    def _write(self) -> None:
        """The thread."""
        ends = False
        while not ends:
            taken, ends = self._take()
            if taken:
                wanted = [operation for operation in taken if not operation.withdrawn]
                outcomes = self._writer.execute([(operation.name, operation.arguments) for operation in wanted])
                self._reactor.callFromThread(self._settle, taken, wanted, outcomes)
                self._writer.checkpoint()
        self._reactor.callFromThread(self._end)

    def _take(self) -> tuple[list[_Operation], bool]:
        """Wait for one, then take all that is there; whether the end was among it."""
        first = self._queue.get()
        taken: list[_Operation] = []
        while first is not None:
            taken.append(first)
            if len(taken) == MAX_BATCH:
                return taken, False
            try:
                first = self._queue.get_nowait()
            except Empty:
                return taken, False
        return taken, True

    def _settle(
        self, taken: Sequence[_Operation], wanted: Sequence[_Operation], outcomes: Sequence[Outcome]
    ) -> None:
        """On the reactor thread: tell the hub, then the callers."""
        self._waiting_operations -= len(taken)
        self._waiting_octets -= sum(operation.octets for operation in taken)
        self._tell(outcomes)
        for operation, outcome in zip(wanted, outcomes, strict=True):
            if operation.deferred.called:
                continue
            if isinstance(outcome, Written):
                operation.deferred.callback(outcome.value)
            else:
                operation.deferred.errback(outcome)

    def _end(self) -> None:
        if self._closed is not None:
            self._closed.callback(None)
