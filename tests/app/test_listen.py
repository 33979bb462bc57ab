"""
Addresses with ports.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.listen import ListenAddress, parse_listen, parse_nameserver


class ListenTests(SynchronousTestCase):
    """`host:port`."""

    def test_forms(self) -> None:
        """IPv4, IPv6 in brackets, and names; printed as they are written."""
        for text in ("192.0.2.1:25", "[::]:25", "[2001:db8::1]:587", "mx.example.org:0", "localhost:65535"):
            self.assertEqual(str(parse_listen(text)), text)
        self.assertEqual(parse_listen("[0:0:0:0:0:0:0:1]:25"), ListenAddress("::1", 25))

    def test_bad(self) -> None:
        """Anything else is an error that says why."""
        for text in ("", "25", ":25", "1.2.3.4", "1.2.3:25", "::1:25", "[::1]", "[x]:1", "h:65536", "h:-1", "a b:1"):
            self.assertRaises(ValueError, parse_listen, text)

    def test_nameserver(self) -> None:
        """A nameserver is an address; its port is 53 if none is given."""
        self.assertEqual(parse_nameserver("::1"), ListenAddress("::1", 53))
        self.assertEqual(parse_nameserver("192.0.2.1:5353"), ListenAddress("192.0.2.1", 5353))
        self.assertRaises(ValueError, parse_nameserver, "dns.example:53")
