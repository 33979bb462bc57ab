"""
Rests for long work beside a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """
    Rests as long as was worked, so that a server beside it hardly notices.

    Args:
        share: of the time that may be worked; 1.0 rests never.
    """

    _SPAN_SECONDS = 0.02

    def __init__(self, share: float = 0.5, sleep: Callable[[float], None] = time.sleep) -> None:
        self._factor = 1.0 / share - 1.0
        self._sleep = sleep
        self._began = time.perf_counter()

    def rest(self) -> None:
        """To be called often; rests now and then."""
        worked = time.perf_counter() - self._began
        if worked >= self._SPAN_SECONDS:
            self._sleep(worked * self._factor)
            self._began = time.perf_counter()
