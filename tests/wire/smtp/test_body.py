"""
The end of the data.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.smtp.body import MessageBody


def feed(pieces: list[bytes]) -> tuple[bytes, bool, bool, bytes]:
    """What became of a message: content, ended, clean, rest."""
    body = MessageBody()
    content = []
    for number, piece in enumerate(pieces):
        content.append(body.feed(piece))
        if body.ended:
            return b"".join(content), True, body.is_clean, body.rest + b"".join(pieces[number + 1 :])
    return b"".join(content), False, body.is_clean, b""


class MessageBodies(SynchronousTestCase):
    """Only CRLF.CRLF ends."""

    def cut_everywhere(self, octets: bytes) -> tuple[bytes, bool, bool, bytes]:
        """Fail unless every cut in two, and one by one, gives the same."""
        whole = feed([octets])
        for place in range(len(octets)):
            self.assertEqual(feed([octets[:place], octets[place:]])[0:2], whole[0:2], place)
            self.assertEqual(feed([octets[:place], octets[place:]])[2:], whole[2:], place)
        one_by_one = feed([octets[place : place + 1] for place in range(len(octets))])
        self.assertEqual(one_by_one, whole)
        return whole

    def test_plain_messages(self) -> None:
        """Empty, one line, stuffed dots; what stands behind the end is left."""
        self.assertEqual(self.cut_everywhere(b".\r\n"), (b"", True, True, b""))
        self.assertEqual(self.cut_everywhere(b"x\r\n.\r\nQUIT\r\n"), (b"x\r\n", True, True, b"QUIT\r\n"))
        self.assertEqual(self.cut_everywhere(b"..\r\n...\r\n..x\r\n.\r\n"), (b".\r\n..\r\n.x\r\n", True, True, b""))
        self.assertEqual(self.cut_everywhere(b"\r\n\r\n.\r\n"), (b"\r\n\r\n", True, True, b""))
        # RFC 5321 4.5.2: "If the first character is a period and there are other characters on the line, the first
        # character is deleted."
        self.assertEqual(self.cut_everywhere(b".x\r\n.\r\n"), (b"x\r\n", True, True, b""))

    def test_false_ends(self) -> None:
        """S 1-3: none of them ends the message, and each spoils it."""
        for end in (
            *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\n.\r", b"\r.\n", b"\r\n.\r", b"\r\n.\r\r\n"),
            *(b"\r\r\n.\r\r\n", b"\r.\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n.\r\x00\n"),
        ):
            octets = b"first" + end + b"MAIL FROM:<c@d.example>\r\n"
            self.assertEqual(self.cut_everywhere(octets)[1:3], (False, False), end)
            content, ended, clean, rest = self.cut_everywhere(octets + b".\r\nNOOP\r\n")
            self.assertEqual((ended, clean, rest), (True, False, b"NOOP\r\n"), end)
            self.assertIn(b"MAIL FROM", content)

    def test_false_end_at_the_beginning(self) -> None:
        """The first line's dot is one only with its CRLF."""
        for octets in (b".\n", b".\r", b"\n.\r\n"):
            self.assertEqual(self.cut_everywhere(octets + b"x")[1:3], (False, False), octets)

    def test_an_end_behind_a_doubled_cr(self) -> None:
        """CR CRLF . CRLF does hold the end; the message is spoilt."""
        self.assertEqual(self.cut_everywhere(b"x\r\r\n.\r\n"), (b"x\r\r\n", True, False, b""))

    @given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\0", b"\r\n", b"\r\n."]), max_size=12))
    @settings(max_examples=300, deadline=None)
    def test_any_cut_gives_the_same(self, parts: list[bytes]) -> None:
        """Whatever the octets are."""
        pieces = [*parts, b"\r\n.\r\n"]
        self.assertEqual(feed(pieces)[:3], feed([b"".join(pieces)])[:3])

    @given(st.binary(max_size=60).map(lambda octets: octets.replace(b"\r", b"").replace(b"\0", b"")))
    @settings(max_examples=200, deadline=None)
    def test_what_was_stuffed_comes_back(self, octets: bytes) -> None:
        """Stuffing by the book, line by line, is undone."""
        message = octets.replace(b"\n", b"\r\n") + b"\r\n"
        lines = message.split(b"\r\n")[:-1]
        stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
        self.assertEqual(feed([stuffed + b".\r\n"]), (message, True, True, b""))
