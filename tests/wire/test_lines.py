"""
The buffer that gives lines.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.lines import LineBuffer, LineTooLong


def lines_of(pieces: list[bytes], limit: int = 100) -> list[bytes]:
    """All lines, read as soon as they are there."""
    buffer = LineBuffer()
    lines = []
    for piece in pieces:
        buffer.add(piece)
        while (line := buffer.take_line(limit)) is not None:
            lines.append(line)
    return lines


class Lines(SynchronousTestCase):
    """Octets in, lines out."""

    def test_line_ends(self) -> None:
        """CRLF or LF; one CR at most belongs to the end."""
        self.assertEqual(lines_of([b"a\r\nb\n\r\n\nc\r\r\nd"]), [b"a", b"b", b"", b"", b"c\r"])

    def test_limit(self) -> None:
        """The end counts; a line without one is too long as soon as it is certain; nothing is lost by it."""
        buffer = LineBuffer()
        buffer.add(b"abc\r\n")
        self.assertRaises(LineTooLong, buffer.take_line, 4)
        self.assertEqual(buffer.take_line(5), b"abc")
        buffer.add(b"abcde")
        self.assertIsNone(buffer.take_line(5))
        self.assertRaises(LineTooLong, buffer.take_line, 4)
        self.assertEqual(len(buffer), 5)

    def test_counted_octets(self) -> None:
        """Between lines, as a literal is."""
        buffer = LineBuffer()
        buffer.add(b"a {5}\r\nx\r\ny\r\nz\r\n")
        self.assertEqual(buffer.take_line(100), b"a {5}")
        self.assertEqual(buffer.take(5), b"x\r\ny\r")
        self.assertEqual(buffer.take_line(100), b"")
        self.assertEqual((buffer.take(99), len(buffer)), (b"z\r\n", 0))

    def test_skip_and_clear(self) -> None:
        """A line dropped, whole or as far as it is there; everything forgotten."""
        buffer = LineBuffer()
        buffer.add(b"long\nnext\nhalf")
        self.assertTrue(buffer.skip_line())
        self.assertEqual(buffer.take_line(100), b"next")
        self.assertFalse(buffer.skip_line())
        self.assertEqual(len(buffer), 0)
        buffer.add(b"x\r\n")
        buffer.clear()
        self.assertIsNone(buffer.take_line(100))

    def test_peek(self) -> None:
        """What is there, untouched."""
        buffer = LineBuffer()
        buffer.add(b"a\nbc")
        buffer.take_line(100)
        with buffer.peek() as view:
            self.assertEqual(bytes(view), b"bc")
        self.assertEqual(len(buffer), 2)

    @given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"bc"]), max_size=20))
    @settings(max_examples=200, deadline=None)
    def test_any_cut_gives_the_same_lines(self, pieces: list[bytes]) -> None:
        """The cutting law."""
        octets = b"".join(pieces)
        self.assertEqual(lines_of(pieces), lines_of([octets]))
        self.assertEqual(lines_of([octets[place : place + 1] for place in range(len(octets))]), lines_of([octets]))
