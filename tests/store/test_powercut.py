"""
Short runs of `powercut.py`; `make torture` has the long ones.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .powercut import disk_full, failing_disk, power_cuts


class PowerCutTests(SynchronousTestCase):
    """The same dice every time."""

    def test_power_cuts(self) -> None:
        """Whenever the power goes, what was acknowledged is there, and nothing is there in part."""
        for seed in (1, 2):
            self.assertEqual(power_cuts(seed, cuts=15)["cuts"], 15)

    def test_disk_full(self) -> None:
        """What finds no room is refused as a whole; the store stays healthy and goes on when there is room."""
        done = disk_full(3, cuts=5) + disk_full(4, cuts=5)
        self.assertGreater(done["full"], 0)

    def test_failing_disk(self) -> None:
        """After a failed sync nothing is acknowledged, and what was before is there after a power cut."""
        done = failing_disk(5, cuts=5) + failing_disk(6, cuts=5)
        self.assertGreater(done["failed"], 0)
