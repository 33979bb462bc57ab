"""
Short runs of `powercut.py`; `make torture` has the long ones.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .powercut import Turn, disk_full, failing_disk, power_cuts


class PowerCutTests(SynchronousTestCase):
    """The same dice every time."""

    def test_power_cuts(self) -> None:
        """Whenever the power goes, what was acknowledged is there, and nothing is there in part."""
        for seed in (1, 2):
            self.assertEqual(power_cuts(seed, cuts=15)["cuts"], 15)

    def test_folders_that_somebody_else_made(self) -> None:
        """That a folder is there does not say that its name is on disk: another thread may be about to sync it."""
        turn = Turn(9)
        self.addCleanup(turn.close)
        for number in range(256):
            turn.recorder.root.joinpath("content", f"{number:02x}").mkdir(parents=True)
        turn.work()
        turn.end()
        for moment in turn.moments(10):
            turn.cut(moment)

    def test_disk_full(self) -> None:
        """What finds no room is refused as a whole; the store stays healthy and goes on when there is room."""
        done = disk_full(3, cuts=5) + disk_full(4, cuts=5)
        self.assertGreater(done["full"], 0)

    def test_failing_disk(self) -> None:
        """After a failed sync nothing is acknowledged, and what was before is there after a power cut."""
        done = failing_disk(5, cuts=5) + failing_disk(6, cuts=5)
        self.assertGreater(done["failed"], 0)
