"""
Message flags: the system flags and keywords, and what STORE does with them.

RFC 9051 2.3.2
"""

from __future__ import annotations

from enum import Enum

SEEN = "\\Seen"
ANSWERED = "\\Answered"
FLAGGED = "\\Flagged"
DELETED = "\\Deleted"
DRAFT = "\\Draft"
RECENT = "\\Recent"

SYSTEM_FLAGS = (ANSWERED, FLAGGED, DELETED, SEEN, DRAFT)
_SYSTEM_BY_FOLDED = {flag.lower(): flag for flag in SYSTEM_FLAGS}

# The bit of each system flag in a message row; keywords are kept by name beside it.
SYSTEM_BITS = {SEEN: 1, ANSWERED: 2, FLAGGED: 4, DELETED: 8, DRAFT: 16}

KEYWORD_MAX_OCTETS = 100


class StoreOperation(Enum):
    """What STORE does: FLAGS, +FLAGS, -FLAGS (RFC 9051 6.4.6)."""

    REPLACE = "replace"
    ADD = "add"
    REMOVE = "remove"


def canonical(flag: str) -> str:
    """
    Give a flag its one spelling: system flags as the RFC prints them, keywords as they came.

    Raises:
        ValueError: a system flag that nobody may set (`\\Recent`) or that does not exist.

    RFC 9051 2.3.2, 9 (flag)
    """
    if not flag.startswith("\\"):
        if len(flag) > KEYWORD_MAX_OCTETS:
            raise ValueError("keyword too long")
        return flag
    try:
        return _SYSTEM_BY_FOLDED[flag.lower()]
    except KeyError:
        raise ValueError(f"no such system flag: {flag}") from None


def bits(flags: frozenset[str]) -> int:
    """The system flags of a set as one integer."""
    return sum(bit for flag, bit in SYSTEM_BITS.items() if flag in flags)


def keywords(flags: frozenset[str]) -> frozenset[str]:
    """The keywords of a set."""
    return frozenset(flag for flag in flags if not flag.startswith("\\"))


def from_bits(number: int) -> frozenset[str]:
    """The system flags that an integer stands for."""
    return frozenset(flag for flag, bit in SYSTEM_BITS.items() if number & bit)
