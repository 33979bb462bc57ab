"""Tests of sections: ranges with a head before the content, and header fields kept or left out."""

from __future__ import annotations

from email.parser import BytesHeaderParser

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.imap.sections import OctetRange, Section, are_usual, filter_fields, locate, usual_fields
from mailtraq_py.wire.imap.structure import describe

HEAD = b"Return-Path: <a@b>\r\nDelivered-To: c@d\r\n"
CONTENT = b"""Subject: s\r
Content-Type: multipart/mixed; boundary=x\r
\r
--x\r
X: 1\r
\r
one\r
--x\r
Content-Type: message/rfc822\r
\r
A: b\r
\r
inner\r
--x--\r
"""

NAMES = st.sampled_from([b"A", b"b", b"Long-Name", b"X.Y", b"Received"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b" 1", b"", b" x\r\n y", b" x\r\n\t y\r\n z: z"])), max_size=8)


class LocateTests(SynchronousTestCase):
    """Ranges in head and content together."""

    def octets(self, part: tuple[int, ...] = (), kind: str = "", content: bytes = CONTENT) -> bytes | None:
        """What a section is of HEAD + content."""
        facts = describe([content])
        message = HEAD + content
        found = locate(
            Section(part, kind),
            facts.parts,
            head_octets=len(HEAD),
            header_octets=facts.header_octets,
            total_octets=len(message),
        )
        return None if found is None else message[found.offset : found.offset + found.octets]

    def test_whole(self) -> None:
        """The head belongs to the message and its header, not to the text."""
        header_octets = CONTENT.index(b"\r\n\r\n") + 4
        self.assertEqual(HEAD + CONTENT, self.octets())
        self.assertEqual(HEAD + CONTENT[:header_octets], self.octets(kind="HEADER"))
        self.assertEqual(HEAD + CONTENT[:header_octets], self.octets(kind="HEADER.FIELDS.NOT"))
        self.assertEqual(CONTENT[header_octets:], self.octets(kind="TEXT"))
        self.assertIsNone(self.octets(kind="MIME"))

    def test_parts(self) -> None:
        """Parts are moved by the head."""
        self.assertEqual(b"one", self.octets((1,)))
        self.assertEqual(b"X: 1\r\n\r\n", self.octets((1,), "MIME"))
        self.assertEqual(b"A: b\r\n\r\ninner", self.octets((2,)))
        self.assertEqual(b"A: b\r\n\r\n", self.octets((2,), "HEADER"))
        self.assertEqual(b"A: b\r\n\r\n", self.octets((2,), "HEADER.FIELDS"))
        self.assertEqual(b"inner", self.octets((2,), "TEXT"))
        self.assertEqual(b"inner", self.octets((2, 1)))
        self.assertIsNone(self.octets((3,)))
        self.assertIsNone(self.octets((1,), "HEADER"))

    def test_single_part(self) -> None:
        """A message of one part is its own part 1, whose MIME header is the message's."""
        content = b"Subject: s\r\n\r\nbody\r\n"
        self.assertEqual(b"body\r\n", self.octets((1,), content=content))
        self.assertEqual(HEAD + b"Subject: s\r\n\r\n", self.octets((1,), "MIME", content))
        self.assertIsNone(self.octets((1,), "TEXT", content))
        self.assertIsNone(self.octets((2,), content=content))

    def test_partial(self) -> None:
        """A partial range is cut at the end (RFC 9051 6.4.5)."""
        whole = OctetRange(10, 100)
        self.assertEqual(OctetRange(10, 100), whole.partial(0, 1000))
        self.assertEqual(OctetRange(60, 50), whole.partial(50, 1000))
        self.assertEqual(OctetRange(60, 5), whole.partial(50, 5))
        self.assertEqual(0, whole.partial(500, 5).octets)


class FilterTests(SynchronousTestCase):
    """HEADER.FIELDS and HEADER.FIELDS.NOT."""

    HEADER = b"Subject: s\r\n folded\r\nX-Sub: no\r\nbroken\r\nSUBJECT : again\r\nTo: t\r\n\r\n"

    def test_kept(self) -> None:
        """Named fields in their order, whole, with a blank line behind them."""
        self.assertEqual(
            b"Subject: s\r\n folded\r\nSUBJECT : again\r\n\r\n", filter_fields(self.HEADER, [b"subject", b"Date"], True)
        )
        self.assertEqual(b"\r\n", filter_fields(self.HEADER, [b"Sub"], True))
        self.assertEqual(b"\r\n", filter_fields(b"", [b"Sub"], True))

    def test_left_out(self) -> None:
        """All but the named fields; what is no field stays."""
        self.assertEqual(b"X-Sub: no\r\nbroken\r\nTo: t\r\n\r\n", filter_fields(self.HEADER, [b"Subject"], False))

    def test_specials(self) -> None:
        """Names are no patterns."""
        self.assertEqual(b"X.*: y\r\n\r\n", filter_fields(b"X.*: y\r\nX-A: b\r\n\r\n", [b"x.*"], True))

    def test_no_end(self) -> None:
        """A header without blank line, or without any line end, gets both."""
        self.assertEqual(b"A: b\r\n\r\n", filter_fields(b"A: b\r\n", [b"a"], True))
        self.assertEqual(b"A: b\r\n\r\n", filter_fields(b"A: b", [b"a"], True))

    @settings(max_examples=200, deadline=None)
    @given(FIELDS, st.sets(NAMES, min_size=1))
    def test_against_python(self, header_fields: list[tuple[bytes, bytes]], names: set[bytes]) -> None:
        """The same fields as Python's parser finds, each on one side or the other."""
        header = b"".join(name + b":" + value + b"\r\n" for name, value in header_fields) + b"\r\n"
        folded = {name.lower().decode() for name in names}
        for keep in (True, False):
            found = BytesHeaderParser().parsebytes(filter_fields(header, names, keep))
            expected = BytesHeaderParser().parsebytes(header)
            self.assertEqual(
                [(name, value) for name, value in expected.items() if (name.lower() in folded) == keep], found.items()
            )


class UsualFieldsTests(SynchronousTestCase):
    """Answers from the stored lines."""

    FIELDS = b"Subject: s\r\nTo: t\r\nDate: d\r\n"

    def test_answer(self) -> None:
        """Usual fields of the message need no reading."""
        section = Section((), "HEADER.FIELDS", (b"DATE", b"subject"))
        self.assertEqual(b"Subject: s\r\nDate: d\r\n\r\n", usual_fields(section, HEAD, self.FIELDS))

    def test_no_answer(self) -> None:
        """Other fields, parts, the other fields, and messages without kept lines do."""
        for section in (
            Section((), "HEADER.FIELDS", (b"Subject", b"Received")),
            Section((1,), "HEADER.FIELDS", (b"Subject",)),
            Section((), "HEADER.FIELDS.NOT", (b"Subject",)),
            Section((), "HEADER"),
        ):
            self.assertFalse(are_usual(section))
            self.assertIsNone(usual_fields(section, HEAD, self.FIELDS))
        self.assertIsNone(usual_fields(Section((), "HEADER.FIELDS", (b"Subject",)), HEAD, b""))
