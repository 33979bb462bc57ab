"""
Attacks on a real server over real sockets: what the unit tests cannot see (memory, TLS, other connections, logs).
"""

from __future__ import annotations

import base64
import imaplib
import poplib
import re
import smtplib
import socket
import ssl
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .corpus import message
from .outside import raw
from .server import PASSWORD, Server

ALICE = "alice@example.test"
MIB = 1024 * 1024

TLS_CONFIG = Server.CONFIG.replace('tls = "none"', 'tls = "starttls"').replace(
    "[outbound]", '[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n\n[outbound]'
)


def read_reply(connection: socket.socket) -> bytes:
    """One whole SMTP reply, or what came before the end."""
    octets = b""
    while not re.search(rb"(?m)^[0-9]{3} [^\n]*\n\Z", octets):
        piece = connection.recv(4096)
        if not piece:
            break
        octets += piece
    return octets


def read_line(connection: socket.socket) -> bytes:
    """One line, octet by octet, so that nothing behind it is taken."""
    octets = b""
    while not octets.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece:
            break
        octets += piece
    return octets


def begin_data(connection: socket.socket) -> None:
    """A transaction from the greeting to the 354."""
    read_reply(connection)
    for line in (b"EHLO a.example", b"MAIL FROM:<a@b.example>", b"RCPT TO:<alice@example.test>", b"DATA"):
        connection.sendall(line + b"\r\n")
        read_reply(connection)


