"""Tests of the MIME tree: against a slow parser, cut anywhere, and within limits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail import entity as entity_module
from mailtraq_py.mail.entity import (
    DEPTH_MAX,
    HEADER_MAX_OCTETS,
    PARTS_MAX,
    Entity,
    EntityParser,
    pack,
    parse,
    read,
    read_flat,
)
from mailtraq_py.mail.partmap import Kind, unpack

from .slow_entity import Node, SlowParser

MESSAGE = b"""From: a@example.org\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed;\r
 boundary="outer"\r
\r
preamble\r
--outer\r
Content-Type: multipart/alternative; boundary=inner\r
\r
--inner\r
\r
plain\r
text\r
--inner  \r
Content-Type: text/html\r
\r
<p>html</p>\r
\r
--inner--\r
\r
--outer\r
Content-Type: message/rfc822\r
\r
Subject: inside\r
\r
body\r
--outer\r
Content-Type: application/octet-stream\r
Content-Transfer-Encoding: base64\r
\r
QUJD\r
--outer--\r
epilogue\r
"""

# Pieces of which messages are made that look like MIME, well-formed or not.
PIECES = st.sampled_from(
    [
        b"--a\r\n", b"--a--\r\n", b"--b\r\n", b"--b--\r\n", b"--a\n", b"--b--\n", b"--a \t\r\n", b"--ab\r\n", b"--a",
        b"--b--", b"--\r\n", b"-- \r\n", b"\r\n", b"\n", b"\r", b"x\r\n", b"text\n", b" folded\r\n", b"Subject: s\r\n",
        b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/digest;\r\n boundary=a\r\n", b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/plain\r\n", b"Content-Type: nonsense\r\n", b"content-type : TEXT/html; charset=x\r\n",
    ]
)  # fmt: skip
MESSAGES = st.lists(PIECES, max_size=25).map(b"".join)
MIME_MESSAGES = MESSAGES.map(lambda rest: b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n" + rest)


# Well-formed multiparts of leaves, and small changes to them.
FLAT_PARTS = st.sampled_from(
    [b"\r\nbody", b"Content-Type: text/html\r\n\r\nbody\r\nbody", b"X: y\n\n\n\nbody\n", b"\r\n\r\n--ab\r\n", b"\r\n"]
)
FLAT_MESSAGES = st.builds(
    lambda preamble, parts, end: b"Content-Type: multipart/mixed; boundary=a\r\n\r\n%b--a\r\n%b%b"
    % (preamble, b"\r\n--a\r\n".join(parts), end),
    st.sampled_from([b"", b"preamble\r\n", b"\r\n\n"]),
    st.lists(FLAT_PARTS, min_size=1, max_size=4),
    st.sampled_from(
        [b"", b"\r\n--a--", b"\r\n--a--\r\nepilogue\n", b"\n--a--\n--a\n\n", b"\r\n--a", b"\r\n--a --\r\n"]
    ),
)


def parse_in(pieces: list[bytes]) -> Entity:
    """The tree of a message that comes in pieces."""
    parser = EntityParser()
    for piece in pieces:
        parser.feed(piece)
    return parser.finish()


def as_nodes(entity: Entity) -> Node:
    """A tree in the slow parser's terms."""
    parts = [as_nodes(part) for part in entity.parts]
    return Node(entity.kind.name, entity.start, entity.body_start, entity.end, entity.lines, parts)


