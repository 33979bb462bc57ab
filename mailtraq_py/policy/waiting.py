"""
Waiting for DNS: the contract, and the one without a clock, for who asks outside the reactor.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

Asking = Coroutine[Any, Any, T]


class Waiting(Protocol):
    """How a session waits for answers."""

    async def wait(self, session: str, asking: Asking[T]) -> T:
        """
        The answer to a question.

        Raises:
            TemporaryFailure: the session's time is over, or what the question itself raises.
        """

    async def wait_for_all(self, session: str, askings: list[Asking[None]]) -> None:
        """
        Until all of these are done, which run beside each other.

        Raises:
            TemporaryFailure: the session's time is over.
        """


class Unbounded:
    """
    Waits as long as the resolver does, for one question after the other.

    Args:
        seconds: not looked at.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        pass

    async def wait(self, session: str, asking: Asking[T]) -> T:
        """See `Waiting`."""
        return await asking

    async def wait_for_all(self, session: str, askings: list[Asking[None]]) -> None:
        """See `Waiting`."""
        for asking in askings:
            await asking
