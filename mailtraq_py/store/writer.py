"""
The writer: many operations in one transaction, each standing or falling alone. It knows no threads.

    begin          one transaction for the whole batch
    each           in a savepoint of its own; what goes wrong in it is rolled back and told to its caller alone.
                   When `SLICE_SECONDS` are used up the rest is left for the next batch, so that nobody who comes
                   now waits for all of it
    after an error look whether the transaction still lives: disk-full and I/O errors may end it as a whole. Then
                   nothing of the batch has happened, and the others are run again, one by one
    commit         one fsync; when it fails nothing of the batch is acknowledged

So an operation may run twice before it succeeds, and has no effect outside the database. After a failed fsync or a
damaged file the writer takes no more: what it would say could not be believed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw
from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure

from .dialect import SQLiteDialect
from .operations import TOGETHER, WRITES
from .sql.notices import add_notices
from .sql.rows import Written
from .sqlite import BUSY_MILLISECONDS, PAGE_OCTETS, Connections
from .turnstile import Turnstile
from .writermetrics import WriterMetrics

Call = tuple[str, tuple[object, ...]]
Outcome = Written | Exception

T = TypeVar("T")

# How long the log's end waits for those who read in it, while nobody may write.
_ERASE_MILLISECONDS = 20
# Commits wait while the log is moved: 16 MiB took 60 to 170 ms beside other work, 4 MiB a third of that.
CHECKPOINT_PAGES = 4 * 1024 * 1024 // PAGE_OCTETS
SLICE_SECONDS = 0.02
# As many rows as the longest statement takes (`sql/rows.py`), and below a slice's time.
_TOGETHER_MAX = 64


class _TransactionLost(Exception):
    """The database ended the whole transaction; `place` is the operation at fault."""

    def __init__(self, place: int, error: Exception) -> None:
        super().__init__()
        self.place = place
        self.error = error


class Writer:
    """
    Runs operations on a database's writing connection. One thread at a time.

    Args:
        connections: of the database.
        clock: seconds since the epoch, for notices; and a monotonic one for metrics.
        origin: this process's name in notices; "" when no other process is to be told.
    """

    log = Logger()

    def __init__(
        self,
        connections: Connections,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        origin: str = "",
    ) -> None:
        self.metrics = WriterMetrics()
        self.is_healthy = True
        self._connections = connections
        self._connection = connections.writer
        self._cursor = connections.writer.cursor()
        self._clock = clock
        self._monotonic = monotonic
        self._origin = origin
        self._dialect = SQLiteDialect()
        self._erases = False
        self._turnstile = None if connections.is_memory else Turnstile(connections.path)
        # Replaces SQLite's own checkpoint in the middle of a commit that somebody waits for.
        self._connection.set_wal_hook(self._note_wal)

    def execute(self, calls: Sequence[Call]) -> Sequence[Outcome | None]:
        """
        Run operations in one transaction.

        What succeeded is durable when this returns. Never raises for what an operation or the database did.

        Returns:
            what each came to, in order; None for one that was not begun, because the slice's time was used up.
            The first one is always run.
        """
        started = self._monotonic()
        outcomes = self._batch(calls)
        self._erases |= any(isinstance(outcome, Written) and outcome.erases for outcome in outcomes)
        seconds = self._monotonic() - started
        metrics = self.metrics
        count = sum(1 for outcome in outcomes if outcome is not None)
        metrics.note(count, seconds)
        metrics.failures += sum(1 for outcome in outcomes if isinstance(outcome, Exception))
        return outcomes

    def checkpoint(self) -> None:
        """
        Move the write-ahead log into the file when it has grown. Readers are not waited for; the next commit
        begins the log anew when nobody reads in it. After a purge it is emptied, as soon as nobody does.
        """
        if not self.is_healthy or not (self._erases or self.metrics.wal_pages >= CHECKPOINT_PAGES):
            return
        try:
            if self._erases:
                self._empty_log()
            else:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.metrics.checkpoints += 1
        except apsw.Error as error:
            self._note_lasting(error)

    def distrust(self, what: str) -> None:
        """Take no more until a restart, and say so in the log, once."""
        if not self.is_healthy:
            return
        self.is_healthy = False
        self.log.critical(
            "store-unhealthy",
            event="store-unhealthy",
            database=self._connections.path,
            error=what,
            reason="a sync failed or the file is damaged; nothing is written until a restart",
        )

    def close(self) -> None:
        """Let go of the locks; the connections are closed by their owner."""
        self._cursor.close()
        if self._turnstile is not None:
            self._turnstile.close()

    def _batch(self, calls: Sequence[Call]) -> Sequence[Outcome | None]:
        if not self.is_healthy:
            return [TemporaryFailure("the store is unhealthy: it was not able to sync") for _ in calls]
        try:
            if self._turnstile is not None:
                self._turnstile.enter()
        except TemporaryFailure as failure:
            return [failure for _ in calls]
        try:
            return self._transaction(calls)
        except _TransactionLost as lost:
            return self._one_by_one(calls, lost)
        except apsw.Error as error:
            return self._one_by_one(calls, _TransactionLost(-1, error))
        finally:
            if self._turnstile is not None:
                self._turnstile.leave()

    def _transaction(self, calls: Sequence[Call]) -> list[Outcome | None]:
        self._connection.execute(self._dialect.begin_write())
        try:
            outcomes = self._run_all(calls)
            if self._origin:
                changes = [c for outcome in outcomes if isinstance(outcome, Written) for c in outcome.changes]
                add_notices(self._cursor, self._origin, self._clock(), changes)
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return outcomes

    def _one_by_one(self, calls: Sequence[Call], lost: _TransactionLost) -> list[Outcome | None]:
        """Nothing of the batch has happened. Run each alone, but for the one at fault."""
        failure = self._dialect.failure(lost.error)
        self._note_lasting(lost.error)
        if not self.is_healthy or len(calls) == 1 or isinstance(lost.error, apsw.BusyError):
            return [failure for _ in calls]
        outcomes: list[Outcome | None] = []
        for place, call in enumerate(calls):
            if place == lost.place or not self.is_healthy:
                outcomes.append(failure)
                continue
            try:
                outcomes.extend(self._transaction([call]))
            except _TransactionLost as again:
                self._note_lasting(again.error)
                outcomes.append(self._dialect.failure(again.error))
            except apsw.Error as error:
                self._note_lasting(error)
                outcomes.append(self._dialect.failure(error))
        return outcomes

    def _run_all(self, calls: Sequence[Call]) -> list[Outcome | None]:
        outcomes: list[Outcome | None] = [None] * len(calls)
        until = self._monotonic() + SLICE_SECONDS
        # Operations that wait at the same time have no order among themselves, so those that can share
        # statements are brought together.
        together: dict[str, deque[int]] = {}
        for place, (name, _) in enumerate(calls):
            if name in TOGETHER:
                together.setdefault(name, deque()).append(place)
        for place, (name, arguments) in enumerate(calls):
            if outcomes[place] is not None:
                continue
            if place > 0 and self._monotonic() >= until:
                break
            if name not in TOGETHER:
                outcomes[place] = self._run(place, name, arguments)
                continue
            waiting = together[name]
            places = [waiting.popleft() for _ in range(min(len(waiting), _TOGETHER_MAX))]
            for partner, outcome in zip(places, self._run_together(name, places, calls), strict=True):
                outcomes[partner] = outcome
        return outcomes

    def _run_together(self, name: str, places: Sequence[int], calls: Sequence[Call]) -> list[Outcome]:
        if len(places) > 1:
            arguments = [calls[place][1] for place in places]
            outcome = self._guarded(places[0], lambda: TOGETHER[name](self._cursor, arguments))
            if not isinstance(outcome, Exception):
                return outcome
        return [self._run(place, name, calls[place][1]) for place in places]

    def _run(self, place: int, name: str, arguments: tuple[object, ...]) -> Outcome:
        return self._guarded(place, lambda: WRITES[name](self._cursor, *arguments))

    def _guarded(self, place: int, function: Callable[[], T]) -> T | Exception:
        """
        Run something in a savepoint.

        Raises:
            _TransactionLost: the whole transaction is gone.
        """
        execute = self._connection.execute
        execute("SAVEPOINT one")
        try:
            outcome = function()
        except Exception as error:
            if not self._connection.in_transaction:
                raise _TransactionLost(place, error) from error
            execute("ROLLBACK TO one")
            execute("RELEASE one")
            if self._dialect.is_lasting(error):
                raise _TransactionLost(place, error) from error
            return self._dialect.failure(error)
        execute("RELEASE one")
        return outcome

    def _empty_log(self) -> None:
        self._connection.set_busy_timeout(_ERASE_MILLISECONDS)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._erases = False
            self.metrics.wal_pages = 0
        finally:
            self._connection.set_busy_timeout(BUSY_MILLISECONDS)

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.metrics.wal_pages = pages
        return apsw.SQLITE_OK

    def _note_lasting(self, error: Exception) -> None:
        if self._dialect.is_lasting(error):
            self.distrust(type(error).__name__)
