"""
Octets to whole commands: lines, and the literals that lines announce.

A command is lines and literals by turns: each line that ends with `{n}` or `{n+}` is followed by n octets and another
line. `next()` hands out

    Whole            a command is complete
    LiteralAhead     a line announced a literal: say `collect`, `stream` or `refuse` before asking on
    Piece            octets of a literal that is streamed
    TooLong          a line above the limit; what remains of the command is dropped
    NEED_DATA

The length of a line is limited here; how much a literal may hold is for the caller to say at LiteralAhead. A literal
that is refused is dropped to the end of its command: a non-synchronising one is on its way whether we want it or
not (RFC 7888 4), and what the client sends behind it must not be taken for a command.

RFC 3501 2.2.1, 4.3, 7.5; RFC 7888 3
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from mailtraq_py.wire.lines import LineBuffer, LineTooLong
from mailtraq_py.wire.signals import NEED_DATA, Signal

PIECE_OCTETS = 64 * 1024
_SKIP_OCTETS = 4096
_TAIL_OCTETS = 32
_ANNOUNCED = re.compile(rb"\{([0-9]{1,20})(\+?)\}\Z")


@dataclass(frozen=True, slots=True)
class Whole:
    """A command: its segments, and the literals between them. After a streamed literal only what followed it."""

    segments: list[bytes]
    literals: list[bytes]


@dataclass(frozen=True, slots=True)
class LiteralAhead:
    """A literal of `octets` octets is announced at the end of the last segment."""

    segments: list[bytes]
    literals: list[bytes]
    octets: int
    synchronising: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets of a streamed literal."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line was longer than its limit; this is how the command began."""

    beginning: bytes


Framed = Whole | LiteralAhead | Piece | TooLong | Signal


class _Mode(Enum):
    LINE = "line"
    ANNOUNCED = "announced"
    COLLECT = "collect"
    STREAM = "stream"
    DROP = "drop"
    SKIP = "skip"


class Framing:
    """One connection's input."""

    __slots__ = ("_ahead", "_buffer", "_dropping", "_left", "_literals", "_mode", "_segments", "_tail")

    def __init__(self) -> None:
        self._buffer = LineBuffer()
        self._mode = _Mode.LINE
        self._segments: list[bytes] = []
        self._literals: list[bytes] = []
        self._ahead: LiteralAhead | None = None
        self._left = 0
        self._dropping = False
        self._tail = b""

    @property
    def buffered_octets(self) -> int:
        """What came and was not yet handed out."""
        return len(self._buffer)

    def add(self, octets: bytes) -> None:
        """Take what came."""
        self._buffer.add(octets)

    def clear(self) -> None:
        """Forget everything that came."""
        self._buffer.clear()
        self._clear_command()

    def take_line(self, limit: int) -> bytes | None:
        """
        Take one line as it is, between commands; None when its end has not come.

        Raises:
            LineTooLong: longer than `limit`.
        """
        return self._buffer.take_line(limit)

    def next(self, line_limit: int) -> Framed:
        """What comes next; `line_limit` is the most octets of a line, its end included."""
        while True:
            if self._mode is _Mode.STREAM and self._left:
                octets = self._buffer.take(min(self._left, PIECE_OCTETS))
                self._left -= len(octets)
                return Piece(octets) if octets else NEED_DATA
            if self._mode is _Mode.COLLECT:
                if len(self._buffer) < self._left:
                    return NEED_DATA
                self._literals.append(self._buffer.take(self._left))
            elif self._mode is _Mode.DROP:
                self._left -= len(self._buffer.take(self._left))
                if self._left:
                    return NEED_DATA
            elif self._mode is _Mode.ANNOUNCED:
                raise RuntimeError("nobody said what becomes of the literal")
            if self._mode is not _Mode.SKIP:
                self._mode = _Mode.LINE
            framed = self._line(line_limit)
            if framed is not None:
                return framed

    def collect(self) -> None:
        """Read the announced literal into memory, as part of the command."""
        self._settle(_Mode.COLLECT)

    def stream(self) -> None:
        """Hand the announced literal out in pieces; the command goes on behind it with nothing before."""
        self._settle(_Mode.STREAM)
        self._segments, self._literals = [], []

    @property
    def is_synchronising(self) -> bool:
        """Whether the client waits for a word before it sends the announced literal."""
        return self._ahead is not None and self._ahead.synchronising

    def refuse(self) -> int:
        """
        Drop the announced literal and the rest of its command, as far as the client sends it.

        Returns:
            how many octets come all the same.
        """
        ahead = self._settle(_Mode.DROP)
        if ahead.synchronising:
            # The client waits for a continuation that will not come: the command has ended.
            self._clear_command()
            return 0
        self._dropping = True
        return ahead.octets

    def _line(self, limit: int) -> Framed | None:
        """Read a line to its end; None when it was one that is dropped and there may be more."""
        if self._mode is _Mode.SKIP:
            return self._skip_line()
        try:
            line = self._buffer.take_line(limit)
        except LineTooLong:
            begun = self._segments[0] if self._segments else b""
            beginning = (begun + self._buffer.take(_SKIP_OCTETS))[:_SKIP_OCTETS]
            self._tail = beginning[-_TAIL_OCTETS:]
            self._mode = _Mode.SKIP
            was_dropping, self._dropping = self._dropping, True
            return None if was_dropping else TooLong(beginning)
        if line is None:
            return NEED_DATA
        if self._dropping:
            self._drop_further(line)
            return None
        self._segments.append(line)
        announced = _ANNOUNCED.search(line) if line.endswith(b"}") else None
        if announced is None:
            whole = Whole(self._segments, self._literals)
            self._clear_command()
            return whole
        self._mode = _Mode.ANNOUNCED
        self._ahead = LiteralAhead(self._segments, self._literals, int(announced[1]), not announced[2])
        return self._ahead

    def _skip_line(self) -> Framed | None:
        try:
            line = self._buffer.take_line(_SKIP_OCTETS)
        except LineTooLong:
            line = self._buffer.take(_SKIP_OCTETS)
            self._tail = (self._tail + line)[-_TAIL_OCTETS:]
            return None
        if line is None:
            return NEED_DATA
        self._drop_further((self._tail + line)[-_TAIL_OCTETS:])
        return None

    def _drop_further(self, line: bytes) -> None:
        """The end of a dropped line: on to a literal that comes anyway, or the command is over."""
        announced = _ANNOUNCED.search(line)
        if announced is not None and announced[2]:
            self._left = int(announced[1])
            self._mode = _Mode.DROP
        else:
            self._clear_command()

    def _settle(self, mode: _Mode) -> LiteralAhead:
        ahead = self._ahead
        if ahead is None:
            raise RuntimeError("no literal is announced")
        self._ahead = None
        self._mode = mode
        self._left = ahead.octets
        return ahead

    def _clear_command(self) -> None:
        self._mode = _Mode.LINE
        self._segments, self._literals = [], []
        self._ahead = None
        self._left = 0
        self._dropping = False
