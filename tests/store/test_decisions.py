"""
What policy decided, as it is kept.
"""

from __future__ import annotations

import json
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.store import DecisionRow
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store

NOW = 1_800_000_000.0


def row(number: int, size: int = 10) -> DecisionRow:
    """One from second `number`."""
    record = json.dumps({"x": "x" * size})
    return DecisionRow(NOW + number, f"S{number}", "mx", "203.0.113.9", "203.0.113.9", record)


class DecisionTests(SynchronousTestCase):
    """On SQLite in memory."""

    def setUp(self) -> None:
        """A store with one account."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = Store(self.url(), folder.name, clock=lambda: NOW)
        run_now(self.store.start())
        self.addCleanup(lambda: run_now(self.store.close()))

    def url(self) -> str:
        """Where it is kept."""
        return "sqlite::memory:"

    def kept(self, since: float = 0.0) -> list[str]:
        """The sessions that are there."""
        return [recorded.session for recorded in self.store.decisions.read(since)]

    def test_in_the_order_of_time(self) -> None:
        """However many; from a time on."""
        run_now(self.store.decisions.write([row(number) for number in reversed(range(1200))]))
        self.assertEqual(self.kept(), [f"S{number}" for number in range(1200)])
        self.assertEqual(self.kept(NOW + 1198), ["S1198", "S1199"])

    def test_with_the_recent_logins_of_its_address(self) -> None:
        """As they were; each with its account as it is now, or gone with it."""
        administration = self.store.administration
        run_now(administration.add_domain("example.test"))
        run_now(administration.add_accounts([("alice@example.test", b"correct horse 9")]))
        alice = run_now(administration.find("alice@example.test"))
        run_now(self.store.recent_rows.write("203.0.113.9", alice.id, "pop3", True, NOW, NOW))
        run_now(self.store.decisions.write([row(1)]))
        run_now(self.store.recent_rows.revoke("203.0.113.9", None, NOW + 1))
        (recorded,) = self.store.decisions.read(0.0)
        (login,) = recorded.logins
        self.assertEqual((login.account.address, login.protocol, login.last_login), ("alice@example.test", "pop3", NOW))
        run_now(administration.delete_account("alice@example.test"))
        (recorded,) = self.store.decisions.read(0.0)
        self.assertEqual(recorded.logins, ())

    def test_old_ones_go(self) -> None:
        """Those from before a time."""
        run_now(self.store.decisions.write([row(number) for number in range(10)]))
        self.assertFalse(run_now(self.store.decisions.expire(NOW + 4, 10**9)))
        self.assertEqual(self.kept()[0], "S4")

    def test_the_oldest_go_when_it_is_too_much(self) -> None:
        """Until what is left fits."""
        run_now(self.store.decisions.write([row(number, 1000) for number in range(2500)]))
        while run_now(self.store.decisions.expire(0.0, 100_000)):
            pass
        kept = self.kept()
        self.assertEqual(kept[-1], "S2499")
        self.assertTrue(70 <= len(kept) <= 100, len(kept))
        self.assertFalse(run_now(self.store.decisions.expire(0.0, 100_000)))
        self.assertEqual(self.kept(), kept)
