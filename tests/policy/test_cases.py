"""
The transcripts of `cases/`, each a test of its own.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .transcript import Mismatch, Transcript

CASES = Path(__file__).parent / "cases"


class Cases(SynchronousTestCase):
    """What policy says to whole sessions."""

    def test_cases(self) -> None:
        """Every transcript comes out as written."""
        found = sorted(CASES.glob("*.txt"))
        self.assertGreater(len(found), 10)
        for case in found:
            try:
                Transcript(case.read_text("utf-8")).play()
            except Mismatch as mismatch:
                self.fail(f"{case.name}: {mismatch}")

    def test_a_wrong_transcript_fails(self) -> None:
        """The player notices what is not so."""
        with self.assertRaises(Mismatch):
            Transcript("client 203.0.113.9\nmail a@b.example\nrcpt x@elsewhere.example  permit").play()
