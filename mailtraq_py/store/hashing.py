"""
Hashes of passwords: made, checked, replaced when they are of an outdated scheme or strength.
"""

from __future__ import annotations

from functools import cache

from passlib.context import CryptContext

PASSWORD_MAX_OCTETS = 1024

# Of 32 random octets that were thrown away; it must cost what the context's default costs.
NOBODYS_HASH = "$argon2id$v=19$m=19456,t=2,p=1$eU9JqdX6PwegNAZgLIUwRg$CdLM0WkZNU8NxUT4q1DdpeiiYi4dLZLnIQEQ6fx9rgc"


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
