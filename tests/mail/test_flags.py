"""Tests of flags."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.flags import KEYWORD_MAX_OCTETS, SYSTEM_FLAGS, bits, canonical, from_bits, keywords


class FlagTests(SynchronousTestCase):
    """Spelling and bits."""

    def test_canonical(self) -> None:
        """System flags have one spelling, keywords keep theirs."""
        for flag, spelling in (("\\SEEN", "\\Seen"), ("\\deleted", "\\Deleted"), ("$Junk", "$Junk"), ("Tag", "Tag")):
            self.assertEqual(spelling, canonical(flag))

    def test_refused(self) -> None:
        """\\Recent cannot be set, unknown system flags do not exist, keywords have a limit."""
        for flag in ("\\Recent", "\\Foo", "\\", "k" * (KEYWORD_MAX_OCTETS + 1)):
            self.assertRaises(ValueError, canonical, flag)

    @settings(max_examples=100, deadline=None)
    @given(st.frozensets(st.sampled_from([*SYSTEM_FLAGS, "$Junk", "a"])))
    def test_bits(self, flags: frozenset[str]) -> None:
        """System flags go into bits and come back; keywords are the rest."""
        self.assertEqual(flags, from_bits(bits(flags)) | keywords(flags))
        self.assertFalse(from_bits(bits(flags)) & keywords(flags))
