"""
Where work runs that must not hold the reactor: threads beside it, or at once where there is no reactor.

Both give a Deferred. That of `AtOnce` has fired already, so a coroutine that awaits it never suspends: the command
line and unit tests run the store's coroutines to their end in one go (`immediate.run_now`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Workers(Protocol):
    """Somewhere to run a function."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run it; the Deferred fires on the reactor thread with its result or exception."""

    def stop(self) -> None:
        """Wait for what runs and take no more."""


class AtOnce:
    """Runs it in the calling thread, now."""

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """See `Workers`."""
        return execute(function, *arguments)

    def stop(self) -> None:
        """Nothing runs."""


class Threads:
    """
    A bounded number of threads of their own.

    Args:
        reactor: whose thread hears the results.
        name: of the threads, for a debugger.
        size: how many at most; they are started when needed.
    """

    def __init__(self, reactor: Any, name: str, size: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, size, name)
        self._pool.start()

    def run(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """See `Workers`."""
        return deferToThreadPool(self._reactor, self._pool, function, *arguments)

    def stop(self) -> None:
        """See `Workers`."""
        self._pool.stop()
