"""
What a writer did so far, in numbers that cost it next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

# The highest values of the buckets; what is above the last has a bucket of its own.
BATCH_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
COMMIT_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


@dataclass(slots=True)
class WriterMetrics:
    """
    Written by the writer's thread, read by any.

    `batch_sizes` and `commit_times` count batches by operations and by seconds, one number for each bucket of
    `BATCH_BOUNDS` and `COMMIT_BOUNDS` and one for what is above. A batch's time includes the wait for other processes.
    """

    operations: int = 0
    batches: int = 0
    largest_batch: int = 0
    commit_seconds: float = 0.0
    longest_commit_seconds: float = 0.0
    failures: int = 0
    checkpoints: int = 0
    wal_pages: int = 0
    batch_sizes: list[int] = field(default_factory=lambda: [0] * (len(BATCH_BOUNDS) + 1))
    commit_times: list[int] = field(default_factory=lambda: [0] * (len(COMMIT_BOUNDS) + 1))

    def note(self, operations: int, seconds: float) -> None:
        """Count a batch."""
        self.operations += operations
        self.batches += 1
        self.commit_seconds += seconds
        if operations > self.largest_batch:
            self.largest_batch = operations
        if seconds > self.longest_commit_seconds:
            self.longest_commit_seconds = seconds
        self.batch_sizes[bisect_left(BATCH_BOUNDS, operations)] += 1
        self.commit_times[bisect_left(COMMIT_BOUNDS, seconds)] += 1
