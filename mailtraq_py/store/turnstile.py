"""
Whose turn it is to write, among processes that share a database file.

Two locks on files of their own. Who wants to write passes the turnstile and waits inside it for the room; who is in
the room has left the turnstile. So a writer that comes back at once queues behind the one that waits, while with
a single lock it would mostly win it again.
"""

from __future__ import annotations

import fcntl
import os
import time

from mailtraq_py.interfaces.failures import TemporaryFailure

_PATIENCE_SECONDS = 15.0
_LONGEST_NAP_SECONDS = 0.002


class Turnstile:
    """
    The two locks of one database file. Locks end with the process that holds them.

    Args:
        path: the database file; the locks lie beside it.
    """

    def __init__(self, path: str) -> None:
        self._turnstile = _open(f"{path}-turnstile")
        self._room = _open(f"{path}-room")

    def enter(self) -> None:
        """
        Wait for the turn.

        Raises:
            TemporaryFailure: another process holds it for too long.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        _lock(self._turnstile, deadline)
        try:
            _lock(self._room, deadline)
        finally:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let the next one in."""
        fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files. Idempotent."""
        if self._room >= 0:
            os.close(self._turnstile)
            os.close(self._room)
            self._turnstile = self._room = -1


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int, deadline: float) -> None:
    """Take a lock; asked for again and again, because a waiting flock knows no end."""
    nap = 0.0001
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TemporaryFailure("another process holds the store's write lock") from None
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP_SECONDS)
