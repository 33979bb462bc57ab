"""
The short run of the torture; `make torture` is the long one.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .torture import Torture


class Short(SynchronousTestCase):
    """A few kills, the same dice every time."""

    def test_nothing_acknowledged_is_lost(self) -> None:
        """After each of five kills everything that was acknowledged is there, once."""
        lines: list[str] = []
        torture = Torture(seed=7, say=lines.append, workers=2)
        torture.run(kills=5, seconds=120.0)
        self.assertEqual(torture.kills, 5)
        self.assertGreater(torture.checked["SMTP"], 0)
