"""mailtraq_py/mail/identifiers.py: identifiers of messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.identifiers import RANDOM_OCTETS, make_identifier


class IdentifierTests(SynchronousTestCase):
    """Time in front, chance behind."""

    def test_order(self) -> None:
        """Identifiers sort by time, whatever chance adds, and have one length."""
        high, low = b"\xff" * RANDOM_OCTETS, bytes(RANDOM_OCTETS)
        made = [make_identifier(1.0, high), make_identifier(1.01, low), make_identifier(4e9, low)]
        self.assertEqual(made, sorted(made))
        self.assertEqual({len(each) for each in made}, {28})
        self.assertNotEqual(make_identifier(1.0, high), make_identifier(1.0, low))
