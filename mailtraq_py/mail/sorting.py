"""
What SORT sorts by, and the base subject, under which a message, its replies and what was forwarded are the same.

RFC 5256 2.1, 3
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

# What is longer differs early enough; the bound keeps a subject of nothing but prefixes cheap.
SUBJECT_MAX_CHARACTERS = 1000

_BLANKS = re.compile(r"[ \t\r\n]+")
# How everything begins that can be taken off a subject's front.
_BEGINNINGS = frozenset("rf[ ")
_BLOB = r"\[[^\[\]]*+\] *+"
# subj-leader = (*subj-blob subj-refwd) / WSP
_LEADER = re.compile(rf"(?:(?:{_BLOB})*+(?:re|fwd?) *+(?:{_BLOB})?+:| )")
_BLOB_PREFIX = re.compile(_BLOB)
_TRAILER = "(fwd)"
_FORWARD_HEADER = "[fwd:"


class SortKey(Enum):
    """RFC 5256 3, sort-key."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"


@dataclass(frozen=True, slots=True)
class SortCriterion:
    """A key, and whether the largest comes first. What is equal stays in the order of the mailbox."""

    key: SortKey
    reverse: bool = False


def base_subject(subject: str) -> tuple[str, bool]:
    """
    Take "Re:", "Fwd:", "[list]" and "(fwd)" off a subject, as often as they are there.

    Args:
        subject: decoded and folded.

    Returns:
        the base subject, and whether it was a reply or was forwarded.

    RFC 5256 2.1
    """
    text = subject[:SUBJECT_MAX_CHARACTERS]
    if "  " in text or not text.isprintable():
        text = _BLANKS.sub(" ", text)
    is_reply = False
    while True:
        text = text.rstrip(" ")
        while text.endswith(_TRAILER):
            text, is_reply = text[: -len(_TRAILER)].rstrip(" "), True
        while text[:1] in _BEGINNINGS:
            if text.startswith("re: "):
                text, is_reply = text[4:], True
                continue
            leader = _LEADER.match(text)
            if leader is not None:
                is_reply = is_reply or leader[0] != " "
                text = text[leader.end() :]
                continue
            blob = _BLOB_PREFIX.match(text)
            if blob is None or blob.end() == len(text):
                break
            text = text[blob.end() :]
        if not (text.startswith(_FORWARD_HEADER) and text.endswith("]")):
            return text, is_reply
        text, is_reply = text[len(_FORWARD_HEADER) : -1], True
