"""Addresses of peers: one form to compare, one unit to count."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.servers.peer import address_group, normal_address


class PeerTests(SynchronousTestCase):
    """The forms."""

    def test_normal_form(self) -> None:
        """IPv4-mapped IPv6 is IPv4, zone indexes go, IPv6 is in its shortest form, a path stays."""
        for host, expected in {
            "192.0.2.1": "192.0.2.1",
            "::ffff:192.0.2.1": "192.0.2.1",
            "::FFFF:c000:201": "192.0.2.1",
            "fe80::1%eth0": "fe80::1",
            "2001:DB8:0:0::1": "2001:db8::1",
            "/run/lmtp": "/run/lmtp",
            "a:b": "a:b",
            "": "",
        }.items():
            self.assertEqual(normal_address(host), expected)

    def test_group(self) -> None:
        """IPv4 by address, IPv6 by /64."""
        self.assertEqual(address_group("192.0.2.1"), "192.0.2.1")
        self.assertEqual(address_group("2001:db8::1"), address_group("2001:db8::ffff:0:0:1"))
        self.assertNotEqual(address_group("2001:db8::1"), address_group("2001:db8:0:1::1"))
