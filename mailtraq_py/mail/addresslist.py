"""
The address lists of From, To, Cc ... as the parts that IMAP's ENVELOPE is made of.

One address in its usual form is read by one pattern; whatever that does not match (comments, groups, routes, obsolete
and broken forms) goes through the tokens up to the next comma outside quotes. No recursion, no backtracking: the
quantifiers are possessive. What has no domain is kept with an empty one. An `Allowance` bounds what one message
may cost, however its address fields are written.

RFC 5322 3.4 and 4.4, RFC 9051 7.5.2
"""

from __future__ import annotations

import re
from typing import NamedTuple

ADDRESSES_MAX = 1000
STEPS_MAX = 10_000
_ENTRY_STEPS = 5


class Allowance:
    """
    What may still be read of a message's address fields, counted down while they are.

    A step is a token, about a microsecond, and an entry is `_ENTRY_STEPS` of them: 2000 addresses in their usual
    form, some 1000 in the oddest.
    """

    __slots__ = ("steps",)

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self.steps = steps


class ListedAddress(NamedTuple):
    """
    One entry of a list, in ENVELOPE's four parts, quotes removed, encoded words left as they are.

    A group is opened by an entry with its name in `local_part` and no `domain`, closed by one with
    neither (RFC 9051 7.5.2). `name` is the display name, or the comment that stands for one.
    """

    name: bytes | None
    route: bytes | None
    local_part: bytes | None
    domain: bytes | None


GROUP_END = ListedAddress(None, None, None, None)
# What shows that the list was longer.
CUT_MARK = ListedAddress(b"[list cut]", None, b"", b"")

