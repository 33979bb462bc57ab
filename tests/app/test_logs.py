"""
The lines of the log.
"""

from __future__ import annotations

import json
import os
import tempfile
from threading import Thread

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.logs import LogFile, LogLines


class LogLinesTests(SynchronousTestCase):
    """One line an event."""

    def setUp(self) -> None:
        self.written: list[bytes] = []

    def log(self, form: str, level: str = "info") -> Logger:
        """A logger whose lines end in `written`."""
        return Logger(namespace="tests", observer=LogLines(self.written.append, form, level))

    def test_worker(self) -> None:
        """Each line says which of several processes wrote it."""
        for worker in (2, "writer"):
            Logger(observer=LogLines(self.written.append, worker=worker)).info("x", event="x")
        self.assertEqual([json.loads(line)["worker"] for line in self.written], [2, "writer"])

    def test_json(self) -> None:
        """Time, level, event, then every field given, on one line."""
        self.log("json").info("login", event="login", session="s1", tls=None, text='a\nb "c"', many=("x", 1))
        [line] = self.written
        self.assertEqual(line.count(b"\n"), 1)
        event = json.loads(line)
        self.assertRegex(event.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertEqual(
            event,
            {"level": "info", "event": "login", "session": "s1", "tls": None, "text": 'a\nb "c"', "many": ["x", 1]},
        )

    def test_keyvalue(self) -> None:
        """The other form: empty fields are left out, what could be misread is quoted."""
        self.log("keyvalue").warn("login", event="login", session="s1", tls=None, text="a\nb c", many=("x", 1))
        self.assertRegex(self.written[0], rb'\A\S+Z warn login session=s1 text="a\\nb c" many="\[\\"x\\",1\]"\n\Z')

    def test_no_second_line(self) -> None:
        """What a peer sends cannot start a line of its own, whatever its octets."""
        evil = 'x\r\n{"event":"login"}\u2028\udcff\x00'
        for form in ("json", "keyvalue"):
            self.log(form).info("hello", event="hello", helo=evil)
        for line in self.written:
            self.assertEqual((line.count(b"\n"), line.count(b"\r"), line.count(b"\0")), (1, 0, 0))

    def test_failure(self) -> None:
        """A failure brings its traceback as a field, without the values of variables."""
        password = "hunter2"  # noqa: F841 - must not show
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            self.log("json").failure("local error in {session}", session="s1")
        event = json.loads(self.written[0])
        self.assertEqual((event["level"], event["text"]), ("critical", "local error in s1"))
        self.assertIn("RuntimeError: broken", event["traceback"])
        self.assertNotIn('hunter2"', event["traceback"].replace('password = "hunter2"', ""))

    def test_level(self) -> None:
        """What lies below the level asked for is not written."""
        log = self.log("json", "warn")
        log.info("a", event="a")
        log.error("b", event="b")
        self.assertEqual([json.loads(line)["event"] for line in self.written], ["b"])

    def test_libraries(self) -> None:
        """Events without a word of ours carry their text."""
        self.log("json").info("{n} things", n=3)
        event = json.loads(self.written[0])
        self.assertEqual((event["event"], event["text"], event["from"]), ("message", "3 things", "tests"))


class LogFileTests(SynchronousTestCase):
    """The file that lines go to."""

    def test_reopen(self) -> None:
        """After the file was moved away, `reopen` goes on in a new one."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = f"{folder.name}/log"
        file = LogFile(path)
        file.write(b"one\n")
        os.rename(path, path + ".1")
        file.write(b"two\n")
        file.reopen()
        file.write(b"three\n")
        for name, expected in ((path + ".1", b"one\ntwo\n"), (path, b"three\n")):
            with open(name, "rb") as stream:
                self.assertEqual(stream.read(), expected)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o640)

    def test_lines_of_a_turn(self) -> None:
        """While lines are gathered, those of a turn are written at its end, and at once where the file is reopened."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path, clock = f"{folder.name}/log", Clock()
        file = LogFile(path)

        def written() -> bytes:
            with open(path, "rb") as stream:
                return stream.read()

        file.gather(clock)
        file.write(b"one\n")
        file.write(b"two\n")
        self.assertEqual(written(), b"")
        clock.advance(0)
        self.assertEqual(written(), b"one\ntwo\n")
        file.write(b"three\n")
        file.reopen()
        self.assertEqual(written(), b"one\ntwo\nthree\n")
        file.write(b"four\n")
        file.gather(None)
        file.write(b"five\n")
        clock.advance(0)
        self.assertEqual(written(), b"one\ntwo\nthree\nfour\nfive\n")

    def test_other_threads(self) -> None:
        """What another thread logs does not wait for the reactor's turn."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = f"{folder.name}/log"
        file = LogFile(path)
        file.gather(Clock())
        thread = Thread(target=file.write, args=(b"from afar\n",))
        thread.start()
        thread.join()
        with open(path, "rb") as stream:
            self.assertEqual(stream.read(), b"from afar\n")

    def test_pipe(self) -> None:
        """Into a pipe lines go in pieces that no other process's can come between; a longer line is a piece."""
        reader, writer = os.pipe2(os.O_DIRECT)  # a read gives what one write brought
        self.addCleanup(os.close, reader)
        saved = os.dup(1)
        os.dup2(writer, 1)
        os.close(writer)
        try:
            log = LogFile(None)
            log.write(b"".join(b"%d %s\n" % (number, b"x" * 1500) for number in range(5)) + b"y" * 5000 + b"\nz\n")
        finally:
            os.dup2(saved, 1)
            os.close(saved)
        pieces = [os.read(reader, 65536) for _ in range(6)]
        self.assertEqual([piece[:1] for piece in pieces], [b"0", b"2", b"4", b"y", b"y", b"z"])
        self.assertEqual([len(piece) for piece in pieces], [3006, 3006, 1503, 4096, 905, 2])
