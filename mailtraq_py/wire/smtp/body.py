"""
The message between 354 and its end, in chunks of any size.

Only CRLF "." CRLF ends it. A bare CR, a bare LF or a NUL anywhere makes the whole message unacceptable, but is never
taken for an end: what one host takes for an end and another does not lets a second message be smuggled in. Such a
message is read to its true end and then refused.

How it works: `_tail` holds back the last octets as long as they could be the beginning of CRLF "." CRLF, at most four.
So each piece that goes out ends before a CR, never between CR and LF, and every "CRLF ." in it is a stuffed dot.
The message begins as if a CRLF stood before it, which is not given out; then a "." at the very beginning needs no
case of its own. Searching, counting and replacing are done on whole chunks; no Python code runs for a line.

RFC 5321 2.3.8, 4.1.1.4, 4.5.2
"""

from __future__ import annotations

END = b"\r\n.\r\n"
_INNOCENT = bytes(set(range(256)).difference(b"\r\n\0"))
_BEGINNINGS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class MessageBody:
    """
    One message.

    After `feed` has found the end, `ended` is True and `rest` holds the octets behind it. `is_clean` is False from the
    first bare CR, bare LF or NUL on.
    """

    __slots__ = ("_skip", "_tail", "ended", "is_clean", "rest")

    def __init__(self) -> None:
        self._tail = b"\r\n"
        self._skip = 2
        self.ended = False
        self.is_clean = True
        self.rest = b""

    def __len__(self) -> int:
        """Octets held back."""
        return max(len(self._tail) - self._skip, 0)

    def feed(self, chunk: bytes) -> bytes:
        """
        Take octets from the wire.

        Returns:
            message octets that are certain now, dots removed; perhaps none.
        """
        octets = self._tail + chunk
        dot = octets.find(b"\r\n.")
        end = octets.find(END, dot) if dot >= 0 else -1
        if end >= 0:
            self.ended = True
            self.rest = octets[end + 5 :]
            self._tail = b""
            piece = octets[: end + 2]
        else:
            self._tail = b""
            for beginning in _BEGINNINGS:
                if octets.endswith(beginning):
                    self._tail = beginning
                    break
            piece = octets[: len(octets) - len(self._tail)]
            if not piece:
                return b""
        # So many octets are CR, LF or NUL; all of them stand in a CRLF, or the message is not clean.
        if len(piece.translate(None, _INNOCENT)) != 2 * piece.count(b"\r\n"):
            self.is_clean = False
        if dot >= 0:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if self._skip:
            piece, self._skip = piece[self._skip :], 0
        return piece
