"""Tests of addresses and domains."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.address import Address, fold_domain, fold_local_part, parse_address


class DomainTests(SynchronousTestCase):
    """The form in which domains are compared."""

    def test_folded(self) -> None:
        """Case, trailing dot, IDN and literals."""
        for domain, folded in (
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.EXAMPLE", "xn--bcher-kva.example"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
            ("_dmarc.example.org", "_dmarc.example.org"),
        ):
            self.assertEqual(folded, fold_domain(domain))

    def test_refused(self) -> None:
        """What is no domain."""
        for domain in (
            "", ".", "a..b", ".a", "-a.b", "a-.b", "a b", "a\n", "a@b", "x" * 64 + ".org", "a." * 130, "[", "[]",
            "[a b]", "[1.2.3.4]x", "a\u2028b", "\ud800.org", "[192.0.2.1]\n",
        ):  # fmt: skip
            self.assertRaises(ValueError, fold_domain, domain)


class AddressTests(SynchronousTestCase):
    """Reading, printing and comparing addresses."""

    def test_parts(self) -> None:
        """The local part unquoted, the domain as written."""
        self.assertEqual(Address("User", "Example.org"), parse_address("User@Example.org"))
        self.assertEqual(Address('a "b" @c', "example.org"), parse_address('"a \\"b\\" @c"@example.org'))
        self.assertEqual(Address("user", "[192.0.2.1]"), parse_address("user@[192.0.2.1]"))

    def test_printed(self) -> None:
        """Quoted where it must be."""
        self.assertEqual("a.b@c", str(Address("a.b", "c")))
        self.assertEqual('"a b"@c', str(Address("a b", "c")))
        self.assertEqual('"a\\"\\\\"@c', str(Address('a"\\', "c")))
        self.assertEqual('".a"@c', str(Address(".a", "c")))

    def test_key(self) -> None:
        """Two spellings of one mailbox have one key."""
        self.assertEqual(
            Address("JÜRGEN", "bücher.example").key, Address("ju\u0308rgen", "XN--BCHER-KVA.example.").key
        )
        self.assertEqual("user@example.org", parse_address("USER@EXAMPLE.org").key)
        self.assertEqual("example.org", parse_address("USER@EXAMPLE.org").domain_key)
        self.assertEqual("strasse", fold_local_part("Straße"))

    def test_refused(self) -> None:
        """What is no address, and says why."""
        for text in (
            "", "a", "@", "@b", "a@", "a@b@c", ".a@b", "a.@b", "a..b@c", "a b@c", "a\n@b", '"a"b@c', '"a@b', '""@b',
            '"a\r\nb"@c', "x" * 65 + "@b", "ü" * 33 + "@b", "a@b c", "<a@b>", "a@b\r\n",
        ):  # fmt: skip
            error = self.assertRaises(ValueError, parse_address, text)
            self.assertTrue(str(error))

    @settings(max_examples=300, deadline=None)
    @given(st.text(min_size=1, max_size=16), st.sampled_from(["example.org", "b", "[192.0.2.1]"]))
    def test_round_trip(self, local_part: str, domain: str) -> None:
        """What is printed reads back, unless the local part may not be."""
        address = Address(local_part, domain)
        try:
            found = parse_address(str(address))
        except ValueError:
            allowed = all(" " <= character != "\x7f" for character in local_part)
            self.assertFalse(allowed and len(local_part.encode("utf-8", "replace")) <= 64)
        else:
            self.assertEqual(address, found)
