"""
Calls that wait for their turn.

One message may concern a thousand idling sessions. They are told as many at a time as fit into a few milliseconds, and
everybody else is served in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

SLICE_SECONDS = 0.005


class Turns:
    """First come, first called, in slices."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    def add(self, call: Callable[[], None]) -> None:
        """Call this soon; it must not raise."""
        self._waiting.append(call)
        self._due()

    def _due(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            self._reactor.callLater(0, self._run)

    def _run(self) -> None:
        self._is_due = False
        end = self._reactor.seconds() + SLICE_SECONDS
        while self._waiting:
            self._waiting.popleft()()
            if self._reactor.seconds() > end:
                break
        self._due()
