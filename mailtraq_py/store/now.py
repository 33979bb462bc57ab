"""
Coroutines that wait for nothing, run to their end here and now.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine of an immediate store to its end.

    Raises:
        RuntimeError: it waits for something, so it does not belong here.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("the coroutine waits: only those of an immediate store can run now")
