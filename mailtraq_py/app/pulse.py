"""
Takes the vitals of this process: what it logged, counted; its reactor and its store, measured.

    log event      counted by its word, service and opinion: two dictionary steps beside the line that is printed
    twice a second how late the reactor comes to a call
    every 5 s      all of it written to a file (`vitals.py`)
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from mailtraq_py import __version__
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.store.store import Store

from .vitals import LAG_BOUNDS, Vitals, vitals_file

WRITE_SECONDS = 5.0
_LAG_SECONDS = 0.5


@implementer(ILogObserver)
class Tally:
    """Counts events of the log."""

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[str, str, str], int] = defaultdict(int)

    def __call__(self, event: LogEvent) -> None:
        """Count one; what is only text has no word and is not counted."""
        get = event.get
        word = get("event")
        if word is not None:
            self.counts[word, get("service", ""), get("opinion", "")] += 1


class Pulse:
    """
    Takes the vitals of this process while it lives.

    Args:
        process: its name among others.
        store: open.
        data_dir: where they are written.
        reactor: to be measured.
        clock: seconds since the epoch.
        speaks_for_store: whether this process tells of writer and queue, which others may share.
    """

    def __init__(
        self,
        process: str,
        store: Store,
        data_dir: Path,
        reactor: Any,
        clock: Callable[[], float],
        speaks_for_store: bool,
    ) -> None:
        self._process = process
        self._store = store
        self._file = vitals_file(data_dir, process)
        self._reactor = reactor
        self._clock = clock
        self._speaks_for_store = speaks_for_store
        self._began = clock()
        self._tally = Tally()
        self._lags = [0] * (len(LAG_BOUNDS) + 1)
        self._lag_seconds = 0.0
        self._expected = 0.0
        self._queued: int | None = None
        self._beats = LoopingCall(self._measure)
        self._writing = LoopingCall(lambda: Deferred.fromCoroutine(self._write()))
        for call in (self._beats, self._writing):
            call.clock = reactor

    def start(self) -> None:
        """Begin to count, to measure and to write."""
        globalLogPublisher.addObserver(self._tally)
        self._expected = self._reactor.seconds() + _LAG_SECONDS
        self._beats.start(_LAG_SECONDS, now=False)
        self._writing.start(WRITE_SECONDS)

    def stop(self) -> None:
        """End it, and take the file away."""
        globalLogPublisher.removeObserver(self._tally)
        for call in (self._beats, self._writing):
            if call.running:
                call.stop()
        self._file.unlink(missing_ok=True)

    def vitals(self) -> Vitals:
        """As they are now."""
        speaks = self._speaks_for_store
        return Vitals(
            self._process,
            os.getpid(),
            __version__,
            self._began,
            self._clock(),
            self._store.is_healthy,
            [(*key, count) for key, count in self._tally.counts.items()],
            self._lags,
            self._lag_seconds,
            self._store.database.metrics if speaks else None,
            self._queued,
        )

    def _measure(self) -> None:
        now = self._reactor.seconds()
        lag = max(0.0, now - self._expected)
        self._lags[bisect_left(LAG_BOUNDS, lag)] += 1
        self._lag_seconds += lag
        # A LoopingCall that comes too late for a whole span leaves it out.
        self._expected += _LAG_SECONDS * (1 + lag // _LAG_SECONDS)

    async def _write(self) -> None:
        if self._speaks_for_store:
            with suppress(TemporaryFailure):
                self._queued = await self._store.database.read_apart("count_queue")
        if not self._writing.running:
            return
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(self.vitals()))
            fresh.replace(self._file)
