"""
How long a session waits for DNS, all its questions together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from mailtraq_py.interfaces.failures import TemporaryFailure

T = TypeVar("T")

_SESSIONS_MAX = 10_000


class Patience:
    """
    What each session has left of the time that DNS may cost it. A dead server is waited for once; after that a question
    gets an answer only where one is at hand. Sessions that waited longest ago are forgotten first.

    Args:
        clock: where it is None nothing is bounded but by the resolver.
        seconds: for a session, in all.
    """

    __slots__ = ("_clock", "_seconds", "_spent")

    def __init__(self, clock: IReactorTime | None = None, seconds: float = 5.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._spent: OrderedDict[str, float] = OrderedDict()

    async def wait(self, session: str, asking: Coroutine[Any, Any, T]) -> T:
        """
        The answer to a question, or to several asked at once.

        Raises:
            TemporaryFailure: the session's time is over, or what the question itself raises.
        """
        if self._clock is None:
            return await asking
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

    def _spend(self, session: str, seconds: float) -> None:
        if seconds > 0.0:
            self._spent[session] = self._spent.pop(session, 0.0) + seconds
            if len(self._spent) > _SESSIONS_MAX:
                self._spent.popitem(last=False)
