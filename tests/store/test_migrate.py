"""
Opening files: fresh ones, foreign ones, a newer program's, and libraries with the bug.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from unittest.mock import patch

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store import migrate as steps_of_room
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.migrate import APPLICATION_ID, StoreRefused, migrate
from mailtraq_py.store.sqlite import PAGE_OCTETS, Connections, LibraryTooOld, check_library
from mailtraq_py.store.store import Store


class MigrateTests(SynchronousTestCase):
    """The schema of a file."""

    def setUp(self) -> None:
        """A path for a database."""
        self.folder = tempfile.mkdtemp(prefix="migrate-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = f"{self.folder}/deeper/mail.db"

    def open(self) -> Connections:
        """Open it."""
        connections = Connections(self.path)
        self.addCleanup(connections.close)
        return connections

    def test_a_fresh_file(self) -> None:
        """It is ours, private, with our page size, and a second start has nothing to do."""
        connections = self.open()
        newest = migrate(connections, "main")
        self.assertGreaterEqual(newest, 1)
        self.assertEqual(migrate(connections, "main"), 0)
        pragma = connections.writer.pragma
        self.assertEqual(
            [pragma(name) for name in ("application_id", "user_version", "page_size", "auto_vacuum", "journal_mode")],
            [APPLICATION_ID, newest, PAGE_OCTETS, 2, "wal"],
        )
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(f"{self.path}-wal").st_mode & 0o777, 0o600)

    def test_a_newer_program(self) -> None:
        """What a newer program wrote is refused, and says which."""
        connections = self.open()
        migrate(connections, "main")
        connections.writer.pragma("user_version", 99)
        self.assertIn("schema 99", str(self.assertRaises(StoreRefused, migrate, connections, "main")))

    def test_a_foreign_file(self) -> None:
        """A database of another program is left alone."""
        connections = self.open()
        connections.writer.execute("CREATE TABLE theirs (x)")
        self.assertRaises(StoreRefused, migrate, connections, "main")
        connections.writer.pragma("application_id", 77)
        self.assertRaises(StoreRefused, migrate, connections, "main")

    def test_a_copy_before_each_step(self) -> None:
        """Before a step beyond the first the file is copied as it was."""
        connections = self.open()
        newest = migrate(connections, "recent")
        connections.writer.execute("INSERT INTO revocations VALUES ('', 1, 2.0)")
        self.patch_steps("recent", newest + 1, "ALTER TABLE revocations ADD COLUMN why TEXT")
        self.assertEqual(migrate(connections, "recent"), 1)
        with apsw.Connection(f"{self.path}.before-{newest + 1:04}") as copy:
            self.assertEqual(copy.execute("SELECT * FROM revocations").get, ("", 1, 2.0))
            self.assertEqual(copy.pragma("user_version"), newest)

    def test_from_the_first(self) -> None:
        """A store of the first schema keeps what it has and gets what is new."""
        steps = steps_of_room._steps("main")
        with patch.object(steps_of_room, "_steps", lambda _: {1: steps[1]}):
            connections = self.open()
            migrate(connections, "main")
        connections.writer.execute("INSERT INTO domains (id, name, created) VALUES (1, 'example.test', 0)")
        connections.writer.execute(
            "INSERT INTO accounts (id, domain_id, local_part, password_hash, created) VALUES (7, 1, 'alice', 'x', 0)"
        )
        connections.close()
        store = Store(f"sqlite:{self.path}", self.folder)
        run_now(store.start())
        account = run_now(store.administration.find("alice@example.test"))
        self.assertEqual((account.id, account.lists_number), (7, 0))
        run_now(store.administration.set_list("staff@example.test"))
        run_now(store.close())
        self.assertTrue(os.path.exists(f"{self.path}.before-0002"))

    def test_a_failing_step(self) -> None:
        """A step that fails leaves the file as it was."""
        connections = self.open()
        newest = migrate(connections, "recent")
        self.patch_steps("recent", newest + 1, "CREATE TABLE a (x); CREATE TABLE a (x)")
        self.assertRaises(apsw.SQLError, migrate, connections, "recent")
        self.assertEqual(connections.writer.pragma("user_version"), newest)
        self.assertFalse(connections.writer.in_transaction)

    def patch_steps(self, kind: str, number: int, script: str) -> None:
        """Add a step."""
        steps = {**steps_of_room._steps(kind), number: script}
        self.patch(steps_of_room, "_steps", lambda _: steps)

    def test_library(self) -> None:
        """SQLite below 3.51.3 is refused, the one at hand is not."""
        self.assertRaises(LibraryTooOld, check_library, "3.51.2")
        check_library("3.51.3")
        check_library("3.52.0")
        check_library()

    def test_another_kind_of_store(self) -> None:
        """A URL that is no SQLite file is refused with its kind."""
        self.assertIn("postgresql", str(self.assertRaises(StoreRefused, Store, "postgresql://x", self.folder)))
