"""mailtraq_py/queue/runner.py: the loop, with time moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.delivery.reports import Reports
from mailtraq_py.interfaces.failures import OverQuota
from mailtraq_py.interfaces.queue import Deferred as Postponed
from mailtraq_py.interfaces.queue import Failed, QueuedRecipient, Sent
from mailtraq_py.mail.changes import QueueGrew
from mailtraq_py.mail.reply import Reply
from mailtraq_py.queue.attempt import Attempt
from mailtraq_py.queue.runner import CARRY_MAX_SECONDS, LEASE_SECONDS, WAIT_MAX_SECONDS, Runner
from mailtraq_py.queue.settings import OutboundSettings
from tests.delivery.fakes import FakeContent
from tests.fakes import FakeDirectory
from tests.queue.fakes import FakeHub, FakeQueue, make_row, turn

OK = Reply(250, "ok")
NO = Reply(550, "no", "5.1.1")
LATER = Reply(451, "later", "4.2.0")


class ScriptedCarrier:
    """Answers by recipient; `held` destinations wait until they are released."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.carried: list[list[int]] = []
        self.held: dict[str, Deferred[None]] = {}
        self.running = 0
        self.most = 0
        self.stopped = False
        self.bug: Exception | None = None

    def destination(self, row: QueuedRecipient) -> str:
        """The domain."""
        return row.outgoing.recipient.path.domain_key

    async def carry(self, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """Note it, wait if held, answer."""
        self.carried.append([row.id for row in rows])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.bug is not None:
                raise self.bug
            if self.destination(rows[0]) in self.held:
                waiting: Deferred[None] = Deferred()
                self.held[self.destination(rows[0])].chainDeferred(waiting)
                await waiting
            replies = [self.replies.get(str(row.outgoing.recipient.path), OK) for row in rows]
            return [Attempt(row, reply, "mx", said=reply) for row, reply in zip(rows, replies, strict=True)]
        finally:
            self.running -= 1

    async def stop(self) -> None:
        """Note it."""
        self.stopped = True


class RunnerTests(SynchronousTestCase):
    """A runner over rows in memory."""

    def setUp(self) -> None:
        self.clock, self.hub, self.queue, self.content = Clock(), FakeHub(), FakeQueue(), FakeContent()
        self.queue.now = self.clock.seconds
        self.carrier = ScriptedCarrier()
        self.ref = self.content.put(b"Subject: s\r\n\r\nbody\r\n")
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """A runner with these settings."""
        reports = Reports(
            "mx.here.example", self.content, FakeDirectory({"s@here.example": b""}), 500.0, self.clock.seconds
        )
        given = OutboundSettings("mx.here.example", **{"retry_seconds": (100.0, 200.0), **settings})
        self.runner = Runner(
            self.clock,
            self.queue,
            self.carrier,
            reports,
            self.content,
            self.hub,
            given,
            "me",
            lambda: 0.5,
        )

    def start(self, *rows: QueuedRecipient) -> None:
        """Queue rows and run until time must pass."""
        self.queue.add(*rows)
        self.runner.start()
        turn(self.clock)

    def stop(self) -> None:
        """Stop, and see that nothing is left behind."""
        stopping = Deferred.fromCoroutine(self.runner.stop(10.0))
        turn(self.clock)
        self.clock.advance(10)
        turn(self.clock)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.hub.listeners, [])
        self.assertTrue(self.carrier.stopped)

    def row(self, number: int, to: str = "x@far.example", **more: Any) -> QueuedRecipient:
        """A row of the message."""
        return make_row(number, to, self.ref, **more)

    def lines(self, word: str) -> list[dict[str, Any]]:
        """The log lines of an event."""
        return [event for event in self.events if event.get("event") == word]

    def test_sent(self) -> None:
        """What was taken away ends its row, with a line in the log."""
        self.start(self.row(1))
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        (line,) = self.lines("relayed")
        self.assertEqual((line["message_id"], line["queue_id"], line["to"]), ("M1", 1, "x@far.example"))
        self.assertEqual((line["host"], line["reply"]), ("mx", "250 ok"))
        self.stop()

    def test_rows_travel_together(self) -> None:
        """Rows of one message and destination are one attempt, other destinations and messages their own."""
        self.start(
            self.row(1),
            self.row(2, "y@far.example"),
            self.row(3, "z@else.example"),
            self.row(4, "x@far.example", message="M2"),
        )
        self.assertEqual(sorted(self.carrier.carried), [[1, 2], [3], [4]])
        self.stop()

    def test_retried(self) -> None:
        """What must wait is tried again by the schedule."""
        self.carrier.replies["x@far.example"] = LATER
        self.start(self.row(1))
        self.assertEqual(self.queue.outcomes, [Postponed(1, LATER, 100.0)])
        self.clock.pump([10.0] * 9)
        self.assertEqual(len(self.carrier.carried), 1)
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.carrier.carried), 2)
        self.assertEqual(self.queue.due[1], self.clock.seconds() + 200.0)
        self.assertEqual(len(self.lines("deferred")), 2)
        self.stop()

    def test_failed(self) -> None:
        """What failed for good ends its row and tells the sender, in one transaction."""
        self.carrier.replies["x@far.example"] = NO
        self.start(self.row(1), self.row(2, "y@far.example"))
        self.assertIn(([Sent(2)], []), self.queue.settled)
        (outcomes, reports) = self.queue.settled[-1]
        self.assertEqual(outcomes, [Failed(1, NO)])
        self.assertIn(b"Status: 5.1.1\r\n", reports[0].contents[0].spool.whole)
        self.assertEqual([line["to"] for line in self.lines("bounced")], ["x@far.example"])
        self.stop()

    def test_one_report_for_all_destinations(self) -> None:
        """Failures of one message at several domains are told together; successes do not wait for them."""
        self.carrier.replies |= {"x@far.example": NO, "z@else.example": NO}
        self.carrier.held["else.example"] = Deferred()
        self.start(self.row(1), self.row(2, "y@far.example"), self.row(3, "z@else.example"))
        self.assertEqual(self.queue.settled, [([Sent(2)], [])])
        self.carrier.held["else.example"].callback(None)
        turn(self.clock)
        (report,) = self.queue.reports
        self.assertEqual(report.contents[0].spool.whole.count(b"Final-Recipient"), 2)
        self.assertEqual(len(report.contents[0].local), 1)
        self.stop()

    def test_bounce_of_a_bounce(self) -> None:
        """Q 25: a report that cannot be delivered ends without another one, with a line in the log."""
        self.carrier.replies["x@far.example"] = NO
        self.start(self.row(1, sender=""))
        self.assertEqual(self.queue.settled, [([Failed(1, NO)], [])])
        self.assertEqual(len(self.lines("bounced")), 1)
        self.stop()

    def test_expired(self) -> None:
        """At the end of its time a last attempt is made; then the sender hears the last reply."""
        self.carrier.replies["x@far.example"] = LATER
        self.start(self.row(1, expires=150.0))
        self.clock.pump([10.0] * 20)
        self.assertEqual(len(self.carrier.carried), 3)
        outcome = self.queue.outcomes[-1]
        assert isinstance(outcome, Failed)
        self.assertEqual((outcome.reply.code, outcome.reply.enhanced), (451, "4.4.7"))
        (report,) = self.queue.reports
        fields = b"Action: failed\r\nStatus: 4.4.7\r\nRemote-MTA: dns; mx\r\nDiagnostic-Code: smtp; %s\r\n"
        self.assertIn(fields % str(LATER).encode(), report.contents[0].spool.whole)
        self.stop()

    def test_delay_report(self) -> None:
        """After its time the sender hears once that the message waits."""
        self.configure(delay_report_seconds=250.0)
        self.carrier.replies["x@far.example"] = LATER
        self.start(self.row(1))
        self.clock.pump([10.0] * 100)
        (report,) = self.queue.reports
        self.assertIn(b"Action: delayed\r\n", report.contents[0].spool.whole)
        self.assertTrue(self.queue.rows[1].delay_reported)
        self.stop()

    def test_hint(self) -> None:
        """A row that is added is tried at once."""
        self.start()
        self.clock.advance(5)
        self.queue.add(self.row(1, received=self.clock.seconds()))
        self.hub.listeners[0](QueueGrew(self.clock.seconds()))
        turn(self.clock)
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        self.stop()

    def test_a_lost_hint(self) -> None:
        """Without a hint it is found within a minute."""
        self.start()
        self.queue.add(self.row(1))
        self.clock.pump([10.0] * 6)
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        self.stop()

    def test_rows_of_a_crash_come_back(self) -> None:
        """What this runner held when it died is its own again at the start."""
        self.queue.leases[1] = ("me", LEASE_SECONDS)
        self.queue.leases[2] = ("other", LEASE_SECONDS)
        self.start(self.row(1), self.row(2))
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        self.stop()

    def test_limits(self) -> None:
        """So many attempts at once in all, and for each destination."""
        self.configure(max_connections=3, max_connections_per_destination=2)
        for domain in ("far.example", "else.example"):
            self.carrier.held[domain] = Deferred()
        rows = [self.row(n, "x@far.example", message=f"M{n}") for n in range(5)]
        rows += [self.row(n, "x@else.example", message=f"M{n}") for n in range(5, 10)]
        self.start(*rows)
        self.assertEqual(sorted(self.carrier.carried), [[0], [1], [5]])
        for held in list(self.carrier.held.values()):
            held.callback(None)
        self.carrier.held.clear()
        turn(self.clock)
        self.assertEqual(len(self.queue.outcomes), 10)
        self.assertEqual(self.carrier.most, 3)
        self.stop()

    def test_waited_too_long(self) -> None:
        """Who waits for a place until its lease grows old is not tried, and comes back."""
        self.configure(max_connections=1)
        held = self.carrier.held["far.example"] = Deferred()
        self.start(self.row(1), self.row(2, message="M2"))
        self.clock.advance(WAIT_MAX_SECONDS + 1)
        del self.carrier.held["far.example"]
        held.callback(None)
        turn(self.clock)
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        self.clock.pump([30.0] * 30)
        self.assertEqual(self.queue.outcomes, [Sent(1), Sent(2)])
        self.stop()

    def test_cut_off(self) -> None:
        """An attempt that takes longer than its lease allows is cut off and counts as one that must wait."""
        self.carrier.held["far.example"] = Deferred()
        self.start(self.row(1))
        self.clock.advance(CARRY_MAX_SECONDS)
        turn(self.clock)
        (outcome,) = self.queue.outcomes
        assert isinstance(outcome, Postponed)
        self.assertEqual(outcome.reply.enhanced, "4.4.2")
        self.stop()

    def test_store_fails(self) -> None:
        """A success is written as soon as the store can; nothing is sent again meanwhile."""
        self.queue.failing = 2
        self.start(self.row(1))
        self.assertEqual(self.carrier.carried, [])
        self.clock.pump([5.0] * 3)
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        self.queue.add(self.row(2, message="M2"))
        self.hub.listeners[0](QueueGrew(0))

        def fail_once() -> None:
            self.queue.failing = 2

        original: Callable[..., Any] = self.carrier.carry

        async def carry(rows: Sequence[QueuedRecipient]) -> list[Attempt]:
            fail_once()
            attempts: list[Attempt] = await original(rows)
            return attempts

        self.carrier.carry = carry  # type: ignore[method-assign]
        self.hub.listeners[0](QueueGrew(0))
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.queue.outcomes, [Sent(1), Sent(2)])
        self.assertEqual(self.carrier.carried, [[1], [2]])
        self.stop()

    def test_sender_over_quota(self) -> None:
        """A sender whose mailbox is full hears nothing; the row ends all the same."""
        self.carrier.replies["x@far.example"] = NO
        settle = self.queue.settle

        async def full(owner: str, outcomes: Any, reports: Any) -> None:
            if reports:
                raise OverQuota
            await settle(owner, outcomes, reports)

        self.queue.settle = full  # type: ignore[method-assign]
        self.start(self.row(1))
        self.assertEqual(self.queue.settled, [([Failed(1, NO)], [])])
        self.assertEqual(self.content.spools[-1].state, "discarded")
        self.stop()

    def test_our_bug(self) -> None:
        """A bug at one message is logged and does not stop the queue."""
        self.carrier.bug = ZeroDivisionError()
        self.start(self.row(1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.carrier.bug = None
        self.queue.add(self.row(2, message="M2"))
        self.hub.listeners[0](QueueGrew(0))
        turn(self.clock)
        self.assertEqual(self.queue.outcomes, [Sent(2)])
        self.stop()

    def test_stop_lets_attempts_end(self) -> None:
        """What runs may end within the grace time, nothing new begins, leases are given back."""
        held = self.carrier.held["far.example"] = Deferred()
        self.start(self.row(1))
        stopping = Deferred.fromCoroutine(self.runner.stop(10.0))
        self.queue.add(self.row(2, "z@else.example"))
        turn(self.clock)
        self.assertNoResult(stopping)
        held.callback(None)
        turn(self.clock)
        self.successResultOf(stopping)
        self.assertEqual(self.queue.outcomes, [Sent(1)])
        self.assertEqual(self.carrier.carried, [[1]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_cuts_off(self) -> None:
        """After the grace time what runs is cut off and waits in the queue."""
        self.carrier.held["far.example"] = Deferred()
        self.start(self.row(1))
        self.stop()
        (outcome,) = self.queue.outcomes
        self.assertIsInstance(outcome, Postponed)
        self.assertEqual(self.queue.leases, {})
