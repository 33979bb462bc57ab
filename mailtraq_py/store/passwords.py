"""
Passwords: hashed, checked off the reactor thread, fairly, and not twice within a minute.

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
from functools import cache
from typing import Any

from passlib.context import CryptContext
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mailtraq_py.interfaces.failures import TemporaryFailure

from .workers import Workers

PASSWORD_MAX_OCTETS = 1024
MAX_WAITING = 2000
MAX_WAITING_PER_CLIENT = 100

_REMEMBERED_SECONDS = 60.0
_REMEMBERED_MAX = 20_000

# Of 32 random octets that were thrown away; it must cost what the context's default costs.
_NOBODYS_HASH = "$argon2id$v=19$m=19456,t=2,p=1$eU9JqdX6PwegNAZgLIUwRg$CdLM0WkZNU8NxUT4q1DdpeiiYi4dLZLnIQEQ6fx9rgc"


def load_schemes() -> None:
    """Load now what hashing takes, rather than with the first password: who we become may not be allowed to read it."""
    _context()


@cache
def _context() -> CryptContext:
    """
    Made when a password is first looked at: most calls of the command line never do. (passlib's own LazyCryptContext
    fails for the second thread when two are the first.)
    """
    return CryptContext(
        schemes=["argon2", "bcrypt", "bcrypt_sha256", "pbkdf2_sha256", "sha512_crypt", "scrypt"],
        default="argon2",
        deprecated="auto",
        argon2__type="ID",
        argon2__memory_cost=19456,
        argon2__time_cost=2,
        argon2__parallelism=1,
    )


def hash_password(password: bytes) -> str:
    """
    Hash a password by the default scheme.

    Raises:
        ValueError: empty, or too long to be hashed for everybody who asks.
    """
    if not password or len(password) > PASSWORD_MAX_OCTETS:
        raise ValueError(f"a password has 1 to {PASSWORD_MAX_OCTETS} octets")
    hashed: str = _context().hash(password)
    return hashed


def check_hash(password: bytes, hashed: str) -> tuple[bool, str | None]:
    """
    Check a password against a hash of any scheme.

    Returns:
        whether it is right, and then a new hash where this one is of an outdated scheme or strength.
    """
    if not password or len(password) > PASSWORD_MAX_OCTETS:
        return False, None
    try:
        right, upgraded = _context().verify_and_update(password, hashed)
    except ValueError:
        # bcrypt refuses more than 72 octets and NULs; an unknown scheme is nobody's password either.
        return False, None
    return bool(right), upgraded


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
    """

    def __init__(self, workers: Workers, size: int, monotonic: Callable[[], float]) -> None:
        self._turns = FairTurns(workers, size)
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
            await self._turns.run(client, lambda: check_hash(password or b"\0", _NOBODYS_HASH))
            return False, None, False
        account_id, number, hashed = account
        digest = hmac.digest(self._key, b"%d %d " % (account_id, number) + password, "sha256")
        if self._is_remembered((account_id, client), digest):
            return True, None, True
        right, upgraded = await self._turns.run(client, lambda: check_hash(password, hashed))
        if right:
            self._remember((account_id, client), digest)
        return right, upgraded, False

    def _is_remembered(self, key: tuple[int, str], digest: bytes) -> bool:
        known = self._right.get(key)
        return known is not None and known[1] > self._monotonic() and hmac.compare_digest(known[0], digest)

    def _remember(self, key: tuple[int, str], digest: bytes) -> None:
        self._right[key] = (digest, self._monotonic() + _REMEMBERED_SECONDS)
        self._right.move_to_end(key)
        while len(self._right) > _REMEMBERED_MAX:
            self._right.popitem(last=False)
