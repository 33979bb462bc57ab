"""Tests of the address lists that ENVELOPE shows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.addresslist import (
    ADDRESSES_MAX,
    CUT_MARK,
    GROUP_END,
    STEPS_MAX,
    Allowance,
    ListedAddress,
    parse_addresses,
)

ATOM = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_+", min_size=1, max_size=8).map(str.encode)
PHRASE = st.lists(ATOM, min_size=1, max_size=3).map(b" ".join)
LIVELY = st.lists(
    st.sampled_from(
        [
            b"(", b")", b'"', b"\\", b"<", b">", b"@", b",", b":", b";", b"[", b"]", b" ", b"a", b".", b"\r\n ", b"\0",
            b"\xff", b"a@b", b"<a@b>", b'"x y"', b"(c)", b"g:",
        ]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


class AddressListTests(SynchronousTestCase):
    """What each form of an address becomes."""

    def check(self, value: bytes, *entries: tuple[bytes | None, bytes | None, bytes | None, bytes | None]) -> None:
        """The list has these entries."""
        self.assertEqual([ListedAddress(*entry) for entry in entries], parse_addresses(value))

    def test_usual(self) -> None:
        """Display names quoted, plain and absent."""
        self.check(
            b' "Doe, John" <john@example.org>,\r\n Jane  Doe <jane@example.net>, bob@example.com',
            (b"Doe, John", None, b"john", b"example.org"),
            (b"Jane Doe", None, b"jane", b"example.net"),
            (None, None, b"bob", b"example.com"),
        )

    def test_comment_as_name(self) -> None:
        """A comment behind an address is its name; nested ones belong to it."""
        self.check(b"john@example.org (John (Jr) \\) Doe)", (b"John (Jr) ) Doe", None, b"john", b"example.org"))

    def test_groups(self) -> None:
        """A group is opened and closed by entries of their own (RFC 9051 7.5.2)."""
        self.check(
            b"A Group:Ed <joe@where.test>,john@one.test; , x@y",
            (None, None, b"A Group", None),
            (b"Ed", None, b"joe", b"where.test"),
            (None, None, b"john", b"one.test"),
            GROUP_END,
            (None, None, b"x", b"y"),
        )
        self.check(b"undisclosed-recipients:;", (None, None, b"undisclosed-recipients", None), GROUP_END)
        self.check(b"open: a@b", (None, None, b"open", None), (None, None, b"a", b"b"), GROUP_END)

    def test_obsolete(self) -> None:
        """Routes, blanks around dots, empty entries, domain literals, quoted local parts."""
        self.check(b"Joe <@a.test,@b.test:joe@c.test>", (b"Joe", b"@a.test,@b.test", b"joe", b"c.test"))
        self.check(b", a . b @ c . d ,,", (None, None, b"a.b", b"c.d"))
        self.check(b"x@[192.0.2.1]", (None, None, b"x", b"[192.0.2.1]"))
        self.check(b'"a \\"b" @c', (None, None, b'a "b', b"c"))
        self.check(b"a.b. <c@d>", (b"a.b.", None, b"c", b"d"))

    def test_broken(self) -> None:
        """What cannot be right is kept as far as it can be understood."""
        self.check(b"undisclosed", (None, None, b"undisclosed", b""))
        self.check(b"a@b <c@d> rest", (b"a@b", None, b"c", b"d"))
        self.check(b"Joe <joe@x, b@c", (b"Joe", None, b"joe", b"x"), (None, None, b"b", b"c"))
        self.check(b"Joe <>, b@c", (b"Joe", None, b"", b""), (None, None, b"b", b"c"))
        self.check(b"", *())
        self.check(b"\\", *())

    def test_line_ends(self) -> None:
        """A quoted string across lines is one line."""
        self.check(b'"a\r\n b\0" <c@d>', (b"a b", None, b"c", b"d"))

    def test_many(self) -> None:
        """50,000 addresses are cut, and the cut shows."""
        entries = parse_addresses(b"a@b," * 50_000)
        self.assertEqual(ADDRESSES_MAX + 1, len(entries))
        self.assertEqual(CUT_MARK, entries[-1])
        self.assertEqual(ADDRESSES_MAX, len(parse_addresses(b"a@b," * ADDRESSES_MAX)))

    def test_bombs(self) -> None:
        """Long runs of one special are read once, as far as the allowance goes."""
        for special in (b"(", b'"', b"<", b"@", b":", b"a:;", b"\\", b"[", b"(a),", b'"a,', b"()", b";", b">", b"a b"):
            self.assertIn(CUT_MARK, parse_addresses(special * 50_000)[-2:], special)
        for blank in (b",", b" ", b", "):
            self.assertEqual([], parse_addresses(blank * 50_000))

    def test_allowance(self) -> None:
        """What one field has used up, the next does not have; the cut shows in each."""
        allowance = Allowance()
        self.assertEqual(STEPS_MAX, allowance.steps)
        self.assertEqual([ListedAddress(None, None, b"a", b"b")], parse_addresses(b"a@b", allowance))
        self.assertLess(allowance.steps, STEPS_MAX)
        parse_addresses(b"(" * STEPS_MAX, allowance)
        self.assertEqual([CUT_MARK], parse_addresses(b"a@b", allowance))
        self.assertEqual([], parse_addresses(b"", allowance))

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(PHRASE, ATOM, ATOM), max_size=5))
    def test_round_trip(self, addresses: list[tuple[bytes, bytes, bytes]]) -> None:
        """What is printed the usual way is read back."""
        value = b", ".join(b"%b <%b@%b>" % address for address in addresses)
        self.check(value, *((name, None, local_part, domain) for name, local_part, domain in addresses))

    @settings(max_examples=400, deadline=None)
    @given(LIVELY | st.binary(max_size=80))
    def test_anything(self, value: bytes) -> None:
        """No octets make it raise; groups are balanced; no line end comes through."""
        entries = parse_addresses(value)
        opened = sum(entry.local_part is not None and entry.domain is None for entry in entries)
        self.assertEqual(opened, entries.count(GROUP_END))
        for entry in entries:
            self.assertFalse(set(b"".join(part or b"" for part in entry)) & set(b"\r\n\0"), entry)
