"""
Memory that is given back to the system when nothing needs it any more.

A password check takes 19 MiB, and the C library keeps them for the next one. That is right while logins come: to have
the pages given and taken each time costs a check a third more. But most connections of a mail server are idle, and
then nobody needs them. So they go a second after the last check; the next one pays for new pages, which is nothing
where there is less than one a second.

glibc gives threads heaps of their own, and `malloc_trim` does not free what lies at the end of one, which is where a
check's memory lies. So all threads share the heap of the process, as if MALLOC_ARENA_MAX were 1: small objects are not
contended for, they come from Python's own heap or a thread's cache.

mallopt(3), malloc_trim(3)
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from .workers import Workers

QUIET_SECONDS = 1.0

_M_ARENA_MAX = -8  # of glibc's malloc.h

_C_LIBRARY: Any = ctypes.CDLL(None)


def share_one_heap() -> None:
    """Have the threads that are yet to be started share the heap; another library than glibc has one anyway."""
    if hasattr(_C_LIBRARY, "mallopt"):
        _C_LIBRARY.mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give the pages back in which nothing lies. Takes milliseconds; other threads run meanwhile."""
    if hasattr(_C_LIBRARY, "malloc_trim"):
        _C_LIBRARY.malloc_trim(0)


class QuietHeap:
    """
    Gives memory back when what needs much of it has been quiet for `QUIET_SECONDS`.

    Args:
        clock: has `callLater`; None where nothing lives long enough.
        workers: where that runs.
        trim: what gives it back.
    """

    def __init__(self, clock: Any, workers: Workers, trim: Callable[[], None] = give_back) -> None:
        self._clock = clock
        self._workers = workers
        self._trim = trim
        self._used = False
        self._call: Any = None

    def used(self) -> None:
        """Much was needed a moment ago."""
        if self._call is not None:
            self._used = True
        elif self._clock is not None:
            self._later()

    def stop(self) -> None:
        """Do no more. Idempotent."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._clock = None

    def _later(self) -> None:
        self._used = False
        self._call = self._clock.callLater(QUIET_SECONDS, self._look)

    def _look(self) -> None:
        self._call = None
        if self._used:
            self._later()
        else:
            self._workers.run(self._trim)
