"""Tests of mailbox names."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.mailbox import LEVELS_MAX, SPECIAL_USES, canonical_name, parent_name


class MailboxNameTests(SynchronousTestCase):
    """The one form of a name."""

    def test_inbox(self) -> None:
        """INBOX in any case is one mailbox, as a first level only."""
        self.assertEqual("INBOX", canonical_name("inBox"))
        self.assertEqual("INBOX/a", canonical_name("inbox/a"))
        self.assertEqual("a/inbox", canonical_name("a/inbox"))
        self.assertEqual("Inboxes", canonical_name("Inboxes"))

    def test_form(self) -> None:
        """NFC, without the trailing separator."""
        self.assertEqual("M\u00fcll", canonical_name("Mu\u0308ll/"))
        self.assertEqual(list(SPECIAL_USES.values()), [canonical_name(name) for name in SPECIAL_USES.values()])

    def test_refused(self) -> None:
        """Names that are paths, control sequences or patterns [attacks I 42]."""
        for name in (
            "", "/", "//", "/a", "a//b", "a/../b", "../etc", ".", "a/.", "a\0", "a\r\nb", "a\u2028b", "\ud800", "a%",
            "*", " a", "a /b", "x" * 1001, "/".join("a" * (LEVELS_MAX + 1)), "\x7f", "\x85",
        ):  # fmt: skip
            self.assertRaises(ValueError, canonical_name, name)
        self.assertEqual("~user", canonical_name("~user"))

    def test_parent(self) -> None:
        """One level up."""
        self.assertEqual(["a/b", "a", ""], [parent_name("a/b/c"), parent_name("a/b"), parent_name("a")])

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=20))
    def test_stable(self, name: str) -> None:
        """The one form of the one form is itself."""
        try:
            canonical = canonical_name(name)
        except ValueError:
            return
        self.assertEqual(canonical, canonical_name(canonical))
