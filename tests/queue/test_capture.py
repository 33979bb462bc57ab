"""mailtraq_py/queue/capture.py: mail that would leave stays, with its envelope in sight."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import OverQuota, TemporaryFailure
from mailtraq_py.queue.attempt import Attempt
from mailtraq_py.queue.capture import Capture
from tests.delivery.fakes import FakeAcceptance, FakeContent
from tests.fakes import FakeDirectory
from tests.queue.fakes import make_row

MESSAGE = b"Subject: hi\r\n\r\n" + b"body\r\n" * 30_000


class CaptureTests(SynchronousTestCase):
    """Rows into outbox@here.example."""

    def setUp(self) -> None:
        self.content, self.acceptance = FakeContent(), FakeAcceptance()
        self.directory = FakeDirectory({"outbox@here.example": b""})
        self.capture = Capture(
            "Outbox@here.example", self.directory, self.content, self.acceptance, lambda: 1000.0
        )
        self.ref = self.content.put(MESSAGE, b"X-Head: 1\r\n")

    def carry(self) -> list[Attempt]:
        """Two rows of one message."""
        rows = [make_row(1, "x@far.example", self.ref), make_row(2, "y@else.example", self.ref, sender="")]
        self.assertEqual({self.capture.destination(row) for row in rows}, {"capture"})
        return self.successResultOf(Deferred.fromCoroutine(self.capture.carry(rows)))

    def test_captured(self) -> None:
        """Each recipient's copy is in INBOX with X-Envelope-From and -To, its octets unchanged."""
        self.assertEqual([attempt.reply.code for attempt in self.carry()], [250, 250])
        first, second = self.acceptance.accepted.values()
        (local,) = first.contents[0].local
        self.assertEqual((local.account_id, local.mailbox), (1, "INBOX"))
        self.assertIn(b"X-Envelope-From: <s@here.example>\r\nX-Envelope-To: <x@far.example>\r\n", local.head)
        self.assertIn(b"X-Envelope-From: <>\r\n", second.contents[0].local[0].head)
        self.assertEqual(first.contents[0].spool.whole, b"X-Head: 1\r\n" + MESSAGE)

    def test_nothing_twice(self) -> None:
        """An attempt that is repeated after a crash has the same identifier and delivers nothing again."""
        self.carry()
        self.carry()
        self.assertEqual(sorted(self.acceptance.accepted), ["M1-1", "M1-2"])

    def test_not_now(self) -> None:
        """A store in trouble, a full or missing mailbox: the mail waits."""
        for failure in (TemporaryFailure("disk"), OverQuota()):
            self.acceptance.failure = failure
            self.assertEqual([attempt.reply.code for attempt in self.carry()], [451, 451])
        self.acceptance.failure = None
        self.directory.accounts.clear()
        self.assertEqual([attempt.reply.code for attempt in self.carry()], [451, 451])
