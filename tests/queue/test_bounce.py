"""mailtraq_py/queue/bounce.py: which outcomes are told, and to whom."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.delivery.reports import Reports
from mailtraq_py.interfaces.queue import Deferred as Postponed
from mailtraq_py.interfaces.queue import Failed, Outcome, QueuedRecipient, Sent
from mailtraq_py.mail.envelope import NOTIFY_NEVER, Notify
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.report import Action
from mailtraq_py.queue.attempt import Attempt
from mailtraq_py.queue.bounce import Settled, compose_reports, report_status
from tests.delivery.fakes import FakeContent
from tests.fakes import FakeDirectory
from tests.queue.fakes import make_row

NO = Reply(550, "no", "5.1.1")
LATER = Reply(451, "later")


def settled(row: QueuedRecipient, outcome: Outcome, reply: Reply = NO, dsn: bool = False) -> Settled:
    """An attempt of mx.far.example with its outcome."""
    return Settled(Attempt(row, reply, "mx.far.example", dsn=dsn, said=reply), outcome)


def action(each: Settled) -> Action | None:
    """What is told of it."""
    status = report_status(each, 1000.0)
    return status.action if status else None


class StatusTests(SynchronousTestCase):
    """NOTIFY decides (RFC 3461 4.1)."""

    def test_failure(self) -> None:
        """Told, unless NOTIFY leaves it out."""
        for notify, told in ((Notify(), Action.FAILED), (Notify(True, False, True), None), (NOTIFY_NEVER, None)):
            self.assertEqual(action(settled(make_row(1, "x@far.example", notify=notify), Failed(1, NO))), told)

    def test_null_reverse_path(self) -> None:
        """Q 25: nobody is told, whatever became of it."""
        row = make_row(1, "x@far.example", sender="", notify=Notify(True, True, True))
        for outcome in (Failed(1, NO), Sent(1), Postponed(1, LATER, 2000.0, True)):
            self.assertIsNone(action(settled(row, outcome)))

    def test_delay(self) -> None:
        """Told once, with the outcome that says so."""
        outcome = Postponed(1, LATER, 2000.0, True)
        self.assertEqual(action(settled(make_row(1, "x@far.example"), outcome)), Action.DELAYED)
        self.assertIsNone(action(settled(make_row(1, "x@far.example", delay_reported=True), outcome)))
        self.assertIsNone(action(settled(make_row(1, "x@far.example"), Postponed(1, LATER, 2000.0))))
        silent = make_row(1, "x@far.example", notify=Notify(False, True, False))
        self.assertIsNone(action(settled(silent, outcome)))

    def test_success(self) -> None:
        """Told as relayed where it was asked for and the next host does not do it (RFC 3461 5.2.2 (b))."""
        row = make_row(1, "x@far.example", notify=Notify(success=True))
        ok = Reply(250, "ok")
        self.assertEqual(action(settled(row, Sent(1), ok)), Action.RELAYED)
        self.assertIsNone(action(settled(row, Sent(1), ok, dsn=True)))
        self.assertIsNone(action(settled(make_row(1, "x@far.example"), Sent(1), ok)))


class ComposeTests(SynchronousTestCase):
    """Reports as they are written."""

    def test_one_report_for_each_sender(self) -> None:
        """All failures of a message that one sender must hear stand in one report."""
        content = FakeContent()
        ref = content.put(b"Subject: s\r\n\r\nbody\r\n", b"X-Head: 1\r\n")
        reports = Reports("mx.here.example", content, FakeDirectory({"s@here.example": b""}), 500.0, lambda: 1000.0)
        rows = [
            make_row(1, "x@far.example", ref, envid="e1"),
            make_row(2, "y@far.example", ref, envid="e1"),
            make_row(3, "z@far.example", ref, sender="list@far.example"),
            make_row(4, "w@far.example", ref, sender=""),
        ]
        outcomes = [settled(row, Failed(row.id, NO)) for row in rows]
        composing = Deferred.fromCoroutine(compose_reports(reports, content, outcomes, 1000.0))
        composed = self.successResultOf(composing)
        self.assertEqual(len(composed), 2)
        first, second = (report.contents[0] for report in composed)
        self.assertEqual((len(first.local), len(first.outgoing)), (1, 0))
        self.assertEqual((len(second.local), len(second.outgoing)), (0, 1))
        text = first.spool.whole
        self.assertEqual(text.count(b"Final-Recipient:"), 2)
        self.assertIn(b"Remote-MTA: dns; mx.far.example\r\n", text)
        self.assertIn(b"X-Head: 1\r\nSubject: s\r\n\r\nbody\r\n", text)
