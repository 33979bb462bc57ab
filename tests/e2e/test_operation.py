"""
Start, reload and stop of a real server: what an administrator sees.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from .server import PROGRAMS, Server, listens, wait_for

STOP_FAREWELL = b"* BYE"


class Operation(SynchronousTestCase):
    """One server for all."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        """Start it."""
        cls.server = Server()
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()

    def replies(self, *commands: str) -> list[str]:
        """The first lines of an SMTP server's replies to the greeting and these commands."""
        with socket.create_connection(("127.0.0.1", self.server.mx), 10) as connection:
            stream = connection.makefile("rwb")
            found = [stream.readline().decode()]
            for command in commands:
                stream.write(command.encode() + b"\r\n")
                stream.flush()
                found.append(stream.readline().decode())
            return found

    def test_second_server(self) -> None:
        """A second server on the same ports is refused in one line that names who has them."""
        done = subprocess.run(
            [str(PROGRAMS / "twistd"), "-n", "--pidfile=", "mailtraq", "--config", str(self.server.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert self.server.process is not None
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"taken by twistd (process {self.server.process.pid})", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_reload(self) -> None:
        """A changed policy is in force at once, in a session that runs too; a bad file changes nothing."""
        stranger = ("HELO c.outside.example", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.test>")
        self.assertEqual(self.replies(*stranger)[3][:3], "250")
        good = self.server.config.read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.server.mx), 10) as connection:
                stream = connection.makefile("rwb", 0)
                stream.readline()
                self.server.config.write_text(good + '\n[barring]\nsenders = ["*@b.example"]\n')
                told = json.loads(self.server.mailtraq("reload", "--json").stdout)
                self.assertEqual((told["errors"], told["restart"]), ([], []))
                for command in stranger[:2]:
                    stream.write(command.encode() + b"\r\n")
                    reply = stream.readline()
                self.assertEqual(reply[:3], b"554")
            self.server.config.write_text(good.replace('addresses = ["192.168.1.*"]', 'addresses = ["300.1.1.1"]'))
            refused = self.server.mailtraq("reload", check=2)
            self.assertIn('"300.1.1.1"', refused.stderr)
            self.assertIn("stays in force", refused.stderr)
            self.assertEqual(self.replies(*stranger)[2][:3], "554")
        finally:
            self.server.config.write_text(good)
            self.server.mailtraq("reload")
        self.assertEqual(self.replies(*stranger)[3][:3], "250")

    def test_configuration_errors(self) -> None:
        """A file with errors stops the start with all of them, without a traceback, and with exit code 2."""
        bad = self.server.folder / "bad.toml"
        bad.write_text(self.server.config.read_text() + "\n[limitz]\n[timeouts]\nsmtp_seconds = true\n")
        done = subprocess.run(
            [str(PROGRAMS / "twistd"), "-n", "--pidfile=", "mailtraq", "--config", str(bad)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("limitz: unknown key (did you mean limits?)", done.stderr)
        self.assertIn("timeouts.smtp_seconds: must be a number", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


class FailingStart(SynchronousTestCase):
    """A server that finds out late that it cannot serve."""

    def test_store(self) -> None:
        """A store that cannot be opened ends all processes: one line, exit code 1, nothing left behind that waits."""
        for workers in (0, 1):
            server = Server(workers=workers)
            self.addCleanup(server.close)
            (server.folder / "data" / "spool").write_text("a file where a folder should be")
            done = subprocess.run(
                [str(PROGRAMS / "twistd"), "-n", "--pidfile=", "mailtraq", "--config", str(server.config)],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("mailtraq: the server could not start: ", done.stderr)
            self.assertNotIn("Traceback", done.stdout + done.stderr)


class Stopping(SynchronousTestCase):
    """A server that is told to stop."""

    def test_orderly(self) -> None:
        """Idle sessions get a farewell, a port refuses, and the process is gone soon."""
        server = Server()
        self.addCleanup(server.close)
        server.start()
        with socket.create_connection(("127.0.0.1", server.imap), 10) as connection:
            stream = connection.makefile("rb")
            self.assertTrue(stream.readline().startswith(b"* OK"))
            server.stop()
            self.assertTrue(stream.readline().startswith(STOP_FAREWELL))
            self.assertEqual(stream.readline(), b"")
        wait_for(lambda: '"event":"stopped"' in server.logged(), "the last line of the log", 5)
        self.assertNotIn("Traceback", server.logged())

    def test_in_a_message(self) -> None:
        """A message whose data is under way comes to its end, is acknowledged and kept; then comes the farewell."""
        server = Server(workers=2)
        self.addCleanup(server.close)
        server.start()
        assert server.process is not None
        with socket.create_connection(("127.0.0.1", server.mx), 10) as connection:
            stream = connection.makefile("rwb", 0)
            stream.readline()
            for command in ("HELO c.example", "MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.test>", "DATA"):
                stream.write(command.encode() + b"\r\n")
                reply = stream.readline()
            self.assertEqual(reply[:3], b"354")
            stream.write(b"Subject: half\r\n")
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not listens(server.mx), "the port to close", 5)
            stream.write(b"\r\nand the rest\r\n.\r\n")
            self.assertEqual(stream.readline()[:3], b"250")
            self.assertEqual(stream.readline()[:3], b"421")
        server.process.wait(10)
        server.start()
        [message] = server.collect()
        self.assertTrue(message.endswith(b"\r\n\r\nand the rest\r\n"))
