"""
Mailbox names on the wire: modified UTF-7, strictly both ways, and the wildcards of LIST.

RFC 3501 5.1.3, 6.3.8
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache

from mailtraq_py.mail.mailbox import INBOX, SEPARATOR

_PLAIN = re.compile(rb"[\x20-\x25\x27-\x7e]*\Z")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_TO_ENCODE = re.compile(r"&|[^\x20-\x7e]+")


def decode(octets: bytes) -> str:
    """
    Read modified UTF-7.

    Only the one canonical way to write a name is taken, so that two octet strings never mean one mailbox.

    Raises:
        ValueError: 8-bit or control octets, an open shift, characters encoded that stand for themselves, two shifts
            where one does, bits left over, half a surrogate pair.
    """
    if _PLAIN.match(octets):
        return octets.decode("ascii")
    pieces: list[str] = []
    place = 0
    shifted_until = -1
    while place < len(octets):
        if octets[place] != 0x26:
            end = octets.find(b"&", place)
            end = len(octets) if end < 0 else end
            if not _PLAIN.match(octets, place, end):
                raise ValueError("octet that modified UTF-7 does not have")
            pieces.append(octets[place:end].decode("ascii"))
            place = end
            continue
        match = _SHIFTED.match(octets, place)
        if match is None:
            raise ValueError("shift without an end")
        if not match[1]:
            pieces.append("&")
        else:
            if place == shifted_until:
                raise ValueError("two shifts where one does")
            pieces.append(_decode_shifted(match[1]))
            shifted_until = match.end()
        place = match.end()
    return "".join(pieces)


@lru_cache(maxsize=1024)
def encode(name: str) -> bytes:
    """Write a name in modified UTF-7. A lone surrogate, which no stored name has, becomes a question mark."""
    return _TO_ENCODE.sub(_encode_run, name).encode("ascii")


def _decode_shifted(encoded: bytes) -> str:
    if len(encoded) % 4 == 1:
        raise ValueError("bits left over")
    padded = encoded.replace(b",", b"/") + b"=" * (-len(encoded) % 4)
    octets = binascii.a2b_base64(padded)
    # Leftover bits must be zero, and octets come in pairs: what is written again must be what was read.
    if binascii.b2a_base64(octets, newline=False) != padded or len(octets) % 2:
        raise ValueError("bits left over")
    text = octets.decode("utf-16-be")
    if any("\x20" <= character <= "\x7e" for character in text):
        raise ValueError("a character is encoded that stands for itself")
    return text


def _encode_run(match: re.Match[str]) -> str:
    run = match[0]
    if run == "&":
        return "&-"
    octets = run.encode("utf-16-be", "replace")
    return "&" + binascii.b2a_base64(octets, newline=False).rstrip(b"=").decode().replace("/", ",") + "-"


class ListPattern:
    """
    A LIST pattern over decoded names: `*` is any run of characters, `%` one without a separator.

    Each set of places where the pattern may stand is one integer, a bit a place, so that matching is linear in the
    name's length whatever the wildcards (they are loops on a place, not choices to come back to).
    """

    __slots__ = ("_end", "_inbox", "_level_loops", "_loops", "_steps")

    def __init__(self, pattern: str) -> None:
        self._steps: dict[str, int] = {}
        self._loops = self._level_loops = 0
        place = 0
        for character in pattern:
            if character == "*":
                self._loops |= 1 << place
            elif character == "%":
                self._level_loops |= 1 << place
            else:
                self._steps[character] = self._steps.get(character, 0) | 1 << place
                place += 1
        self._end = 1 << place
        # INBOX is the one name without regard to case.
        upper = pattern.upper()
        self._inbox = ListPattern(upper) if upper != pattern else self

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        return self._fits(name) or (name == INBOX and self._inbox is not self and self._inbox._fits(name))

    def _fits(self, name: str) -> bool:
        steps, loops = self._steps, self._loops
        inside = loops | self._level_loops
        places = 1
        for character in name:
            kept = places & (loops if character == SEPARATOR else inside)
            places = (places & steps.get(character, 0)) << 1 | kept
            if not places:
                return False
        return bool(places & self._end)