class TreeTests(SynchronousTestCase):
    """What a well-formed message gives."""

    def bodies(self, message: bytes) -> list[tuple[str, bytes]]:
        """Kind and body of each entity but multiparts."""
        return [
            (entity.kind.name, message[entity.body_start : entity.end])
            for entity in parse(message).walk()
            if entity.kind is not Kind.MULTIPART
        ]

    def test_bodies(self) -> None:
        """The line end before a delimiter is not the body's; preamble and epilogue are nobody's."""
        self.assertEqual(
            [
                ("LEAF", b"plain\r\ntext"),
                ("LEAF", b"<p>html</p>\r\n"),
                ("MESSAGE", b"Subject: inside\r\n\r\nbody"),
                ("LEAF", b"body"),
                ("LEAF", b"QUJD"),
            ],
            self.bodies(MESSAGE),
        )

    def test_types(self) -> None:
        """Types are in lower case, and what says nothing is text/plain."""
        found = [b"/".join(entity.content_type[:2]) for entity in parse(MESSAGE).walk()]
        self.assertEqual(
            [
                b"multipart/mixed", b"multipart/alternative", b"text/plain", b"text/html", b"message/rfc822",
                b"text/plain", b"application/octet-stream",
            ],
            found,
        )  # fmt: skip

    def test_lines(self) -> None:
        """Lines of a body are its line ends; those of the message are all."""
        root = parse(MESSAGE)
        self.assertEqual([1, 1, 2, 0, 0], [entity.lines for entity in root.walk() if entity.kind is not Kind.MULTIPART])
        parser = EntityParser()
        parser.feed(MESSAGE)
        parser.finish()
        self.assertEqual(MESSAGE.count(b"\n"), parser.lines)

    def test_digest(self) -> None:
        """Parts of a digest without a type are messages (RFC 2046 5.1.5)."""
        root = parse(
            b"Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: 1\r\n\r\n1\r\n--x--\r\n"
        )
        self.assertEqual(Kind.MESSAGE, root.parts[0].kind)
        self.assertEqual(b"Subject: 1\r\n\r\n", root.parts[0].parts[0].header)

    def test_missing_end(self) -> None:
        """A last part without a delimiter behind it reaches to the end."""
        message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n"
        self.assertEqual([("LEAF", b"one"), ("LEAF", b"two\r\n")], self.bodies(message))

    def test_bare_line_feeds(self) -> None:
        """A message with bare LF is understood."""
        self.assertEqual(
            [b"plain\ntext", b"<p>html</p>\n", b"Subject: inside\n\nbody", b"body", b"QUJD"],
            [body for _, body in self.bodies(MESSAGE.replace(b"\r\n", b"\n"))],
        )

    def test_part_without_blank_line(self) -> None:
        """A part that is all header ends at the delimiter."""
        message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n--x--\r\n"
        part = parse(message).parts[0]
        self.assertEqual(b"Content-Type: text/html\r\n", part.header)
        self.assertEqual((0, 0), (part.body_octets, part.lines))

    def test_no_header(self) -> None:
        """Messages without header, without body, without anything."""
        self.assertEqual((0, 2, 6), _span(parse(b"\r\nbody")))
        self.assertEqual((0, 9, 9), _span(parse(b"a: header")))
        self.assertEqual((0, 0, 0), _span(parse(b"")))


class ComparisonTests(SynchronousTestCase):
    """The real parser against the slow one, and against itself."""

    @settings(max_examples=300, deadline=None)
    @given(MESSAGES | MIME_MESSAGES)
    def test_against_slow_parser(self, message: bytes) -> None:
        """Both find the same parts at the same offsets."""
        self.assertEqual(SlowParser(message).parse(), as_nodes(parse(message)))

    @settings(max_examples=300, deadline=None)
    @given(MIME_MESSAGES, st.data())
    def test_cutting_law(self, message: bytes, data: st.DataObject) -> None:
        """However the message is cut, the tree is the same."""
        cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
        pieces = [message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True)]
        self.assertEqual(parse(message), parse_in(pieces))

    @settings(max_examples=500, deadline=None)
    @given(MESSAGES | MIME_MESSAGES | FLAT_MESSAGES)
    def test_at_a_glance(self, message: bytes) -> None:
        """What is read at a glance is what the parser finds, lines of the whole included."""
        found = read_flat(message)
        if found is not None:
            self.assertEqual(parse_in([message]), found)
        self.assertEqual((parse_in([message]), message.count(b"\n")), read([message]))
        self.assertEqual((parse_in([message]), message.count(b"\n")), read([message[:9], b"", message[9:]]))

    def test_usual_messages_at_a_glance(self) -> None:
        """Plain messages and multiparts of leaves are read so; what is nested or broken is not."""
        start = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
        for message in (
            b"Subject: s\r\n\r\nbody",
            start + b"\r\none\r\n--x--\r\n",
            start + b"\r\none\r\n--x\r\nContent-Type: text/html\r\n\r\ntwo\r\n--x--",
        ):
            self.assertIsNotNone(read_flat(message), message)
        for message in (MESSAGE, start + b"--xy\r\n", start, b"Content-Type: message/rfc822\r\n\r\n", b"\r\n", b""):
            self.assertIsNone(read_flat(message), message)

    def test_cut_everywhere(self) -> None:
        """Octet by octet, and cut in two at each place."""
        whole = parse(MESSAGE)
        self.assertEqual(SlowParser(MESSAGE).parse(), as_nodes(whole))
        self.assertEqual(whole, parse_in([MESSAGE[place : place + 1] for place in range(len(MESSAGE))]))
        for place in range(len(MESSAGE)):
            self.assertEqual(whole, parse_in([MESSAGE[:place], MESSAGE[place:]]))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_octets(self, message: bytes) -> None:
        """Any octets have a tree that covers them."""
        root = parse(message)
        self.assertEqual(len(message), root.end)

    @settings(max_examples=200, deadline=None)
    @given(MIME_MESSAGES)
    def test_packed_map(self, message: bytes) -> None:
        """The packed map has the tree's offsets in their order."""
        root = parse(message)
        self.assertEqual(
            [(entity.kind, entity.start, entity.body_start, entity.end, entity.inferiors) for entity in root.walk()],
            [
                (part.kind, part.start, part.body_start, part.end, part.inferiors)
                for part in unpack(pack(root), root.body_start, root.end)
            ],
        )


