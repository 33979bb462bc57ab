"""
The recent-login whitelist of a real server: what outlives a kill, what ends at once.
"""

from __future__ import annotations

import imaplib
import json
import poplib
import smtplib
import time

from twisted.trial.unittest import SynchronousTestCase

from .server import PASSWORD, Server, wait_for

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"
FRIEND = "friend@elsewhere.example"


class RecentLogins(SynchronousTestCase):
    """POP-before-SMTP; each test begins without rows."""

    CONFIG = Server.CONFIG.replace("exclude = []", "exclude = []\nmax_accounts_per_address = 2\nrelay_seconds = 30")
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        """Start it."""
        cls.server = Server(cls.CONFIG, [ALICE, BOB, CAROL], workers=2)
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()

    def setUp(self) -> None:
        """Forget what the test before left."""
        for account in (ALICE, BOB, CAROL):
            self.server.mailtraq("recent", "revoke", "--account", account, check=None)
            self.server.mailtraq("account", "set", account, "--relay", "--enable")

    def rcpt(self, sender: str = ALICE) -> str:
        """The reply to RCPT of somebody elsewhere."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30) as client:
            client.ehlo()
            client.mail(sender)
            code, text = client.rcpt(FRIEND)
            return f"{code} {text.decode()}"

    def rows(self) -> list[dict[str, object]]:
        """What `recent list` shows."""
        shown: list[dict[str, object]] = json.loads(self.server.mailtraq("recent", "list", "--json").stdout)
        return shown

    def test_a_kill_and_a_restart(self) -> None:
        """The row is still there, and its clocks have run on."""
        self.server.pop().quit()
        self.server.kill()
        self.server.start()
        self.assertEqual(self.rcpt()[:3], "250")
        (row,) = self.rows()
        self.assertEqual((row["account"], row["protocol"], row["tls"]), (ALICE, "pop3", False))

    def test_the_privilege_is_looked_at_when_it_is_used(self) -> None:
        """Without it the row stays and relays nothing; with it again it relays; an AUTH session loses it too."""
        self.server.pop().quit()
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30) as session:
            session.login(ALICE, PASSWORD)
            session.mail(ALICE)
            self.assertEqual(session.rcpt(FRIEND)[0], 250)
            self.server.mailtraq("account", "set", ALICE, "--no-relay")
            self.assertEqual(self.rcpt()[:3], "554")
            self.assertEqual(len(self.rows()), 1)
            session.rset()
            session.mail(ALICE)
            self.assertEqual(session.rcpt(FRIEND)[0], 554)
        self.server.mailtraq("account", "set", ALICE, "--relay")
        self.assertEqual(self.rcpt()[:3], "250")

    def test_a_new_password_ends_rows_and_sessions(self) -> None:
        """Of every protocol, at once."""
        imap = imaplib.IMAP4("127.0.0.1", self.server.imap)
        imap.login(ALICE, PASSWORD)
        pop = self.server.pop()
        smtp = smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30)
        smtp.login(ALICE, PASSWORD)
        self.assertEqual(self.rcpt()[:3], "250")
        self.server.mailtraq("account", "password", ALICE, "--password-stdin", stdin=f"{PASSWORD}\n")
        self.assertEqual(self.rcpt()[:3], "554")
        self.assertEqual(self.rows(), [])
        self.assertIn(b"your account was changed", smtp.file.readline())
        self.assertRaises((imaplib.IMAP4.abort, imaplib.IMAP4.error), imap.noop)
        self.assertRaises((poplib.error_proto, OSError), pop.noop)
        smtp.close()
        pop.close()

    def test_a_revoked_address_is_not_renewed(self) -> None:
        """An IMAP session from before a revocation goes on and renews nothing; a new login does."""
        imap = imaplib.IMAP4("127.0.0.1", self.server.imap)
        imap.login(ALICE, PASSWORD)
        self.server.mailtraq("recent", "revoke", "127.0.0.1")
        deadline = time.monotonic() + 11  # a renewal is due every ten seconds
        while time.monotonic() < deadline:
            imap.noop()
            time.sleep(1)
        self.assertEqual(self.rows(), [])
        self.server.pop().quit()
        self.assertEqual(len(self.rows()), 1)
        imap.logout()

    def test_too_many_accounts_behind_one_address(self) -> None:
        """The third withholds the grant for all; once it is gone the others have it again."""
        for account in (ALICE, BOB):
            self.server.pop(account).quit()
        self.assertEqual(self.rcpt()[:3], "250")
        self.server.pop(CAROL).quit()
        self.assertEqual(self.rcpt()[:3], "554")
        self.server.mailtraq("recent", "revoke", "--account", CAROL)
        self.assertEqual(self.rcpt(BOB)[:3], "250")

    def test_somebody_else_as_sender(self) -> None:
        """550 with the reason, which names no account; the null path too."""
        self.server.pop().quit()
        for sender in (BOB, "", "a@b.example"):
            reply = self.rcpt(sender)
            self.assertEqual(reply[:9], "550 5.7.1", sender)
            self.assertNotIn(ALICE, reply)

    def test_what_is_logged(self) -> None:
        """The login with its row, and the decision by its ground."""
        self.server.pop().quit()
        self.rcpt()

        def lines(event: str) -> list[dict[str, object]]:
            found = [json.loads(line) for line in self.server.logged().splitlines() if line.startswith("{")]
            return [line for line in found if line["event"] == event]

        wait_for(lambda: lines("decision"), "the decision in the log", 5)
        self.assertTrue(lines("login")[-1]["recent_login"])
        self.assertEqual(lines("decision")[-1]["reason"], "recent login")
