"""Examples of header fields out of RFC 2047, RFC 2231 and RFC 5322, and what they mean."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.addresslist import GROUP_END, ListedAddress, parse_addresses
from mailtraq_py.mail.dates import parse_date, print_date
from mailtraq_py.mail.header import decode_text, parameter_text, parse_content_type


class RFC2047Tests(SynchronousTestCase):
    """RFC 2047 8."""

    def test_headers(self) -> None:
        """The examples of whole headers."""
        for encoded, text in (
            (b"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            (b"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <keld@dkuug.dk>", "Keld Jørn Simonsen <keld@dkuug.dk>"),
            (b"=?ISO-8859-1?Q?Andr=E9?= Pirard <PIRARD@vm1.ulg.ac.be>", "André Pirard <PIRARD@vm1.ulg.ac.be>"),
            (
                b"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
                b" =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            (b"(=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=)", "(םולש ןב ילטפנ)"),
        ):
            self.assertEqual(text, decode_text(encoded))

    def test_blanks(self) -> None:
        """The table of blanks in comments."""
        for encoded, text in (
            (b"(=?ISO-8859-1?Q?a?=)", "(a)"),
            (b"(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
            (b"(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
            (b"(=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=)", "(ab)"),
            (b"(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            (b"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"),
        ):
            self.assertEqual(text, decode_text(encoded))


class RFC2231Tests(SynchronousTestCase):
    """RFC 2231 3 and 4."""

    def test_continuation(self) -> None:
        """A URL in two segments."""
        found = parse_content_type(
            b'message/external-body; access-type=URL;\r\n URL*0="ftp://";\r\n'
            b' URL*1="cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"'
        )
        assert found
        self.assertEqual(b"ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar", found.parameter(b"url"))

    def test_language(self) -> None:
        """A title with charset and language."""
        found = parse_content_type(b"application/x-stuff;\r\n title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A")
        assert found
        self.assertEqual("This is ***fun***", parameter_text(found.parameters, b"title"))

    def test_both(self) -> None:
        """A title in three segments, the last of which is not extended."""
        found = parse_content_type(
            b"application/x-stuff;\r\n title*0*=us-ascii'en'This%20is%20even%20more%20;\r\n"
            b" title*1*=%2A%2A%2Afun%2A%2A%2A%20;\r\n title*2=\"isn't it!\""
        )
        assert found
        self.assertEqual("This is even more ***fun*** isn't it!", parameter_text(found.parameters, b"title"))


class RFC5322Tests(SynchronousTestCase):
    """RFC 5322 appendix A."""

    def check(self, value: bytes, *entries: tuple[bytes | None, bytes | None, bytes | None, bytes | None]) -> None:
        """The list has these entries."""
        self.assertEqual([ListedAddress(*entry) for entry in entries], parse_addresses(value))

    def test_mailboxes(self) -> None:
        """A.1.2."""
        self.check(
            b"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            (b"Mary Smith", None, b"mary", b"x.test"),
            (None, None, b"jdoe", b"example.org"),
            (b"Who?", None, b"one", b"y.test"),
        )
        self.check(
            b'<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
            (None, None, b"boss", b"nil.test"),
            (b'Giant; "Big" Box', None, b"sysservices", b"example.net"),
        )

    def test_groups(self) -> None:
        """A.1.3."""
        self.check(
            b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            (None, None, b"A Group", None),
            (b"Ed Jones", None, b"c", b"a.test"),
            (None, None, b"joe", b"where.test"),
            (b"John", None, b"jdoe", b"one.test"),
            GROUP_END,
        )
        self.check(b"Undisclosed recipients:;", (None, None, b"Undisclosed recipients", None), GROUP_END)

    def test_comments(self) -> None:
        """A.5."""
        self.check(
            b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", (b"Pete", None, b"pete", b"silly.test")
        )
        self.check(
            b"A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
            b"         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
            (None, None, b"A Group", None),
            (b"Chris Jones", None, b"c", b"public.example"),
            (None, None, b"joe", b"example.org"),
            (b"John", None, b"jdoe", b"one.test"),
            GROUP_END,
        )
        self.check(
            b"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
            (None, None, b"Hidden recipients", None),
            GROUP_END,
        )
        found = parse_date(
            b"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n"
            b"               -0330 (Newfoundland Time)"
        )
        self.assertEqual("Fri, 14 Feb 1969 03:02:00 +0000", found and print_date(found.seconds))

    def test_obsolete(self) -> None:
        """A.6.1, A.6.2."""
        self.check(
            b"Joe Q. Public <john.q.public@example.com>", (b"Joe Q. Public", None, b"john.q.public", b"example.com")
        )
        self.check(
            b"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
            (b"Mary Smith", b"@node.test", b"mary", b"example.net"),
            (None, None, b"jdoe", b"test.example"),
        )
        found = parse_date(b"21 Nov 97 09:55:06 GMT")
        self.assertEqual("Fri, 21 Nov 1997 09:55:06 +0000", found and print_date(found.seconds))