_ATOMS = rb"([^\x00-\x20\x7f\"(),:;<>@\[\\\]]++)"
_BETWEEN = re.compile(rb"[ \t\r\n,]*+")
_SIMPLE = re.compile(
    rb'(?:(?:"((?:[^"\\\r\n]|\\[^\r\n])*+)"[ \t]*+|([^"(),:;<>@\[\\\]\r\n]*+))<' + _ATOMS + b"@" + _ATOMS + b">"
    rb"|" + _ATOMS + b"@" + _ATOMS + rb")[ \t\r\n]*+(?:,|\Z)"
)
_TOKEN = re.compile(
    rb"([ \t\r\n]++)"  # 1: blanks
    rb'|"((?:[^"\\]|\\.)*+)"?'  # 2: quoted string, perhaps unclosed
    rb"|(\[(?:[^\[\]\\]|\\.)*+\]?)"  # 3: domain literal
    rb"|" + _ATOMS + rb"|(.)",  # 4: atoms with their dots; 5: a special, or an octet that has no place here
    re.DOTALL,
)
_COMMENT_TEXT = re.compile(rb"([()])|\\(.)|([^()\\]++)", re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def parse_addresses(value: bytes, allowance: Allowance | None = None) -> list[ListedAddress]:
    """
    Read the raw value of an address field, at most `ADDRESSES_MAX` entries of it and what the allowance permits.

    What is left out shows as `CUT_MARK`, the last entry but for the end of a group.
    Never raises; octets without a meaning are passed over, line ends and NULs never come through.
    """
    entries: list[ListedAddress] = []
    position, end = 0, len(value)
    reader: _Reader | None = None
    if allowance is None:
        allowance = Allowance()
    while len(entries) < ADDRESSES_MAX and allowance.steps > 0:
        # Skipped here and not by _SIMPLE, which would run over the same commas again after each failure.
        between = _BETWEEN.match(value, position)
        position = between.end() if between else position
        if position == end:
            break
        allowance.steps -= _ENTRY_STEPS
        match = _SIMPLE.match(value, position)
        if match is not None:
            quoted, phrase, local_part, domain, bare, bare_domain = match.groups()
            if bare is not None:
                entries.append(ListedAddress(None, None, bare, bare_domain))
            else:
                name = _unquote(quoted) if quoted is not None else b" ".join(phrase.split())
                entries.append(ListedAddress(_printable(name) or None, None, local_part, domain))
            position = match.end()
            continue
        if reader is None:
            reader = _Reader(value, entries, allowance)
        position = reader.read(position)
    if position < end:
        entries.append(CUT_MARK)
    if reader is not None:
        reader.close_group()
    return entries


class _Reader:
    """Reads single addresses token by token, and remembers whether a group is open."""

    def __init__(self, value: bytes, entries: list[ListedAddress], allowance: Allowance) -> None:
        self._value = value
        self._entries = entries
        self._allowance = allowance
        self._in_group = False
        self._forget()

    def _forget(self) -> None:
        self._words: list[bytes] = []
        self._domain: list[bytes] | None = None
        self._name: bytes | None = None
        self._route: bytes | None = None
        self._comment = b""
        self._angle = self._closed = False

    def read(self, position: int) -> int:
        """Read up to the next comma, semicolon or group name; returns where to go on."""
        value, end = self._value, len(self._value)
        allowance = self._allowance
        while position < end and allowance.steps > 0:
            allowance.steps -= 1
            match = _TOKEN.match(value, position)
            if match is None:
                break
            position = match.end()
            kind = match.lastindex
            if kind == 1:
                continue
            if kind == 5:
                special = match[5]
                if special == b"(":
                    position = self._read_comment(position)
                elif special == b",":
                    # Between the domains of a route it ends nothing (RFC 5322 4.4, obs-domain-list).
                    if not (self._angle and self._domain is not None and not self._words):
                        break
                elif self._take_special(special):
                    return position
            else:
                self._take_word(_unquote(match[2]) if match[2] is not None else match[0])
        self._emit()
        return position

    def close_group(self) -> None:
        """End a group that its writer left open."""
        if self._in_group:
            self._entries.append(GROUP_END)
            self._in_group = False

    def _take_word(self, word: bytes) -> None:
        if self._closed:
            return
        if self._domain is not None:
            self._domain.append(word)
        else:
            self._words.append(word)

    def _take_special(self, special: bytes) -> bool:
        """Whether the special ended what was being read."""
        if special == b"@" and not self._closed:
            if self._domain is None:
                self._domain = []
            elif self._angle and not self._words:
                self._domain.append(b",@")
            else:
                self._domain.append(b"@")
        elif special == b"<" and not self._angle:
            # An address before the angle is a display name written like one.
            words = b" ".join(self._words)
            self._name = words if self._domain is None else words + b"@" + b"".join(self._domain)
            self._words, self._domain, self._angle = [], None, True
        elif special == b">" and self._angle:
            self._closed = True
        elif special == b":":
            if self._angle and self._domain is not None and not self._words:
                self._route = b"@" + b"".join(self._domain)
                self._domain = None
            elif not self._angle and not self._in_group and self._domain is None:
                self._entries.append(ListedAddress(None, None, _printable(b" ".join(self._words)), None))
                self._in_group = True
                self._forget()
                return True
        elif special == b";" and self._in_group:
            self._emit()
            self.close_group()
            return True
        return False

    def _emit(self) -> None:
        name = self._name or self._comment
        if self._words or self._domain is not None:
            self._entries.append(
                ListedAddress(
                    _printable(name) or None,
                    _printable(self._route) if self._route else None,
                    _printable(_local_part(self._words)),
                    _printable(b"".join(self._domain or ())),
                )
            )
        elif self._angle and self._name:
            self._entries.append(ListedAddress(_printable(self._name), None, b"", b""))
        self._forget()

    def _read_comment(self, position: int) -> int:
        """Read a comment behind its opening; nested ones are part of it. Returns where to go on."""
        text: list[bytes] = []
        depth = 1
        for match in _COMMENT_TEXT.finditer(self._value, position):
            self._allowance.steps -= 1
            if self._allowance.steps <= 0:
                break
            position = match.end()
            if match[1] == b"(":
                depth += 1
            elif match[1] == b")":
                depth -= 1
                if not depth:
                    break
            text.append(match[2] or match[0])
        self._comment = b" ".join(b"".join(text).split())
        return position


def _local_part(words: list[bytes]) -> bytes:
    """RFC 5322 4.4 (obs-local-part): blanks may surround the dots. Other blanks are nobody's rule and are kept."""
    if len(words) == 1:
        return words[0]
    return b" ".join(words).replace(b" .", b".").replace(b". ", b".")


def _unquote(text: bytes) -> bytes:
    return _QUOTED_PAIR.sub(rb"\1", text) if b"\\" in text else text


def _printable(text: bytes) -> bytes:
    if b"\n" in text or b"\r" in text or b"\0" in text:
        return b" ".join(text.replace(b"\0", b" ").split())
    return text
