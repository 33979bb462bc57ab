"""
One whole command as tokens: atoms, strings, numbers, lists of flags.

A `Tokens` stands at a place in the command and moves forward; each method reads one production of the formal syntax
or raises `BadCommand`. Nothing here recurses, waits or copies more than it returns.

RFC 3501 9, RFC 9051 9
"""

from __future__ import annotations

import re

from mailtraq_py.mail import flags as mailflags

NUMBER_MAX = 0xFFFFFFFF
MOD_SEQ_MAX = 0x7FFFFFFFFFFFFFFF
FLAGS_MAX = 100
# 8-bit octets in quoted strings are no IMAP4rev1, but clients send them in SEARCH, and RFC 9051 allows UTF-8 there.
_ATOM = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\\]]+')
_ASTRING = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\]+')
_LIST_MAILBOX = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff"\\]+')
_TAG = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\+]{1,128}')
_QUOTED = re.compile(rb'"([^"\\\r\n\x00]*(?:\\["\\][^"\\\r\n\x00]*)*)"')
_ESCAPED = re.compile(rb"\\(.)")
_NUMBER = re.compile(rb"[0-9]{1,10}")
_MOD_SEQ = re.compile(rb"[0-9]{1,19}(?![0-9])")
_SEQUENCE_SET = re.compile(rb"[0-9*:,]+")
_NUMBER_START = tuple(b"%c" % octet for octet in b"0123456789*")
_FLAG = re.compile(rb'\\?[^(){ \x00-\x1f\x7f-\xff%*"\\\]]+')
_LITERAL = re.compile(rb"\{[0-9]+\+?\}\Z")


class BadCommand(Exception):
    """The peer's command is not well-formed; the text says why in words of ours. Answered with BAD."""


