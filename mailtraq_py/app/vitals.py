"""
How each process of the server is, as it writes it down (`pulse.py`) and `mailtraq status` and the metrics read it.

Each has a file of its own in data_dir/status, since none need know of the others; a file that is not renewed is of a
process that is gone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import msgspec

from mailtraq_py.store.writermetrics import WriterMetrics

LAG_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
GONE_SECONDS = 30.0

_FOLDER = "status"


class Vitals(msgspec.Struct, frozen=True):
    """
    One process at one time, in seconds since the epoch.

    `events` are (word, service, opinion, count), service and opinion "" where the event has none. `lags` counts
    measurements by buckets of LAG_BOUNDS. `store` and `queued` come from one process where all share the writer, None
    from the others.
    """

    process: str
    pid: int
    version: str
    began: float
    at: float
    is_healthy: bool
    events: list[tuple[str, str, str, int]]
    lags: list[int]
    lag_seconds: float
    store: WriterMetrics | None = None
    queued: int | None = None

    def count(self, word: str, opinion: str = "") -> int:
        """How often an event was logged, by all services."""
        return sum(count for event, _, said, count in self.events if (event, said) == (word, opinion))

    def connections(self) -> dict[str, int]:
        """Open connections by service."""
        found: Counter[str] = Counter()
        for word, service, _, count in self.events:
            if word in ("connect", "disconnect"):
                found[service] += count if word == "connect" else -count
        return dict(found)


def vitals_file(data_dir: Path, process: str) -> Path:
    """Where a process writes its own."""
    return data_dir / _FOLDER / f"{process}.json"


def read_vitals(data_dir: Path, now: float | None = None) -> list[Vitals]:
    """Those of all processes that live, by their names."""
    now = time.time() if now is None else now
    found = []
    for file in sorted((data_dir / _FOLDER).glob("*.json")):
        with suppress(OSError, msgspec.MsgspecError):
            vitals = msgspec.json.decode(file.read_bytes(), type=Vitals)
            if now - vitals.at < GONE_SECONDS:
                found.append(vitals)
    return found


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """The bound below which this part of the counted lies; None where it lies above all, or nothing was counted."""
    wanted = part * sum(counts)
    for bound, below in zip(bounds, accumulate(counts), strict=False):
        if wanted and below >= wanted:
            return bound
    return None


def summed(stores: Sequence[WriterMetrics]) -> WriterMetrics:
    """Several writers as one."""
    whole = WriterMetrics()
    for each in stores:
        for name in ("operations", "batches", "commit_seconds", "failures", "checkpoints", "wal_pages"):
            setattr(whole, name, getattr(whole, name) + getattr(each, name))
        whole.largest_batch = max(whole.largest_batch, each.largest_batch)
        whole.longest_commit_seconds = max(whole.longest_commit_seconds, each.longest_commit_seconds)
        whole.batch_sizes = [sum(pair) for pair in zip(whole.batch_sizes, each.batch_sizes, strict=True)]
        whole.commit_times = [sum(pair) for pair in zip(whole.commit_times, each.commit_times, strict=True)]
    return whole
