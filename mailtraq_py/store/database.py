"""
The way into a database: `run` writes, `read` reads here and now, `read_apart` reads in another thread.

    run         name and plain values -> the writer's queue -> a batch -> one commit -> back in one hop: changes are
                told to the hub first, then the callers hear their results
    read        on this thread's connection, 2 to 20 microseconds for a point read: a hop would cost more
    read_apart  for what takes long

`Database` is the contract. With SQLite, `ThreadedDatabase` has the writer in a thread and `immediate.ImmediateDatabase`
does everything at once in the calling thread; `postgres.database.PostgresDatabase` is the other engine's.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import apsw
from twisted.internet.defer import Deferred, fail

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.mail.changes import Change

from .backlog import Backlog
from .dialect import SQLiteDialect
from .hub import ChangeHub, NoticeReader, Notices
from .operations import READS
from .sql.rows import Written
from .sqlite import Connections
from .workers import Workers
from .writer import Outcome, Writer
from .writermetrics import WriterMetrics

MAX_WAITING_OPERATIONS = 10_000
MAX_WAITING_OCTETS = 64 * 1024 * 1024
MAX_BATCH = 500
MAX_BATCH_OCTETS = 8 * 1024 * 1024

Committed = Callable[[tuple[Change, ...], tuple[int, ...]], None]


class Database(ABC):
    """
    One database, of whatever engine.

    Args:
        workers: for `read_apart`.
        committed: called on the reactor thread after each commit, before its callers hear, with changes and with
            ids of contents whose files may go.

    Attributes:
        keeps_files: large contents lie in files of this host, not in rows.
        ahead: by how many seconds the database's clock is ahead of this host's; 0.0 where they are one.
    """

    keeps_files = True
    ahead = 0.0

    def __init__(self, workers: Workers, committed: Committed | None = None) -> None:
        self._workers = workers
        self._committed = committed

    @property
    @abstractmethod
    def metrics(self) -> WriterMetrics:
        """What the writer did so far."""

    @property
    @abstractmethod
    def is_healthy(self) -> bool:
        """False from a failed sync on; nothing is written then until a restart."""

    @abstractmethod
    def distrust(self, what: str) -> None:
        """Take no more until a restart: `what`, such as a sync of a content file, failed. From any thread."""

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

    @abstractmethod
    def read(self, name: str, *arguments: Any) -> Any:
        """
        Read here and now what is committed, by whatever process.

        Raises:
            TemporaryFailure: the database could not be read.
        """

    def read_apart(self, name: str, *arguments: Any) -> Deferred[Any]:
        """The same in another thread."""
        return self._workers.run(self.read, name, *arguments)

    def spare_octets(self) -> int:
        """Room within the database's file, which what comes next takes first; 0 where that is the engine's affair."""
        return 0

    @abstractmethod
    def notices(self, hub: ChangeHub, origin: str) -> Notices:
        """
        What hears of changes that other processes committed.

        Args:
            hub: where they are published.
            origin: this process's own name, whose changes are passed over.
        """

    async def keep_up(self) -> None:  # noqa: B027 - most engines have nothing to do
        """What an engine does now and then for itself."""

    def _tell(self, changes: Collection[Change], purged: Collection[int]) -> None:
        if self._committed is not None and (changes or purged):
            self._committed(tuple(changes), tuple(purged))


class FileDatabase(Database):
    """
    A database file of SQLite's.

    Args:
        connections: to it.
    """

    def __init__(self, connections: Connections, workers: Workers, committed: Committed | None = None) -> None:
        super().__init__(workers, committed)
        self._connections = connections
        self._dialect = SQLiteDialect()

    def read(self, name: str, *arguments: Any) -> Any:
        """See `Database`."""
        try:
            return READS[name](self._connections.reader().cursor(), *arguments)
        except apsw.Error as error:
            raise self._dialect.failure(error) from error

    def notices(self, hub: ChangeHub, origin: str) -> Notices:
        """See `Database`."""
        return NoticeReader(self, hub, origin)

    def data_version(self) -> int:
        """A number that differs from the last one when anybody else committed meanwhile."""
        try:
            return int(self._connections.reader().pragma("data_version"))
        except apsw.Error as error:
            raise self._dialect.failure(error) from error

    def spare_octets(self) -> int:
        """See `Database`."""
        try:
            pragma = self._connections.reader().pragma
            return int(pragma("freelist_count")) * int(pragma("page_size"))
        except apsw.Error as error:
            raise self._dialect.failure(error) from error

class LocalDatabase(FileDatabase):
    """
    One whose writer is in this process.

    Args:
        writer: the one that writes.
    """

    def __init__(
        self, connections: Connections, writer: Writer, workers: Workers, committed: Committed | None = None
    ) -> None:
        super().__init__(connections, workers, committed)
        self._writer = writer

    @property
    def metrics(self) -> WriterMetrics:
        """See `Database`."""
        return self._writer.metrics

    @property
    def is_healthy(self) -> bool:
        """See `Database`."""
        return self._writer.is_healthy

    def distrust(self, what: str) -> None:
        """See `Database`."""
        self._writer.distrust(what)


def news(outcomes: Iterable[Outcome | None]) -> tuple[Collection[Change], Collection[int]]:
    """What a batch changed, each change once, and the ids of contents whose files may go."""
    changes: dict[Change, None] = {}
    purged: list[int] = []
    for outcome in outcomes:
        if isinstance(outcome, Written):
            changes.update(dict.fromkeys(outcome.changes))
            purged.extend(outcome.purged)
    return changes, purged


def answer(deferred: Deferred[Any], outcome: Outcome) -> None:
    """Tell a caller what his operation came to, unless he stopped waiting."""
    if deferred.called:
        return
    if isinstance(outcome, Written):
        deferred.callback(outcome.value)
    else:
        deferred.errback(outcome)


@dataclass(slots=True)
class _Operation:
    name: str
    arguments: tuple[Any, ...]
    octets: int
    withdrawn: bool = False
    deferred: Deferred[Any] = field(init=False)

    @property
    def queue(self) -> str:
        """See `backlog.Waiting`."""
        return self.name

    def __post_init__(self) -> None:
        self.deferred = Deferred(self._withdraw)

    def _withdraw(self, _deferred: Deferred[Any]) -> None:
        self.withdrawn = True


class ThreadedDatabase(LocalDatabase):
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
        backlog: Backlog[_Operation] = Backlog()
        ends = False
        while backlog or not ends:
            if not ends:
                ends = self._gather(backlog)
            taken = backlog.take(MAX_BATCH, MAX_BATCH_OCTETS)
            wanted = [operation for operation in taken if not operation.withdrawn]
            calls = [(operation.name, operation.arguments) for operation in wanted]
            pairs = list(zip(wanted, self._writer.execute(calls) if calls else (), strict=True))
            settled = [(operation, outcome) for operation, outcome in pairs if outcome is not None]
            left = [operation for operation, outcome in pairs if outcome is None]
            backlog.put_back(left)
            self._reactor.callFromThread(self._settle, settled, len(taken) - len(left), _octets(taken) - _octets(left))
            self._writer.checkpoint()
        self._reactor.callFromThread(self._end)

    def _gather(self, backlog: Backlog[_Operation]) -> bool:
        """Take all that was handed over, waiting for the first where nothing waits; whether the end was among it."""
        try:
            fresh = self._queue.get(block=not backlog)
            while fresh is not None:
                backlog.add(fresh)
                fresh = self._queue.get_nowait()
        except Empty:
            return False
        return True

    def _settle(self, settled: Sequence[tuple[_Operation, Outcome]], operations: int, octets: int) -> None:
        """On the reactor thread: count out what no longer waits, tell the hub, then the callers."""
        self._waiting_operations -= operations
        self._waiting_octets -= octets
        self._tell(*news(outcome for _, outcome in settled))
        for operation, outcome in settled:
            answer(operation.deferred, outcome)

    def _end(self) -> None:
        if self._closed is not None:
            self._closed.callback(None)


def _octets(operations: Iterable[_Operation]) -> int:
    return sum(operation.octets for operation in operations)
