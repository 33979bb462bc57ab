"""Data items, search keys and other arguments; responses, which nothing breaks out of."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail import search
from mailtraq_py.mail.search import Comparison, DateField, SearchKey, TextField
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands, responses
from mailtraq_py.wire.imap.fetchitems import BodyItem, Item, parse_fetch_items
from mailtraq_py.wire.imap.grammar import command_word, parse_command
from mailtraq_py.wire.imap.searchkeys import DEPTH_MAX, TERMS_MAX, parse_search
from mailtraq_py.wire.imap.sections import Section
from mailtraq_py.wire.imap.tokens import BadCommand, Refusal, Tokens
from mailtraq_py.wire.imap.view import View

VIEW = View(UIDSet.from_numbers((1, 2, 3, 5, 9)), 10, 5)
SEEN = search.HasFlag("\\Seen")


def command(line: bytes, *literals: bytes) -> object:
    """Read a command without its tag; literals stand at `{n}` and a line end."""
    tokens = Tokens(line.split(b"\r\n"), list(literals))
    return parse_command(command_word(tokens), tokens, VIEW)


class FetchItemTests(SynchronousTestCase):
    """RFC 3501 6.4.5."""

    def items(self, octets: bytes) -> tuple[object, ...]:
        """Read the items."""
        return parse_fetch_items(Tokens([octets], []))

    def test_macros(self) -> None:
        """ALL, FAST, FULL."""
        fast = (Item.FLAGS, Item.INTERNALDATE, Item.SIZE)
        self.assertEqual(self.items(b"FAST"), fast)
        self.assertEqual(self.items(b"all"), (*fast, Item.ENVELOPE))
        self.assertEqual(self.items(b"FULL"), (*fast, Item.ENVELOPE, Item.BODY))
        self.assertRaises(BadCommand, self.items, b"(FAST)")

    def test_sections(self) -> None:
        """What stands between the brackets, and what the response calls it."""
        for octets, expected in (
            (b"BODY[]", BodyItem(Section(), b"BODY[]")),
            (b"body.peek[text]<0.2048>", BodyItem(Section((), "TEXT"), b"BODY[TEXT]<0>", True, (0, 2048))),
            (b"BODY[4.2.2.2.HEADER]", BodyItem(Section((4, 2, 2, 2), "HEADER"), b"BODY[4.2.2.2.HEADER]")),
            (b"BODY[3]", BodyItem(Section((3,)), b"BODY[3]")),
            (b"BODY[1.MIME]", BodyItem(Section((1,), "MIME"), b"BODY[1.MIME]")),
            (
                b'BODY[1.HEADER.FIELDS.NOT (Date "From" "(x)")]',
                BodyItem(
                    Section((1,), "HEADER.FIELDS.NOT", (b"Date", b"From", b"(x)")),
                    b'BODY[1.HEADER.FIELDS.NOT (Date From "(x)")]',
                ),
            ),
            (b"RFC822", BodyItem(Section(), b"RFC822")),
            (b"RFC822.HEADER", BodyItem(Section((), "HEADER"), b"RFC822.HEADER", True)),
            (b"RFC822.TEXT", BodyItem(Section((), "TEXT"), b"RFC822.TEXT")),
        ):
            self.assertEqual(self.items(octets), (expected,))

    def test_each_once(self) -> None:
        """BODY and BODY[] are two things, UID and uid one."""
        self.assertEqual(
            self.items(b"(UID BODY BODYSTRUCTURE uid BODY[])"),
            (Item.UID, Item.BODY, Item.BODYSTRUCTURE, BodyItem(Section(), b"BODY[]")),
        )

    def test_limits(self) -> None:
        """Many items, many names, deep parts; a field name that could break a response out of its line."""
        for octets in (
            b"(" + b" ".join(b"BODY[%d]" % n for n in range(1, 200)) + b")",
            b"BODY[HEADER.FIELDS (" + b" ".join(b"x%d" % n for n in range(300)) + b")]",
            b"BODY[" + b"1." * 60 + b"1]",
            b'BODY[HEADER.FIELDS ("a b")]',
            b'BODY[HEADER.FIELDS ("a:b")]',
        ):
            self.assertRaises(BadCommand, self.items, octets)
        tokens = Tokens([b"BODY[HEADER.FIELDS ({4}", b")]"], [b"a\r\nb"])
        self.assertRaises(BadCommand, parse_fetch_items, tokens)


class SearchTests(SynchronousTestCase):
    """RFC 3501 6.4.4."""

    def key(self, text: str, *literals: bytes) -> SearchKey:
        """Read the keys."""
        return parse_search(Tokens((" " + text).encode().split(b"\r\n"), list(literals)), VIEW)

    def test_examples(self) -> None:
        """The examples of the RFC."""
        self.assertEqual(
            self.key('FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"'),
            search.And(
                (
                    search.HasFlag("\\Flagged"),
                    search.DateIs(DateField.INTERNAL, Comparison.SINCE, date(1994, 2, 1)),
                    search.Not(search.Contains(TextField.FROM, "Smith")),
                )
            ),
        )
        self.assertEqual(
            self.key("CHARSET UTF-8 TEXT {6}\r\n", "фы".encode() + b"xy"), search.Contains(TextField.TEXT, "фыxy")
        )

    def test_structure(self) -> None:
        """NOT takes one key, OR two, a parenthesis all to its end."""
        self.assertEqual(self.key("OR SEEN NOT SEEN"), search.Or(SEEN, search.Not(SEEN)))
        self.assertEqual(
            self.key("OR (SEEN ALL) (OR SEEN ALL)"),
            search.Or(search.And((SEEN, search.All())), search.Or(SEEN, search.All())),
        )
        self.assertEqual(self.key("NOT (((SEEN)))"), search.Not(SEEN))
        self.assertEqual(self.key("NOT NOT SEEN ALL"), search.And((search.Not(search.Not(SEEN)), search.All())))

    def test_numbers(self) -> None:
        """Numbers are UIDs in the tree, \\Recent too."""
        self.assertEqual(self.key("2:4"), search.UIDs(UIDSet(((2, 5),))))
        self.assertEqual(self.key("*"), search.UIDs(UIDSet(((9, 9),))))
        self.assertEqual(self.key("UID 4:*"), search.UIDs(UIDSet(((4, 9),))))
        recent = search.UIDs(UIDSet(((5, 9),)))
        self.assertEqual(self.key("RECENT"), recent)
        self.assertEqual(self.key("OLD"), search.Not(recent))
        self.assertEqual(self.key("NEW"), search.And((recent, search.Not(SEEN))))

    def test_the_other_keys(self) -> None:
        """Each of the remaining kinds."""
        self.assertEqual(self.key('HEADER Message-ID ""'), search.HeaderContains("Message-ID", ""))
        self.assertEqual(self.key("UNKEYWORD $Junk"), search.Not(search.HasFlag("$Junk")))
        self.assertEqual((self.key("LARGER 5"), self.key("SMALLER 6")), (search.Larger(5), search.Smaller(6)))
        self.assertEqual(
            self.key('SENTON "13-Apr-2013"'), search.DateIs(DateField.SENT, Comparison.ON, date(2013, 4, 13))
        )

    def test_charsets(self) -> None:
        """An unknown charset is NO with those that are known; octets that are not in it are BAD."""
        with self.assertRaises(Refusal) as caught:
            self.key("CHARSET KOI8-R SUBJECT x")
        self.assertEqual(caught.exception.code, "BADCHARSET (US-ASCII UTF-8)")
        self.assertRaises(BadCommand, self.key, "CHARSET US-ASCII SUBJECT {2}\r\n", b"\xc3\xa9")
        self.assertRaises(BadCommand, self.key, "SUBJECT {1}\r\n", b"\xe9")

    def test_limits(self) -> None:
        """Attacks 37 and 39: depth and terms."""
        self.key("(" * (DEPTH_MAX - 1) + "SEEN" + ")" * (DEPTH_MAX - 1))
        self.assertRaises(BadCommand, self.key, "(" * DEPTH_MAX + "SEEN" + ")" * DEPTH_MAX)
        self.key(" ".join(["SEEN"] * TERMS_MAX))
        self.assertRaises(BadCommand, self.key, " ".join(["SEEN"] * (TERMS_MAX + 1)))


class OtherCommandTests(SynchronousTestCase):
    """LIST, CREATE, STATUS, ID."""

    def test_list(self) -> None:
        """Reference and pattern are one; RFC 6154's options."""
        self.assertEqual(command(b'LIST "" *'), commands.List("*"))
        self.assertEqual(command(b'LIST "~/Mail/" %'), commands.List("~/Mail/%"))
        self.assertEqual(command(b'LIST "" ""'), commands.List(""))
        self.assertEqual(command(b'LIST (SPECIAL-USE) "" *'), commands.List("*", True))
        self.assertEqual(command(b'LIST "" % RETURN (SPECIAL-USE CHILDREN)'), commands.List("%"))
        self.assertEqual(command(b'LSUB "" {3}\r\n', b"a*b"), commands.Lsub("a*b"))
        self.assertRaises(BadCommand, command, b'LIST "" ' + b"*%" * 600)

    def test_create_with_a_use(self) -> None:
        """RFC 6154 5.2, 5.3."""
        self.assertEqual(command(b"CREATE MySpecial (USE (\\drafts))"), commands.Create("MySpecial", "\\Drafts"))
        for uses in (b"\\Sent \\Drafts", b"\\All"):
            with self.assertRaises(Refusal) as caught:
                command(b"CREATE x (USE (" + uses + b"))")
            self.assertEqual(caught.exception.code, "USEATTR")

    def test_status(self) -> None:
        """RFC 3501 6.3.10."""
        self.assertEqual(
            command(b"STATUS blurdybloop (UIDNEXT messages UIDNEXT)"),
            commands.Status("blurdybloop", ("UIDNEXT", "MESSAGES")),
        )

    def test_secrets_are_not_shown(self) -> None:
        """No password in what a log might print."""
        shown = repr(
            (command(b"LOGIN joe sesame"), command(b"AUTHENTICATE PLAIN c2VzYW1l"), commands.Continuation(b"sesame"))
        )
        self.assertNotIn("sesame", shown)
        self.assertNotIn("c2VzYW1l", shown)


