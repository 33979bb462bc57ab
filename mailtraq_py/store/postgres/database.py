"""
The way into a PostgreSQL database.

    run         to one of WRITERS threads, each with a connection: a transaction for each operation, and the server
                brings the commits of all together. Acceptances that wait share a transaction
    read        on this thread's connection, here and now: 60 microseconds of processor time and one round trip to the
                server, of which nobody waits longer than `READ_SECONDS` on the reactor's thread
    read_apart  for what takes long

On the reactor's thread no connection is made: where it is lost, one is made in another thread, and until it is there
what is asked fails with TemporaryFailure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import psycopg
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure

from ..backlog import Backlog
from ..database import MAX_BATCH_OCTETS, MAX_WAITING_OCTETS, MAX_WAITING_OPERATIONS, Committed, Database, answer, news
from ..hub import ChangeHub
from ..migrate import StoreRefused
from ..operations import READS, TOGETHER
from ..sql.rows import Written
from ..workers import Workers
from ..writer import Outcome
from ..writermetrics import WriterMetrics
from .address import Address
from .bell import Bell
from .dialect import failure
from .link import Link, Numbers, PostgresCursor, check_server, connect
from .news import News
from .schema import migrate
from .transactions import Transactions

WRITERS = 8
READ_SECONDS = 2.0

_RECONNECT_SECONDS = 0.5
_TOGETHER_MAX = 16
# Between hosts that keep time by NTP; less than this is no difference.
_CLOCKS_AGREE_SECONDS = 0.1


class PostgresDatabase(Database):
    """
    See the file's head. Both kinds of state lie in one database, so a store has one of these.

    Args:
        address: where it is.
        workers: for `read_apart`, and where connections are made for the reactor's thread.
        clock: seconds since the epoch.
        reactor: None does everything at once in the calling thread.
        committed: see `Database`.
        origin: this process's name in notices.
    """

    keeps_files = False
    log = Logger()

    def __init__(
        self,
        address: Address,
        workers: Workers,
        clock: Callable[[], float],
        reactor: Any = None,
        committed: Committed | None = None,
        origin: str = "",
    ) -> None:
        super().__init__(workers, committed)
        self._connect = partial(connect, address)
        self._address = address
        self._clock = clock
        self._reactor = reactor
        self._origin = origin
        self._metrics = WriterMetrics()
        self._healthy = True
        self._numbers = Numbers(self._connect)
        self._local = threading.local()
        self._readers: list[Link] = []
        self._reactor_link: Link | None = None
        self._reactor_thread = threading.get_ident() if reactor is not None else 0
        self._connecting = False
        self._again: list[Any] = []
        self._bell: Bell | None = None
        self._heard: Callable[[], None] = lambda: None
        self._waiting = _Waiting()
        self._transactions = self._new_transactions()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.ahead = 0.0

    def open(self) -> None:
        """
        Connect, see that the server will do, bring the schema up to date.

        Raises:
            StoreRefused: there is no connection, or the server or its database will not do.
        """
        try:
            link = self._connect()
            for warning in check_server(link):
                self.log.warn("store-unsafe", event="store-unsafe", reason=warning)
            migrate(link, self._address.shown)
        except psycopg.Error as error:
            raise StoreRefused(f"{self._address.shown}: {_sentence(error)}") from None
        self._use(link)

    @property
    def metrics(self) -> WriterMetrics:
        """See `Database`."""
        return self._metrics

    @property
    def is_healthy(self) -> bool:
        """See `Database`."""
        return self._healthy

    def distrust(self, what: str) -> None:
        """See `Database`."""
        if self._healthy:
            self._healthy = False
            self.log.critical("store-unhealthy", event="store-unhealthy", database=self._address.shown, error=what)

    # --- writing -----------------------------------------------------------------------------------------------

    def run(self, name: str, *arguments: Any, octets: int = 0) -> Deferred[Any]:
        """See `Database`. TemporaryFailure may also mean that the answer was lost; see `transactions`."""
        try:
            self.check_room()
        except TemporaryFailure as refusal:
            return fail(refusal)
        if self._reactor is None:
            (outcome,) = self._execute(self._transactions, name, [arguments])
            self._tell(*news([outcome]))
            return succeed(outcome.value) if isinstance(outcome, Written) else fail(outcome)
        operation = _Operation(name, arguments, octets)
        if self._waiting.put(operation) and len(self._threads) < WRITERS:
            thread = threading.Thread(target=self._write, name=f"store-write {len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return operation.deferred

    def check_room(self) -> None:
        """See `Database`."""
        super().check_room()
        if self._closed:
            raise TemporaryFailure("the store is closed")
        if self._waiting.operations >= MAX_WAITING_OPERATIONS or self._waiting.octets >= MAX_WAITING_OCTETS:
            raise TemporaryFailure("too much waits for the store's writers")

    def _write(self) -> None:
        """A thread, of which there are as many as were needed at once so far."""
        transactions = self._new_transactions()
        while taken := self._waiting.take():
            wanted = [operation for operation in taken if not operation.withdrawn]
            calls = [operation.arguments for operation in wanted]
            outcomes = self._execute(transactions, taken[0].name, calls) if calls else []
            self._reactor.callFromThread(self._settle, taken, wanted, outcomes)
        transactions.close()

    def _new_transactions(self) -> Transactions:
        return Transactions(self._connect, self._numbers, self._origin, self._now, self.distrust)

    def _now(self) -> float:
        return self._clock() + self.ahead

    def _execute(self, transactions: Transactions, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Outcome]:
        started = time.monotonic()
        outcomes = transactions.execute(name, calls)
        seconds = time.monotonic() - started
        metrics = self._metrics
        metrics.note(len(calls), seconds)
        metrics.failures += sum(1 for outcome in outcomes if isinstance(outcome, Exception))
        return outcomes

    def _settle(self, taken: Sequence[_Operation], wanted: Sequence[_Operation], outcomes: Sequence[Outcome]) -> None:
        """On the reactor thread: count out what no longer waits, tell the hub, then the callers, then the others."""
        self._waiting.settled(taken)
        changes, purged = news(outcomes)
        self._tell(changes, purged)
        for operation, outcome in zip(wanted, outcomes, strict=True):
            answer(operation.deferred, outcome)
        if changes and self._bell is not None:
            self._bell.ring()

    # --- reading -----------------------------------------------------------------------------------------------

    def read(self, name: str, *arguments: Any) -> Any:
        """See `Database`."""
        return self._on_link(lambda link: READS[name](PostgresCursor(link, self._numbers), *arguments))

    def _on_link(self, question: Callable[[Link], Any]) -> Any:
        on_reactor = threading.get_ident() == self._reactor_thread
        link = self._link_of_reactor() if on_reactor else self._link_of_thread()
        try:
            return question(link)
        except psycopg.Error as error:
            if not link.closed:
                raise failure(error) from error
            if on_reactor:
                self._reconnect()
                raise failure(error) from error
        try:
            return question(self._link_of_thread())
        except psycopg.Error as error:
            raise failure(error) from error

    def _link_of_thread(self) -> Link:
        link: Link | None = getattr(self._local, "link", None)
        if link is None or link.closed:
            try:
                link = self._local.link = self._connect()
            except psycopg.Error as error:
                raise TemporaryFailure("database: no connection") from error
            self._readers = [*(reader for reader in self._readers if not reader.closed), link]
        return link

    def _link_of_reactor(self) -> Link:
        link = self._reactor_link
        if link is None or link.closed:
            self._reconnect()
            raise TemporaryFailure("database: no connection")
        return link

    def _reconnect(self) -> None:
        """Have a connection for the reactor's thread made in another one, once at a time."""
        if self._connecting or self._closed:
            return
        self._connecting = True

        def made(link: Link) -> None:
            self._connecting = False
            if self._closed:
                link.close()
            else:
                self._use(link)

        def failed(_: object) -> None:
            self._connecting = False
            self._soon(self._reconnect)

        self._workers.run(self._connect).addCallback(made).addErrback(failed)

    def _use(self, link: Link) -> None:
        """A connection for this thread, which is the reactor's where there is one."""
        if self._reactor is None:
            self._local.link = link
            self._readers.append(link)
        else:
            link.patience = READ_SECONDS
            self._reactor_link = link
        self._set_clock(link)

    def _set_clock(self, link: Link) -> None:
        cursor = link.execute("SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)")
        difference = float(cursor.fetchall()[0][0]) - time.time()
        self.ahead = difference if abs(difference) > _CLOCKS_AGREE_SECONDS else 0.0

    # --- between processes -------------------------------------------------------------------------------------

    def notices(self, hub: ChangeHub, origin: str) -> News:
        """See `Database`. From now on others are rung when something was committed here, and ring us."""
        found = News(self, hub, origin)
        self._heard = found.poll
        self._hang_bell()
        return found

    async def keep_up(self) -> None:
        """See `Database`."""
        self._on_link(self._set_clock)
        await self.run("expire_shared_notices", self._now())

    def _hang_bell(self) -> None:
        if self._closed:
            return

        def made(link: Link) -> None:
            if self._closed:
                link.close()
                return
            self._bell = Bell(self._reactor, link, self._heard, self._bell_lost)
            # What was rung for while there was no bell.
            self._heard()

        self._workers.run(self._connect).addCallback(made).addErrback(lambda _: self._soon(self._hang_bell))

    def _bell_lost(self) -> None:
        self._bell = None
        self._soon(self._hang_bell)

    def _soon(self, function: Callable[[], None]) -> None:
        """Try something again, unless it is over by then."""
        self._again = [call for call in self._again if call.active()]
        if not self._closed:
            self._again.append(self._reactor.callLater(_RECONNECT_SECONDS, function))

    async def close(self) -> None:
        """See `Database`."""
        if self._closed:
            return
        self._closed = True
        for call in self._again:
            if call.active():
                call.cancel()
        if self._threads:
            ended: Deferred[None] = Deferred()
            self._waiting.end()
            waiter = threading.Thread(target=self._join, args=(ended,), daemon=True)
            waiter.start()
            await ended
        if self._bell is not None:
            self._bell.close()
        self._transactions.close()
        for link in (*self._readers, *filter(None, [self._reactor_link])):
            link.close()
        self._numbers.close()

    def _join(self, ended: Deferred[None]) -> None:
        for thread in self._threads:
            thread.join()
        self._reactor.callFromThread(ended.callback, None)


