"""
`mailtraq trial`: what a newcomer sees, and the five commands that it prints.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.installation import install
from mailtraq_py.app.trial import FILE, HOSTNAME

from .programs import program
from .server import PROGRAMS, free_ports, wait_for


class Trial(SynchronousTestCase):
    """In a folder of its own, on free ports in place of the usual ones."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        ports = iter(free_ports(7))
        text = re.sub(r"127\.0\.0\.1:2[0-9]{3}", lambda _: f"127.0.0.1:{next(ports)}", FILE)
        install(self.folder / "var" / "trial", text, HOSTNAME)

    def start(self, log: str) -> subprocess.Popen[bytes]:
        """Start it and wait until it says that it is ready."""
        for name in ("swaks", "curl"):
            program(name)
        output = self.folder / log
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [str(PROGRAMS / "mailtraq"), "trial"], cwd=self.folder, stdout=stream, stderr=stream
            )
        self.addCleanup(self.end, process)
        wait_for(lambda: "\nready: " in output.read_text() or process.poll() is not None, "the trial to be ready")
        self.assertIs(process.poll(), None, output.read_text())
        return process

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Ctrl-C."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.wait(20)

    def commands(self, log: str) -> list[list[str]]:
        """The five commands, as a shell would read them."""
        text = (self.folder / log).read_text()
        shown = text.partition("Try, in another terminal:\n")[2].partition("\n\n")[0]
        return [shlex.split(line) for line in shown.splitlines()]

    def run_shown(self, command: list[str]) -> str:
        """Run one of them; it must succeed."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def test_five_commands(self) -> None:
        """Each does what it promises: mail in, collected twice, explained, and captured on its way out."""
        process = self.start("one")
        swaks, pop3, imap, explain, python = self.commands("one")
        self.run_shown(swaks)
        self.assertIn("This is a test mailing", self.run_shown(pop3))
        self.assertIn("This is a test mailing", self.run_shown(imap))
        self.assertIn("refused", self.run_shown(explain))
        self.run_shown(python)
        accounts = dict(line.split(" ") for line in (self.folder / "var/trial/accounts").read_text().splitlines())
        wait_for(self.queue_is_empty, "the queue to be empty")
        login = f"captured@example.test:{accounts['captured@example.test']}"
        self.assertIn("X-Envelope-To: <friend@elsewhere.example>", self.run_shown(["curl", "--user", login, pop3[-1]]))
        self.assertEqual(self.end(process), 0)
        self.assertNotIn("Traceback", (self.folder / "one").read_text())

    def queue_is_empty(self) -> bool:
        """Nothing waits to leave."""
        config = str(self.folder / "var/trial/mailtraq.toml")
        shown = self.run_shown([str(PROGRAMS / "mailtraq"), "queue", "list", "--json", "--config", config])
        return json.loads(shown) == []

    def test_second_run(self) -> None:
        """A second run has the same accounts, passwords and mail; the passwords are for nobody else to read."""
        process = self.start("one")
        swaks, *_ = self.commands("one")
        self.run_shown(swaks)
        self.end(process)
        self.start("two")
        self.assertEqual(self.commands("one"), self.commands("two"))
        self.assertIn("This is a test mailing", self.run_shown(self.commands("two")[1]))
        self.assertEqual((self.folder / "var/trial/accounts").stat().st_mode & 0o777, 0o600)
