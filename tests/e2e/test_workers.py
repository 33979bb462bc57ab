"""
Several workers over one store: what they share, what becomes of the others when one of them dies.
"""

from __future__ import annotations

import imaplib
import json
import os
import signal
import smtplib
import socket
import threading
import time
from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .corpus import number_of
from .outside import Outside
from .server import PASSWORD, Server, wait_for
from .test_main_job import send

ALICE, BOB = "alice@example.test", "bob@example.test"
FRIEND = "friend@elsewhere.example"
CONNECTIONS = 5
MESSAGES = 2000  # more than come in while three processes are killed and replaced


def is_alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Workers(SynchronousTestCase):
    """Two workers on a server of their own."""

    CONFIG = Server.CONFIG.replace(
        "[smtp.senders]", "[smtp.tarpit]\nblock_after_failed_recipients = 6\nblock_seconds = 2\n\n[smtp.senders]"
    )
    server: Server
    outside: Outside

    @classmethod
    def setUpClass(cls) -> None:
        """Start it, with a world to send to."""
        cls.outside = Outside()
        cls.server = Server(cls.CONFIG, [ALICE, BOB], dns=cls.outside.dns, sink=cls.outside.sink, workers=2)
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()
        cls.outside.close()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of an event; none of them is torn."""
        found = [json.loads(line) for line in self.server.logged().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def processes(self) -> dict[str, int]:
        """The newest process of each name."""
        return {line["process"]: line["pid"] for line in self.lines("process-begun")}

    def connect(self, port: int, source: str = "127.0.0.1") -> Any:
        """A connection that has its greeting."""
        connection = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        self.addCleanup(connection.close)
        stream = connection.makefile("rwb", 0)
        self.addCleanup(stream.close)
        stream.readline()
        return stream

    def both(self, port: int) -> list[Any]:
        """Two connections, one with each worker."""
        streams: dict[int, Any] = {}
        while len(streams) < 2:
            stream = self.connect(port)
            local = None
            for line in self.lines("connect"):
                local = line
            assert local is not None
            streams[local["worker"]] = stream
        return list(streams.values())

    def say(self, stream: Any, *commands: str) -> str:
        """The first line of the last reply."""
        for command in commands:
            stream.write(command.encode() + b"\r\n")
            reply = stream.readline().decode()
        return reply


class Sharing(Workers):
    """What both go by."""

    CONFIG = "[[pop3]]".join(
        part.replace("max_connections_per_address = 500", "max_connections_per_address = 4", number)
        for number, part in enumerate(Workers.CONFIG.split("[[pop3]]"))
    )

    def test_connections_are_spread_evenly(self) -> None:
        """However many come at once, and however long they stay."""
        for count in (10, 50):
            source = (f"127.0.0.{count}", 0)
            imap = ("127.0.0.1", self.server.imap)
            connections = [socket.create_connection(imap, 10, source) for _ in range(count)]
            for connection in connections:
                self.assertEqual(connection.recv(4), b"* OK")
                connection.close()
            spread = Counter(line["worker"] for line in self.lines("connect") if line["client"] == source[0])
            self.assertLessEqual(max(spread.values()), 0.7 * count, spread)

    def test_a_login_opens_the_relay_of_both(self) -> None:
        """At once, and what both relayed leaves once each."""
        self.server.pop().quit()
        for number, stream in enumerate(self.both(self.server.mx)):
            to = f"friend{number}@elsewhere.example"
            self.assertEqual(self.say(stream, "HELO c", f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{to}>")[:3], "250")
            self.assertEqual(self.say(stream, "DATA")[:3], "354")
            self.assertEqual(self.say(stream, "Subject: x\r\n\r\nx\r\n.")[:3], "250")
        for number in range(2):
            wait_for(lambda: self.outside.to(f"friend{number}@elsewhere.example"), "the message")  # noqa: B023
        time.sleep(0.2)
        self.assertEqual([len(self.outside.to(f"friend{number}@elsewhere.example")) for number in range(2)], [1, 1])

    def test_a_ban_holds_with_both(self) -> None:
        """Refused recipients count together, and who is banned is so everywhere."""
        streams = self.both(self.server.mx)
        replies = []
        for stream in streams:
            self.say(stream, "HELO c", "MAIL FROM:<a@b.example>")
            replies += [self.say(stream, f"RCPT TO:<nobody{number}@example.test>")[:3] for number in range(3)]
        self.assertEqual(replies, ["550"] * 6)
        self.assertEqual([self.say(stream, "RCPT TO:<nobody@example.test>")[:3] for stream in streams], ["421"] * 2)
        time.sleep(2.1)
        self.assertEqual(self.say(self.connect(self.server.mx), "HELO c")[:3], "250")

    def test_a_maildrop_is_open_once(self) -> None:
        """Whichever worker has it (RFC 1939 4)."""
        first, second = self.both(self.server.pop3)
        login = (f"USER {BOB}", f"PASS {PASSWORD}")
        self.assertEqual([self.say(stream, *login)[:3] for stream in (first, second)], ["+OK", "-ER"])
        self.say(first, "QUIT")
        self.assertEqual(self.say(second, *login)[:3], "+OK")
        self.say(second, "QUIT")

    def test_connections_of_an_address_are_counted_together(self) -> None:
        """The fifth is refused whoever takes it; there is room when one is gone, and when a worker has died."""
        pop3 = ("127.0.0.1", self.server.pop3)

        def come() -> tuple[socket.socket, bytes]:
            connection = socket.create_connection(pop3, 10, ("127.0.0.2", 0))
            self.addCleanup(connection.close)
            return connection, connection.recv(4)

        first, *_ = [come() for _ in range(4)]
        self.assertEqual([come()[1] for _ in range(4)], [b"-ERR"] * 4)
        first[0].close()
        wait_for(lambda: come()[1] == b"+OK ", "room for one", 5)
        begun = self.processes()
        for name in ("worker 1", "worker 2"):
            os.kill(begun[name], signal.SIGKILL)
        wait_for(lambda: len(self.processes().items() - begun.items()) == 2, "new workers", 10)
        self.assertEqual([come()[1] for _ in range(4)], [b"+OK "] * 4)

    def test_mail_is_announced_by_both(self) -> None:
        """An IDLE session of either worker hears at once what the other one delivered."""
        streams = self.both(self.server.imap)
        for stream in streams:
            self.say(stream, f'a LOGIN {BOB} "{PASSWORD}"')
            stream.write(b"b SELECT INBOX\r\n")
            while not stream.readline().startswith(b"b "):
                pass
            self.assertEqual(self.say(stream, "c IDLE")[:1], "+")
        with smtplib.SMTP("127.0.0.1", self.server.mx, "client.example", 30) as client:
            client.sendmail("a@b.example", [BOB], b"Subject: x\r\n\r\nx\r\n")
        for stream in streams:
            self.assertIn(b" EXISTS", stream.readline())

    def test_reload(self) -> None:
        """All have it when the command is back; a bad file changes nobody; a log that was moved is begun anew."""
        stranger = ("HELO c.outside.example", "MAIL FROM:<a@b.example>")
        good = self.server.config.read_text()
        try:
            self.server.config.write_text(good + '\n[barring]\nsenders = ["*@b.example"]\n')
            told = json.loads(self.server.mailtraq("reload", "--json").stdout)
            self.assertEqual((told["errors"], told["restart"]), ([], []))
            self.assertEqual([self.say(stream, *stranger)[:3] for stream in self.both(self.server.mx)], ["554"] * 2)
            self.server.config.write_text(good.replace('addresses = ["192.168.1.*"]', 'addresses = ["300.1.1.1"]'))
            self.assertIn('"300.1.1.1"', self.server.mailtraq("reload", check=2).stderr)
            self.server.config.write_text(good.replace("workers = 2", "workers = 3"))
            self.assertIn("workers", self.server.mailtraq("reload").stdout)
        finally:
            self.server.config.write_text(good)
            self.server.mailtraq("reload")
        self.assertEqual([self.say(stream, *stranger)[:3] for stream in self.both(self.server.mx)], ["250"] * 2)


class Deaths(Workers):
    """SIGKILL while mail arrives."""

    def sending(self, acknowledged: list[int], numbers: range) -> list[threading.Thread]:
        """Senders at work, that come again when they are cut off until all is acknowledged."""

        def work(mine: list[int]) -> None:
            while left := [number for number in mine if number not in acknowledged]:
                send(self.server.mx, left, acknowledged, BOB)

        shares = [list(numbers[start::CONNECTIONS]) for start in range(CONNECTIONS)]
        threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
        for thread in threads:
            thread.start()
        return threads

    def assert_stored(self, acknowledged: list[int]) -> None:
        """Each is there; beyond what was acknowledged there may be the ones that were under way at a death."""
        found = Counter(number_of(octets) for octets in self.server.collect(BOB))
        self.assertEqual(set(acknowledged) - found.keys(), set())

    def test_of_workers_and_writer(self) -> None:
        """The others go on, the dead are replaced, the clients' work comes to its end, nothing acknowledged is lost."""
        acknowledged: list[int] = []
        senders = self.sending(acknowledged, range(MESSAGES))
        for name in ("worker 1", "worker 2", "writer"):
            before, begun = len(acknowledged), self.processes()
            wait_for(lambda: len(acknowledged) > before + 40, "mail to flow")  # noqa: B023
            os.kill(begun[name], signal.SIGKILL)
            dead = begun if name == "writer" else {name: begun[name]}
            wait_for(lambda: not self.processes().items() & dead.items(), f"new ones after {name}", 10)  # noqa: B023
            alive = begun.keys() - dead.keys()
            self.assertEqual({one: self.processes()[one] for one in alive}, {one: begun[one] for one in alive})
        for sender in senders:
            sender.join(60)
        self.assertEqual(len(acknowledged), MESSAGES)
        self.assert_stored(acknowledged)
        ends = [(line["process"], line["status"]) for line in self.lines("process-ended")]
        self.assertEqual(ends[:3], [("worker 1", -9), ("worker 2", -9), ("writer", -9)])
        self.assertNotIn("Traceback", self.server.logged())

    def test_of_the_supervisor(self) -> None:
        """All end at once, and a new server serves on the same sockets and store; so after an orderly stop."""
        acknowledged: list[int] = []
        arguments = [(self.server.mx, [number], acknowledged, BOB) for number in range(MESSAGES, MESSAGES + 5)]
        senders = [threading.Thread(target=send, args=each) for each in arguments]
        session = imaplib.IMAP4("127.0.0.1", self.server.imap)
        for sender in senders:
            sender.start()
        processes = self.processes()
        self.server.kill()
        self.server.start()
        self.assertFalse(any(map(is_alive, processes.values())))
        self.assertRaises((imaplib.IMAP4.abort, OSError), session.noop)
        for sender in senders:
            sender.join(60)
        self.assert_stored(acknowledged)
        processes = self.processes()
        self.server.stop()
        self.assertFalse(any(map(is_alive, processes.values())))
        self.server.start()
