"""
Dot-stuffing for the sending side: a message in, what goes between DATA and its end out.

RFC 5321 2.3.8, 4.5.2
"""

from __future__ import annotations

import re

_LINE_ENDS = re.compile(rb"\r\n|\r|\n")


class DotStuffer:
    """
    Turns a message into what goes between DATA and its end, chunk by chunk.

    Every line end goes out as CRLF: a bare CR or LF sent on would let the next host see an end of data that is none
    (RFC 5321 2.3.8).
    """

    def __init__(self) -> None:
        self._at_line_start = True
        self._held_cr = b""

    def feed(self, chunk: bytes) -> bytes:
        """The next octets to send."""
        if self._held_cr:
            chunk, self._held_cr = self._held_cr + chunk, b""
        if chunk.endswith(b"\r"):
            chunk, self._held_cr = chunk[:-1], b"\r"
        if not chunk:
            return b""
        ends = chunk.count(b"\r\n")
        if chunk.count(b"\n") != ends or chunk.count(b"\r") != ends:
            chunk = _LINE_ENDS.sub(b"\r\n", chunk)
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and stuffed.startswith(b"."):
            stuffed = b"." + stuffed
        self._at_line_start = chunk.endswith(b"\r\n")
        return stuffed

    def finish(self) -> bytes:
        """The end of the last line, if it had none, and the end of the data."""
        ended = self._at_line_start and not self._held_cr
        return b".\r\n" if ended else b"\r\n.\r\n"
