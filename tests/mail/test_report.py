"""mailtraq_py/mail/report.py: what a report says."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.address import Address, parse_address
from mailtraq_py.mail.envelope import ForwardPath, Recipient
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.report import Action, RecipientStatus, Report, begin, end, returns_full, status_code

STATUS = RecipientStatus(
    Recipient(ForwardPath(parse_address("x@far.example")), original="rfc822;orig@far.example"),
    Action.FAILED,
    Reply(550, "no such user\nhere", "5.1.1"),
    "mx.far.example",
    1_000_000.0,
    said=Reply(550, "no such user\nhere", "5.1.1"),
)
REPORT = Report("id1", "mx.here.example", parse_address("s@here.example"), 1_000_000.0, 999_000.0, (STATUS,), "env")


class ReportTests(SynchronousTestCase):
    """Reports printed."""

    def printed(self, report: Report, full: bool = True) -> bytes:
        """A report that returns a small message."""
        return begin(report, full) + b"Subject: s\r\n\r\nbody" + end(report)

    def test_failure(self) -> None:
        """All fields that RFC 3461 6.3 asks for, each in its group."""
        report = message_from_bytes(self.printed(REPORT))
        self.assertEqual(report.defects, [])
        self.assertEqual((report["To"], report["Auto-Submitted"]), ("s@here.example", "auto-replied"))
        text, fields, returned = report.get_payload()
        self.assertIn("mx.far.example said: 550 5.1.1 no such user here", text.get_payload())
        about, recipient = fields.get_payload()
        self.assertEqual(dict(about)["Original-Envelope-Id"], "env")
        self.assertEqual(
            dict(recipient),
            {
                "Original-Recipient": "rfc822; orig@far.example",
                "Final-Recipient": "rfc822; x@far.example",
                "Action": "failed",
                "Status": "5.1.1",
                "Remote-MTA": "dns; mx.far.example",
                "Diagnostic-Code": "smtp; 550 5.1.1 no such user here",
                "Last-Attempt-Date": "Mon, 12 Jan 1970 13:46:40 +0000",
            },
        )
        self.assertEqual(returned.get_payload()[0]["Subject"], "s")

    def test_expired(self) -> None:
        """Our words are for persons; Diagnostic-Code is the host's last reply alone (RFC 3464 2.3.6)."""
        gave_up = Reply(451, "delivery time expired; last reply: 450 4.2.0 full", "4.4.7")
        status = replace(STATUS, reply=gave_up, said=Reply(450, "full", "4.2.0"))
        printed = self.printed(replace(REPORT, statuses=(status,)))
        self.assertIn(b"    The reason: 451 4.4.7 delivery time expired; last reply: 450 4.2.0 full\r\n", printed)
        fields = b"Status: 4.4.7\r\nRemote-MTA: dns; mx.far.example\r\nDiagnostic-Code: smtp; 450 4.2.0 full\r\n"
        self.assertIn(fields, printed)

    def test_no_host_spoke(self) -> None:
        """Where no host said anything no host and no diagnostic is named."""
        printed = self.printed(replace(REPORT, statuses=(replace(STATUS, remote_mta="", said=None),)))
        self.assertIn(b"    The reason: 550 5.1.1 no such user here\r\n", printed)
        self.assertNotIn(b"Remote-MTA", printed)
        self.assertNotIn(b"Diagnostic-Code", printed)

    def test_delay(self) -> None:
        """A delay says until when it is tried."""
        status = replace(STATUS, action=Action.DELAYED, reply=Reply(451, "later"), retry_until=1_400_000.0)
        printed = self.printed(replace(REPORT, statuses=(status,)), False)
        self.assertIn(b"Subject: Your message is delayed\r\n", printed)
        self.assertIn(b"Action: delayed\r\nStatus: 4.0.0\r\n", printed)
        self.assertIn(b"Will-Retry-Until: Sat, 17 Jan 1970 04:53:20 +0000\r\n", printed)

    def test_a_strangers_words_stay_in_their_line(self) -> None:
        """Control characters and line ends of a host, an envelope or an address start no field of their own."""
        evil = "x\r\nAction: delivered\r\n\r\n--report-id1--"
        status = RecipientStatus(
            Recipient(ForwardPath(Address("a\r\nb", "far.example")), original=f"rfc822;{evil}"),
            Action.FAILED,
            Reply(550, evil),
            evil,
            said=Reply(550, evil),
        )
        printed = self.printed(replace(REPORT, statuses=(status,), envid=evil))
        self.assertEqual(printed.count(b"\r\nAction:"), 1)
        self.assertEqual(printed.count(b"\r\n--report-id1--"), 1)
        self.assertEqual(len(message_from_bytes(printed).get_payload()), 3)

    def test_international(self) -> None:
        """An address outside ASCII makes the parts of RFC 6533."""
        report = message_from_bytes(self.printed(replace(REPORT, to=parse_address("jürgen@here.example"))))
        kinds = [part.get_content_type() for part in report.get_payload()]
        self.assertEqual(kinds, ["text/plain", "message/global-delivery-status", "message/global"])

    def test_eight_bit(self) -> None:
        """A returned message that may hold octets above 127 is announced as such."""
        self.assertNotIn(b"8bit", begin(REPORT, True))
        self.assertEqual(begin(replace(REPORT, eight_bit=True), True).count(b"Content-Transfer-Encoding: 8bit"), 4)

    def test_status(self) -> None:
        """The enhanced code, or the class where there is none (RFC 3461 6.3 (g))."""
        self.assertEqual(status_code(Reply(550, "", "5.7.1")), "5.7.1")
        self.assertEqual(status_code(Reply(451, "")), "4.0.0")
        self.assertEqual(status_code(Reply(554, "")), "5.0.0")

    def test_returns_full(self) -> None:
        """The whole message with failures only, within limits."""
        for ret, octets, action, full in (
            ("", 1000, Action.FAILED, True),
            ("", 1000, Action.DELIVERED, False),
            ("FULL", 1000, Action.DELAYED, False),
            ("HDRS", 1000, Action.FAILED, False),
            ("", 100_000, Action.FAILED, False),
            ("FULL", 100_000, Action.FAILED, True),
            ("FULL", 10_000_000, Action.FAILED, False),
        ):
            self.assertEqual(returns_full(ret, octets, [action]), full)
