"""
Upkeep beside a running server: verify, backup and restore, quotas.
"""

from __future__ import annotations

import imaplib
import json
import smtplib
import threading

from twisted.trial.unittest import SynchronousTestCase

from .server import PASSWORD, Server

ALICE = "alice@example.test"
LINE = "y" * 70 + "\r\n"


class UpkeepTests(SynchronousTestCase):
    """One server, spoken to while it is looked at."""

    def setUp(self) -> None:
        """Start it."""
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.start()

    def send(self, body: str = "text") -> None:
        """A message to alice."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 30) as client:
            client.sendmail("a@b.example", [ALICE], f"Subject: x\r\n\r\n{body}\r\n")

    def test_beside_a_load(self) -> None:
        """Verify finds nothing while mail comes in; a backup made then is sound, and is restored with one command."""
        self.send(LINE * 4_000)
        stop = threading.Event()

        def load() -> None:
            with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 30) as client:
                while not stop.is_set():
                    client.sendmail("a@b.example", [ALICE], "Subject: y\r\n\r\n" + LINE * 2_000)

        thread = threading.Thread(target=load)
        thread.start()
        try:
            self.assertEqual(json.loads(self.server.mailtraq("verify", "--json").stdout)["damages"], [])
            folder = str(self.server.folder / "backups")
            made = json.loads(self.server.mailtraq("backup", folder, "--json").stdout)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(made["damaged"], [])
        self.assertIn("stop it first", self.server.mailtraq("restore-backup", folder, check=1).stderr)
        self.server.stop()
        self.server.mailtraq("restore-backup", folder)
        self.server.mailtraq("verify")
        self.server.start()
        self.assertEqual(len(self.server.collect()), made["messages"])

    def test_quotas(self) -> None:
        """A full mailbox: 452 at RCPT, OVERQUOTA for APPEND and COPY; well again when there is room."""
        self.send()
        self.server.mailtraq("account", "set", ALICE, "--quota-messages", "1")
        with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 30) as client:
            client.ehlo()
            client.mail("a@b.example")
            code, text = client.rcpt(ALICE)
            self.assertEqual((code, text[:5]), (452, b"4.2.2"))
        session = imaplib.IMAP4("127.0.0.1", self.server.imap, 30)
        session.login(ALICE, PASSWORD)
        kind, answer = session.append("INBOX", "", "", b"Subject: z\r\n\r\n")
        self.assertEqual((kind, b"OVERQUOTA" in answer[0]), ("NO", True))
        session.select("INBOX")
        kind, answer = session.copy("1", "Archive")
        self.assertEqual((kind, b"OVERQUOTA" in answer[0]), ("NO", True))
        self.server.mailtraq("account", "set", ALICE, "--quota-messages", "none")
        self.assertEqual(session.copy("1", "Archive")[0], "OK")
        session.logout()
        self.send()
