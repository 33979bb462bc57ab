"""
What a reload brings into force, and what needs a restart.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.config import parse
from mailtraq_py.app.reload import keys_that_need_restart

FILE = Path("/etc/mailtraq/mailtraq.toml")
RUNNING = """\
hostname = "mx.here.example"
[lan]
addresses = []
[[smtp]]
name = "mx"
tls = "none"
max_connections = 10
[[pop3]]
tls = "none"
"""


class ReloadTests(SynchronousTestCase):
    """Differences between two files."""

    def changed(self, old: str, new: str) -> tuple[str, ...]:
        """What needs a restart when `old` becomes `new` in the running file."""
        return keys_that_need_restart(parse(RUNNING, FILE), parse(RUNNING.replace(old, new), FILE))

    def test_policy(self) -> None:
        """Policy needs none."""
        self.assertEqual(self.changed("addresses = []", 'addresses = ["10.*"]'), ())
        self.assertEqual(self.changed("max_connections = 10", 'max_connections = 10\naccess = "firewall"'), ())

    def test_sockets_and_names(self) -> None:
        """What sockets, sessions and store were made from does."""
        self.assertEqual(self.changed("mx.here", "mail.here"), ("hostname",))
        self.assertEqual(self.changed("max_connections = 10", "max_connections = 11"), ("smtp mx.max_connections",))
        self.assertEqual(self.changed("[[pop3]]", '[[pop3]]\nname = "pop"'), ("pop3 pop", "pop3 pop3"))
