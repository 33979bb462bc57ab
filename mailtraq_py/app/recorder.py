"""
Writes down what policy decided, every second, off the reactor thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import IDecisionRows
from mailtraq_py.policy.history import DecisionHistory, encode

WRITE_SECONDS = 1.0
EXPIRE_SECONDS = 60.0


class Recorder:
    """
    Takes the decisions of a history to the store, and drops what is old or too much there.

    Args:
        history: where decisions are noted.
        rows: the store's.
        row_address: under which address a client's recent logins are kept.
        keep_seconds: how long decisions are kept.
        max_octets: how much of them is kept.
        reactor: for time.
        clock: seconds since the epoch.
        in_thread: calls a function off the reactor thread.
    """

    log = Logger()

    def __init__(
        self,
        history: DecisionHistory,
        rows: IDecisionRows,
        row_address: Callable[[str], str],
        keep_seconds: float,
        max_octets: int,
        reactor: Any,
        clock: Callable[[], float],
        in_thread: Callable[..., Awaitable[Any]] = deferToThread,
    ) -> None:
        self._history = history
        self._rows = rows
        self._row_address = row_address
        self._keep_seconds = keep_seconds
        self._max_octets = max_octets
        self._clock = clock
        self._in_thread = in_thread
        self._turn = DeferredLock()
        self._reported = 0
        self._calls = [
            (LoopingCall(lambda: Deferred.fromCoroutine(self.write())), WRITE_SECONDS),
            (LoopingCall(lambda: Deferred.fromCoroutine(self.expire())), EXPIRE_SECONDS),
        ]
        for call, _ in self._calls:
            call.clock = reactor

    def start(self, *, expire: bool = True) -> None:
        """Begin; one process on a host is enough to drop what is old."""
        for call, seconds in self._calls[: 2 if expire else 1]:
            call.start(seconds, now=False)

    async def stop(self) -> None:
        """Write what waits, and end."""
        for call, _ in self._calls:
            if call.running:
                call.stop()
        await self.write()

    async def write(self) -> None:
        """Write what waits. What cannot be written is lost: it is there for curiosity, not for the mail."""
        await self._turn.acquire()
        try:
            decisions = self._history.take()
            if decisions:
                await self._rows.write(await self._in_thread(encode, decisions, self._row_address))
        except TemporaryFailure as failure:
            self.log.warn("history-failed", event="history-failed", reason=failure.reason)
        finally:
            self._turn.release()
        if self._history.dropped > self._reported:
            self.log.warn("history-dropped", event="history-dropped", count=self._history.dropped - self._reported)
            self._reported = self._history.dropped

    async def expire(self) -> None:
        """Drop what is old or too much."""
        try:
            while await self._rows.expire(self._clock() - self._keep_seconds, self._max_octets):
                pass
        except TemporaryFailure as failure:
            self.log.warn("expiry-failed", event="expiry-failed", reason=failure.reason)
