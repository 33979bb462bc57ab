"""
Counts of several workers in one memory.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.servers.admission import Admission
from mailtraq_py.servers.sharedcounts import CountsMemory, SharedCounts


class SharedCountsTests(SynchronousTestCase):
    """Two workers; each has mapped the memory for itself, as processes do."""

    def setUp(self) -> None:
        self.memory = CountsMemory(2)
        self.addCleanup(os.close, self.memory.descriptor)
        self.one, self.two = (SharedCounts(CountsMemory(2, self.memory.descriptor), number) for number in (0, 1))

    def test_limits_are_the_hosts(self) -> None:
        """What one worker admitted counts for the other."""
        one, two = (Admission("mx", counts, 3, 2) for counts in (self.one, self.two))
        self.assertEqual([one.admit("192.0.2.1"), two.admit("192.0.2.1")], ["", ""])
        self.assertIn("address", two.admit("192.0.2.1"))
        self.assertEqual(two.admit("192.0.2.2"), "")
        self.assertIn("service", one.admit("192.0.2.3"))
        one.release("192.0.2.1")
        self.assertEqual(two.admit("192.0.2.1"), "")

    def test_a_dead_worker(self) -> None:
        """Its connections are forgotten, and nobody waits for it; those of the other stay."""
        for counts in (self.one, self.two):
            counts.begin()
            counts.add("a")
        self.memory.wipe(0)
        self.assertEqual(self.two.add("a"), 2)
        self.assertTrue(self.two.has_least("a"))

    def test_never_too_low(self) -> None:
        """A thousand keys: each counts what it was counted, few more than that, and at the end nothing is left."""
        keys = [f"mx 2001:db8:{number:x}::/64" for number in range(1000)]
        for key in keys:
            self.one.add(key)
        counts = [self.two.add(key) for key in keys]
        self.assertGreaterEqual(min(counts), 2)
        self.assertLess(sum(count > 2 for count in counts), 10)
        for key in keys:
            self.one.remove(key)
            self.two.remove(key)
        self.assertEqual([any(table[1:]) for table in self.memory.tables], [False, False])

    def test_whose_turn(self) -> None:
        """Who has fewer goes first, key by key; who takes no connections is waited for by nobody."""
        self.assertTrue(self.one.has_least("mx"))
        self.one.add("mx")
        self.assertTrue(self.one.has_least("mx"))
        self.two.begin()
        self.assertEqual([self.one.has_least("mx"), self.two.has_least("mx")], [False, True])
        self.assertTrue(self.one.has_least("imap"))
        self.two.end()
        self.assertTrue(self.one.has_least("mx"))
