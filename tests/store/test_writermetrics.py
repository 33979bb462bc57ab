"""
What the writer counts of its batches.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.writermetrics import BATCH_BOUNDS, COMMIT_BOUNDS, WriterMetrics


class WriterMetricsTests(SynchronousTestCase):
    """Sums, maxima and buckets."""

    def test_note(self) -> None:
        """A bound belongs to its bucket; what is above all bounds has the last one."""
        metrics = WriterMetrics()
        for operations, seconds in ((1, 0.0001), (2, 0.001), (3, 0.0011), (5000, 7.0)):
            metrics.note(operations, seconds)
        self.assertEqual((metrics.operations, metrics.batches, metrics.largest_batch), (5006, 4, 5000))
        self.assertEqual(metrics.batch_sizes, [1, 1, 1] + [0] * (len(BATCH_BOUNDS) - 3) + [1])
        self.assertEqual(metrics.commit_times, [1, 1, 1] + [0] * (len(COMMIT_BOUNDS) - 3) + [1])
        self.assertEqual(metrics.longest_commit_seconds, 7.0)