def trusting() -> ssl.SSLContext:
    """A TLS client that believes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Attacks(SynchronousTestCase):
    """One server with STARTTLS everywhere; after each attack it still answers."""

    @classmethod
    def setUpClass(cls) -> None:
        """Start it."""
        cls.server = Server(TLS_CONFIG)
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()

    def tearDown(self) -> None:
        """Whatever was done, the server greets within a second and has logged no traceback."""
        begin = time.monotonic()
        with smtplib.SMTP("127.0.0.1", self.server.mx, timeout=5) as client:
            self.assertEqual(client.noop()[0], 250)
        self.assertLess(time.monotonic() - begin, 1.0)
        self.assertNotIn("Traceback", self.server.logged())

    def memory_octets(self, field: str = "RssAnon") -> int:
        """A line of the server's memory in /proc."""
        assert self.server.process is not None
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024

    def test_smuggling(self) -> None:
        """S 1-3: no false end of data ends it; the whole message is refused and no second one exists."""
        before = len(self.server.collect())
        for end in (
            b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\n.\r", b"\r.\n", b"\r\n.\r",
            b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r.\r\n", b"\r\n\x00.\r\n",
        ):  # fmt: skip
            with raw(self.server.mx) as connection:
                begin_data(connection)
                inner = b"MAIL FROM:<c@d.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: 2\r\n\r\nx\r\n"
                connection.sendall(b"Subject: 1\r\n\r\nfirst" + end + inner + b".\r\n")
                reply = read_reply(connection)
                self.assertRegex(reply, rb"\A5\d\d ", f"after {end!r}")
                connection.sendall(b"NOOP\r\n")
                self.assertRegex(read_reply(connection), rb"\A250 ", f"after {end!r}")
        self.assertEqual(len(self.server.collect()), before)

    def test_end_of_data_in_pieces(self) -> None:
        """S 5: the end marker octet by octet is an end marker."""
        with raw(self.server.mx) as connection:
            begin_data(connection)
            connection.sendall(b"Subject: in pieces\r\n\r\nbody")
            for octet in (b"\r", b"\n", b".", b"\r", b"\n"):
                time.sleep(0.03)
                connection.sendall(octet)
            self.assertRegex(read_reply(connection), rb"\A250 ")

    def upgrade(self, port: int, command: bytes, injected: bytes, smtp: bool) -> ssl.SSLSocket:
        """STARTTLS with commands behind it in the same packet."""
        connection = raw(port)
        read_reply(connection) if smtp else read_line(connection)
        if smtp:
            connection.sendall(b"EHLO a.example\r\n")
            read_reply(connection)
        connection.sendall(command + injected)
        read_line(connection)
        return trusting().wrap_socket(connection)

    def test_starttls_injection(self) -> None:
        """S 7, P 9: nothing sent before the handshake runs after it."""
        with self.upgrade(self.server.mx, b"STARTTLS\r\n", b"NOOP\r\nMAIL FROM:<a@b.example>\r\n", True) as tls:
            tls.sendall(b"EHLO b.example\r\n")
            self.assertRegex(read_reply(tls), rb"\A250-mx\.example\.test")
            tls.sendall(b"RCPT TO:<alice@example.test>\r\n")
            self.assertRegex(read_reply(tls), rb"\A503 ")
        with self.upgrade(self.server.pop3, b"STLS\r\n", b"QUIT\r\n", False) as tls:
            tls.sendall(b"CAPA\r\n")
            self.assertRegex(read_line(tls), rb"\A\+OK")
        with self.upgrade(self.server.imap, b"a STARTTLS\r\n", b"b NOOP\r\nc LOGOUT\r\n", False) as tls:
            tls.sendall(b"d NOOP\r\n")
            self.assertRegex(read_line(tls), rb"\Ad OK")

    def test_starttls_twice_and_auth_in_clear(self) -> None:
        """S 10: 503 inside TLS, where it is not offered."""
        with smtplib.SMTP("127.0.0.1", self.server.mx) as client:
            client.starttls(context=trusting())
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            self.assertEqual(client.docmd("STARTTLS")[0], 503)

    def test_tls_clients(self) -> None:
        """All three protocols after STARTTLS, with the standard library's clients."""
        with smtplib.SMTP("127.0.0.1", self.server.mx) as client:
            client.starttls(context=trusting())
            client.login(ALICE, PASSWORD)
            client.sendmail("a@b.example", [ALICE], message(1))
        pop = poplib.POP3("127.0.0.1", self.server.pop3)
        pop.stls(trusting())
        pop.user(ALICE)
        pop.pass_(PASSWORD)
        octets = b"\r\n".join(pop.retr(len(pop.list()[1]))[1])
        self.assertIn(b"with ESMTPSA", octets)
        self.assertIn(b"TLSv1", octets)
        pop.quit()
        imap = imaplib.IMAP4("127.0.0.1", self.server.imap)
        imap.starttls(trusting())
        imap.login(ALICE, PASSWORD)
        self.assertEqual(imap.select("INBOX")[0], "OK")
        imap.logout()

    def test_other_protocols_and_floods(self) -> None:
        """S 13-15: early talkers, HTTP, TLS on the plain port and endless lines end with at most one 5xx."""
        for octets in (
            b"GET / HTTP/1.1\r\nHost: x\r\nMAIL FROM:<a@b.example>\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
            b"x" * MIB,
            b"BOGUS\r\n" * 10_000,
        ):
            with raw(self.server.mx) as connection:
                read_reply(connection)
                answer = b""
                try:
                    connection.sendall(octets)
                    while piece := connection.recv(65536):
                        answer += piece
                except ConnectionError:
                    pass
                self.assertNotIn(b"\n250", b"\n" + answer)
                self.assertLess(len(answer), 4096)

    def test_noops_do_not_starve_others(self) -> None:
        """S 15: 100,000 NOOPs in one write; another client is served within a second meanwhile."""
        with raw(self.server.mx, 60) as connection:
            read_reply(connection)
            sender = threading.Thread(target=connection.sendall, args=(b"NOOP\r\n" * 100_000,))
            sender.start()
            answered = 0
            reader_done = threading.Event()

            def read() -> None:
                nonlocal answered
                while answered < 100_000 and (piece := connection.recv(1 << 16)):
                    answered += piece.count(b"\n")
                reader_done.set()

            threading.Thread(target=read, daemon=True).start()
            while not reader_done.wait(0.2):
                begin = time.monotonic()
                with smtplib.SMTP("127.0.0.1", self.server.mx, timeout=5) as client:
                    client.noop()
                self.assertLess(time.monotonic() - begin, 1.0)
            sender.join()

    def test_half_closed(self) -> None:
        """A client that closes its side behind its last command, as scripts do, hears the answers and is gone then."""
        for port, octets, last in (
            (self.server.mx, b"EHLO x\r\n", b"250 HELP"),
            (self.server.pop3, b"USER alice@example.test\r\nPASS wrong\r\n", b"-ERR"),
            (self.server.imap, b"a LOGIN alice@example.test wrong\r\n", b"a NO"),
        ):
            with raw(port) as client:
                heard = client.recv(65536)
                client.sendall(octets)
                client.shutdown(socket.SHUT_WR)
                while piece := client.recv(65536):
                    heard += piece
            self.assertEqual(heard.splitlines()[-1][: len(last)], last)

    def test_malformed_auth(self) -> None:
        """A 26: every form of nonsense gets 5xx; a login beside it works."""
        for line in (b"AUTH", b"AUTH PLAIN =", b"AUTH PLAIN !!!!", b"AUTH PLAIN " + b"A" * 11000, b"AUTH PLAIN AAAA",
                     b"AUTH PLAIN " + base64.b64encode(b"\0\0x"), b"AUTH UNKNOWN"):  # fmt: skip
            with raw(self.server.mx, 30) as connection:
                read_reply(connection)
                connection.sendall(b"EHLO a.example\r\n")
                read_reply(connection)
                connection.sendall(line + b"\r\n")
                self.assertRegex(read_reply(connection), rb"\A5\d\d ", line[:30])
        with smtplib.SMTP("127.0.0.1", self.server.mx) as client:
            client.login(ALICE, PASSWORD)

    def test_imap_bombs(self) -> None:
        """I 37, 38, 42: nesting, sets and names get BAD or NO; the session goes on or ends with BYE."""
        commands = (
            b"SEARCH " + b"(" * 5000,
            b'LIST "" ' + b"(" * 5000,
            b"FETCH 1 (BODY[" + b"1." * 3000 + b"1])",
            b"FETCH " + b"1:*," * 10_000 + b"1 FLAGS",
            b'SELECT "../../etc/passwd"',
            b'SELECT "INBOX/../x"',
            b'CREATE "&AAA"',
            b'CREATE "' + b"a/" * 10_000 + b'"',
            b'CREATE "' + b"a" * 10_000 + b'"',
        )
        for command in commands:
            with raw(self.server.imap, 20) as connection:
                read_line(connection)
                connection.sendall(b"a LOGIN alice@example.test {%d+}\r\n%s\r\n" % (len(PASSWORD), PASSWORD.encode()))
                while not read_line(connection).startswith(b"a OK"):
                    pass
                connection.sendall(b"b SELECT INBOX\r\n")
                while not read_line(connection).startswith(b"b OK"):
                    pass
                connection.sendall(b"c " + command + b"\r\n")
                while (line := read_line(connection)).startswith(b"* ") and not line.startswith(b"* BYE"):
                    pass
                self.assertRegex(line, rb"\A(c (BAD|NO)|\* BYE|\* BAD)", command[:40])

    def test_a_large_message_stays_out_of_memory(self) -> None:
        """50 MB in: the server's own memory rises by less than 4 MB, before, while and after."""
        line = b"x" * 998 + b"\r\n"

        def send(octets: int) -> None:
            with raw(self.server.mx, 120) as connection:
                begin_data(connection)
                connection.sendall(b"Subject: large\r\n\r\n")
                for _ in range(octets // (len(line) * 64)):
                    connection.sendall(line * 64)
                connection.sendall(b".\r\n")
                self.assertRegex(read_reply(connection), rb"\A250 ")

        send(2 * MIB)
        before = peak = self.memory_octets()
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, self.memory_octets())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            send(50_000_000)
        finally:
            done.set()
            watcher.join()
        self.assertLess(peak - before, 4_000_000)

    def test_no_secret_in_the_log(self) -> None:
        """A 75: neither right nor wrong passwords, nor SASL octets, are ever logged."""
        wrong = "hunter2 in vain"
        plain = base64.b64encode(f"\0{ALICE}\0{wrong}".encode()).decode()
        with smtplib.SMTP("127.0.0.1", self.server.mx) as client:
            client.ehlo()
            client.docmd("AUTH PLAIN", plain)
            client.docmd("AUTH " + plain)
            client.docmd(f"PASS {wrong}")
        self.assertRaises(poplib.error_proto, self.server.pop, password=wrong)
        self.server.pop().quit()
        imap = imaplib.IMAP4("127.0.0.1", self.server.imap)
        self.assertRaises(imaplib.IMAP4.error, imap.login, ALICE, wrong)
        imap.shutdown()
        logged = self.server.logged()
        for secret in (wrong, plain, PASSWORD, base64.b64encode(wrong.encode()).decode()):
            self.assertNotIn(secret, logged)
