"""Tests of the envelope's values."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.address import Address
from mailtraq_py.mail.envelope import (
    NOTIFY_DEFAULT,
    NOTIFY_NEVER,
    NULL_PATH,
    ForwardPath,
    Notify,
    ReversePath,
    parse_notify,
)


class PathTests(SynchronousTestCase):
    """Paths as values."""

    def test_null_path(self) -> None:
        """The null path has no address and prints as nothing."""
        self.assertTrue(NULL_PATH.is_null)
        self.assertEqual(("", "", ""), (NULL_PATH.key, NULL_PATH.domain_key, str(NULL_PATH)))

    def test_paths(self) -> None:
        """A path is printed as written and compared folded."""
        for path in (ReversePath(Address("User", "Example.ORG")), ForwardPath(Address("User", "Example.ORG"))):
            self.assertEqual(
                ("user@example.org", "example.org", "User@Example.ORG"), (path.key, path.domain_key, str(path))
            )


class NotifyTests(SynchronousTestCase):
    """The NOTIFY parameter (RFC 3461 4.1)."""

    def test_round_trip(self) -> None:
        """All eight values print and read back."""
        for words in product((False, True), repeat=3):
            notify = Notify(*words)
            self.assertEqual(notify, parse_notify(str(notify)))
            self.assertEqual(not any(words), notify.is_never)

    def test_words(self) -> None:
        """In any case and order; the default is failure and delay."""
        self.assertEqual(NOTIFY_DEFAULT, parse_notify("delay,FAILURE"))
        self.assertEqual(NOTIFY_NEVER, parse_notify("never"))

    def test_refused(self) -> None:
        """NEVER stands alone, and other words are none."""
        for text in ("", "NEVER,DELAY", "SUCCESS,", "ALWAYS", "SUCCESS DELAY"):
            self.assertRaises(ValueError, parse_notify, text)
