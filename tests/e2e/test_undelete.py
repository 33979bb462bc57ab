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
NAME = "Recoverable"
MARKER = "Marker-Of-A-Secret"


class UndeleteTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        """Start it."""
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.start()

    def send(self, *subjects: str) -> None:
        """Messages to alice."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 30) as client:
            for subject in subjects:
                client.sendmail("a@b.example", [ALICE], f"Subject: {subject}\r\n\r\n{subject}\r\n")

    def log_in(self, mailbox: str = "INBOX") -> imaplib.IMAP4:
        """A session of alice's."""
        session = imaplib.IMAP4("127.0.0.1", self.server.imap, 30)
        session.login(ALICE, PASSWORD)
        self.addCleanup(session.logout)
        self.select(session, mailbox)
        return session

    def select(self, session: imaplib.IMAP4, mailbox: str) -> None:
        """imaplib itself would not take a mailbox that is read-only without being asked."""
        session.select(mailbox, readonly=mailbox == NAME)

    def count(self, session: imaplib.IMAP4, mailbox: str) -> int:
        """Messages in a mailbox."""
        return int(session.status(mailbox, "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))

    def usage(self) -> tuple[int, int]:
        """Messages that the quota counts, and octets of deleted ones."""
        (account,) = json.loads(self.server.mailtraq("account", "list", "--json").stdout)
        return account["messages"], account["recoverable_octets"]

    def expunge(self, session: imaplib.IMAP4, numbers: str) -> None:
        """Delete messages as mail programs do."""
        session.store(numbers, "+FLAGS.SILENT", "(\\Deleted)")
        session.expunge()

    def test_in_a_mail_program(self) -> None:
        """What was expunged is in the mailbox of deleted messages, and is copied back from there."""
        self.send("one", "two")
        session = self.log_in()
        self.expunge(session, "1")
        self.assertIn(b"\\Noinferiors", b"".join(session.list('""', NAME)[1]))
        messages, octets = self.usage()
        self.assertEqual((messages, octets > 0), (1, True))
        self.select(session, NAME)
        self.assertIn(b"Subject: one", session.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1])
        self.assertEqual(session.copy("1", "INBOX")[0], "OK")
        self.assertEqual(session.store("1", "+FLAGS", "(\\Seen)")[0], "NO")
        self.assertEqual([self.count(session, name) for name in ("INBOX", NAME)], [2, 1])
        pop = self.server.pop()
        self.assertEqual(pop.stat()[0], 2)
        pop.dele(2)
        pop.quit()
        self.assertEqual([self.count(session, name) for name in ("INBOX", NAME)], [1, 2])

    def test_by_the_administrator(self) -> None:
        """`restore` beside the server: a session sees the messages come back; `purge` leaves no trace of others."""
        self.send("one", "two", MARKER)
        session = self.log_in()
        session.create("Work")
        session.copy("2", "Work")
        at = datetime.now(UTC).isoformat()
        self.expunge(session, "1:2")
        session.delete("Work")
        self.server.mailtraq("restore", ALICE, "--at", at)
        self.assertEqual(session.noop()[0], "OK")
        self.assertEqual(self.count(session, "INBOX"), 3)
        self.assertEqual(session.response("EXISTS")[1][-1], b"3")
        self.assertEqual(self.count(session, "Work"), 1)
        self.assertEqual(self.usage(), (4, 0))
        (number,) = session.search(None, "SUBJECT", MARKER)[1]
        self.expunge(session, number.decode())
        self.assertTrue(self.traces())
        self.server.mailtraq("purge", ALICE, "--lose", "1")
        self.assertEqual(self.traces(), [])
        self.assertEqual(json.loads(self.server.mailtraq("verify", "--json").stdout)["damages"], [])

    def traces(self) -> list[str]:
        """Files of the server that have an octet of the marked message."""
        files = [path for path in (self.server.folder / "data").rglob("*") if path.is_file()]
        return [path.name for path in files if MARKER.lower().encode() in path.read_bytes().lower()]
