"""
`mailtraq recent` and `mailtraq queue` on a store.
"""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.cli_options import Unusable, parse_since

from .installation import InstallationTestCase

NOW = 1_800_000_000.0


class SinceTests(SynchronousTestCase):
    """What --since takes."""

    def test_spans(self) -> None:
        """Counted back from now."""
        for text, seconds in (("90s", 90), ("5m", 300), ("2h", 7200), ("7d", 604800), ("2w", 1209600)):
            self.assertEqual(parse_since(text, NOW), NOW - seconds)

    def test_instants(self) -> None:
        """With a zone, or UTC."""
        noon = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
        for text in ("2026-01-31T12:00Z", "2026-01-31T12:00", "2026-01-31T13:00+01:00"):
            self.assertEqual(parse_since(text, NOW), noon)

    def test_others(self) -> None:
        """Neither."""
        for text in ("", "7", "7 days", "-7d", "yesterday", "9999999999d"):
            self.assertRaises(Unusable, parse_since, text, NOW)


class StateTests(InstallationTestCase):
    """On a store where nothing happened yet."""

    def test_nothing_to_delete(self) -> None:
        """Exit code 1, and what was looked for."""
        told = self.mailtraq("queue", "delete", "--granted-by", "lan", "--since", "1h", code=1)
        self.assertIn('"lan"', told.output)
        self.mailtraq("queue", "delete", "--granted-by", "lan", code=2)
        self.mailtraq("queue", "delete", "--granted-by", "lan", "--since", "soon", code=2)

    def test_no_recent_logins(self) -> None:
        """An empty list; revoking finds nothing."""
        self.assertEqual(self.answer("recent", "list"), [])
        self.mailtraq("recent", "revoke", "203.0.113.9", code=1)
        self.mailtraq("recent", "revoke", "nowhere", code=2)
