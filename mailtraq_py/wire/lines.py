"""
A buffer of received octets that gives lines within a limit.

A line ends with LF; one CR before it belongs to the end. Who must refuse a bare LF (message data) does not read lines.
Searching starts where the last search ended, so that a slow drip of octets costs linear time.

RFC 5321 2.3.8, 4.5.3.1
"""

from __future__ import annotations


class LineTooLong(Exception):
    """No line end within the limit. The caller decides what that means; the buffer is untouched."""


class LineBuffer:
    """Octets in, lines or counted pieces out."""

    __slots__ = ("_octets", "_searched", "_start")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._start = 0
        self._searched = 0

    def __len__(self) -> int:
        return len(self._octets) - self._start

    def add(self, octets: bytes) -> None:
        """Append what came."""
        if self._start:
            # Deleting from the front once per read, not once per line, keeps a burst of lines linear.
            del self._octets[: self._start]
            self._searched -= self._start
            self._start = 0
        self._octets += octets

    def clear(self) -> None:
        """Forget everything."""
        self._octets.clear()
        self._start = self._searched = 0

    def take_line(self, limit: int) -> bytes | None:
        """
        Take one line.

        Args:
            limit: most octets of a line, its end included.

        Returns:
            the line without its CRLF, or None when its end has not come.

        Raises:
            LineTooLong: more than `limit` octets without an end.
        """
        end = self._octets.find(b"\n", max(self._searched, self._start))
        if end < 0:
            self._searched = len(self._octets)
            if len(self) > limit:
                raise LineTooLong
            return None
        if end + 1 - self._start > limit:
            raise LineTooLong
        stop = end - 1 if end > self._start and self._octets[end - 1] == 0x0D else end
        line = bytes(self._octets[self._start : stop])
        self._start = self._searched = end + 1
        return line

    def skip_line(self) -> bool:
        """Drop octets up to and including the next LF; whether one was there (else all is dropped)."""
        end = self._octets.find(b"\n", self._start)
        if end < 0:
            self.clear()
            return False
        self._start = self._searched = end + 1
        return True

    def take(self, count: int) -> bytes:
        """Take at most `count` octets."""
        stop = min(self._start + count, len(self._octets))
        piece = bytes(self._octets[self._start : stop])
        self._start = stop
        self._searched = max(self._searched, stop)
        return piece

    def peek(self) -> memoryview:
        """Look at what is there; release the view before the next call."""
        return memoryview(self._octets)[self._start :]
