"""mailtraq_py/mail/addresspattern.py: addresses taken apart and put together again."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.addresspattern import PatternTable, Rewriting, parse_pattern, parse_rewriting


def rewritten(address: str, *rules: str) -> str:
    """An address after these rules."""
    return str(Rewriting(tuple(map(parse_rewriting, rules))).rewrite(parse_address(address)))


class PatternTests(SynchronousTestCase):
    """One pattern."""

    def test_match(self) -> None:
        """Stars and question marks stand for what they say, in either part, whatever the case; the @ is no letter."""
        for pattern, local_part, domain, stars in (
            ("alice@shop.example", "Alice", "shop.example", ()),
            ("alice", "alice", "any.example", ()),
            ("sales-*", "sales-north", "shop.example", ("north",)),
            ("sales-*", "sales-", "shop.example", ("",)),
            ("*-*@*.example", "a-b-c", "shop.example", ("a", "b-c", "shop")),
            ("user?@shop.example", "user7", "shop.example", ()),
            ("*@Shop.Example.", "x", "shop.example", ("x",)),
            ("jürgen", "JÜRGEN", "shop.example", ()),
            ("*@bücher.example", "x", "xn--bcher-kva.example", ("x",)),
        ):
            self.assertEqual(parse_pattern(pattern).match(local_part, domain), stars, pattern)
        for pattern, local_part, domain in (
            ("sales-*", "sale", "shop.example"),
            ("user?@shop.example", "user", "shop.example"),
            ("*@shop.example", "x", "shop.example.org"),
            ("a.c", "abc", "shop.example"),
        ):
            self.assertIsNone(parse_pattern(pattern).match(local_part, domain), pattern)

    def test_bad(self) -> None:
        """What can be no pattern is refused."""
        for text in ("", "@", "@shop.example", "a@", "a b", "a@b..c", "a\0", "a@*..example", "a@*.ü"):
            with self.assertRaises(ValueError, msg=text):
                parse_pattern(text)

    def test_time(self) -> None:
        """Many stars on an address made up to fit nearly cost no time."""
        pattern = parse_pattern("*a*a*a*a*a*a*a*a*a*a*b@shop.example")
        begun = time.perf_counter()
        for _ in range(100):
            self.assertIsNone(pattern.match("a" * 64, "shop.example"))
        self.assertLess(time.perf_counter() - begun, 0.5)


class TableTests(SynchronousTestCase):
    """Values by pattern."""

    def test_first_match(self) -> None:
        """The first row that matches decides, exact or not."""
        texts = ("a@x.example", "a*@x.example", "ab@x.example", "b", "?@y.example", "b@y.example")
        table = PatternTable([(parse_pattern(text), number) for number, text in enumerate(texts)])
        for local_part, domain, found in (
            ("a", "x.example", 0),
            ("ab", "x.example", 1),
            ("b", "x.example", 3),
            ("b", "y.example", 3),
            ("c", "y.example", 4),
            ("c", "x.example", None),
        ):
            self.assertEqual(table.find([local_part], [domain]), found, f"{local_part}@{domain}")
        self.assertEqual(table.find(["ab", "a"], ["x.example"]), 0)
        self.assertIsNone(PatternTable[int]().find(["a"], ["x.example"]))


    def test_all_at_once(self) -> None:
        """The one search over all wildcards finds whatever one of them finds, and nothing crosses the @."""
        texts = ("a*b@x.example", "*", "?c", "*@*.y.example", "d.*e*f")
        for text in texts:
            table = PatternTable([(parse_pattern(text), True)])
            for local_part in ("ab", "a.b", "axxb", "c", "cc", "d.ef", "dxef", "d.xexf", ""):
                for domain in ("x.example", "z.y.example", "y.example", "e.f"):
                    expected = parse_pattern(text).match(local_part, domain) is not None
                    self.assertEqual(table.find([local_part], [domain]) is True, expected, (text, local_part, domain))


class RewritingTests(SynchronousTestCase):
    """Rules."""

    def test_rules(self) -> None:
        """The first rule that matches is applied, once; stars carry over; without @ the domain stays."""
        self.assertEqual(rewritten("Bob@old.example", "*@old.example -> *@new.example"), "Bob@new.example")
        self.assertEqual(rewritten("a.b@x.example", "*.*@x.example -> *_*@y.example"), "a_b@y.example")
        self.assertEqual(rewritten("a@b.gw.example", "*@*.gw.example -> *@*"), "a@b")
        self.assertEqual(rewritten("info-x@y.example", "info-* -> *"), "x@y.example")
        self.assertEqual(
            rewritten("a@x.example", "*@x.example -> *@y.example", "*@y.example -> *@z.example"), "a@y.example"
        )
        self.assertEqual(rewritten("a@other.example", "*@x.example -> *@y.example"), "a@other.example")

    def test_no_address(self) -> None:
        """Where no address would come out, nothing is changed."""
        self.assertEqual(rewritten("info-@x.example", "info-* -> *"), "info-@x.example")

    def test_bad(self) -> None:
        """A rule that cannot work is refused with a reason."""
        for text in ("a", "a ->", "-> b", "a@x.example -> *@y.example", "a -> b@", "a -> b?", "*@x -> a b@y"):
            with self.assertRaises(ValueError, msg=text):
                parse_rewriting(text)
