"""
Running a coroutine without a Deferred for as long as it need not wait.

Most commands are answered without waiting for anything, though their answers are coroutines that could. What Twisted
makes of a coroutine (a Deferred, a context, their callbacks) costs as much as many a command does, so it is made only
for the rest of one that has come to a wait.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

Waiting = Coroutine[Any, Any, None]


def run_ahead(begun: Waiting) -> Waiting | None:
    """
    Run a coroutine up to its first wait.

    Returns:
        the rest of it, to be awaited; None where it came to its end.

    Raises:
        whatever it raises before it waits.
    """
    try:
        awaited = begun.send(None)
    except StopIteration:
        return None
    return _rest(begun, awaited)


@coroutine
def _rest(begun: Waiting, awaited: Any) -> Generator[Any, Any, None]:
    """Hand out what `begun` awaits, and hand in what comes of it, until it ends."""
    try:
        while True:
            try:
                result = yield awaited
            except GeneratorExit:
                begun.close()
                raise
            except BaseException as error:  # noqa: BLE001  handed on
                awaited = begun.throw(error)
            else:
                awaited = begun.send(result)
    except StopIteration:
        return
