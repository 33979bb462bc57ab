"""
Dot-stuffing for the sending side.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.smtp.body import MessageBody
from mailtraq_py.wire.stuffing import DotStuffer

OCTETS = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"x"]), max_size=14)


def stuff(pieces: list[bytes]) -> bytes:
    """What goes over the wire."""
    stuffer = DotStuffer()
    return b"".join(stuffer.feed(piece) for piece in pieces) + stuffer.finish()


class Stuffing(SynchronousTestCase):
    """A message out."""

    def test_messages(self) -> None:
        """Dots doubled at the beginning of lines, the last line ended, every line end CRLF."""
        for message, sent in (
            (b"", b".\r\n"),
            (b"x\r\n", b"x\r\n.\r\n"),
            (b"x", b"x\r\n.\r\n"),
            (b".\r\n..\r\nx.\r\n", b"..\r\n...\r\nx.\r\n.\r\n"),
            (b"a\n.\nb\r.\rc", b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n"),
            (b"x\r", b"x\r\n.\r\n"),
        ):
            self.assertEqual(stuff([message]), sent, message)

    @given(OCTETS)
    @settings(max_examples=300, deadline=None)
    def test_our_own_server_reads_it(self, pieces: list[bytes]) -> None:
        """However it is cut, what arrives is one clean message: the one sent, its line ends made whole."""
        sent = stuff(pieces)
        self.assertEqual(sent, stuff([b"".join(pieces)]))
        body = MessageBody()
        content = body.feed(sent)
        self.assertEqual((body.ended, body.is_clean, body.rest), (True, True, b""))
        whole = re.sub(rb"\r\n|\r|\n", b"\r\n", b"".join(pieces))
        self.assertEqual(content, whole if not whole or whole.endswith(b"\r\n") else whole + b"\r\n")
