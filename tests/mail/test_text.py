"""Tests of the text that SEARCH reads."""

from __future__ import annotations

import base64
import quopri

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail import text as text_module
from mailtraq_py.mail.entity import pack, parse
from mailtraq_py.mail.text import body_texts, contains, header_text, visible_text


def texts(message: bytes) -> str:
    """The body's text in one string."""
    root = parse(message)

    def read(offset: int, length: int) -> bytes:
        assert length <= text_module.PIECE_OCTETS
        return message[offset : min(offset + length, root.end)]

    return "".join(body_texts(read, pack(root), root.body_start, root.end))


def one_part(encoding: bytes, charset: bytes, body: bytes, kind: bytes = b"text/plain") -> bytes:
    """A message of one part."""
    return (
        b"Subject: not looked at\r\nContent-Type: %b; charset=%b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b"
        % (kind, charset, encoding, body)
    )


class BodyTests(SynchronousTestCase):
    """Encodings and charsets undone."""

    def test_encodings(self) -> None:
        """Base64, quoted-printable and none."""
        octets = "Grüße aus Köln\r\n".encode("iso-8859-1") * 20
        for encoding, body in (
            (b"base64", base64.encodebytes(octets)),
            (b"QUOTED-PRINTABLE", quopri.encodestring(octets)),
            (b"8bit", octets),
        ):
            self.assertEqual(octets.decode("iso-8859-1") + "\n\n", texts(one_part(encoding, b"iso-8859-1", body)))

    def test_broken(self) -> None:
        """What cannot be decoded is passed over or shown as something."""
        self.assertIn("ABC", texts(one_part(b"base64", b"utf-8", b"Q!U\r\nJD*")))
        self.assertIn("A", texts(one_part(b"base64", b"utf-8", b"QQ")))
        self.assertIn("caf\u00e9", texts(one_part(b"8bit", b"utf-8", b"caf\xe9")))
        self.assertIn("x", texts(one_part(b"8bit", b"x-nobody-knows", b"x")))
        self.assertIn("=Z", texts(one_part(b"quoted-printable", b"utf-8", b"=Z")))

    def test_only_text(self) -> None:
        """Attachments are not text; HTML is, as it stands and as it is read."""
        self.assertEqual("", texts(one_part(b"7bit", b"utf-8", b"secret", b"application/pdf")).strip())
        self.assertEqual("<p>x</p>\n\nx", texts(one_part(b"7bit", b"utf-8", b"<p>x</p>", b"text/html")).strip())

    def test_html(self) -> None:
        """What its reader sees: tags within a word are not there, others part words, references are resolved."""
        markup = b"<table><tr><td>Gr&uuml;&szlig;e</td><td>a<B class=x>n</B>d</td></tr>two\r\nlines &lt;b&gt;<br"
        visible = texts(one_part(b"7bit", b"utf-8", markup, b"text/html"))[len(markup) :].split("\n\n")[1]
        self.assertEqual("Grüße and two lines <b><br ", visible)

    def test_html_is_linear(self) -> None:
        """Markup made to be slow is read as fast as any other."""
        for piece in ("<", "<a", "</", "<a <", "&", "&#", "<!--", "<a b='"):
            visible_text(piece * 100_000)

    def test_parts(self) -> None:
        """All text parts, and the header of a message inside; not the parts' own headers."""
        message = (
            b"Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\nContent-Description: hidden\r\n\r\n"
            b"first\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?inn=C3=A9r?=\r\n\r\nsecond\r\n"
            b"--x--\r\nepilogue\r\n"
        )
        self.assertEqual("first\n\nSubject: innér\n\nsecond\n\n", texts(message))

    def test_opaque(self) -> None:
        """A multipart that could not be taken apart is read as text."""
        self.assertIn("all of it", texts(b"Content-Type: multipart/mixed\r\n\r\nall of it"))

    @settings(max_examples=100, deadline=None)
    @given(
        st.text(max_size=200),
        st.sampled_from([1, 2, 3, 7, 64]),
        st.sampled_from(["base64", "quoted-printable", "8bit"]),
    )
    def test_pieces(self, text: str, size: int, encoding: str) -> None:
        """However the part is read, its ASCII text is the same."""
        octets = text.encode("ascii", "replace")
        body = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)(octets)
        message = one_part(encoding.encode(), b"us-ascii", body)
        whole = texts(message)
        self.patch(text_module, "PIECE_OCTETS", 64 * 1024)
        root = parse(message)
        pieces = body_texts(
            lambda offset, length: message[offset : offset + (length if not offset else min(length, size))],
            pack(root),
            root.body_start,
            root.end,
        )
        self.assertEqual(whole, "".join(pieces))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=100), st.sampled_from([b"base64", b"quoted-printable", b"x-what"]))
    def test_anything(self, body: bytes, encoding: bytes) -> None:
        """No octets make it raise."""
        for charset in (b"utf-8", b"iso-2022-jp", b"utf-16", b"utf-7", b"gb2312", b"x"):
            texts(one_part(encoding, charset, body))


class ContainsTests(SynchronousTestCase):
    """Strings across pieces."""

    def test_across(self) -> None:
        """A string may begin in one piece and end pieces later; case does not matter."""
        self.assertTrue(contains(["ab", "c", "de"], "BCD"))
        self.assertFalse(contains(["ab", "c", "de"], "bd"))
        self.assertTrue(contains(["x"], "X"))
        self.assertTrue(contains(["STRASSE"], "straße"))
        self.assertFalse(contains([], "x"))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.text("ab", max_size=3)), st.text("ab", min_size=1, max_size=4))
    def test_like_one_string(self, pieces: list[str], wanted: str) -> None:
        """The same answer as on all pieces at once."""
        self.assertEqual(wanted in "".join(pieces), contains(pieces, wanted))

    def test_header(self) -> None:
        """A header as text."""
        self.assertEqual("A: b c\nSubject: ä", header_text(b"A: b\r\n c\r\nSubject: =?utf-8?q?=C3=A4?=\r\n\r\n"))
