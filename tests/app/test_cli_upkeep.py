"""
`mailtraq verify`, `backup` and `restore-backup` on a store.
"""

from __future__ import annotations

import apsw

from .installation import InstallationTestCase


class UpkeepTests(InstallationTestCase):
    """On a store with one account."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="a long secret\n")

    def damage(self) -> None:
        """Count a message that is not there."""
        with apsw.Connection(str(self.folder / "var" / "mailtraq.db")) as connection:
            connection.execute("UPDATE account_counters SET messages = 3")

    def test_verify(self) -> None:
        """0 when all is well, 1 while damage is left, 0 when it was repaired."""
        self.assertIn("no damages", self.mailtraq("verify").output)
        self.damage()
        told = self.mailtraq("verify", code=1).output
        self.assertIn("messages is 3, its mailboxes say 0", told)
        self.assertIn("--repair", told)
        shown = self.answer("verify", "--repair")
        self.assertEqual([(each["kind"], each["repaired"]) for each in shown["damages"]], [("account", True)])
        self.assertEqual(self.answer("verify")["left"], 0)

    def test_upgrade(self) -> None:
        """There is nothing to do, nor to go back to."""
        for options in ((), ("--dry-run",)):
            self.assertIn("mailtraq.db: up to date", self.mailtraq("upgrade", *options).output)
        self.assertIn("no copy", self.mailtraq("rollback", code=1).output)

    def test_backup(self) -> None:
        """There and back; what the store knows after the backup is gone, and the old one is kept."""
        backups = str(self.folder / "backups")
        self.mailtraq("restore-backup", str(self.folder), code=1)
        made = self.answer("backup", backups)
        self.mailtraq("account", "delete", "alice@here.example")
        told = self.mailtraq("restore-backup", backups, "--at", made["name"]).output
        self.assertIn("before-restore-", told)
        self.assertEqual([each["address"] for each in self.answer("account", "list")], ["alice@here.example"])
        self.mailtraq("restore-backup", backups, "--at", "2020", code=1)
        self.assertEqual(self.answer("verify")["left"], 0)
