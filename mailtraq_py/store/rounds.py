"""
What is done again and again while a store serves.

Twisted's LoopingCall would do, but for what it loads: every call of the command line opens a store, and would wait for
the code of a reactor that it never runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Rounds:
    """
    Calls something again and again, on the reactor thread.

    Args:
        work: what to do; an exception of it is the reactor's to log, and ends nothing.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._next: Any = None

    def start(self, clock: Any, seconds: float) -> None:
        """Begin, `seconds` from now and as long between two."""
        self._next = clock.callLater(seconds, self._go, clock, seconds)

    def stop(self) -> None:
        """Do it no more. Idempotent."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _go(self, clock: Any, seconds: float) -> None:
        self.start(clock, seconds)
        self._work()
