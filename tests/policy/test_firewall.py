"""
Firewall lists: which entries there are, what they mean, how fast they decide.
"""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.policy.firewall import FirewallList, parse_rules
from mailtraq_py.policy.firewallrule import parse_rule
from mailtraq_py.policy.problems import Problems
from mailtraq_py.policy.settings import Entry, ListUnreadable, entries, read_list


def listed(*texts: str) -> FirewallList:
    """A list of good entries."""
    problems = Problems()
    compiled = FirewallList(parse_rules(entries(texts), "firewall", problems))
    assert not problems.errors, problems.errors
    return compiled


def naive(text: str, client: str) -> bool:
    """What an octet pattern means, digit by digit."""
    return all(_like(part, octet) for part, octet in zip(text.split("."), client.split("."), strict=True))


def _like(part: str, octet: str) -> bool:
    if not part:
        return not octet
    if part[0] == "*":
        return any(_like(part[1:], octet[cut:]) for cut in range(len(octet) + 1))
    return bool(octet) and (part[0] in "?%" or part[0] == octet[0]) and _like(part[1:], octet[1:])


class Grammar(SynchronousTestCase):
    """Every form of entry, and what is none."""

    def test_errors(self) -> None:
        """What is no entry is an error, never skipped."""
        for text in (
            "192.168.1",
            "300.1.1.1",
            "010.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/08",
            "~",
            "",
            "~~10.0.0.1",
            "10.0.0.9-10.0.0.1",
            "10.0.0.20-10",
            "10.0.0.1-256",
            "10.0.0.1-::1",
            "1.2.3.4.",
            "1.2.3.4.*",
            "300.*",
            "1.2.3.*?*?",
            "0?.1.1.1",
            "3??.1.1.1",
            "10.?.?",
            "printer",
            "*.example.org",
            "user@host.example",
            "a b.example",
            "10.0.0.1 10.0.0.2",
            "::1%eth0",
            "[::1]",
            "::/129",
            "::1-5",
            "1::*",
            "１０.0.0.1",
            "10.0.0.1\0",
        ):
            with self.assertRaises(ValueError, msg=text):
                parse_rule(Entry(text))

    def test_error_names_file_line_key_entry_reason(self) -> None:
        """An administrator is told where the bad entry stands, and all bad entries at once."""
        problems = Problems("mailtraq.toml")
        parse_rules((Entry("10.0.0.0/33", "lan.txt", "", 7), Entry("~"), Entry("10.*")), "lan.addresses", problems)
        self.assertEqual(
            [str(error) for error in problems.errors],
            [
                'lan.txt:7: lan.addresses: "10.0.0.0/33" has the prefix length 33, and 32 is the highest',
                'mailtraq.toml: lan.addresses: "~" names no address',
            ],
        )

    def test_host_names_are_legal_and_match_nobody(self) -> None:
        """A host name stands in a list without effect, trailing dot and IDN included."""
        for name in ("printer.example", "PRINTER.example.", "bücher.example", "~a.b"):
            self.assertEqual(listed(name).decide("192.0.2.1"), (False, None))

    def test_ipv6_forms(self) -> None:
        """IPv6 by literal, CIDR and range; mapped IPv4 is IPv4 on both sides."""
        self.assertTrue(listed("2001:DB8::1").admits("2001:db8:0::1"))
        self.assertTrue(listed("2001:db8::/32").admits("2001:db8:ffff::1"))
        self.assertFalse(listed("2001:db8::/32").admits("2001:db9::1"))
        self.assertTrue(listed("2001:db8::1-2001:db8::ff").admits("2001:db8::7f"))
        self.assertTrue(listed("10.0.0.1").admits("::ffff:10.0.0.1"))
        self.assertTrue(listed("::ffff:10.0.0.1").admits("10.0.0.1"))
        self.assertTrue(listed("::ffff:10.0.0.0/104").admits("10.1.2.3"))
        self.assertTrue(listed("fe80::1").admits("fe80::1%eth0"))
        self.assertFalse(listed("10.*").admits("::a00:1"))

    def test_star_admits_ipv6_other_wildcards_do_not(self) -> None:
        """`*` and `*.*.*.*` mean everybody; every other pattern means IPv4."""
        for text in ("*", "*.*.*.*"):
            self.assertTrue(listed(text).admits("2001:db8::1"))
        for text in ("*.*", "?*.*.*.*", "0.0.0.0/0"):
            self.assertTrue(listed(text).admits("203.0.113.9"))
            self.assertFalse(listed(text).admits("2001:db8::1"))

    def test_short_forms_cross_dots(self) -> None:
        """With fewer than three dots a star stands for dots too."""
        self.assertTrue(listed("10.*").admits("10.1.2.3"))
        self.assertTrue(listed("1*").admits("19.0.0.1"))
        self.assertTrue(listed("*.5").admits("9.8.7.5"))
        self.assertTrue(listed("1*9").admits("1.2.3.9"))
        self.assertTrue(listed("1*9").admits("1.19.3.119"))
        self.assertFalse(listed("1*9").admits("2.2.3.9"))
        self.assertFalse(listed("10.*").admits("100.1.2.3"))

    def test_question_marks_are_digits(self) -> None:
        """`?` is 0-9, `??` 10-99, `???` 100-255, because numbers have no leading zeros."""
        for pattern, first, last in (("?", 0, 9), ("??", 10, 99), ("???", 100, 255), ("%%", 10, 99)):
            compiled = listed(f"10.0.0.{pattern}")
            admitted = [octet for octet in range(256) if compiled.admits(f"10.0.0.{octet}")]
            self.assertEqual(admitted, list(range(first, last + 1)), pattern)


