"""mailtraq_py/queue/tlspolicy.py: ways to speak to a host."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.queue.tlspolicy import IN_CLEAR, TLSUse, Way, plan_ways


class WaysTests(SynchronousTestCase):
    """Which ways are tried, in which order."""

    def test_opportunistic(self) -> None:
        """TLS where offered, unverified; in clear when the handshake failed."""
        ways = plan_ways(TLSUse.OPPORTUNISTIC, is_smarthost=False, has_login=False, address="192.0.2.1")
        self.assertEqual(ways, (Way(starttls=True), IN_CLEAR))

    def test_required(self) -> None:
        """Nothing falls back; a smarthost's certificate is verified, an MX host's name proves nothing."""
        for is_smarthost in (False, True):
            ways = plan_ways(TLSUse.REQUIRED, is_smarthost=is_smarthost, has_login=False, address="192.0.2.1")
            self.assertEqual(ways, (Way(starttls=True, must=True, verify=is_smarthost),))

    def test_password(self) -> None:
        """A password goes in clear to loopback only."""
        ways = plan_ways(TLSUse.OPPORTUNISTIC, is_smarthost=True, has_login=True, address="192.0.2.1")
        self.assertEqual(ways, (Way(starttls=True, must=True, verify=True),))
        ways = plan_ways(TLSUse.OPPORTUNISTIC, is_smarthost=True, has_login=True, address="127.0.0.1")
        self.assertIn(IN_CLEAR, ways)

    def test_none(self) -> None:
        """Never, but for a password that leaves this machine."""
        for has_login, address in ((False, "192.0.2.1"), (True, "::1")):
            ways = plan_ways(TLSUse.NONE, is_smarthost=True, has_login=has_login, address=address)
            self.assertEqual(ways, (IN_CLEAR,))
        ways = plan_ways(TLSUse.NONE, is_smarthost=True, has_login=True, address="192.0.2.1")
        self.assertEqual(ways, (Way(starttls=True, must=True, verify=True),))