class ResponseTests(SynchronousTestCase):
    """Attack 45."""

    @given(st.binary(max_size=40))
    def test_strings_hold_anything(self, octets: bytes) -> None:
        """What is printed is one string, and reads back as what went in."""
        for printed in (responses.string(octets), responses.astring(octets)):
            if printed.startswith(b"{"):
                count, _, literal = printed.partition(b"\r\n")
                self.assertEqual((count, literal), (b"{%d}" % len(octets), octets))
            else:
                self.assertRegex(printed, rb"\A[ -~]+\Z")
                self.assertEqual(Tokens([printed], []).astring(), octets)

    @given(st.text(max_size=40))
    def test_text_is_one_line(self, words: str) -> None:
        """Text for people never ends its line."""
        self.assertRegex(responses.condition("NO", words), rb"\ANO [ -~]+\Z")

    def test_mailbox_names(self) -> None:
        """A folder with quotes and line ends in its name."""
        self.assertEqual(
            responses.list_line("LIST", ("\\HasNoChildren",), 'a"b\\'),
            b'* LIST (\\HasNoChildren) "/" "a\\"b\\\\"\r\n',
        )
        self.assertEqual(responses.mailbox("a\r\nb"), b'"a&AA0ACg-b"')

    def test_flags(self) -> None:
        """System flags first, \\Recent last."""
        flags = frozenset(("foo", "\\Seen", "\\Answered", "bar"))
        self.assertEqual(responses.flag_list(flags, True), b"(\\Answered \\Seen bar foo \\Recent)")

    def test_search(self) -> None:
        """RFC 3501 7.2.5."""
        self.assertEqual(responses.search([(2, 2), (84, 86)]), b"* SEARCH 2 84 85 86\r\n")
        self.assertEqual(responses.search([]), b"* SEARCH\r\n")


class ThreadResponseTests(SynchronousTestCase):
    """RFC 5256 4."""

    def test_examples(self) -> None:
        """The RFC's two, and nothing."""
        for rows, printed in (
            (
                [(0, 2, 0), (0, 3, 1), (1, 6, 2), (2, 4, 1), (3, 23, 0), (2, 44, 1), (3, 7, 1), (4, 96, 0)],
                b"(2)(3 6 (4 23)(44 7 96))",
            ),
            ([(0, 0, 2), (1, 3, 0), (1, 5, 0)], b"((3)(5))"),
            ([(0, 196, 2), (1, 197, 0), (1, 198, 0), (0, 199, 0)], b"(196 (197)(198))(199)"),
        ):
            self.assertEqual(responses.threads(rows), b"* THREAD " + printed + b"\r\n")
        self.assertEqual(responses.threads([]), b"* THREAD\r\n")

    def test_deep(self) -> None:
        """As deep as a mailbox is long."""
        printed = responses.threads([(level, level + 1, int(level < 99_999)) for level in range(100_000)])
        self.assertTrue(printed.endswith(b" 99999 100000)\r\n"))
