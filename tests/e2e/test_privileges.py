"""
A server that root starts and a configured user runs: needs root, and a system with the user nobody.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from .server import PASSWORD, Server

USER = "nobody"


@skipUnless(os.geteuid() == 0, "only root can give root up")
class GivenUp(SynchronousTestCase):
    """Ports below 1024 are root's; mail is not."""

    def test_user(self) -> None:
        """The process has none of root's identities, its files belong to the user, and commands of root keep it so."""
        server = Server(Server.CONFIG.replace("[lan]", f'user = "{USER}"\n\n[lan]', 1))
        self.addCleanup(server.close)
        server.start()
        assert server.process is not None
        uid = pwd.getpwnam(USER).pw_uid
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        for line in status.splitlines():
            if line.startswith(("Uid:", "Gid:", "Groups:")):
                self.assertNotIn("0", line.split()[1:], line)
        self.assertEqual(server.pop().stat(), (0, 0))
        server.mailtraq("account", "add", "late@example.test", "--password-stdin", stdin=PASSWORD)
        self.assertEqual(server.pop("late@example.test").stat(), (0, 0))
        data = server.folder / "data"
        self.assertEqual({path: path.stat().st_uid for path in data.rglob("*")}, dict.fromkeys(data.rglob("*"), uid))
        self.assertEqual(data.stat().st_mode & 0o777, 0o700)
