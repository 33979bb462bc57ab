"""Base subjects, and what they are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.sorting import base_subject

PIECES = st.sampled_from(("re:", "fwd:", "fw :", "[x]", "[", "]", "(fwd)", " ", "\t", "a", "[fwd:", "re", ":"))


class BaseSubjectTests(SynchronousTestCase):
    """RFC 5256 2.1."""

    def test_subjects(self) -> None:
        """Prefixes, blobs, trailers and whole forwards go; what is left is never nothing but a blob less."""
        for subject, base, is_reply in (
            ("lunch", "lunch", False),
            ("re: lunch", "lunch", True),
            ("re: re : fwd: lunch", "lunch", True),
            ("[list] re[2]: [list] lunch (fwd) ", "lunch", True),
            ("[list]  lunch", "lunch", False),
            ("[list]", "[list]", False),
            ("re: [list]", "[list]", True),
            ("[fwd: re: lunch (fwd)]", "lunch", True),
            ("[fwd: lunch] today", "today", False),
            ("fw: \t lunch\r\n today", "lunch today", True),
            ("rex: lunch", "rex: lunch", False),
            ("re", "re", False),
            ("re:", "", True),
            ("(fwd)", "", True),
            ("", "", False),
        ):
            self.assertEqual(base_subject(subject), (base, is_reply), subject)

    @given(st.lists(PIECES, max_size=30).map("".join))
    def test_stays(self, subject: str) -> None:
        """The base of a base subject is itself."""
        base, _ = base_subject(subject)
        self.assertEqual(base_subject(base)[0], base)

    def test_nothing_but_prefixes(self) -> None:
        """Attack: each takes no longer than any other subject."""
        for piece in ("re:", "[x]", "(fwd)", "[fwd:", " ", "[", "[x", "re[x]"):
            base_subject(piece * 20_000 + "]")
