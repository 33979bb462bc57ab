"""
Deleted mail of a running server: seen and brought back by a mail program, by the administrator, and purged.
"""

from __future__ import annotations

import imaplib
import json
import smtplib
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from .server import PASSWORD, Server

ALICE = "alice@example.test"
BOB = "bob@example.test"
NAME = "Recoverable"
MARKER = "Marker-Of-A-Secret"


class UndeleteTests(SynchronousTestCase):
    """One server of two workers."""

    def send(self, address: str, *subjects: str) -> None:
        """Messages to somebody."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 30) as client:
            for subject in subjects:
                client.sendmail("a@b.example", [address], f"Subject: {subject}\r\n\r\n{subject}\r\n")

    def log_in(self, address: str) -> imaplib.IMAP4:
        """A session with INBOX selected."""
        session = imaplib.IMAP4("127.0.0.1", self.server.imap, 30)
        self.addCleanup(session.shutdown)
        session.login(address, PASSWORD)
        session.select("INBOX")
        return session

    def count(self, session: imaplib.IMAP4, mailbox: str) -> int:
        """Messages in a mailbox."""
        return int(session.status(mailbox, "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))

    def expunge(self, session: imaplib.IMAP4, numbers: str) -> None:
        """Delete messages as mail programs do."""
        session.store(numbers, "+FLAGS.SILENT", "(\\Deleted)")
        session.expunge()

    def traces(self) -> list[str]:
        """Files of the server that have an octet of the marked message."""
        files = [path for path in (self.server.folder / "data").rglob("*") if path.is_file()]
        return [path.name for path in files if MARKER.lower().encode() in path.read_bytes().lower()]

    def test_deleted_mail(self) -> None:
        """In a mail program, and by the administrator's commands beside the server."""
        self.server = Server(accounts=[ALICE, BOB], workers=2)
        self.addCleanup(self.server.close)
        self.server.start()
        self.in_a_mail_program()
        self.by_the_administrator()

    def in_a_mail_program(self) -> None:
        """What was expunged is in the mailbox of deleted messages, and is copied back from there."""
        self.send(ALICE, "one", "two")
        session = self.log_in(ALICE)
        self.expunge(session, "1")
        self.assertIn(b"\\Noinferiors", b"".join(session.list('""', NAME)[1]))
        # imaplib would not take a mailbox that is read-only without being asked.
        session.select(NAME, readonly=True)
        self.assertIn(b"Subject: one", session.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1])
        self.assertEqual(session.copy("1", "INBOX")[0], "OK")
        self.assertEqual(session.store("1", "+FLAGS", "(\\Seen)")[0], "NO")
        self.assertEqual([self.count(session, name) for name in ("INBOX", NAME)], [2, 1])
        pop = self.server.pop(ALICE)
        self.assertEqual(pop.stat()[0], 2)
        pop.dele(2)
        pop.quit()
        self.assertEqual([self.count(session, name) for name in ("INBOX", NAME)], [1, 2])

    def by_the_administrator(self) -> None:
        """`restore`: a session sees the messages come back, the quota counts them again; `purge` leaves no trace."""
        self.send(BOB, "one", "two", MARKER)
        session = self.log_in(BOB)
        session.create("Work")
        session.copy("2", "Work")
        at = datetime.now(UTC).isoformat()
        self.expunge(session, "1:2")
        session.delete("Work")
        self.server.mailtraq("restore", BOB, "--at", at)
        self.assertEqual(session.noop()[0], "OK")
        self.assertEqual(session.response("EXISTS")[1][-1], b"3")
        self.assertEqual([self.count(session, name) for name in ("INBOX", "Work")], [3, 1])
        alice, bob = json.loads(self.server.mailtraq("account", "list", "--json").stdout)
        self.assertEqual((bob["messages"], bob["recoverable_octets"]), (4, 0))
        self.assertEqual((alice["messages"], alice["recoverable_octets"] > 0), (1, True))
        (number,) = session.search(None, "SUBJECT", MARKER)[1]
        self.expunge(session, number.decode())
        self.assertTrue(self.traces())
        self.server.mailtraq("purge", BOB, "--lose", "1")
        self.assertEqual(self.traces(), [])
        self.assertEqual(json.loads(self.server.mailtraq("verify", "--json").stdout)["damages"], [])