class Refusal(Exception):
    """
    The command is well-formed and cannot succeed. Answered with NO; `code` is a response code without brackets.

    RFC 5530 3
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Tokens:
    """
    A place in one command.

    Args:
        segments: the command's text, cut where its literals are; each but the last ends with the literal's count in
            braces.
        literals: their octets, one for each segment but the last.
    """

    __slots__ = ("_at", "_index", "_literals", "_segments", "_text")

    def __init__(self, segments: list[bytes], literals: list[bytes]) -> None:
        self._segments = segments
        self._literals = literals
        self._index = 0
        self._text = segments[0]
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether the whole command was read."""
        return self._at == len(self._text) and self._index == len(self._literals)

    @property
    def at_open_literal(self) -> bool:
        """Whether what follows is the count of a literal whose octets are not here (APPEND's message)."""
        return self._index == len(self._literals) and _LITERAL.match(self._text, self._at) is not None

    def end(self) -> None:
        """Nothing may follow."""
        if not self.at_end:
            raise BadCommand("unexpected argument")

    def space(self) -> None:
        """Exactly one (RFC 3501 9, note 2)."""
        self.expect(b" ")

    def expect(self, octets: bytes) -> None:
        """These octets and no others."""
        if not self.take(octets):
            raise BadCommand("missing argument" if octets == b" " else f"expected {octets.decode()}")

    def take(self, octets: bytes) -> bool:
        """Step over these octets if they are next; whether they were."""
        if self._text.startswith(octets, self._at):
            self._at += len(octets)
            return True
        return False

    def next_is(self, octets: bytes) -> bool:
        """Whether these octets are next."""
        return self._text.startswith(octets, self._at)

    def next_is_number(self) -> bool:
        """Whether a message set is next: a digit or `*`."""
        return self._text[self._at : self._at + 1] in _NUMBER_START

    def match(self, pattern: re.Pattern[bytes], problem: str) -> bytes:
        """What a pattern matches here; `problem` says in BadCommand that it does not."""
        return self.groups(pattern, problem)[0]

    def groups(self, pattern: re.Pattern[bytes], problem: str) -> re.Match[bytes]:
        """As `match`, with the groups."""
        match = pattern.match(self._text, self._at)
        if match is None:
            raise BadCommand(problem)
        self._at = match.end()
        return match

    def take_match(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """What a pattern matches here, or None and nothing is stepped over."""
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def tag(self) -> bytes:
        """`1*<any ASTRING-CHAR except "+">`"""
        return self.match(_TAG, "bad tag")

    def atom(self) -> bytes:
        """`1*ATOM-CHAR`"""
        return self.match(_ATOM, "expected an atom")

    def word(self) -> str:
        """An atom that is compared without regard to case: in capitals."""
        return self.match(_ATOM, "expected a word").upper().decode("ascii")

    def number(self) -> int:
        """`1*DIGIT`, below 2**32."""
        value = int(self.match(_NUMBER, "expected a number"))
        if value > NUMBER_MAX or self._text[self._at : self._at + 1].isdigit():
            raise BadCommand("number too large")
        return value

    def nz_number(self) -> int:
        """A number from 1 on."""
        value = self.number()
        if value == 0:
            raise BadCommand("zero is not allowed here")
        return value

    def mod_seq(self) -> int:
        """`1*DIGIT`, below 2**63 (RFC 7162 7, mod-sequence-valzer)."""
        value = int(self.match(_MOD_SEQ, "expected a mod-sequence"))
        if value > MOD_SEQ_MAX:
            raise BadCommand("mod-sequence too large")
        return value

    def sequence_set(self) -> bytes:
        """The octets of a sequence-set, for `sequence.parse_sequence_set`."""
        return self.match(_SEQUENCE_SET, "expected a message set")

    def string(self) -> bytes:
        """`quoted / literal`"""
        match = _QUOTED.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
            quoted = match[1]
            return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted
        if self._index < len(self._literals) and _LITERAL.match(self._text, self._at):
            literal = self._literals[self._index]
            self._index += 1
            self._text = self._segments[self._index]
            self._at = 0
            if b"\0" in literal:
                raise BadCommand("NUL in a literal")
            return literal
        raise BadCommand("expected a string")

    def rest(self) -> bytes:
        """What is left of the command's line (an initial response, which is base64 or "=")."""
        rest = self._text[self._at :]
        self._at = len(self._text)
        return rest

    def only_text(self) -> bytes | None:
        """What is left of the command, stepped over, when no literal is part of it."""
        return None if self._index < len(self._literals) else self.rest()

    def use_attribute(self) -> str:
        """`"\\" atom` (RFC 6154 6)"""
        self.expect(b"\\")
        return "\\" + self.atom().decode("ascii")

    def nstring(self) -> bytes | None:
        """`string / nil`"""
        if self.next_is(b'"') or self.next_is(b"{"):
            return self.string()
        if self.word() != "NIL":
            raise BadCommand("expected a string or NIL")
        return None

    def astring(self) -> bytes:
        """`1*ASTRING-CHAR / string`"""
        return self._word_or_string(_ASTRING)

    def list_mailbox(self) -> bytes:
        """`1*list-char / string`"""
        return self._word_or_string(_LIST_MAILBOX)

    def flag_list(self) -> frozenset[str]:
        """`"(" [flag *(SP flag)] ")"`"""
        self.expect(b"(")
        flags: set[str] = set()
        if not self.take(b")"):
            self._flags_into(flags)
            self.expect(b")")
        return frozenset(flags)

    def store_flags(self) -> frozenset[str]:
        """`flag-list / (flag *(SP flag))`"""
        if self.next_is(b"("):
            return self.flag_list()
        flags: set[str] = set()
        self._flags_into(flags)
        return frozenset(flags)

    def _flags_into(self, flags: set[str]) -> None:
        while True:
            flag = self.match(_FLAG, "expected a flag").decode("ascii")
            try:
                flags.add(mailflags.canonical(flag))
            except ValueError:
                raise BadCommand("no such flag can be set") from None
            if len(flags) > FLAGS_MAX:
                raise BadCommand("too many flags")
            if not self.take(b" "):
                return

    def _word_or_string(self, word: re.Pattern[bytes]) -> bytes:
        found = self.take_match(word)
        return self.string() if found is None else found