class Decisions(SynchronousTestCase):
    """The last match decides."""

    def test_deciding_entry(self) -> None:
        """The index of the last matching entry comes with the decision."""
        compiled = listed("*", "~10.*", "10.0.0.5", "printer.example")
        self.assertEqual(compiled.decide("8.8.8.8"), (True, 0))
        self.assertEqual(compiled.decide("10.9.9.9"), (False, 1))
        self.assertEqual(compiled.decide("10.0.0.5"), (True, 2))
        self.assertEqual(listed().decide("8.8.8.8"), (False, None))
        self.assertEqual(compiled.decide("no address"), (False, None))

    def test_compiled_as_written(self) -> None:
        """Random lists decide as a walk from the top does."""
        rolls = random.Random(7)
        parts = ["*", "?", "??", "1*", "1?", "2%%", "7", "10", "192", "0"]
        for _ in range(60):
            texts = [
                ("~" if rolls.random() < 0.4 else "") + ".".join(rolls.choice(parts) for _ in range(4))
                for _ in range(rolls.randrange(1, 25))
            ]
            compiled = listed(*texts)
            for _ in range(60):
                client = ".".join(str(rolls.choice([0, 7, 10, 12, 19, 100, 192, 213, 255])) for _ in range(4))
                expected = None
                for index, text in enumerate(texts):
                    if naive(text.lstrip("~"), client):
                        expected = index
                self.assertEqual(compiled.decide(client)[1], expected, (texts, client))


class ListFiles(SynchronousTestCase):
    """Lists out of files."""

    def test_lines(self) -> None:
        """Blank lines and comments are skipped; line numbers are the file's."""
        found = read_list(b"\xef\xbb\xbf# LAN\r\n\r\n 10.* \r\n  # no\n~10.0.0.5", "lan.txt", "lan")
        self.assertEqual([(entry.text, entry.line) for entry in found], [("10.*", 3), ("~10.0.0.5", 5)])

    def test_no_list(self) -> None:
        """Too much, NULs and what is not UTF-8 are refused as a whole."""
        for octets in (b"10.*\0", b"\xff\xfe", b"\n" * 1_000_001, b"#" * (64 * 1024 * 1024 + 1)):
            with self.assertRaises(ListUnreadable):
                read_list(octets, "lan.txt", "lan")
