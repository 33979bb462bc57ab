"""mailtraq_py/mail/domaintable.py: values by domain."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.domaintable import DomainTable, fold_domain_entry


class DomainTableTests(SynchronousTestCase):
    """Look-ups."""

    def test_find(self) -> None:
        """The domain itself, then the longest entry with a star above it."""
        rows = (("Shop.Example.", 1), ("*.shop.example", 2), ("*.in.shop.example", 3), ("shop.example", 4))
        table = DomainTable([(fold_domain_entry(entry), value) for entry, value in rows])
        for domain, value in (
            ("shop.example", 1),
            ("a.shop.example", 2),
            ("a.b.shop.example", 2),
            ("a.in.shop.example", 3),
            ("myshop.example", None),
            ("example", None),
        ):
            self.assertEqual(table.find(domain), value, domain)
        self.assertIsNone(DomainTable[int]().find("shop.example"))

    def test_entries(self) -> None:
        """No entry names half the world."""
        for text in ("", "*", "*.", "*.example", "a.*.example", "*.[192.0.2.1]", "a b.example"):
            with self.assertRaises(ValueError, msg=text):
                fold_domain_entry(text)
