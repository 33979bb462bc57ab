"""
The main job: receive, collect, and send by SMTP-AUTH or POP-before-SMTP, shown with real clients.
"""

from __future__ import annotations

import imaplib
import mailbox
import poplib
import re
import smtplib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .corpus import message, number_of
from .outside import Outside
from .programs import program
from .server import PASSWORD, Server, wait_for

ALICE, BOB = "alice@example.test", "bob@example.test"
STRANGER = "stranger@outside.example"
CORPUS = 500
CONNECTIONS = 5


def send(port: int, numbers: list[int], acknowledged: list[int], to: str = ALICE) -> None:
    """Send corpus messages over one connection; note each that got its 250. Ends when the server does."""
    try:
        with smtplib.SMTP("127.0.0.1", port, "client.example", timeout=30) as client:
            for number in numbers:
                client.sendmail(STRANGER, [to], message(number), ["BODY=8BITMIME"])
                acknowledged.append(number)
    except (OSError, smtplib.SMTPException):
        return


def send_all(port: int, numbers: range, to: str = ALICE) -> list[int]:
    """Send over several connections at once; returns what was acknowledged."""
    acknowledged: list[int] = []
    threads = [
        threading.Thread(target=send, args=(port, list(numbers[start::CONNECTIONS]), acknowledged, to))
        for start in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return acknowledged


class Collecting(SynchronousTestCase):
    """500 messages in, and out again by every kind of client."""

    @classmethod
    def setUpClass(cls) -> None:
        """One server for all, with the corpus in alice's INBOX."""
        cls.server = Server(accounts=[ALICE, BOB], workers=2)
        cls.server.start()
        cls.acknowledged = send_all(cls.server.mx, range(CORPUS))

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()

    def assert_corpus(
        self, messages: list[bytes], line_end: bytes = b"\r\n", numbers: Iterable[int] = range(CORPUS)
    ) -> None:
        """Each of these messages once, its octets as they were sent, below our trace fields."""
        self.assertEqual(sorted(map(number_of, messages)), list(numbers))
        for octets in messages:
            sent = message(number_of(octets)).replace(b"\r\n", line_end)
            self.assertTrue(octets.endswith(sent), f"message {number_of(octets)} changed")

    def folder(self) -> Path:
        """A folder for a client, gone after the test."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return Path(folder.name)

    def test_every_message_was_acknowledged(self) -> None:
        """All 500 got their 250."""
        self.assertEqual(sorted(self.acknowledged), list(range(CORPUS)))

    def test_poplib(self) -> None:
        """POP3 gives every message octet for octet, with its trace fields on top."""
        messages = self.server.collect()
        self.assert_corpus(messages)
        for octets in messages:
            self.assertTrue(octets.startswith(b"Return-Path: <stranger@outside.example>\r\n"))
            self.assertIn(b"Received: from client.example ([127.0.0.1]", octets[:600])

    def test_imaplib(self) -> None:
        """IMAP gives every message octet for octet."""
        session = imaplib.IMAP4("127.0.0.1", self.server.imap)
        session.login(ALICE, PASSWORD)
        session.select("INBOX", readonly=True)
        _, answer = session.fetch("1:*", "(BODY.PEEK[])")
        session.logout()
        self.assert_corpus([part[1] for part in answer if isinstance(part, tuple)])

    def test_fetchmail(self) -> None:
        """fetchmail hands every message to its MDA, once."""
        folder = self.folder()
        rc = folder / "fetchmailrc"
        rc.write_text(
            f'poll 127.0.0.1 protocol POP3 port {self.server.pop3} timeout 60 bad-header accept\n'
            f'  user "{ALICE}" password "{PASSWORD}" sslproto "" fetchall keep no rewrite\n'
            f'  mda "cat > $(mktemp {folder}/got-XXXXXXXX)"\n'
        )
        rc.chmod(0o600)
        subprocess.run(
            [program("fetchmail"), "-f", str(rc), "--silent", "--nosyslog", "--pidfile", str(folder / "pid")],
            check=True,
            timeout=180,
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        )
        found = [path for path in folder.iterdir() if path.name.startswith("got-")]
        self.assertEqual(sorted(number_of(path.read_bytes()) for path in found), list(range(CORPUS)))

    def test_mbsync_both_ways(self) -> None:
        """
        mbsync pulls all octet for octet, pushes a message of its own and a flag, and then has nothing to do; what was
        expunged it finds where it can be brought back from.
        """
        folder = self.folder()
        (folder / "mail").mkdir()
        rc = folder / "mbsyncrc"
        rc.write_text(
            f"""IMAPAccount ours
Host 127.0.0.1
Port {self.server.imap}
User {ALICE}
Pass "{PASSWORD}"
SSLType None
AuthMechs LOGIN

IMAPStore far
Account ours

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Sync All
Expunge Both
SyncState {folder}/state-
"""
        )
        run = [program("mbsync", "isync"), "-q", "-c", str(rc), "-a"]
        subprocess.run(run, check=True, timeout=180)
        inbox = folder / "mail" / "INBOX"
        pulled = [path.read_bytes() for part in ("cur", "new") for path in (inbox / part).iterdir()]
        # X-TUID is mbsync's own mark on messages whose UID it had to find out.
        from_mbsync = [re.sub(rb"X-TUID: .*\n", b"", octets) for octets in pulled if b"X-Corpus: " in octets[:2000]]
        # mbsync passes messages over whose header does not end with a blank line.
        whole = [number for number in range(CORPUS) if b"\r\n\r\n" in message(number)]
        self.assertGreater(len(whole), CORPUS * 0.97)
        self.assert_corpus(from_mbsync, b"\n", whole)
        own = b"Subject: pushed by mbsync\nX-Corpus: 9999\n\nbody\n"
        box = mailbox.Maildir(inbox, create=False)
        box.add(own)
        subprocess.run(run, check=True, timeout=180)
        session = imaplib.IMAP4("127.0.0.1", self.server.imap)
        session.login(ALICE, PASSWORD)
        session.select("INBOX")
        _, found = session.search(None, "SUBJECT", '"pushed by mbsync"')
        self.assertEqual(len(found[0].split()), 1)
        session.store(found[0], "+FLAGS", "\\Deleted")
        session.expunge()
        session.logout()
        subprocess.run(run, check=True, timeout=180)
        left = [path.read_bytes() for part in ("cur", "new") for path in (inbox / part).iterdir()]
        self.assertEqual([octets for octets in left if b"X-Corpus: 9999" in octets], [])
        recoverable = [path.read_bytes() for path in (folder / "mail" / "Recoverable").glob("[cn]*/*")]
        self.assertEqual([b"X-Corpus: 9999" in octets for octets in recoverable], [True])

    def test_curl(self) -> None:
        """curl lists mailboxes and fetches by UID."""
        url = f"imap://127.0.0.1:{self.server.imap}"
        run = [program("curl"), "--silent", "--show-error", "--user", f"{ALICE}:{PASSWORD}"]
        done = subprocess.run([*run, url], capture_output=True, check=True, timeout=30)
        self.assertIn(b"INBOX", done.stdout)
        done = subprocess.run([*run, f"{url}/INBOX;UID=1"], capture_output=True, check=True, timeout=30)
        self.assertTrue(done.stdout.endswith(message(number_of(done.stdout))))

    def test_swaks(self) -> None:
        """swaks sends with AUTH; the message is there when it has its 250."""
        subprocess.run(
            [
                *(program("swaks"), "--server", f"127.0.0.1:{self.server.mx}", "--from", BOB, "--to", BOB),
                *("--auth", "PLAIN", "--auth-user", BOB, "--auth-password", PASSWORD, "--silent", "2"),
            ],
            check=True,
            timeout=60,
        )
        self.assertEqual(len(self.server.collect(BOB)), 1)


class KilledInTheMiddle(SynchronousTestCase):
    """SIGKILL while mail arrives."""

    def test_nothing_acknowledged_is_missing(self) -> None:
        """After three kills and restarts every acknowledged message is there, and none twice."""
        server = Server(workers=2)
        self.addCleanup(server.close)
        acknowledged: list[int] = []
        for turn in range(3):
            server.start()
            numbers = range(turn * 1000, turn * 1000 + 1000)
            senders = [
                threading.Thread(target=send, args=(server.mx, list(numbers[start::CONNECTIONS]), acknowledged))
                for start in range(CONNECTIONS)
            ]
            for sender in senders:
                sender.start()
            before = len(acknowledged)
            wait_for(lambda before=before: len(acknowledged) > before + 60, "mail to flow")
            server.kill()
            for sender in senders:
                sender.join()
        server.start()
        found = [number_of(octets) for octets in server.collect()]
        self.assertEqual(set(acknowledged) - set(found), set())
        self.assertEqual(len(found), len(set(found)))
        # Beyond what was acknowledged there may be at most the one message each connection had under way.
        self.assertLessEqual(len(found) - len(acknowledged), 3 * CONNECTIONS)


class Relaying(SynchronousTestCase):
    """Who may send to the outside world."""

    CONFIG = Server.CONFIG.replace("exclude = []", "exclude = []\naccess_seconds = 6\nrelay_seconds = 3")

    def setUp(self) -> None:
        """A server with a short relay window, and a world to send to."""
        self.outside = Outside()
        self.addCleanup(self.outside.close)
        self.server = Server(self.CONFIG, [ALICE, BOB], dns=self.outside.dns, sink=self.outside.sink)
        self.addCleanup(self.server.close)
        self.server.start()

    def rcpt(self, source: str = "127.0.0.1", auth: bool = False, sender: str = ALICE) -> tuple[int, bytes]:
        """The reply to RCPT of somebody in the outside world."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30, (source, 0)) as client:
            client.ehlo()
            if auth:
                client.login(ALICE, PASSWORD)
            client.mail(sender)
            return client.rcpt("friend@elsewhere.example")

    def assert_refused(self, answer: tuple[int, bytes]) -> None:
        """550 or 554, and 5.7.1."""
        self.assertIn(answer[0], (550, 554))
        self.assertIn(b"5.7.1", answer[1])

    def test_a_stranger_is_refused(self) -> None:
        """Nobody logged in: no relaying, local delivery only."""
        self.assert_refused(self.rcpt())
        send_all(self.server.mx, range(5))
        self.assertEqual(len(self.server.collect()), 5)

    def test_pop_before_smtp(self) -> None:
        """After a POP3 login from the same address relaying works, until the window ends; not from another address."""
        self.server.pop().quit()
        self.assertEqual(self.rcpt()[0], 250)
        self.assert_refused(self.rcpt("127.0.0.2"))
        time.sleep(3.2)
        self.assert_refused(self.rcpt())

    def test_imap_before_smtp(self) -> None:
        """An IMAP login counts too, as long as the session lives and a window after it."""
        session = imaplib.IMAP4("127.0.0.1", self.server.imap)
        session.login(ALICE, PASSWORD)
        for _ in range(4):
            session.noop()
            self.assertEqual(self.rcpt()[0], 250)
            time.sleep(1.1)
        session.logout()
        time.sleep(3.2)
        self.assert_refused(self.rcpt())

    def test_smtp_auth(self) -> None:
        """AUTH counts in its own session only."""
        self.assertEqual(self.rcpt(auth=True)[0], 250)
        self.assert_refused(self.rcpt())

    def test_a_failed_login_grants_nothing(self) -> None:
        """A wrong password writes no row."""
        self.assertRaises(poplib.error_proto, self.server.pop, password="wrong")
        self.assert_refused(self.rcpt())
        self.assertEqual(self.server.mailtraq("recent", "list", "--json").stdout.strip(), "[]")

    def test_a_revoked_login_grants_nothing(self) -> None:
        """`recent revoke`, and disabling the account, hold at once."""
        self.server.pop().quit()
        self.assertEqual(self.rcpt()[0], 250)
        self.server.mailtraq("recent", "revoke", "127.0.0.1")
        self.assert_refused(self.rcpt())
        self.server.pop().quit()
        self.server.mailtraq("account", "set", ALICE, "--disable")
        self.assert_refused(self.rcpt())

    def test_the_mail_leaves(self) -> None:
        """What was relayed reaches the outside by MX, octet for octet; a refused recipient comes back as a report."""
        self.outside.refuse["gone@elsewhere.example"] = "550 5.1.1 no such user"
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30) as client:
            client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, ["friend@elsewhere.example", "gone@elsewhere.example"], message(3))
        wait_for(lambda: self.outside.to("friend@elsewhere.example"), "the message outside")
        arrived = self.outside.to("friend@elsewhere.example")[0]
        self.assertTrue(arrived.octets.endswith(message(3)))
        self.assertEqual(arrived.mail_from, ALICE)
        self.assertTrue(arrived.octets.startswith(b"Received: "))
        wait_for(lambda: self.server.collect(), "the report")
        report = self.server.collect()[0]
        self.assertTrue(report.startswith(b"Return-Path: <>\r\n"))
        self.assertIn(b"Final-Recipient: rfc822;gone@elsewhere.example", report.replace(b"; ", b";"))
        self.assertIn(b"Status: 5.1.1", report)

    def test_what_waits_survives_a_kill(self) -> None:
        """A message in the queue is sent after a SIGKILL, once."""
        self.outside.refuse["later@elsewhere.example"] = "450 4.2.0 not now"
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30) as client:
            client.login(ALICE, PASSWORD)
            client.sendmail(ALICE, ["later@elsewhere.example"], message(4))
        self.server.kill()
        self.outside.refuse.clear()
        self.server.start()
        wait_for(lambda: self.outside.to("later@elsewhere.example"), "the second attempt", 60)
        time.sleep(1)
        self.assertEqual(len(self.outside.to("later@elsewhere.example")), 1)


class OnlyAfterALogin(SynchronousTestCase):
    """Access mode `firewall+lan+recent`."""

    CONFIG = Server.CONFIG.replace('role = "both"', 'role = "both"\naccess = "firewall+lan+recent"')

    def test_the_client_is_admitted_only_after_the_login(self) -> None:
        """554 before, a greeting after; another address still 554."""
        server = Server(self.CONFIG)
        self.addCleanup(server.close)
        server.start()
        self.assertRaises(smtplib.SMTPConnectError, smtplib.SMTP, "127.0.0.1", server.mx)
        server.pop().quit()
        with smtplib.SMTP("127.0.0.1", server.mx) as client:
            self.assertEqual(client.noop()[0], 250)
        self.assertRaises(
            smtplib.SMTPConnectError, smtplib.SMTP, "127.0.0.1", server.mx, source_address=("127.0.0.2", 0)
        )