class LimitTests(SynchronousTestCase):
    """What nobody sends but attackers."""

    def test_depth(self) -> None:
        """Multiparts nested without end are one part of text from the limit on."""
        message = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(5 * DEPTH_MAX)
        )
        entities = list(parse(message).walk())
        self.assertEqual(DEPTH_MAX, len(entities))
        self.assertTrue(entities[-1].is_opaque)
        self.assertEqual((b"text", b"plain"), entities[-1].content_type[:2])
        self.assertEqual(len(message), entities[-1].end)

    def test_messages_in_messages(self) -> None:
        """message/rfc822 in itself is bounded too."""
        entities = list(parse(b"Content-Type: message/rfc822\r\n\r\n" * 1000).walk())
        self.assertEqual(DEPTH_MAX, len(entities))
        self.assertTrue(entities[-1].is_opaque)

    def test_parts(self) -> None:
        """After the limit the rest belongs to the last part; of tiny parts fewer are found."""
        for body, parts in ((b"x" * 1024, PARTS_MAX - 1), (b"", 503)):
            part = b"\r\n--x\r\n\r\n" + body
            message = b"Content-Type: multipart/mixed; boundary=x\r\n" + part * (PARTS_MAX + 1000)
            root = parse(message)
            self.assertEqual(parts, len(root.parts))
            self.assertEqual(len(message), root.parts[-1].end)
            self.assertEqual(root, parse_in([message[:9999], message[9999:]]))

    def test_parts_without_blank_lines(self) -> None:
        """A flood of them is no flood of searches to the end of the message."""
        message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"\n--x" * 250_000
        self.assertEqual(b"", parse(message).parts[0].header)

    def test_unusable_boundary(self) -> None:
        """A multipart without a boundary, with one too long, or that never comes, is text."""
        for parameter in (b"", b"; boundary=" + b"x" * 10_000, b"; boundary=never", b'; boundary=""'):
            root = parse(b"Content-Type: multipart/mixed" + parameter + b"\r\n\r\n--x\r\n\r\nbody\r\n")
            self.assertEqual((Kind.LEAF, True), (root.kind, root.is_opaque), parameter[:20])

    def test_false_delimiters(self) -> None:
        """After many lines that only look like delimiters, the real one is not looked for any more."""
        self.patch(entity_module, "MISSES_MAX", 10)
        head = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n"
        for misses, parts in ((9, 2), (11, 1)):
            message = head + b"--xy\r\n" * misses + b"--x\r\n\r\nsecond"
            self.assertEqual(parts, len(parse(message).parts))
            self.assertEqual(parts, len(parse_in([message[place : place + 1] for place in range(len(message))]).parts))

    def test_long_header(self) -> None:
        """Of a long header the beginning is read, and the body is found."""
        header = b"X: " + b"x" * HEADER_MAX_OCTETS + b"\r\nContent-Type: text/html\r\n\r\n"
        message = header + b"body"
        for piece in (len(message), 4096, 65536):
            root = parse_in([message[place : place + piece] for place in range(0, len(message), piece)])
            self.assertEqual((0, len(header), len(message)), _span(root))
            self.assertEqual(header[:HEADER_MAX_OCTETS], root.header)
            self.assertEqual((b"text", b"plain"), root.content_type[:2])

    def test_line_without_end(self) -> None:
        """A line that begins like a delimiter and never ends is text."""
        message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x" + b" " * 5000
        whole = parse(message)
        self.assertEqual(1, len(whole.parts))
        self.assertEqual(whole, parse_in([message[place : place + 100] for place in range(0, len(message), 100)]))


def _span(entity: Entity) -> tuple[int, int, int]:
    return entity.start, entity.body_start, entity.end
