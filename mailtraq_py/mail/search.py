"""
Search criteria as a tree of values.

`wire/imap/searchkeys.py` builds it from the wire, with sequence numbers already turned into UIDs by the
client's view; the store evaluates it. Strings are text (decoded from the command's CHARSET), compared as
substrings without regard to case.

RFC 9051 6.4.4, RFC 3501 6.4.4
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum

from .uidset import UIDSet


class DateField(Enum):
    """Which date a comparison reads."""

    INTERNAL = "internal"
    SENT = "sent"


class Comparison(Enum):
    """BEFORE, ON, SINCE."""

    BEFORE = "before"
    ON = "on"
    SINCE = "since"


class TextField(Enum):
    """Where a string is looked for; HEADER is `HeaderContains`."""

    SUBJECT = "subject"
    FROM = "from"
    TO = "to"
    CC = "cc"
    BCC = "bcc"
    BODY = "body"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class UIDs:
    """Messages whose UID is in the set."""

    uids: UIDSet


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A system flag or keyword is set. `\\Recent` is resolved to `UIDs` by the session."""

    flag: str


@dataclass(frozen=True, slots=True)
class Larger:
    """More octets than this."""

    octets: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """Fewer octets than this."""

    octets: int


@dataclass(frozen=True, slots=True)
class DateIs:
    """A date compared, disregarding time and zone."""

    field: DateField
    comparison: Comparison
    day: date


@dataclass(frozen=True, slots=True)
class Contains:
    """A string in an address field, the subject, the body or anywhere."""

    field: TextField
    text: str


@dataclass(frozen=True, slots=True)
class HeaderContains:
    """A string in a header field; the empty string asks only whether the field is there."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ModSeqSince:
    """MODSEQ of at least this (RFC 7162 3.1.5)."""

    mod_seq: int


@dataclass(frozen=True, slots=True)
class Not:
    """Messages that do not match."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class Or:
    """Messages that match one of the two or both."""

    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class And:
    """Messages that match all; none given is every message."""

    keys: tuple[SearchKey, ...]


SearchKey = (
    All | UIDs | HasFlag | Larger | Smaller | DateIs | Contains | HeaderContains | ModSeqSince | Not | Or | And
)


def leaves(key: SearchKey) -> Iterator[SearchKey]:
    """The keys of a tree that hold no others."""
    match key:
        case And(keys):
            for inner in keys:
                yield from leaves(inner)
        case Or(left, right):
            yield from leaves(left)
            yield from leaves(right)
        case Not(inner):
            yield from leaves(inner)
        case _:
            yield key