class _Operation:
    """Something that waits; see `backlog.Waiting`."""

    __slots__ = ("arguments", "deferred", "name", "octets", "withdrawn")

    def __init__(self, name: str, arguments: tuple[Any, ...], octets: int) -> None:
        self.name = name
        self.arguments = arguments
        self.octets = octets
        self.withdrawn = False
        self.deferred: Deferred[Any] = Deferred(self._withdraw)

    @property
    def queue(self) -> str:
        """See `backlog.Waiting`."""
        return self.name

    def _withdraw(self, _: object) -> None:
        self.withdrawn = True


class _Waiting:
    """Operations between the reactor's thread and the writers; counted until they are settled."""

    def __init__(self) -> None:
        self.operations = 0
        self.octets = 0
        self._backlog: Backlog[_Operation] = Backlog()
        self._idle = 0
        self._ends = False
        self._condition = threading.Condition()

    def put(self, operation: _Operation) -> bool:
        """On the reactor's thread; returns whether there is more than writers are idle."""
        self.operations += 1
        self.octets += operation.octets
        with self._condition:
            self._backlog.add(operation)
            self._condition.notify()
            return len(self._backlog) > self._idle

    def take(self) -> list[_Operation]:
        """In a writer's thread: wait, then take one, or several that can share statements; none at the end."""
        with self._condition:
            while not self._backlog:
                if self._ends:
                    return []
                self._idle += 1
                self._condition.wait()
                self._idle -= 1
            return self._backlog.take_alike(_at_once, MAX_BATCH_OCTETS)

    def settled(self, operations: Sequence[_Operation]) -> None:
        """On the reactor's thread: these wait no more."""
        self.operations -= len(operations)
        self.octets -= sum(operation.octets for operation in operations)

    def end(self) -> None:
        """No more will come."""
        with self._condition:
            self._ends = True
            self._condition.notify_all()


def _at_once(name: Hashable) -> int:
    """How many operations of a name one transaction takes."""
    return _TOGETHER_MAX if name in TOGETHER else 1


def _sentence(error: psycopg.Error) -> str:
    """What libpq says, in one line."""
    return " ".join(str(error).split())
