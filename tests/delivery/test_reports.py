"""mailtraq_py/delivery/reports.py: a report finds its way, or nobody is told."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.delivery.reports import Reports
from mailtraq_py.interfaces.delivery import ReportedMessage
from mailtraq_py.interfaces.queue import Origin
from mailtraq_py.interfaces.store import Acceptance
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NOTIFY_NEVER, NULL_PATH, ForwardPath, Recipient, ReversePath
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.report import Action, RecipientStatus
from tests.delivery.fakes import FakeContent
from tests.fakes import FakeDirectory

ORIGINAL = b"Subject: hello\r\nFrom: a@b\r\n\r\nbody text\r\n"
FAILED = RecipientStatus(
    Recipient(ForwardPath(parse_address("x@far.example"))), Action.FAILED, Reply(550, "no", "5.1.1")
)


class ReportsTests(SynchronousTestCase):
    """Reports for senders here, elsewhere and nowhere."""

    def setUp(self) -> None:
        self.content = FakeContent()
        self.directory = FakeDirectory({"alice@here.example": b"pw"})
        self.reports = Reports("mx.here.example", self.content, self.directory, 500.0, lambda: 1_000_000.0)

    def compose(self, sender: str, octets: bytes = ORIGINAL, **facts: Any) -> Acceptance | None:
        """A failure report to a sender, "" for the null reverse-path."""

        async def read(offset: int, length: int) -> bytes:
            return octets[offset : offset + length]

        path = ReversePath(parse_address(sender)) if sender else NULL_PATH
        message = ReportedMessage("M1", path, 999_000.0, len(octets), read, **facts)
        return self.successResultOf(Deferred.fromCoroutine(self.reports.compose(message, [FAILED])))

    def written(self) -> Message:
        """The report as a message."""
        return message_from_bytes(self.content.spools[-1].whole)

    def test_sender_here(self) -> None:
        """A sender of ours has the report in the mailbox at once, from the null reverse-path."""
        (content,) = self.compose("Alice@HERE.example").contents
        (local,) = content.local
        self.assertEqual(content.outgoing, ())
        self.assertEqual(local.account_id, 1)
        self.assertTrue(local.head.startswith(b"Return-Path: <>\r\nDelivered-To: alice@here.example\r\n"))
        self.assertEqual(content.facts.octets, self.content.spools[-1].octets)

    def test_sender_elsewhere(self) -> None:
        """The report is queued, from the null reverse-path, asking for no report (RFC 3461 6.1)."""
        (row,) = self.compose("s@far.example").contents[0].outgoing
        self.assertEqual((row.reverse_path, row.origin, row.ret), (NULL_PATH, Origin.REPORT, ""))
        self.assertEqual(row.recipient.notify, NOTIFY_NEVER)
        self.assertEqual((row.due, row.expires), (1_000_000.0, 1_000_500.0))

    def test_null_reverse_path(self) -> None:
        """Q 25: never a bounce of a bounce."""
        self.assertIsNone(self.compose(""))
        self.assertEqual(self.content.spools, [])

    def test_unknown_sender_here(self) -> None:
        """A reverse-path in a domain of ours that nobody has is told nothing."""
        self.assertIsNone(self.compose("nobody@here.example"))

    def test_what_is_returned(self) -> None:
        """The whole message when it is small or asked for, its header for RET=HDRS or when it is long."""
        long = ORIGINAL + b"x" * 100_000
        for octets, ret, full in (
            (ORIGINAL, "", True),
            (ORIGINAL, "HDRS", False),
            (long, "", False),
            (long, "FULL", True),
        ):
            self.compose("s@far.example", octets, ret=ret)
            returned = self.written().get_payload()[2]
            self.assertEqual(returned.get_content_type(), "message/rfc822" if full else "text/rfc822-headers")
            whole = self.content.spools[-1].whole
            self.assertEqual(octets in whole, full)
            self.assertIn(b"Subject: hello\r\nFrom: a@b\r\n", whole)
            self.assertEqual(b"body text" in whole, full)

    def test_parts(self) -> None:
        """multipart/report with words, fields and the message (RFC 6522)."""
        self.compose("s@far.example", envid="e1")
        report = self.written()
        self.assertEqual(report.get_content_type(), "multipart/report")
        self.assertEqual(report.get_param("report-type"), "delivery-status")
        kinds = [part.get_content_type() for part in report.get_payload()]
        self.assertEqual(kinds, ["text/plain", "message/delivery-status", "message/rfc822"])
        about, recipient = report.get_payload()[1].get_payload()
        self.assertEqual((about["Original-Envelope-Id"], about["Reporting-MTA"]), ("e1", "dns; mx.here.example"))
        self.assertEqual((recipient["Action"], recipient["Status"]), ("failed", "5.1.1"))
        self.assertEqual(recipient["Final-Recipient"], "rfc822; x@far.example")
