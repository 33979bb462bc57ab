"""Tests of header fields and what stands in them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.header import (
    COMMENT_MARKS_MAX,
    MESSAGE_IDS_MAX,
    PARAMETERS_MAX,
    decode_text,
    field_values,
    fields,
    message_ids,
    parameter_text,
    parse_content_type,
    parse_token,
    parse_value,
    strip_comments,
    unfold,
)

# Octets that mean something somewhere in a header.
# Types of multiparts as most write them, and small changes to them.
MULTIPART_TYPES = st.lists(
    st.sampled_from(
        [
            b" multipart/mixed;", b"multipart/Mixed;", b" ", b"\r\n\t", b'boundary="', b"boundary=", b"=_b 1", b'"',
            b"\\", b"(c)", b"\r", b";", b"a=b", b"multipart/report; report-type=x;",
            b' multipart/alternative; boundary="a b"',
        ]
    ),
    max_size=5,
).map(b"".join)  # fmt: skip
LIVELY = st.lists(
    st.sampled_from(
        [
            b"(", b")", b'"', b"\\", b";", b"=", b"*", b"*0", b"*0*", b"'", b"%", b"=?", b"?=", b"?q?", b"?B?",
            b"utf-8", b"a", b"/", b" ", b"\r\n ", b"\r\n", b"\0", b"\xff", b"<", b">", b"@", b",", b":", b"_", b"=C3",
        ]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


class FieldTests(SynchronousTestCase):
    """Fields in their octets."""

    HEADER = b"Received: one\r\n\ttwo\r\nbroken line\r\nX-Y : z\r\n folded\r\n : no name\r\nreceived:three\r\n\r\n"

    def test_fields(self) -> None:
        """Names and values as they stand; what is no field is passed over."""
        self.assertEqual(
            [(b"Received", b" one\r\n\ttwo"), (b"X-Y", b" z\r\n folded\r\n : no name"), (b"received", b"three")],
            fields(self.HEADER),
        )

    def test_field_values(self) -> None:
        """All values of one name, in any case."""
        self.assertEqual([b" one\r\n\ttwo", b"three"], field_values(self.HEADER, b"RECEIVED"))
        self.assertEqual([], field_values(self.HEADER, b"subject"))

    def test_bare_line_feeds(self) -> None:
        """A header with bare LF is read alike."""
        self.assertEqual([(b"a", b" b\n c"), (b"d", b"")], fields(b"a: b\n c\nd:\n"))

    def test_unfold(self) -> None:
        """Folds go with their line end only; no line end or NUL is left."""
        self.assertEqual(b"one \ttwo", unfold(b" one \r\n\ttwo "))
        self.assertEqual(b"a b c d", unfold(b"a\rb\0c\r\nd"))


class TextTests(SynchronousTestCase):
    """Encoded words (RFC 2047) and raw octets."""

    def test_broken_characters(self) -> None:
        """A character cut in two between encoded words is put together."""
        self.assertEqual("Grüße", decode_text(b"=?utf-8?Q?Gr=C3?=\r\n =?UTF-8?B?vMOfZQ==?="))

    def test_blanks(self) -> None:
        """Blanks between encoded words go, those beside text stay."""
        self.assertEqual("ab c d", decode_text(b"=?us-ascii?q?a?= =?iso-8859-1?q?b?= c =?utf-8?q?d?="))

    def test_raw_octets(self) -> None:
        """8-bit octets are UTF-8, or else Windows-1252."""
        self.assertEqual("Grüße", decode_text("Grüße".encode()))
        self.assertEqual("Grü€", decode_text("Grü€".encode("cp1252")))

    def test_undecodable(self) -> None:
        """An unknown charset and broken base64 stay as they stand."""
        for word in (b"=?x-unknown?B?//8=?=", b"=?utf-8?B?A?=", b"=?utf-8?X?a?=", b"=?utf-8?q?", b"=??q?a?="):
            self.assertEqual(f"a {word.decode()} b", decode_text(b"a " + word + b" b"))

    def test_no_charsets(self) -> None:
        """Codecs of Python that are no charsets are unknown."""
        for name in (b"idna", b"punycode", b"rot13", b"unicode_escape", b"base64", b"zlib", b"../../x", b"undefined"):
            word = b"=?" + name + b"?q?abc?="
            self.assertEqual(word.decode(), decode_text(word))

    def test_language(self) -> None:
        """A language may follow the charset (RFC 2231 5)."""
        self.assertEqual("Bär", decode_text(b"=?iso-8859-1*de?Q?B=E4r?="))

    def test_line_ends(self) -> None:
        """An encoded line end is no line end any more."""
        self.assertEqual("a  Bcc: x", decode_text(b"=?utf-8?q?a=0D=0ABcc:_x?="))

    @settings(max_examples=300, deadline=None)
    @given(LIVELY | st.binary(max_size=100))
    def test_anything(self, value: bytes) -> None:
        """No octets make it raise, none bring a line end through."""
        text = decode_text(value)
        self.assertFalse(set(text) & set("\r\n\0"))


class ParameterTests(SynchronousTestCase):
    """Content-Type and its kin."""

    def test_content_type(self) -> None:
        """Names in lower case, values as they stand, comments gone."""
        found = parse_content_type(b' Text/HTML (a (nested) one); CHARSET="ut\\f-8" ; x = y; format=flowed ')
        self.assertEqual((b"text", b"html", ((b"charset", b"utf-8"), (b"x", b"y"), (b"format", b"flowed"))), found)

    def test_no_content_type(self) -> None:
        """What has no type and subtype is none."""
        for value in (b"", b"text", b"/plain", b"text/", b"; charset=x", b"(text/plain)"):
            self.assertIsNone(parse_content_type(value), value)

    def test_parentheses_in_quotes(self) -> None:
        """A quoted string keeps its parentheses, a comment its quotes."""
        found = parse_content_type(b'a/b; x="(1)" (a "comment) ; y=2')
        self.assertEqual(((b"x", b"(1)"), (b"y", b"2")), found and found.parameters)

    def test_unquoted_blanks(self) -> None:
        """A file name that should have been quoted is taken up to the semicolon."""
        found = parse_value(b"attachment; filename=my file.pdf ; size=3")
        self.assertEqual((b"attachment", ((b"filename", b"my file.pdf"), (b"size", b"3"))), found)

    def test_unclosed_quote(self) -> None:
        """A quoted string without end reaches to the end."""
        found = parse_value(b'attachment; filename="a; b=c')
        self.assertEqual((b"attachment", ((b"filename", b"a; b=c"),)), found)

    def test_first_counts(self) -> None:
        """A name that comes twice has its first value."""
        found = parse_content_type(b"multipart/mixed; boundary=a; boundary=b")
        self.assertEqual(b"a", found and found.parameter(b"boundary"))

    def test_continuations(self) -> None:
        """Segments are joined in their order, up to a gap (RFC 2231 3)."""
        found = parse_value(b"attachment; filename*1=b; filename*0=a; filename*3=d")
        self.assertEqual((b"attachment", ((b"filename", b"ab"),)), found)

    def test_extended(self) -> None:
        """An extended value keeps its form and has its text (RFC 2231 4)."""
        found = parse_value(b"attachment; filename=x; filename*0*=utf-8'de'B%C3%A4r%20; filename*1=\"a b\"")
        assert found
        self.assertEqual(((b"filename", b"x"), (b"filename*", b"utf-8'de'B%C3%A4r%20a%20b")), found[1])
        self.assertEqual("Bär a b", parameter_text(found[1][1:], b"filename"))

    def test_encoded_word_in_parameter(self) -> None:
        """An encoded word where RFC 2047 forbids it is decoded all the same."""
        found = parse_value(b'attachment; filename="=?utf-8?q?B=C3=A4r?="')
        self.assertEqual("Bär", parameter_text(found[1] if found else (), b"filename"))

    def test_limits(self) -> None:
        """100,000 continuations are cut at the limit."""
        value = b"a/b" + b"".join(b"; n*%d=x" % number for number in range(100_000))
        found = parse_content_type(value)
        self.assertEqual(((b"n", b"x" * PARAMETERS_MAX),), found and found.parameters)

    def test_token(self) -> None:
        """A lone token, whatever is around it."""
        self.assertEqual(b"base64", parse_token(b" (c) BASE64 ; x=y"))
        self.assertEqual(b"", parse_token(b'"7bit"'))

    @settings(max_examples=300, deadline=None)
    @given(LIVELY)
    def test_anything(self, value: bytes) -> None:
        """No octets make it raise, none bring a line end through."""
        found = parse_content_type(b"a/b;" + value)
        self.assertIsNotNone(found)
        for _, parameter in found.parameters if found else ():
            self.assertFalse(set(parameter) & set(b"\r\n\0"), parameter)
        parse_value(value)
        parse_token(value)
        strip_comments(value)

    def test_comment_bombs(self) -> None:
        """Comments 100,000 deep, unclosed, or ending in a backslash, are comments."""
        self.assertEqual(b"a", strip_comments(b"a" + b"(" * 100_000))
        self.assertEqual(b"a ", strip_comments(b"a" + b"(" * 200 + b")" * 200))
        self.assertEqual(b"a", strip_comments(b"a(\\").strip())


    def test_many_comments(self) -> None:
        """Behind the limit there is nothing more."""
        self.assertEqual([b"a"], strip_comments(b"a" + b"()" * 100_000 + b"b").split())
        self.assertEqual([b"a", b"b"], strip_comments(b"a" + b"()" * (COMMENT_MARKS_MAX // 2) + b"b").split())

    @settings(max_examples=300, deadline=None)
    @given(MULTIPART_TYPES)
    def test_usual_multipart(self, value: bytes) -> None:
        """A type that is read at a glance is read the same the long way, which a comment makes it go."""
        self.assertEqual(parse_content_type(b"()" + value), parse_content_type(value))


class MessageIDTests(SynchronousTestCase):
    """Lists of msg-ids."""

    def test_ids(self) -> None:
        """Ids keep their brackets; phrases are passed over."""
        self.assertEqual([b"<a@b>", b"<c@d>"], message_ids(b' Your message of "x" <a@b>\r\n <c@d> <e f>'))

    def test_many(self) -> None:
        """A list without end is cut."""
        self.assertEqual(MESSAGE_IDS_MAX, len(message_ids(b"<a@b>" * 50_000)))
