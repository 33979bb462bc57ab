"""
`mailtraq import-imap` against our own server by STARTTLS, and against one that behaves badly.
"""

from __future__ import annotations

import imaplib
import json
import ssl
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.imapsource import IMAPSource, SourceRefused, parse_url
from mailtraq_py.app.location import locate
from mailtraq_py.app.offline import offline_store
from mailtraq_py.interfaces.store import Column
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.now import run_now

from .meanimap import LARGE, MESSAGES, MeanServer
from .server import PASSWORD, Server

ALICE = "alice@example.test"
BOB = "bob@example.test"

_HEAD, _, _TAIL = Server.CONFIG.rpartition('tls = "none"')
CONFIG = f'{_HEAD}tls = "starttls"{_TAIL}\n[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'


class ImportTests(SynchronousTestCase):
    """One server, where mail is brought to bob."""

    def bring(self, server: Server, url: str, *options: str, code: int = 0, secret: str = PASSWORD) -> Any:
        """Run the command."""
        done = server.mailtraq("import-imap", BOB, url, *options, "--json", stdin=f"{secret}\n", check=code)
        return json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def test_from_our_own(self) -> None:
        """All mailboxes with flags, keywords, dates and octets; nothing twice, and then what is new."""
        server = Server(CONFIG, accounts=(ALICE, BOB))
        self.addCleanup(server.close)
        server.start()
        session = imaplib.IMAP4("127.0.0.1", server.imap, timeout=30)
        session.starttls()
        session.login(ALICE, PASSWORD)
        session.create('"Lists/Z&APw-rich"')
        octets = {
            "INBOX": b"Subject: a\r\n\r\n" + b"x" * 70_000 + b"\r\n",
            '"Lists/Z&APw-rich"': b"Subject: b\r\n\r\nb\r\n",
        }
        for name, message in octets.items():
            session.append(name, "(\\Flagged $Forwarded)", '"05-Jan-2020 10:20:30 +0200"', message)
        url = f"imap://{ALICE}@localhost:{server.imap}/"
        self.assertIn("its certificate", self.bring(server, url, code=1)["error"])
        authority = str(server.folder / "cert.pem")
        told = self.bring(server, url, "--ca", authority)
        self.assertEqual((told["imported"], told["known_before"], told["failures"]), (2, 0, []))
        session.append("INBOX", None, None, b"Subject: c\r\n\r\nc\r\n")
        told = self.bring(server, url, "--ca", authority, "--mailbox", "INB*")
        self.assertEqual((told["imported"], told["known_before"]), (1, 0))
        session.logout()
        for name, message in octets.items():
            with imaplib.IMAP4("127.0.0.1", server.imap, timeout=30) as other:
                other.starttls()
                other.login(BOB, PASSWORD)
                other.select(name, readonly=True)
                _, [(head, found), _] = other.fetch("1", "(FLAGS INTERNALDATE BODY.PEEK[])")
                self.assertEqual(found, message)
                self.assertIn(b"(\\Flagged $Forwarded", head)
                self.assertIn(b'" 5-Jan-2020 08:20:30 +0000"', head)

    def test_from_a_mean_one(self) -> None:
        """What it does wrong is told, and costs nothing of the rest; a second run brings nothing twice."""
        server = Server(accounts=(BOB,))
        self.addCleanup(server.close)
        mean = MeanServer()
        self.addCleanup(mean.server_close)
        self.addCleanup(mean.shutdown)
        url = f"imap://carol@127.0.0.1:{mean.port}/"
        without_tls = IMAPSource(parse_url(url), "secret", ssl.create_default_context())
        self.assertIn("no TLS", str(self.assertRaises(SourceRefused, without_tls.connect)))
        self.assertEqual(mean.logins, 0)
        wrong = IMAPSource(parse_url(url), "wrong", None)
        self.assertIn("no?pe", str(self.assertRaises(SourceRefused, wrong.connect)))
        for imported in (5, 0):
            told = self.bring(server, url, "--plaintext", code=1, secret="secret")
            self.assertEqual(told["imported"], imported)
            self.assertEqual(
                [(one["mailbox"], one["reason"][:17]) for one in told["failures"]],
                [("INBOX", "UID 3: fetch fail"), ("Broken", "select failed: [S"), ("gr\ufffdn", "its name is not i")],
            )
        self.assertFalse(mean.hang_up)
        with offline_store(locate(str(server.config))) as store:
            mailbox = run_now(store.mailboxes(run_now(store.administration.find(BOB)).id).open("INBOX"))
            columns = [Column.FLAGS, Column.INTERNAL_DATE, Column.CONTENT]
            rows = run_now(mailbox.fetch(UIDSet(((1, 99),)), columns, 99))
            self.assertEqual(
                [run_now(store.content.read(row[2])) for row in rows],
                [MESSAGES[2], MESSAGES[4].replace(b"\n", b"\r\n"), LARGE, MESSAGES[8]],
            )
        self.assertEqual(rows[0][:2], (frozenset({"\\Seen", "$Label1"}), 1_612_170_000))
