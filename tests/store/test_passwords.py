"""
Passwords: schemes, fairness, the minute's memory, and no difference between wrong and nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passlib.hash import bcrypt, pbkdf2_sha256, sha512_crypt
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.store import passwords
from mailtraq_py.store.hashing import check_hash, hash_password
from mailtraq_py.store.heap import QuietHeap
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.passwords import FairTurns, Passwords
from mailtraq_py.store.workers import AtOnce


class ByHand:
    """Workers that run a job when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Keep the job."""
        deferred: Deferred[Any] = Deferred()
        self.jobs.append((lambda: function(*arguments), deferred))
        return deferred

    def stop(self) -> None:
        """Nothing runs."""

    def finish(self) -> None:
        """Run the oldest job."""
        job, deferred = self.jobs.pop(0)
        deferred.callback(job())


class HashTests(SynchronousTestCase):
    """Hashes."""

    def test_default(self) -> None:
        """argon2id of the strength that was decided, right once and not twice upgraded."""
        hashed = hash_password(b"secret")
        self.assertTrue(hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$"))
        self.assertEqual(check_hash(b"secret", hashed), (True, None))
        self.assertEqual(check_hash(b"Secret", hashed), (False, None))

    def test_old_schemes_are_upgraded(self) -> None:
        """A right password behind an old hash gives a new one; a wrong one does not."""
        for scheme in (bcrypt.using(rounds=4), pbkdf2_sha256.using(rounds=10), sha512_crypt.using(rounds=1000)):
            hashed = scheme.hash("secret")
            right, upgraded = check_hash(b"secret", hashed)
            self.assertTrue(right)
            self.assertTrue(str(upgraded).startswith("$argon2id$"))
            self.assertEqual(check_hash(b"wrong", hashed), (False, None))

    def test_what_no_scheme_takes(self) -> None:
        """Empty, endless, NUL, no hash at all: wrong, and no error."""
        for password in (b"", b"x" * 2000, b"\0", b"y" * 100):
            self.assertEqual(check_hash(password, bcrypt.using(rounds=4).hash("z")), (False, None))
        self.assertEqual(check_hash(b"x", "no hash"), (False, None))
        self.assertRaises(ValueError, hash_password, b"")
        self.assertRaises(ValueError, hash_password, b"x" * 2000)


class FairTurnsTests(SynchronousTestCase):
    """Who is served when."""

    def test_round_robin(self) -> None:
        """One who asks a hundred times waits behind himself, not in front of others."""
        workers = ByHand()
        turns = FairTurns(workers, 1)
        served: list[str] = []
        for number in range(3):
            turns.run("attacker", lambda number=number: served.append(f"a{number}"))  # type: ignore[misc]
        turns.run("friend", lambda: served.append("f"))
        while workers.jobs:
            self.assertEqual(len(workers.jobs), 1)
            workers.finish()
        self.assertEqual(served, ["a0", "a1", "f", "a2"])

    def test_bounds(self) -> None:
        """What waits is bounded for a client."""
        turns = FairTurns(ByHand(), 1)
        for _ in range(passwords.MAX_WAITING_PER_CLIENT + 1):
            turns.run("attacker", list)
        self.failureResultOf(turns.run("attacker", list), TemporaryFailure)
        self.assertNoResult(turns.run("friend", list))


class PasswordsTests(SynchronousTestCase):
    """Checks with their memory."""

    def setUp(self) -> None:
        """Count what is hashed."""
        self.now = 0.0
        self.hashed: list[bytes] = []
        self.patch(passwords, "check_hash", self.check_hash)
        self.passwords = Passwords(AtOnce(), 1, lambda: self.now, QuietHeap(None, AtOnce()))

    def check_hash(self, password: bytes, hashed: str) -> tuple[bool, str | None]:
        """Right is "right"."""
        self.hashed.append(password)
        return password == b"right", None

    def check(self, account: tuple[int, int, str] | None, password: bytes, client: str = "192.0.2.1") -> bool:
        """Check; whether it is right."""
        return run_now(self.passwords.check(account, password, client))[0]

    def test_a_right_one_is_remembered_for_a_minute(self) -> None:
        """Not for another address, another account, a changed credential or another password."""
        one = (1, 5, "hash")
        self.assertTrue(self.check(one, b"right"))
        self.assertTrue(self.check(one, b"right"))
        self.assertEqual(len(self.hashed), 1)
        self.assertFalse(self.check(one, b"wrong"))
        self.check(one, b"right", "192.0.2.2")
        self.check((1, 6, "hash"), b"right")
        self.check((2, 5, "hash"), b"right")
        self.assertEqual(len(self.hashed), 5)
        self.now = 61
        self.check((2, 5, "hash"), b"right")
        self.assertEqual(len(self.hashed), 6)

    def test_nobody_costs_a_check(self) -> None:
        """A missing account is checked too, and is never right."""
        self.assertFalse(self.check(None, b"right"))
        self.assertFalse(self.check(None, b""))
        self.assertEqual(len(self.hashed), 2)
