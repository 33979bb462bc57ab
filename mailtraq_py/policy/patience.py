"""
How long a session waits for DNS, all its questions together: the server's `Waiting`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from mailtraq_py.interfaces.failures import TemporaryFailure

from .waiting import Asking

T = TypeVar("T")

_SESSIONS_MAX = 10_000


class Patience:
    """
    What each session has left of the time that DNS may cost it. A dead server is waited for once; after that a question
    gets an answer only where one is at hand. Sessions that waited longest ago are forgotten first.

    Args:
        clock: by which it waits.
        seconds: for a session, in all.
    """

    __slots__ = ("_clock", "_seconds", "_spent")

    def __init__(self, clock: IReactorTime, seconds: float = 5.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._spent: OrderedDict[str, float] = OrderedDict()

    async def wait(self, session: str, asking: Asking[T]) -> T:
        """See `Waiting`."""
        began = self._clock.seconds()
        answer: Deferred[T] = Deferred.fromCoroutine(asking)
        if not answer.called:
            answer.addTimeout(max(0.0, self._seconds - self._spent.get(session, 0.0)), self._clock)
        try:
            return await answer
        except DeferredTimeout:
            raise TemporaryFailure("DNS took too long") from None
        finally:
            self._spend(session, self._clock.seconds() - began)

    async def wait_for_all(self, session: str, askings: list[Asking[None]]) -> None:
        """See `Waiting`."""
        await self.wait(session, _together(askings))

    def _spend(self, session: str, seconds: float) -> None:
        if seconds > 0.0:
            self._spent[session] = self._spent.pop(session, 0.0) + seconds
            if len(self._spent) > _SESSIONS_MAX:
                self._spent.popitem(last=False)


async def _together(askings: list[Asking[None]]) -> None:
    for asked in [Deferred.fromCoroutine(asking) for asking in askings]:
        await asked
