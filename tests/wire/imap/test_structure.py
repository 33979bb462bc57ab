"""Tests of ENVELOPE, BODY, BODYSTRUCTURE and the facts kept of a message."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.store import ContentFacts
from mailtraq_py.mail.partmap import Kind, find_part, unpack
from mailtraq_py.wire.imap import structure as structure_module
from mailtraq_py.wire.imap.sections import USUAL_FIELDS
from mailtraq_py.wire.imap.structure import FIELDS_MAX_OCTETS, STRING_MAX_OCTETS, describe, string

from .listparser import read_list

MESSAGE = b"""Received: by somebody\r
From: "Doe, \\"John\\"" <john@example.org>\r
To: Jane <jane@example.net>,\r
 group: a@b, c@d;\r
To: second@example.net\r
Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r
 folded\r
Date: Tue, 14 Nov 2023 22:13:20 -0100\r
Message-ID: <abc@example.org>\r
In-Reply-To: <1@x>\r
References: <0@x> <1@x>\r
Content-Type: multipart/mixed; boundary="b b"\r
\r
--b b\r
Content-Type: text/plain; charset=utf-8; format=flowed\r
Content-Transfer-Encoding: Quoted-Printable\r
Content-Language: de, en\r
\r
one\r
two\r
--b b\r
Content-Type: application/pdf; name="x.pdf"\r
Content-ID: <id@x>\r
Content-Description: a file\r
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r
Content-Disposition: ATTACHMENT; filename*=utf-8''%C3%A4.pdf\r
Content-Location: http://x/\r
Content-Transfer-Encoding: base64\r
\r
QUJD\r
\r
--b b\r
Content-Type: message/rfc822\r
\r
Subject: inner\r
From: in@side\r
\r
body\r
\r
--b b--\r
"""

HEADER_PIECES = st.sampled_from(
    [
        b"Subject: ", b"From: ", b"To: ", b"Message-ID: ", b"Content-Type: ", b"Content-Disposition: ", b"\r\n", b"\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: message/rfc822\r\n", b"\r\n\r\n", b"--a\r\n",
        b"--a--\r\n", b'"', b"\\", b"(", b")", b"<", b">", b"@", b"a", b";", b"=", b"{3}\r\n", b"\r", b"\0", b"\xff",
        b"text/plain", b"; charset=", b" ", b"\xc3\xa4", b"NIL", b"x" * 1100, b"Content-ID: ", b"Content-Description: ",
        b"Content-Language: ", b"Content-Location: ", b"Content-MD5: ", b"Content-Transfer-Encoding: ", b",", b":",
    ]
)  # fmt: skip


ADDRESS_PIECES = st.sampled_from(
    [
        b'"Doe, John" <', b"<", b"john@example.org>", b"john@example.org", b">", b"a", b"@", b" ", b"Jane Doe <", b'""',
        b'"', b"'",
        b"=?utf-8?Q?=C3=A4?= <", b"\\", b"(c)", b".", b"\xc3\xa4", b",", b"\r\n ", b"\t", b"J. R. <", b"\r", b"\0",
    ]
)  # fmt: skip


class DescribeTests(SynchronousTestCase):
    """One message with everything in it."""

    facts = describe([MESSAGE])

    def test_sizes(self) -> None:
        """Octets and lines of the whole, octets of the header."""
        self.assertEqual(len(MESSAGE), self.facts.octets)
        self.assertEqual(MESSAGE.count(b"\n"), self.facts.lines)
        self.assertEqual(MESSAGE.index(b"\r\n\r\n") + 4, self.facts.header_octets)

    def test_envelope(self) -> None:
        """The ten parts; Sender and Reply-To are From; two To fields are one list."""
        john = [b'Doe, "John"', None, b"john", b"example.org"]
        self.assertEqual(
            [
                b"Tue, 14 Nov 2023 22:13:20 -0100",
                b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= folded",
                [john],
                [john],
                [john],
                [
                    [b"Jane", None, b"jane", b"example.net"],
                    [None, None, b"group", None],
                    [None, None, b"a", b"b"],
                    [None, None, b"c", b"d"],
                    [None, None, None, None],
                    [None, None, b"second", b"example.net"],
                ],
                None,
                None,
                b"<1@x>",
                b"<abc@example.org>",
            ],
            read_list(self.facts.envelope),
        )

    def test_structure(self) -> None:
        """All fields of BODYSTRUCTURE where they belong (RFC 9051 7.5.2)."""
        inner = [None, b"inner", *[[[None, None, b"in", b"side"]]] * 3, None, None, None, None, None]
        nested = [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 6, 1, None, None, None, None]
        self.assertEqual(
            [
                [
                    b"text", b"plain", [b"charset", b"utf-8", b"format", b"flowed"], None, None, b"quoted-printable",
                    8, 1, None, None, [b"de", b"en"], None,
                ],
                [
                    b"application", b"pdf", [b"name", b"x.pdf"], b"<id@x>", b"a file", b"base64", 6,
                    b"Q2hlY2sgSW50ZWdyaXR5IQ==", [b"attachment", [b"filename*", b"utf-8''%C3%A4.pdf"]], None, b"http://x/",
                ],
                [
                    b"message", b"rfc822", None, None, None, b"7bit", 39, inner, nested, 4, None, None, None, None,
                ],
                b"mixed", [b"boundary", b"b b"], None, None, None,
            ],
            read_list(self.facts.body_structure),
        )  # fmt: skip

    def test_body(self) -> None:
        """BODY is the same without extension data."""
        body = read_list(self.facts.body)
        self.assertEqual(b"mixed", body[-1])
        self.assertEqual([8, 7, 10], [len(part) for part in body[:-1]])
        self.assertEqual(8, len(body[2][8]))

    def test_texts(self) -> None:
        """Decoded texts, dates and ids."""
        facts = self.facts
        self.assertEqual("Grüße folded", facts.subject)
        self.assertEqual('"Doe, \\"John\\"" <john@example.org>', facts.sender)
        self.assertEqual("Jane <jane@example.net>, group: a@b, c@d;, second@example.net", facts.to)
        self.assertEqual("", facts.cc)
        self.assertEqual((1700000000 + 3600, 19675), (facts.sent, facts.sent_day))
        self.assertEqual(("<abc@example.org>", "<1@x>"), (facts.message_id, facts.in_reply_to))
        self.assertEqual("<0@x> <1@x>", facts.references)

    def test_fields(self) -> None:
        """The usual fields' raw lines, in order, without the others."""
        start = MESSAGE.index(b"From:")
        self.assertEqual(MESSAGE[start : self.facts.header_octets - 2], self.facts.fields)

    def test_chunks(self) -> None:
        """Chunks of any size give the same facts."""
        for size in (1, 7, 100):
            pieces = (MESSAGE[place : place + size] for place in range(0, len(MESSAGE), size))
            self.assertEqual(self.facts, describe(pieces))

    def test_nothing(self) -> None:
        """An empty message has all NIL."""
        facts = describe([])
        self.assertEqual(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", facts.envelope)
        self.assertEqual(b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)', facts.body)
        self.assertEqual((b"", b"", None, None), (facts.fields, facts.parts, facts.sent, facts.sent_day))


class HostileTests(SynchronousTestCase):
    """What a stranger wrote stays in its string."""

    def test_strings(self) -> None:
        """Quoted where it may, else a literal, never NUL."""
        self.assertEqual(b'"a \\"b\\" \\\\"', string(b'a "b" \\'))
        self.assertEqual(b"{3}\r\na\r\n", string(b"a\r\n"))
        self.assertEqual("{2}\r\nä".encode(), string("ä".encode()))
        self.assertEqual(b"{2}\r\n  ", string(b"\0 "))
        self.assertEqual(STRING_MAX_OCTETS, int(string(b"x" * 100_000)[1:].partition(b"}")[0]))

    def test_injection(self) -> None:
        """Line ends and quotes in a subject do not end its string."""
        facts = describe([b'Subject: a" NIL)\r\n\t* 1 EXPUNGE\r\nFrom: "x\r\n )" <a@b>\r\n\r\n'])
        envelope = read_list(facts.envelope)
        self.assertEqual(b'a" NIL)\t* 1 EXPUNGE', envelope[1])
        self.assertEqual([[b"x )", None, b"a", b"b"]], envelope[2])

    @settings(max_examples=500, deadline=None)
    @given(st.lists(HEADER_PIECES, max_size=30).map(b"".join))
    def test_anything(self, message: bytes) -> None:
        """Whatever comes, a client reads well-formed lists that agree with the map of parts."""
        facts = describe([message])
        self.assertEqual(10, len(read_list(facts.envelope)))
        self.check_parts(facts, read_list(facts.body_structure), ())
        read_list(facts.body)
        facts.subject.encode("utf-8")
        self.assertEqual(facts, describe([message[:7], message[7:]]))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(ADDRESS_PIECES, max_size=8).map(b"".join))
    def test_one_address(self, value: bytes) -> None:
        """A lone address, read at a glance, is printed as in a list, which an empty entry before it makes of it."""
        alone = describe([b"From: %b\r\n\r\n" % value])
        listed = describe([b"From:,%b\r\n\r\n" % value])
        self.assertEqual(listed.envelope, alone.envelope)
        self.assertEqual(listed.sender.lstrip(", \t"), alone.sender.lstrip(", \t"))

    def check_parts(self, facts: ContentFacts, structure: list[Any], number: tuple[int, ...]) -> None:
        """Each part of a BODYSTRUCTURE is in the map, with the same size."""
        if isinstance(structure[0], list):
            # A multipart's parts come first; its subtype ends them.
            for place, part in enumerate(takewhile(lambda item: isinstance(item, list), structure), 1):
                self.check_parts(facts, part, (*number, place))
            return
        place = find_part(facts.parts, number or (1,), facts.header_octets, facts.octets)
        assert place
        self.assertEqual(structure[6], place.part.end - place.part.body_start)
        if structure[:2] == [b"message", b"rfc822"]:
            assert place.message
            below = structure[8]
            inner = number or (1,)
            self.check_parts(facts, below, inner if isinstance(below[0], list) else (*inner, 1))

    def test_flood(self) -> None:
        """A structure that would be huge is shown as one part of text."""
        self.patch(structure_module, "STRUCTURE_MAX_OCTETS", 10_000)
        facts = describe([b"Content-Type: multipart/mixed; boundary=x\r\n" + b"\r\n--x\r\n\r\n" * 1000])
        self.assertTrue(facts.body_structure.startswith(b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" '))
        self.assertEqual([Kind.LEAF], [part.kind for part in unpack(facts.parts, facts.header_octets, facts.octets)])

    def test_many_addresses(self) -> None:
        """50,000 addresses make a bounded envelope, and no stored fields."""
        facts = describe([b"To: " + b"someone@example.org,\r\n " * 50_000 + b"\r\nSubject: x\r\n\r\n"])
        self.assertLess(len(facts.envelope), 200_000)
        self.assertEqual(b"[list cut]", read_list(facts.envelope)[5][-1][0])
        self.assertEqual(b"", facts.fields)

    def test_repeated_fields(self) -> None:
        """Ten thousand To fields are one list."""
        facts = describe([b"To: a@b\r\n" * 10_000 + b"\r\n"])
        self.assertEqual(b"[list cut]", read_list(facts.envelope)[5][-1][0])

    def test_addresses_inside(self) -> None:
        """All messages in a message have one allowance for their address fields."""
        inner = b"--x\r\nContent-Type: message/rfc822\r\n\r\nTo: " + b"(" * 5_000 + b"a@b\r\n\r\nbody\r\n"
        facts = describe([b"To: a@b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + inner * 3])
        structure = read_list(facts.body_structure)
        self.assertEqual([[None, None, b"a", b"b"]], read_list(facts.envelope)[5])
        self.assertEqual(b"[list cut]", structure[0][7][5][-1][0])

    def test_long_usual_fields(self) -> None:
        """Fields beyond the limit are not kept."""
        self.assertEqual(b"", describe([b"Subject: " + b"x" * FIELDS_MAX_OCTETS + b"\r\n\r\n"]).fields)

    def test_lines_without_colon(self) -> None:
        """A line that is no field is none, even if it has a field's name; a blank before the colon is forgiven."""
        facts = describe([b"from\nTo\nSubject : s\n folded\nDate\n : x\nCc:\n\nbody"])
        self.assertEqual((b"Subject : s\n folded\nCc:\n", "s folded"), (facts.fields, facts.subject))

    def test_usual_names(self) -> None:
        """The names are in the form in which they are compared."""
        self.assertTrue(all(name == name.lower() for name in USUAL_FIELDS))
