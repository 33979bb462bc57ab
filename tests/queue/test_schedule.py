"""mailtraq_py/queue/schedule.py: arithmetic of attempts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.queue.schedule import is_delay_report_due, next_attempt, retry_delay


class ScheduleTests(SynchronousTestCase):
    """Delays, the end, the delay report."""

    def test_delays(self) -> None:
        """Each attempt has its delay, the last one is repeated."""
        self.assertEqual([retry_delay((10, 20, 40), n, 0.5) for n in (1, 2, 3, 4, 99)], [10, 20, 40, 40, 40])

    def test_chance(self) -> None:
        """Chance spreads a delay by a tenth either way."""
        self.assertAlmostEqual(retry_delay((100,), 1, 0.0), 90)
        self.assertAlmostEqual(retry_delay((100,), 1, 0.999999), 110, 3)

    def test_the_last_attempt_is_at_the_end(self) -> None:
        """No attempt is planned beyond the end, one is made at it, none after it."""
        self.assertEqual(next_attempt(100, 50, 1000), 150)
        self.assertEqual(next_attempt(990, 50, 1000), 1000)
        self.assertIsNone(next_attempt(1000, 50, 1000))

    def test_delay_report(self) -> None:
        """Once, after its time; 0 switches it off."""
        self.assertFalse(is_delay_report_due(3999, 0, 4000, False))
        self.assertTrue(is_delay_report_due(4000, 0, 4000, False))
        self.assertFalse(is_delay_report_due(4000, 0, 4000, True))
        self.assertFalse(is_delay_report_due(4000, 0, 0, False))
