"""
Passwords: checked off the reactor thread, fairly, and not twice within a minute.

A check costs 15 to 30 ms of a core and 19 MiB. So at most one runs per core, what waits is served round robin over
the clients' addresses (one that tries a thousand passwords delays himself), and what waits is bounded. A right
password is remembered for a minute under a keyed hash, because mail programs open five connections at once.

A missing account is checked against a hash nobody has, so that it takes as long as a wrong password.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mailtraq_py.interfaces.failures import TemporaryFailure

from .hashing import NOBODYS_HASH, check_hash
from .heap import QuietHeap
from .workers import Workers

MAX_WAITING = 2000
MAX_WAITING_PER_CLIENT = 100

_REMEMBERED_SECONDS = 60.0
_REMEMBERED_MAX = 20_000


class FairTurns:
    """
    Lets a bounded number of jobs run at once; those that wait take turns by client.

    Args:
        workers: where they run.
        size: how many at once.
    """

    def __init__(self, workers: Workers, size: int) -> None:
        self._workers = workers
        self._free = size
        self._waiting: OrderedDict[str, deque[tuple[Deferred[Any], Callable[[], Any]]]] = OrderedDict()
        self._count = 0

    def run(self, client: str, job: Callable[[], Any]) -> Deferred[Any]:
        """Run a job when it is the client's turn; fails with TemporaryFailure when too much waits."""
        queue = self._waiting.get(client)
        if self._count >= MAX_WAITING or (queue is not None and len(queue) >= MAX_WAITING_PER_CLIENT):
            return fail(TemporaryFailure("too many password checks wait"))
        deferred: Deferred[Any] = Deferred()
        if queue is None:
            queue = self._waiting[client] = deque()
        queue.append((deferred, job))
        self._count += 1
        self._next()
        return deferred

    def _next(self) -> None:
        while self._free and self._waiting:
            client, queue = self._waiting.popitem(last=False)
            deferred, job = queue.popleft()
            if queue:
                self._waiting[client] = queue
            self._count -= 1
            if deferred.called:
                continue
            self._free -= 1
            self._workers.run(job).addBoth(self._done, deferred)

    def _done(self, result: Any, deferred: Deferred[Any]) -> None:
        self._free += 1
        if not deferred.called:
            if isinstance(result, Failure):
                deferred.errback(result)
            else:
                deferred.callback(result)
        self._next()


class Passwords:
    """
    Checks passwords.

    Args:
        workers: threads.
        size: how many checks run at once; the processes of a host share its cores.
        monotonic: a clock that never goes back, seconds.
        heap: where their memory is.
    """

    def __init__(self, workers: Workers, size: int, monotonic: Callable[[], float], heap: QuietHeap) -> None:
        self._turns = FairTurns(workers, size)
        self._heap = heap
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[tuple[int, str], tuple[bytes, float]] = OrderedDict()

    async def check(
        self, account: tuple[int, int, str] | None, password: bytes, client: str
    ) -> tuple[bool, str | None, bool]:
        """
        Check a password.

        Args:
            account: (id, credential number, hash), None for one that is not there.
            client: the peer's address.

        Returns:
            whether it is right, a new hash where the old one is outdated, and whether this was only remembered.

        Raises:
            TemporaryFailure: too many wait.
        """
        if account is None:
            await self._hash(client, password or b"\0", NOBODYS_HASH)
            return False, None, False
        account_id, number, hashed = account
        digest = hmac.digest(self._key, b"%d %d " % (account_id, number) + password, "sha256")
        if self._is_remembered((account_id, client), digest):
            return True, None, True
        right, upgraded = await self._hash(client, password, hashed)
        if right:
            self._remember((account_id, client), digest)
        return right, upgraded, False

    async def _hash(self, client: str, password: bytes, hashed: str) -> tuple[bool, str | None]:
        checked: tuple[bool, str | None] = await self._turns.run(client, lambda: check_hash(password, hashed))
        self._heap.used()
        return checked

    def _is_remembered(self, key: tuple[int, str], digest: bytes) -> bool:
        known = self._right.get(key)
        return known is not None and known[1] > self._monotonic() and hmac.compare_digest(known[0], digest)

    def _remember(self, key: tuple[int, str], digest: bytes) -> None:
        self._right[key] = (digest, self._monotonic() + _REMEMBERED_SECONDS)
        self._right.move_to_end(key)
        while len(self._right) > _REMEMBERED_MAX:
            self._right.popitem(last=False)
