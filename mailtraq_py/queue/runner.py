"""
The loop around the queue: take what is due, try it, settle what came of it, sleep until something is due again.

    _run            lease -> _work_message for each message -> lease again; nothing due: sleep
    _work_message   its destinations side by side; each settles at once what nobody has to hear of; what the sender
                    must hear is settled when all are through, with one report in the same transaction
    _work           one destination: places are limited in all and for each destination; then Carrier.carry

A row is ours for LEASE_SECONDS. Who waited too long for a place lets go of it without an attempt, and an attempt is cut
off before the lease ends, so that no row is tried twice at once. If this process dies, its rows come back at its
next start, or to others when the lease ends.

RFC 5321 4.5.4.1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, DeferredSemaphore, gatherResults
from twisted.internet.defer import Deferred as TwistedDeferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailtraq_py.interfaces.delivery import IReports
from mailtraq_py.interfaces.failures import OverQuota, TemporaryFailure
from mailtraq_py.interfaces.queue import Deferred, Failed, IQueue, Outcome, QueuedRecipient, Sent
from mailtraq_py.interfaces.store import Acceptance, IChangeHub, IContent
from mailtraq_py.mail.changes import Change
from mailtraq_py.mail.reply import Reply

from .attempt import Attempt, Carrier
from .bounce import Settled, compose_reports, needs_report
from .schedule import is_delay_report_due, next_attempt, retry_delay
from .settings import OutboundSettings

LEASE_SECONDS = 900.0
WAIT_MAX_SECONDS = 300.0
CARRY_MAX_SECONDS = 580.0
# Rows held at once, those that wait for a place included, for each place.
ROWS_PER_PLACE = 10
SLEEP_MAX_SECONDS = 60.0
STORE_PAUSE_SECONDS = 5.0
SETTLE_PAUSES_SECONDS = (1.0, 5.0, 20.0)

_CUT_OFF = Reply(451, "the attempt took too long", "4.4.2")


class Runner:
    """
    Args:
        reactor: tells and keeps time, seconds since the epoch.
        queue: the rows.
        carrier: takes messages away.
        reports: for failures, delays, successes.
        content: the messages' octets, for reports.
        hub: tells when rows were added.
        settings: see there.
        owner: this process's name in leases: no other has it, and it has the same after a restart.
        chance: numbers from [0, 1).
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        queue: IQueue,
        carrier: Carrier,
        reports: IReports,
        content: IContent,
        hub: IChangeHub,
        settings: OutboundSettings,
        owner: str,
        chance: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._queue = queue
        self._carrier = carrier
        self._reports = reports
        self._content = content
        self._hub = hub
        self._settings = settings
        self._owner = owner
        self._chance = chance
        self._running = False
        self._hinted = False
        self._is_full = False
        self._sleeping: TwistedDeferred[None] | None = None
        self._loop: TwistedDeferred[None] | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self._held: set[int] = set()
        self._messages: set[TwistedDeferred[None]] = set()
        self._carrying: set[TwistedDeferred[list[Attempt]]] = set()
        self._places = DeferredSemaphore(settings.max_connections)
        self._destinations: dict[str, tuple[DeferredSemaphore, int]] = {}

    def start(self) -> None:
        """Begin to work."""
        self._running = True
        self._unwatch = self._hub.watch_queue(self._hear)
        self._loop = TwistedDeferred.fromCoroutine(self._run())
        self._loop.addErrback(lambda failure: self.log.failure("the queue's loop ended", failure=failure))

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Begin nothing more; what runs may end within the grace time, then it is cut off and waits in the queue."""
        self._running = False
        self._unwatch()
        self._wake()
        if self._loop is not None:
            await self._loop
        cut = self._reactor.callLater(grace_seconds, self._cut_off)
        await gatherResults(list(self._messages))
        if cut.active():
            cut.cancel()
        await self._carrier.stop()
        try:
            await self._queue.release(self._owner)
        except TemporaryFailure as failure:
            self.log.warn("queue-store", event="queue-store", reason=failure.reason)

    # -- the loop --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        released = False
        while self._running:
            self._hinted = False
            try:
                if not released:
                    await self._queue.release(self._owner)
                    released = True
                seconds = await self._take()
            except TemporaryFailure as failure:
                self.log.warn("queue-store", event="queue-store", reason=failure.reason)
                seconds = STORE_PAUSE_SECONDS
            if seconds > 0 and not self._hinted and self._running:
                await self._sleep(seconds)

    async def _take(self) -> float:
        """Lease what is due and begin with it; returns how long to sleep."""
        room = self._settings.max_connections * ROWS_PER_PLACE - len(self._held)
        self._is_full = room <= 0
        if self._is_full:
            return SLEEP_MAX_SECONDS
        now = self._reactor.seconds()
        rows = await self._queue.lease(self._owner, now, LEASE_SECONDS, room)
        # A lease that ended while the row's attempt still runs gives it to us once more.
        rows = [row for row in rows if row.id not in self._held]
        by_message: dict[tuple[str, int], list[QueuedRecipient]] = {}
        for row in rows:
            self._held.add(row.id)
            by_message.setdefault((row.acceptance_id, row.content.id), []).append(row)
        for message in by_message.values():
            self._begin(message, now)
        if rows:
            return 0.0
        due: float | None = await self._queue.next_due()
        if due is None:
            return SLEEP_MAX_SECONDS
        left: float = due - self._reactor.seconds()
        return min(max(left, 0.1), SLEEP_MAX_SECONDS)

    def _begin(self, rows: Sequence[QueuedRecipient], leased: float) -> None:
        work = TwistedDeferred.fromCoroutine(self._work_message(rows, leased))
        self._messages.add(work)

        def end(result: Any) -> None:
            self._messages.discard(work)
            self._held.difference_update(row.id for row in rows)
            if result is not None:
                self._note_bug(result, rows[0])
            if self._is_full:
                self._wake()

        work.addBoth(end)

    async def _sleep(self, seconds: float) -> None:
        sleeping = self._sleeping = TwistedDeferred()
        alarm = self._reactor.callLater(seconds, self._wake)
        await sleeping
        if alarm.active():
            alarm.cancel()

    def _wake(self) -> None:
        self._hinted = True
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None:
            sleeping.callback(None)

    def _hear(self, change: Change) -> None:
        self._wake()

    def _cut_off(self) -> None:
        for carrying in list(self._carrying):
            carrying.cancel()

    # -- one message -----------------------------------------------------------------------------------

    async def _work_message(self, rows: Sequence[QueuedRecipient], leased: float) -> None:
        by_destination: dict[str, list[QueuedRecipient]] = {}
        for row in rows:
            by_destination.setdefault(self._carrier.destination(row), []).append(row)
        working = []
        for destination, group in by_destination.items():
            work = TwistedDeferred.fromCoroutine(self._work(destination, group, leased))
            working.append(work.addErrback(self._note_bug, rows[0]))
        waiting = [settled for results in await gatherResults(working) for settled in results]
        if not waiting:
            return
        try:
            reports = await compose_reports(self._reports, self._content, waiting, self._reactor.seconds())
        except TemporaryFailure as failure:
            # The rows come back when their lease ends, and fail again.
            self.log.warn("queue-store", event="queue-store", reason=failure.reason)
            return
        try:
            await self._settle([settled.outcome for settled in waiting], reports)
        finally:
            for content in (content for report in reports for content in report.contents):
                content.spool.discard()  # does nothing once it is stored

    async def _work(self, destination: str, rows: Sequence[QueuedRecipient], leased: float) -> list[Settled]:
        """Try one destination; returns what must be told to the sender, the rest is settled."""
        here, users = self._destinations.get(
            destination, (DeferredSemaphore(self._settings.max_connections_per_destination), 0)
        )
        self._destinations[destination] = (here, users + 1)
        await here.acquire()
        await self._places.acquire()
        try:
            if not self._running or self._reactor.seconds() - leased > WAIT_MAX_SECONDS:
                return []
            attempts = await self._carry(rows)
        finally:
            self._places.release()
            here.release()
            self._leave(destination)
        now = self._reactor.seconds()
        settled = [Settled(attempt, self._outcome(attempt, now)) for attempt in attempts]
        for each in settled:
            self._log_outcome(each)
        at_once = [each.outcome for each in settled if not needs_report(each, now)]
        if at_once:
            await self._settle(at_once, [])
        return [each for each in settled if needs_report(each, now)]

    def _note_bug(self, failure: Failure, row: QueuedRecipient) -> list[Settled]:
        """Our bug ends one attempt, not the queue; the rows come back when their lease ends."""
        self.log.failure("the queue failed at a message", failure=failure, message_id=row.acceptance_id)
        return []

    async def _carry(self, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        carrying = TwistedDeferred.fromCoroutine(self._carrier.carry(rows))
        self._carrying.add(carrying)
        carrying.addTimeout(CARRY_MAX_SECONDS, self._reactor)
        try:
            return await carrying
        except (TooLate, CancelledError):
            return [Attempt(row, _CUT_OFF) for row in rows]
        finally:
            self._carrying.discard(carrying)

    def _leave(self, destination: str) -> None:
        here, users = self._destinations[destination]
        if users > 1:
            self._destinations[destination] = (here, users - 1)
        else:
            del self._destinations[destination]

    def _outcome(self, attempt: Attempt, now: float) -> Outcome:
        row, reply, settings = attempt.row, attempt.reply, self._settings
        if reply.is_positive:
            return Sent(row.id)
        if reply.is_permanent:
            return Failed(row.id, reply)
        delay = retry_delay(settings.retry_seconds, row.attempts + 1, self._chance())
        due = next_attempt(now, delay, row.outgoing.expires)
        if due is None:
            # RFC 3464 2.3.3: given up upon a temporary failure, so the status stays one.
            return Failed(row.id, Reply(reply.code, f"delivery time expired; last reply: {reply}", "4.4.7"))
        report = is_delay_report_due(now, row.received, settings.delay_report_seconds, row.delay_reported)
        return Deferred(row.id, reply, due, row.delay_reported or report)

    async def _settle(self, outcomes: Sequence[Outcome], reports: Sequence[Acceptance]) -> None:
        """Write outcomes; a store in trouble is asked again, since forgetting a success sends a message twice."""
        for pause in (*SETTLE_PAUSES_SECONDS, None):
            try:
                try:
                    await self._queue.settle(self._owner, outcomes, reports)
                except OverQuota:
                    # Whoever lets his mailbox fill up hears nothing more (RFC 5321 6.1: a report causes no report).
                    self.log.info("report-dropped", event="report-dropped", reason="over quota")
                    await self._queue.settle(self._owner, outcomes, [])
                if any(isinstance(outcome, Deferred) for outcome in outcomes):
                    self._wake()  # something may be due sooner than the loop believes
                return
            except TemporaryFailure as failure:
                self.log.warn("queue-store", event="queue-store", reason=failure.reason)
                if pause is None:
                    return
                paused: TwistedDeferred[None] = TwistedDeferred()
                self._reactor.callLater(pause, paused.callback, None)
                await paused

    def _log_outcome(self, settled: Settled) -> None:
        attempt, outcome = settled.attempt, settled.outcome
        words = {Sent: "relayed", Failed: "bounced", Deferred: "deferred"}
        word = words[type(outcome)]
        self.log.info(
            word,
            event=word,
            message_id=attempt.row.acceptance_id,
            queue_id=attempt.row.id,
            sender=str(attempt.row.outgoing.reverse_path),
            to=str(attempt.row.outgoing.recipient.path),
            host=attempt.host,
            tls=attempt.tls,
            reply=str(attempt.reply),
            attempt=attempt.row.attempts + 1,
            **({"due": outcome.due} if isinstance(outcome, Deferred) else {}),
        )
