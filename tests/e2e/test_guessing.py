"""
What a guesser learns at SMTP, POP3 and IMAP: nothing. Who somebody is does not depend on how he writes his name.

Attacks S 22, A 30, A 33.
"""

from __future__ import annotations

import imaplib
import json
import poplib
import re
import smtplib
import socket
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SynchronousTestCase

from .server import PASSWORD, Server

ALICE, BOB, NOBODY = "alice@example.test", "bob@example.test", "nobody@example.test"
SAMPLES = 12


class Guessing(SynchronousTestCase):
    """One server for all."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        """Start it."""
        cls.server = Server(accounts=[ALICE, BOB])
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()

    def smtp(self, login: str, password: str, source: str = "127.0.0.1") -> str:
        """"" when it succeeds, else what was said."""
        with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 60, (source, 0)) as client:
            try:
                client.login(login, password)
            except smtplib.SMTPException as error:
                return str(error)
            return ""

    def pop3(self, login: str, password: str, source: str = "127.0.0.1") -> str:
        """"" when it succeeds, else what was said."""
        with _from(self.server.pop3, source) as connection:
            stream = connection.makefile("rwb", 0)
            stream.readline()
            stream.write(f"USER {login}\r\n".encode())
            said = stream.readline()
            stream.write(f"PASS {password}\r\n".encode())
            answer = stream.readline()
            return "" if answer.startswith(b"+OK") else (said + answer).decode()

    def imap(self, login: str, password: str, source: str = "127.0.0.1") -> str:
        """"" when it succeeds, else what was said."""
        with _from(self.server.imap, source) as connection:
            stream = connection.makefile("rwb", 0)
            stream.readline()
            name, word = login.encode(), password.encode()
            stream.write(b"a LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(name), name, len(word), word))
            while (answer := stream.readline()).startswith(b"*"):
                pass
            return "" if answer.startswith(b"a OK") else answer.decode()

    def ways(self) -> list[Callable[..., str]]:
        """All protocols."""
        return [self.smtp, self.pop3, self.imap]

    def test_existing_and_missing_users_sound_the_same(self) -> None:
        """The same words after the same time, from addresses that have not failed before."""
        for number, way in enumerate(self.ways()):

            def timed(sample: int, number: int = number, way: Callable[..., str] = way) -> tuple[str, float, str]:
                login = ALICE if sample % 2 else NOBODY
                began = time.monotonic()
                said = way(login, "wrong", f"127.{number + 1}.0.{sample + 1}")
                return login, time.monotonic() - began, said

            with ThreadPoolExecutor(4) as pool:
                samples = list(pool.map(timed, range(2 * SAMPLES)))
            words = {re.sub(r"[0-9a-f]{16,}", "", said) for _, _, said in samples}
            self.assertEqual(len(words), 1, words)
            self.assertNotEqual(words, {""})
            there, missing = (
                statistics.median(seconds for login, seconds, _ in samples if login == who) for who in (ALICE, NOBODY)
            )
            self.assertLess(abs(there - missing), 0.35, (way.__name__, there, missing))

    def test_a_name_in_other_clothes(self) -> None:
        """Case and a trailing dot are the same account; a look-alike, a blank or a NUL is nobody's."""
        cyrillic = "\N{CYRILLIC SMALL LETTER A}lice@example.test"
        for way in (self.smtp, self.pop3, self.imap):
            for login, is_alice in (
                (ALICE, True),
                ("ALICE@Example.Test", True),
                ("alice@example.test.", True),
                ("alice", True),
                (cyrillic, False),
                ("alice\u200b@example.test", False),
                ("al.ice@example.test", False),
            ):
                if not login.isascii() and way == self.smtp:
                    continue
                said = way(login, PASSWORD, "127.9.0.1" if is_alice else "127.9.0.2")
                self.assertEqual(said == "", is_alice, (way.__name__, login, said))
        logged = [json.loads(line) for line in self.server.logged().splitlines() if '"event":"login"' in line]
        names = {line["account"] for line in logged if line["client"] == "127.9.0.1"}
        self.assertEqual(names, {ALICE})

    def test_two_users_with_the_same_password(self) -> None:
        """Right after the one's login the other's is the other's, over each protocol."""
        for way in (self.smtp, self.pop3, self.imap):
            for login in (ALICE, BOB, ALICE):
                self.assertEqual(way(login, PASSWORD), "")
        with smtplib.SMTP("127.0.0.1", self.server.mx, "c.example", 30) as client:
            client.sendmail("a@b.example", [BOB], "Subject: for bob\r\n\r\nx\r\n")
        session = poplib.POP3("127.0.0.1", self.server.pop3, timeout=30)
        session.user(ALICE)
        session.pass_(PASSWORD)
        self.assertEqual(session.stat()[0], 0)
        session.quit()
        mailbox = imaplib.IMAP4("127.0.0.1", self.server.imap)
        mailbox.login(BOB, PASSWORD)
        self.assertEqual(mailbox.select()[1], [b"1"])
        mailbox.logout()

    def test_harvesting(self) -> None:
        """A dictionary of recipients gets slow answers in one wording, then the end; VRFY and EXPN tell nothing."""
        with _from(self.server.mx, "127.0.0.22") as connection:
            stream = connection.makefile("rwb", 0)
            stream.readline()

            def say(line: str) -> str:
                stream.write(line.encode() + b"\r\n")
                return stream.readline().decode()

            say("HELO c.example")
            self.assertEqual(say("VRFY alice"), say("VRFY nobody"))
            self.assertEqual(say("EXPN alice")[:1], "5")
            say("MAIL FROM:<a@b.example>")
            began, said = time.monotonic(), set()
            for number in range(24):
                answer = say(f"RCPT TO:<guess{number}@example.test>")
                said.add(answer)
            self.assertEqual(len(said), 1, said)
            self.assertEqual(said.pop()[:9], "550 5.1.1")
            self.assertGreater(time.monotonic() - began, 3.5)


def _from(port: int, source: str) -> socket.socket:
    """A connection from an address of 127/8."""
    return socket.create_connection(("127.0.0.1", port), 60, (source, 0))
