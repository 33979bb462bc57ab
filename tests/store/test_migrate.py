"""
Opening files: fresh ones, foreign ones, a newer program's, and libraries with the bug.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.store import Column, NewMessage
from mailtraq_py.mail.threads import ThreadedMessage, thread_keys
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store import migrate as steps_of_room
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.migrate import APPLICATION_ID, StoreRefused, migrate
from mailtraq_py.store.rollback import NoRollback, plan_rollback, roll_back
from mailtraq_py.store.sql.messages import expunge_messages
from mailtraq_py.store.sql.recoverable import find_recoverable
from mailtraq_py.store.sqlite import PAGE_OCTETS, Connections, LibraryTooOld, check_library
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe

SORT_KEYS = ThreadedMessage._fields[1:]


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

    def test_from_each(self) -> None:
        """Mail of every earlier schema is there afterwards, and the store is sound."""
        steps = steps_of_room.read_steps("main")
        for last in range(1, max(steps)):
            self.path = f"{self.folder}/{last}/mail.db"
            older = {number: steps[number] for number in range(1, last + 1)}
            with patch.object(steps_of_room, "read_steps", lambda _, older=older: older):
                connections = self.open()
                migrate(connections, "main")
            self.fill(connections.writer)
            connections.close()
            store = Store(f"sqlite:{self.path}", f"{self.folder}/{last}")
            run_now(store.start())
            self.addCleanup(lambda store=store: run_now(store.close()))
            inbox = run_now(store.mailboxes(7).open("INBOX"))
            rows = run_now(inbox.fetch(UIDSet(((1, 9),)), [Column.UID, Column.CONTENT], 9))
            self.assertEqual([row[0] for row in rows], [1, 2], f"schema {last}")
            self.assertEqual(run_now(store.content.read(rows[1][1])), b"A: b\r\n\r\n")
            keys = store.database.read("fetch_rows", 3, [(1, 1)], SORT_KEYS, 1)
            self.assertEqual(keys, [(1, 5, "lunch", 1, *thread_keys("<c>", "", "<a> <b>"))])
            self.assertEqual(list(store.verification().damages()), [], f"schema {last}")
            self.assertTrue(os.path.exists(f"{self.path}.before-{last + 1:04}"))

    def fill(self, connection: apsw.Connection) -> None:
        """An account, and a message twice in its INBOX, as any schema has them."""
        octets = b"A: b\r\n\r\n"

        def add(table: str, **values: object) -> None:
            names = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            chosen = {name: value for name, value in values.items() if name in names}
            marks = ", ".join("?" * len(chosen))
            connection.execute(f"INSERT INTO {table} ({', '.join(chosen)}) VALUES ({marks})", tuple(chosen.values()))

        add("domains", id=1, name="example.test", created=0)
        add("accounts", id=7, domain_id=1, local_part="alice", password_hash="x", created=0)
        add("account_counters", account_id=7, next_mod_seq=4, next_uid_validity=10, octets=16, messages=2)
        add(
            "mailboxes", id=3, account_id=7, parent_id=0, name="INBOX", uid_validity=9, uid_next=3, highest_mod_seq=3,
            messages=2, unseen=2, octets=16, created=0,
        )  # fmt: skip
        empty = dict.fromkeys(("envelope", "body", "body_structure", "parts", "fields"), b"")
        texts = ("sender", "to_text", "cc_text", "in_reply_to")
        add(
            "contents", id=5, refs=2, place=0, compression=0, key_id=0, octets=len(octets),
            sha256=hashlib.sha256(octets).digest(), lines=2, header_octets=8, thread_id=5, sent=5, subject="re: lunch",
            message_id="<c>", reference_ids="<a> <b>", **empty, **dict.fromkeys(texts, ""),
        )  # fmt: skip
        add("content_octets", content_id=5, octets=octets)
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'content_shares'").get:
            add("content_shares", content_id=5, further=1)
        for uid in (1, 2):
            add(
                "messages", mailbox_id=3, uid=uid, mod_seq=uid + 1, flags=0, keywords="", internal_date=1, save_date=1,
                octets=8, content_id=5, head=0,
            )  # fmt: skip
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'recoverable'").get:
            add("recoverable", account_id=7, mailbox_id=2)
            add(
                "mailboxes", id=2, account_id=7, parent_id=-2, name="", state="recoverable", uid_validity=8,
                highest_mod_seq=1, created=0,
            )  # fmt: skip
        for name, due in (("domain", 2), ("account", 8), ("mailbox", 4)):
            add("counters", name=name, next=due)

    def test_back_again(self) -> None:
        """Rolled back, the older program finds its schema; messages that came since are counted before."""
        steps = steps_of_room.read_steps("main")
        older = {number: steps[number] for number in range(1, max(steps))}
        with patch.object(steps_of_room, "read_steps", lambda _: older):
            connections = self.open()
            migrate(connections, "main")
        self.fill(connections.writer)
        connections.close()
        path, folder = Path(self.path), Path(self.folder)
        store = Store(f"sqlite:{self.path}", self.folder)
        run_now(store.start())
        spool = store.content.spool()
        spool.write(b"C: d\r\n\r\n")
        new = NewMessage(spool, describe(spool.chunks()), frozenset(), 1)
        run_now(store.mailboxes(7).append("INBOX", [new]))
        run_now(store.close())
        plan = plan_rollback(path, folder)
        self.assertEqual((plan.schema, plan.lost, plan.returning, plan.torn), (max(older), 1, 0, 0))
        kept = roll_back(plan, path, 5.0)
        self.assertTrue(kept.joinpath("mail.db").exists())
        connections = self.open()
        self.assertEqual(connections.writer.pragma("user_version"), max(older))
        self.assertEqual(connections.writer.execute("SELECT count(*) FROM messages").get, 2)
        self.assertGreater(connections.writer.execute("SELECT uid_validity FROM mailboxes WHERE id = 3").get, 9)
        connections.close()
        self.assertRaises(NoRollback, plan_rollback, path, folder)

    def test_back_with_deleted_mail(self) -> None:
        """What was deleted since is no loss: what the copy has comes back, the rest stays gone."""
        steps = steps_of_room.read_steps("main")
        with patch.object(steps_of_room, "read_steps", lambda _: {number: steps[number] for number in (1, 2, 3)}):
            connections = self.open()
            migrate(connections, "main")
        self.fill(connections.writer)
        connections.close()
        path, folder = Path(self.path), Path(self.folder)
        with patch.object(steps_of_room, "read_steps", lambda _: {number: steps[number] for number in (1, 2, 3, 4)}):
            connections = self.open()
            migrate(connections, "main")
            connections.close()
        connections = self.open()
        cursor = connections.writer.cursor()
        expunge_messages(cursor, 3, [(1, 2)], False, 10, 5.0, True)
        recoverable = find_recoverable(cursor, 7)
        assert recoverable is not None
        self.assertEqual((recoverable[0], recoverable[9]), (4, 2))
        # One that came since.
        cursor.execute("INSERT INTO messages SELECT 4, 3, 9, 0, '', 1, 1, 8, 6, 0")
        connections.close()
        plan = plan_rollback(path, folder)
        self.assertEqual((plan.schema, plan.lost, plan.returning, plan.torn), (3, 0, 2, 0))
        roll_back(plan, path, 5.0)
        connections = self.open()
        self.assertEqual(connections.writer.execute("SELECT count(*) FROM messages WHERE mailbox_id = 3").get, 2)

    def test_from_the_first(self) -> None:
        """A store of the first schema keeps what it has and gets what is new."""
        steps = steps_of_room.read_steps("main")
        with patch.object(steps_of_room, "read_steps", lambda _: {1: steps[1]}):
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
        steps = {**steps_of_room.read_steps(kind), number: script}
        self.patch(steps_of_room, "read_steps", lambda _: steps)

    def test_library(self) -> None:
        """SQLite below 3.51.3 is refused, the one at hand is not."""
        self.assertRaises(LibraryTooOld, check_library, "3.51.2")
        check_library("3.51.3")
        check_library("3.52.0")
        check_library()

    def test_another_kind_of_store(self) -> None:
        """A URL that is no SQLite file is refused with its kind."""
        self.assertIn("postgresql", str(self.assertRaises(StoreRefused, Store, "mysql://x", self.folder)))
