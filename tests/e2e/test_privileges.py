"""
A server that root starts and a configured user runs: needs root, and a system with the user nobody.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from unittest import skipUnless

import psutil
from twisted.trial.unittest import SynchronousTestCase

from .server import PASSWORD, Server, wait_for

USER = "nobody"


@skipUnless(os.geteuid() == 0, "only root can give root up")
class GivenUp(SynchronousTestCase):
    """Ports below 1024 are root's; mail is not."""

    def test_user(self) -> None:
        """The process has none of root's identities, its files belong to the user, and commands of root keep it so."""
        self.check(workers=0)

    def test_user_and_workers(self) -> None:
        """So it is with each of several processes, those that replace dead ones included."""
        self.check(workers=2)

    def check(self, workers: int) -> None:
        """Start, look at every process, use it."""
        server = Server(Server.CONFIG.replace("[lan]", f'user = "{USER}"\n\n[lan]', 1), workers=workers)
        self.addCleanup(server.close)
        server.start()
        wait_for(lambda: '"event":"ready"' in server.logged(), "root to be given up", 10)
        assert server.process is not None
        uid = pwd.getpwnam(USER).pw_uid
        supervisor = psutil.Process(server.process.pid)
        for child in supervisor.children(recursive=True):
            if child.name() == "mailtraq 1":
                child.kill()
                wait_for(lambda: server.logged().count('"event":"process-begun"') == 4, "another worker", 10)
        children = [child for child in supervisor.children(recursive=True) if child.name().startswith("mailtraq")]
        processes = [supervisor, *children]
        self.assertEqual(len(processes), workers + 3 if workers else 1)  # supervisor, fork server, writer, workers
        for process in processes:
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith(("Uid:", "Gid:", "Groups:")):
                    self.assertNotIn("0", line.split()[1:], line)
        self.assertEqual(server.pop().stat(), (0, 0))
        server.mailtraq("account", "add", "late@example.test", "--password-stdin", stdin=PASSWORD)
        self.assertEqual(server.pop("late@example.test").stat(), (0, 0))
        data = server.folder / "data"
        self.assertEqual({path: path.stat().st_uid for path in data.rglob("*")}, dict.fromkeys(data.rglob("*"), uid))
        self.assertEqual(data.stat().st_mode & 0o777, 0o700)
