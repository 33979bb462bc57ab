"""
Two servers over one store in PostgreSQL: what one accepts the other serves, what one grants the other honours, and what
leaves leaves once.
"""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import time
from collections import Counter
from email import message_from_bytes

from twisted.trial.unittest import SynchronousTestCase

from tests.postgres import cluster, fresh

from .outside import Outside
from .server import PASSWORD, Server, wait_for

ALICE = "alice@example.test"
FRIEND = "friend@elsewhere.example"


def message(subject: str, body: str = "hello\r\n") -> str:
    """A message from Alice to her friend."""
    return f"From: <{ALICE}>\r\nTo: <{FRIEND}>\r\nSubject: {subject}\r\n\r\n{body}"


class TwoServers(SynchronousTestCase):
    """Both have their own data_dir and ports, and nothing else in common but the store."""

    @classmethod
    def setUpClass(cls) -> None:
        """Start PostgreSQL, the outside world, and both servers, the second with two workers."""
        config = Server.CONFIG.replace("sqlite:data/mailtraq.db", fresh())
        cls.outside = Outside()
        cls.first = Server(config, [ALICE], cls.outside.dns, cls.outside.sink)
        cls.second = Server(config, [], cls.outside.dns, cls.outside.sink, workers=2)
        cls.first.start()
        cls.second.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop all of it."""
        cls.first.close()
        cls.second.close()
        cls.outside.close()

    def send(self, server: Server, text: str, recipient: str = ALICE, login: bool = False) -> None:
        """One message by SMTP."""
        with smtplib.SMTP("127.0.0.1", server.mx, "client.example", 30) as client:
            if login:
                client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, [recipient], text)

    def rcpt(self, server: Server) -> int:
        """The code of the reply to a recipient elsewhere, without AUTH."""
        with smtplib.SMTP("127.0.0.1", server.mx, "client.example", 30) as client:
            client.ehlo()
            client.mail(ALICE)
            return client.rcpt(FRIEND)[0]

    def imap(self, server: Server) -> imaplib.IMAP4:
        """A session with INBOX selected."""
        session = imaplib.IMAP4("127.0.0.1", server.imap, 30)
        self.addCleanup(session.shutdown)
        session.login(ALICE, PASSWORD)
        session.select("INBOX")
        return session

    def test_mail_in_and_out(self) -> None:
        """What came in at one is collected at both, by POP3 and IMAP, octet for octet, a large one too."""
        large = message("large", "0123456789abcdef\r\n" * 40_000)
        self.send(self.first, message("small"))
        self.send(self.first, large)
        collected = [octets for octets in self.first.collect() if b"Subject: large" in octets]
        self.assertTrue(collected[0].endswith(large.encode().partition(b"\r\n\r\n")[2]))
        session = self.imap(self.second)
        (numbers,) = session.search(None, "SUBJECT", "large")[1]
        found = session.fetch(numbers.split()[-1].decode(), "(BODY[])")[1][0]
        self.assertEqual(found[1], collected[0])
        self.assertIn("no damage", self.second.mailtraq("verify").stdout)

    def test_idle_hears_what_the_other_accepted(self) -> None:
        """EXISTS comes with the other's notice, not with some later look."""
        session = self.imap(self.second)
        session.send(b"i IDLE\r\n")
        self.assertEqual(session.readline()[:1], b"+")
        waited = []
        for number in range(10):
            self.send(self.first, message(f"idle {number}"))
            sent = time.monotonic()
            while not session.readline().rstrip().endswith(b"EXISTS"):
                pass
            waited.append(time.monotonic() - sent)
        session.send(b"DONE\r\n")
        while not session.readline().startswith(b"i OK"):
            pass
        self.assertLess(sorted(waited)[5], 0.15)

    def test_a_login_at_one_grants_relaying_at_the_other(self) -> None:
        """POP before SMTP, across servers; and a revocation ends it at both."""
        self.first.mailtraq("recent", "revoke", "--account", ALICE, check=None)
        self.assertEqual(self.rcpt(self.second), 554)
        self.first.pop().quit()
        self.assertEqual(self.rcpt(self.second), 250)
        self.first.mailtraq("recent", "revoke", "--account", ALICE)
        self.assertEqual(self.rcpt(self.second), 554)

    def test_what_leaves_leaves_once(self) -> None:
        """Two runners over one queue: each message arrives outside, and none twice."""
        subjects = [f"out {number}" for number in range(40)]
        for number, subject in enumerate(subjects):
            self.send((self.first, self.second)[number % 2], message(subject), FRIEND, login=True)
        wait_for(lambda: len(self.outside.to(FRIEND)) >= len(subjects), "the queue to be sent")
        time.sleep(0.5)
        arrived = Counter(message_from_bytes(mail.octets)["Subject"] for mail in self.outside.to(FRIEND))
        self.assertEqual(arrived, Counter(subjects))
        wait_for(lambda: '"' not in self.first.mailtraq("queue", "list", "--json").stdout, "the queue to be empty", 10)

    def test_the_database_crashes(self) -> None:
        """Clients are told to come again, nothing acknowledged is lost, and both servers go on by themselves."""
        self.send(self.first, message("before the crash"))
        cluster().stop()
        for server in (self.first, self.second):
            with self.assertRaises(smtplib.SMTPException) as refused:
                self.send(server, message("during the crash"))
            self.assertIn(b"4", str(refused.exception).encode())
        cluster().start()
        wait_for(lambda: self.goes_on(self.first) and self.goes_on(self.second), "both to go on", 10)
        subjects = [message_from_bytes(octets)["Subject"] for octets in self.second.collect()]
        self.assertEqual(subjects.count("before the crash"), 1)
        self.assertNotIn("during the crash", subjects)

    def goes_on(self, server: Server) -> bool:
        """Whether a server takes mail and gives it out just now."""
        try:
            self.send(server, message("after the crash"))
            server.collect()
        except (smtplib.SMTPException, poplib.error_proto, OSError):
            return False
        return True

    def test_disabling_closes_sessions_at_both(self) -> None:
        """What an administrator does acts at once, wherever a session is."""
        session = self.imap(self.second)
        self.first.mailtraq("account", "set", ALICE, "--disable")
        self.addCleanup(self.first.mailtraq, "account", "set", ALICE, "--enable")
        session.sock.settimeout(5)
        self.assertIn(b"BYE", session.readline())
