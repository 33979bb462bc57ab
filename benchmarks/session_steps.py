"""
What a session costs without sockets, threads and disk: the Python that a message, a connection, an APPEND run through.

    python benchmarks/session_steps.py [ROUNDS [WORDS OF A NAME]]

Everything is the real thing as `app.build` wires it, but for the transport, the reactor (a clock moved by hand) and the
store, which lies in memory and commits each message by itself. Figures are microseconds of CPU, the least of several
rounds, and byte codes, which are the same however busy the machine is.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "kit"))

from messages import message
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import globalLogBeginner

from mailtraq_py.app.build import Server
from mailtraq_py.app.commons import Commons
from mailtraq_py.app.config import parse
from mailtraq_py.app.listfiles import ListFiles
from mailtraq_py.app.logs import LogFile, LogLines
from mailtraq_py.net.tls import TLSContexts
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store

MESSAGES = 50
CONFIGURATION = """
hostname = "mx.bench.test"
data_dir = "{folder}"
[[smtp]]
name = "mx"
role = "mx"
listen = ["127.0.0.1:3525"]
tls = "none"
[[imap]]
name = "imap"
listen = ["127.0.0.1:3143"]
tls = "none"
auth_without_tls = "loopback"
"""


class Wire:
    """A transport that keeps what was written last."""

    disconnecting = False

    def __init__(self) -> None:
        self.protocol: Any = None
        self.said = b""

    def write(self, octets: bytes) -> None:
        """Take what the server says."""
        self.said = octets

    def getPeer(self) -> IPv4Address:
        """The client."""
        return IPv4Address("TCP", "127.0.0.1", 40_000)

    def getHost(self) -> IPv4Address:
        """The server."""
        return IPv4Address("TCP", "127.0.0.1", 25)

    def loseConnection(self) -> None:
        """The server closes."""
        self.disconnecting = True

    def ignored(self, *_: object) -> None:
        """Sockets' affairs."""

    setTcpNoDelay = setTcpKeepAlive = registerProducer = unregisterProducer = ignored
    resumeProducing = pauseProducing = abortConnection = ignored


class Bench:
    """A server in memory, and connections to it."""

    def __init__(self, folder: str) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000.0)
        configuration = parse(CONFIGURATION.format(folder=folder), Path(folder, "mailtraq.toml"))
        store = Store("sqlite::memory:", folder, clock=self.clock.seconds, announce=False)
        run_now(store.start())
        run_now(store.administration.add_domain("bench.test"))
        for number in range(10):
            run_now(store.administration.add_account(f"u{number:04d}@bench.test", b"benchpass"))
        self.store = store
        self.server = Server(configuration, ListFiles(), TLSContexts(()), store, Commons(), self.clock, self.clock.seconds)
        self.server._accept.in_thread = at_once

    def connect(self, service: str) -> tuple[Wire, Any]:
        """A connection that was greeted."""
        wire = Wire()
        self.server.factory(service).buildProtocol(None).makeConnection(wire)
        for _ in range(3):
            self.clock.advance(0.0)
        return wire, wire.protocol

    def forget(self) -> None:
        """Drop the decisions that wait, as the recorder does."""
        if self.server._history is not None:
            self.server._history.take()


async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """In this thread."""
    return function(*arguments)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    globalLogBeginner.beginLoggingTo([LogLines(LogFile("/dev/null").write)], redirectStandardIO=False)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder)
        small = [b"X-Bench-Id: 1\r\n" + message(number, 4096) + b".\r\n" for number in range(64)]
        large = [message(number, 102_400) + b".\r\n" for number in range(4)]
        huge = [message(number, 1_048_576) + b".\r\n" for number in range(4)]
        for name, run, count in (
            ("SMTP: connect, EHLO, QUIT", connects, MESSAGES),
            ("SMTP: 4 KiB, many a connection", partial(pipelined, small), MESSAGES),
            ("SMTP: 4 KiB, one a connection", partial(singly, small), MESSAGES),
            ("SMTP: 100 KiB", partial(pipelined, large), 10),
            ("SMTP: 1 MiB", partial(pipelined, huge), 3),
            ("IMAP: APPEND, 4 KiB", partial(appends, small), MESSAGES),
        ):
            if wanted in name:
                report(name, rounds, partial(run, bench), count)


def report(name: str, rounds: int, run: Callable[[int], None], count: int) -> None:
    """Print the least of several rounds."""
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        run(count)
        spent.append((time.thread_time() - began) / count)
    print(f"{name:36} {min(spent) * 1e6:8.1f} us {byte_codes(run, count):8.0f} byte codes", flush=True)


def byte_codes(run: Callable[[int], None], count: int) -> float:
    """How many steps the interpreter takes for one."""
    steps = 0

    def look(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal steps
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            steps += 1
        return look

    sys.settrace(look)
    try:
        run(count)
    finally:
        sys.settrace(None)
    return steps / count


def connects(bench: Bench, count: int) -> None:
    """A connection each."""
    for _ in range(count):
        wire, driver = bench.connect("mx")
        driver.dataReceived(b"EHLO client.bench.test\r\n")
        driver.dataReceived(b"QUIT\r\n")
        assert wire.said.startswith(b"221"), wire.said
        driver.connectionLost()
    bench.forget()


def pipelined(messages: list[bytes], bench: Bench, count: int) -> None:
    """All over one connection."""
    wire, driver = bench.connect("mx")
    driver.dataReceived(b"EHLO client.bench.test\r\n")
    for number in range(count):
        driver.dataReceived(
            b"MAIL FROM:<bench@origin.example>\r\nRCPT TO:<u%04d@bench.test>\r\nDATA\r\n" % (number % 10)
        )
        put(driver, messages[number % len(messages)])
        assert wire.said.startswith(b"250"), wire.said
    driver.dataReceived(b"QUIT\r\n")
    driver.connectionLost()
    bench.forget()


def singly(messages: list[bytes], bench: Bench, count: int) -> None:
    """A connection each, every command by itself."""
    for number in range(count):
        wire, driver = bench.connect("mx")
        driver.dataReceived(b"EHLO client.bench.test\r\n")
        driver.dataReceived(b"MAIL FROM:<bench@origin.example>\r\n")
        driver.dataReceived(b"RCPT TO:<u%04d@bench.test>\r\n" % (number % 10))
        driver.dataReceived(b"DATA\r\n")
        put(driver, messages[number % len(messages)])
        assert wire.said.startswith(b"250"), wire.said
        driver.dataReceived(b"QUIT\r\n")
        driver.connectionLost()
    bench.forget()


def appends(messages: list[bytes], bench: Bench, count: int) -> None:
    """LITERAL+ into one mailbox."""
    wire, driver = bench.connect("imap")
    driver.dataReceived(b'a LOGIN "u0000@bench.test" "benchpass"\r\n')
    assert b"a OK" in wire.said, wire.said
    for number in range(count):
        octets = messages[number % len(messages)]
        driver.dataReceived(b"b APPEND INBOX {%d+}\r\n%b\r\n" % (len(octets), octets))
        assert b"b OK" in wire.said, wire.said
    driver.dataReceived(b"c LOGOUT\r\n")
    driver.connectionLost()
    bench.forget()


def put(driver: Any, octets: bytes) -> None:
    """As a socket gives it: 64 KiB at once."""
    for place in range(0, len(octets), 65_536):
        driver.dataReceived(octets[place : place + 65_536])


if __name__ == "__main__":
    main()
