"""
Lists of mail addresses.
"""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.policy.addresslist import (
    AcceptList,
    AddressList,
    KillList,
    parse_accept_list,
    parse_kill_list,
    parse_patterns,
)
from mailtraq_py.policy.problems import Problems
from mailtraq_py.policy.settings import entries


def patterns(*texts: str) -> AddressList:
    """Good patterns."""
    problems = Problems()
    compiled = parse_patterns(entries(texts), "list", problems)
    assert not problems.errors, problems.errors
    return compiled


class Patterns(SynchronousTestCase):
    """Barring, black, white and always-lists."""

    def test_wildcards(self) -> None:
        """`*` any run, also none; `?` one character; `%` one digit; `$` one letter; the whole string counts."""
        for pattern, good, bad in (
            ("joe@x.test", "joe@x.test", "ajoe@x.test"),
            ("JOE@X.Test.", "joe@x.test", "joe@x.test.org"),
            ("*@x.test", "a@x.test", "a@y.x.test"),
            ("*x.test", "a@y.x.test", "a@x.tests"),
            ("joe*", "joe@any.test", "ajoe@any.test"),
            ("*", "", "(never)"),
            ("j?e@x.test", "jue@x.test", "je@x.test"),
            ("j%e@x.test", "j7e@x.test", "jae@x.test"),
            ("j$e@x.test", "jae@x.test", "j7e@x.test"),
            ("*foo*bar@*.test", "afoobbar@x.test", "abarfoo@x.test"),
            ("a*a@*", "aa@x", "a@x"),
            ("joe@bücher.test", "joe@xn--bcher-kva.test", "joe@bucher.test"),
        ):
            self.assertTrue(patterns(pattern).matches(good), pattern)
            if bad != "(never)":
                self.assertFalse(patterns(pattern).matches(bad), pattern)

    def test_last_match_decides(self) -> None:
        """An exclusion takes back, a later entry gives again."""
        compiled = patterns("*@x.test", "~joe@x.test", "~*boss*@x.test", "bigboss@x.test")
        self.assertTrue(compiled.matches("ann@x.test"))
        self.assertFalse(compiled.matches("joe@x.test"))
        self.assertFalse(compiled.matches("theboss@x.test"))
        self.assertTrue(compiled.matches("bigboss@x.test"))
        self.assertFalse(patterns().matches(""))

    def test_quoted_local_part_does_not_fool(self) -> None:
        """An @ inside a local part is no domain."""
        self.assertFalse(patterns("*@partner.test").matches("joe@partner.test@evil.test"))

    def test_errors_and_warnings(self) -> None:
        """A pattern that can be no address is an error, one that never matches is named."""
        problems = Problems()
        parse_patterns(entries(["", "~", "joe@", "joe@a..b", "a\tb@x.test"]), "list", problems)
        self.assertEqual(len(problems.errors), 5)
        parse_patterns(entries(["x.test"]), "list", problems)
        self.assertEqual(len(problems.warnings), 1)

    def test_no_pattern_takes_long(self) -> None:
        """A pattern of many stars against an address made for it is answered at once."""
        compiled = patterns("*" + "a*" * 20 + "b@x.test")
        began = time.process_time()
        self.assertFalse(compiled.matches("a" * 64 + "@" + "a" * 180 + ".test"))
        self.assertFalse(compiled.matches("a" * 230 + "b@x.tes"))
        self.assertLess(time.process_time() - began, 0.05)


class KillFile(SynchronousTestCase):
    """IMail's kill file."""

    def compiled(self, *texts: str) -> KillList:
        """Good lines."""
        problems = Problems()
        compiled = parse_kill_list(entries(texts), "kill", problems)
        self.assertEqual(problems.errors, [])
        return compiled

    def test_forms(self) -> None:
        """user@host exact, @host all of it, @*tail whatever ends so; case does not count."""
        kill = self.compiled("Joe@Spam.test", "@bad.test", "@*.evil.test", "@*junk.test")
        for address, killed in (
            ("joe@spam.test", True),
            ("ann@spam.test", False),
            ("ann@bad.test", True),
            ("ann@a.bad.test", False),
            ("ann@a.evil.test", True),
            ("ann@evil.test", False),
            ("ann@myjunk.test", True),
        ):
            self.assertEqual(kill.find(address, address.partition("@")[2]) is not None, killed, address)

    def test_errors(self) -> None:
        """Any other line is an error."""
        problems = Problems()
        parse_kill_list(entries(["spam.test", "@", "@*", "@*a*b", "joe@", "@a..b"]), "kill", problems)
        self.assertEqual(len(problems.errors), 6)


class Accept(SynchronousTestCase):
    """IMail's accept list."""

    def test_exact(self) -> None:
        """Addresses and hosts, exactly; the null path never."""
        problems = Problems()
        accept: AcceptList = parse_accept_list(entries(["joe@a.test", "B.test", "*.c.test"]), "accept", problems)
        self.assertEqual(len(problems.errors), 1)
        self.assertTrue(accept.find("joe@a.test", "a.test"))
        self.assertFalse(accept.find("ann@a.test", "a.test"))
        self.assertTrue(accept.find("ann@b.test", "b.test"))
        self.assertFalse(accept.find("ann@x.b.test", "x.b.test"))
        self.assertFalse(accept.find("", ""))
