"""Mailbox names, patterns and message sets as they come over the wire."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.imap.mailboxname import ListPattern, decode, encode
from mailtraq_py.wire.imap.sequence import parse_sequence_set
from mailtraq_py.wire.imap.tokens import BadCommand


class ModifiedUTF7Tests(SynchronousTestCase):
    """RFC 3501 5.1.3."""

    def test_examples(self) -> None:
        """The examples of the RFC."""
        self.assertEqual(decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"), "~peter/mail/台北/日本語")
        self.assertEqual(encode("~peter/mail/台北/日本語"), b"~peter/mail/&U,BTFw-/&ZeVnLIqe-")
        self.assertEqual(decode(b"&Jjo-!"), "☺!")
        self.assertRaises(ValueError, decode, b"&Jjo!")
        self.assertRaises(ValueError, decode, b"&U,BTFw-&ZeVnLIqe-")

    @given(st.text(st.characters(exclude_categories=("Cs",))))
    def test_there_and_back(self, name: str) -> None:
        """Every name has one form, in printable ASCII, and comes back."""
        octets = encode(name)
        self.assertRegex(octets, rb"\A[ -~]*\Z")
        if all(character >= " " and character != "\x7f" for character in name):
            self.assertEqual(decode(octets), name)

    @given(st.binary(max_size=20))
    def test_one_form_only(self, octets: bytes) -> None:
        """Whatever can be read at all is what would be written."""
        try:
            name = decode(octets)
        except ValueError:
            return
        self.assertEqual(encode(name), octets)


class ListPatternTests(SynchronousTestCase):
    """RFC 3501 6.3.8."""

    def test_wildcards(self) -> None:
        """`%` stays on its level, `*` does not; INBOX in any case."""
        for pattern, name, fits in (
            ("*", "a/b", True), ("%", "a/b", False), ("%/%", "a/b", True), ("a%", "a/b", False), ("a*", "a/b", True),
            ("*b", "a/b", True), ("%b", "a/b", False), ("inb%", "INBOX", True), ("inbox", "INBOX", True),
            ("inbox", "inboxes", False), ("A", "a", False), ("", "", True), ("a%*b", "a/x/b", True), ("a", "ab", False),
        ):  # fmt: skip
            self.assertEqual(ListPattern(pattern).matches(name), fits, (pattern, name))

    @given(st.text("ab%*/", max_size=8), st.text("ab/", max_size=10))
    def test_like_a_regular_expression(self, pattern: str, name: str) -> None:
        """The same as the obvious expression, which may take for ever."""
        expression = re.escape(pattern).replace(r"\*", ".*").replace("%", "[^/]*")
        self.assertEqual(ListPattern(pattern).matches(name), re.fullmatch(expression, name) is not None)

    def test_linear(self) -> None:
        """Attack 39: `*%*%*%...` costs no more than its length."""
        pattern, name = ListPattern("*%a" * 300), "a" * 900 + "b"
        begun = time.process_time()
        self.assertFalse(pattern.matches(name))
        self.assertLess(time.process_time() - begun, 0.1)


class SequenceSetTests(SynchronousTestCase):
    """RFC 3501 9."""

    def test_examples(self) -> None:
        """The examples of the formal syntax."""
        for octets, star, expected in (
            (b"2,4:7,9,12:*", 15, "2,4:7,9,12:15"),
            (b"*:4,5:7", 10, "4:10"),
            (b"559:*", 500, "500:559"),
            (b"4:2", 9, "2:4"),
            (b"*", 3, "3"),
            (b"*:*,1", 3, "1,3"),
        ):
            self.assertEqual(str(parse_sequence_set(octets).resolve(star)), expected)

    def test_bad(self) -> None:
        """Zero, too large, empty, not a number."""
        for octets in (b"0", b"", b"1,", b"1:", b":1", b"1:2:3", b"4294967296", b"99999999999", b"1:0", b"**"):
            self.assertRaises(BadCommand, parse_sequence_set, octets)
