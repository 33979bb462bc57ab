"""
`mailtraq verify`: each thing that can be damaged is damaged, found, and mended where that can be.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from mailtraq_py.interfaces.queue import Outgoing
from mailtraq_py.interfaces.store import Acceptance, LocalDelivery
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Recipient
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store import verification
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store
from mailtraq_py.store.verification import Damage

from .contract import EVERY, HEAD, StoreCase, message

MULTIPART = (
    b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b--\r\n"
)


class VerificationTests(StoreCase):
    """On a store with some of everything."""

    def make_store(self, data_dir: str) -> Store:
        """On disk, at once."""
        return Store(f"sqlite:{data_dir}/mail.db", data_dir, clock=self.clock)

    async def setUp(self) -> None:
        """Messages small, large, in parts, with heads, copied, expunged."""
        await super().setUp()
        await self.deliver(message("small"), head=HEAD)
        await self.deliver(message("large", "x" * 300_000))
        await self.deliver(MULTIPART)
        await self.deliver(message("gone"))
        inbox = await self.inbox()
        await inbox.copy(UIDSet(((1, 3),)), "Archive")
        await inbox.remove(UIDSet(((4, 4),)))

    def sql(self, statement: str, *bindings: object) -> list[tuple[object, ...]]:
        """Do it behind the store's back."""
        return self.store.database._connections.writer.execute(statement, bindings).fetchall()

    def damages(self) -> list[Damage]:
        """What is found."""
        return list(self.store.verification().damages())

    def check(self, kind: str, is_repairable: bool = True) -> None:
        """The damage is found; and, where that can be, mended by `repair`."""
        found = self.damages()
        self.assertIn(kind, [damage.kind for damage in found])
        for damage in found:
            self.assertEqual(damage.is_repairable, is_repairable, damage)
            run_now(self.store.verification().repair(damage))
            self.assertEqual(damage.repaired, is_repairable)
        self.assertEqual(self.damages() == [], is_repairable)

    def files(self) -> list[Path]:
        """Content files."""
        return [path for path in Path(self.data_dir, "content").rglob("*") if path.is_file()]

    def test_nothing_is_wrong(self) -> None:
        """A sound store has no damage, and says what was looked at."""
        looking = self.store.verification()
        self.assertEqual(list(looking.damages()), [])
        counts = [looking.looked_at[what] for what in ("contents", "messages", "files")]
        self.assertEqual(counts, [3, 6, 1])

    def test_counts_of_a_mailbox(self) -> None:
        """Messages, unseen, deleted, octets."""
        for column in ("messages", "unseen", "deleted", "octets"):
            self.sql(f"UPDATE mailboxes SET {column} = {column} + 1 WHERE name = 'INBOX'")
            self.check("mailbox")

    def test_uids_and_mod_seqs(self) -> None:
        """The next UID and MODSEQ are above all that are given."""
        self.sql("UPDATE mailboxes SET uid_next = 2 WHERE name = 'INBOX'")
        self.check("mailbox")
        self.assertEqual(run_now(self.boxes.status("INBOX")).uid_next, 4)
        self.sql("UPDATE mailboxes SET highest_mod_seq = 1 WHERE name = 'Archive'")
        self.check("mailbox")
        self.sql("UPDATE account_counters SET next_mod_seq = 2")
        self.check("account")

    def test_counts_of_an_account(self) -> None:
        """What quotas go by, and UIDVALIDITY."""
        for column in ("octets", "messages"):
            self.sql(f"UPDATE account_counters SET {column} = {column} - 1")
            self.check("account")
        self.sql("UPDATE account_counters SET next_uid_validity = 7")
        self.check("account")

    def test_counters(self) -> None:
        """Keys are never given again."""
        self.sql("UPDATE counters SET next = 1 WHERE name = 'mailbox'")
        self.check("counter")

    def test_references(self) -> None:
        """Too many, too few; a content that nobody points at goes with its file."""
        self.sql("UPDATE content_shares SET further = further + 1")
        self.check("references")
        self.sql("DELETE FROM content_shares")
        self.check("references")
        large = self.sql("SELECT id FROM contents WHERE place = 1")[0][0]
        self.sql("DELETE FROM messages WHERE content_id = ?", large)
        found = {damage.kind for damage in self.damages()}
        self.assertEqual(found, {"references", "mailbox"})
        self.check("references")
        self.assertEqual(self.files(), [])
        self.assertEqual(run_now(self.boxes.status("INBOX")).messages, 2)

    def test_strays(self) -> None:
        """Rows of contents that are not there."""
        self.sql("INSERT INTO heads VALUES (99, 1, x'00')")
        self.sql("INSERT INTO content_octets VALUES (99, x'00')")
        self.sql("INSERT INTO sort_keys VALUES (99, 1, '', 0, 1, 0, x'')")
        self.check("stray")

    def test_orphan_files(self) -> None:
        """A file without a content goes; one that may be somebody's who is about to write its row stays."""
        path = Path(self.data_dir, "content", "ff", f"{255:016x}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"nobody's")
        self.check("orphan")
        self.assertFalse(path.exists())
        path.write_bytes(b"somebody's")
        looking = self.store.verification()
        looking.is_alone = lambda: False
        self.assertEqual(list(looking.damages()), [])
        later = time.time() + 7200
        self.patch(verification.time, "time", lambda: later)
        self.assertEqual([damage.kind for damage in looking.damages()], ["orphan"])

    def test_a_file_that_is_gone(self) -> None:
        """It cannot be mended, and is said."""
        os.unlink(self.files()[0])
        self.check("content", is_repairable=False)

    def test_a_file_that_changed(self) -> None:
        """One bit is enough; so is one octet less."""
        path = self.files()[0]
        octets = bytearray(path.read_bytes())
        octets[1000] ^= 1
        path.write_bytes(octets)
        self.check("content", is_repairable=False)
        path.write_bytes(octets[:-1])
        self.check("content", is_repairable=False)

    def test_octets_in_the_database(self) -> None:
        """Changed, or gone."""
        self.sql("UPDATE content_octets SET octets = CAST(x'00' || octets AS BLOB)")
        self.check("content", is_repairable=False)
        self.sql("DELETE FROM content_octets")
        self.check("content", is_repairable=False)

    def test_parts(self) -> None:
        """The map of MIME parts is made anew from the octets."""
        (before,) = self.sql("SELECT parts FROM contents WHERE parts <> x''")
        for broken in (b"\x01", b"\xff" * 42):
            self.sql("UPDATE contents SET parts = ? WHERE parts <> x''", broken)
            self.check("parts")
            self.assertEqual(self.sql("SELECT parts FROM contents WHERE parts <> x''"), [before])

    def test_sort_keys(self) -> None:
        """What SORT and THREAD need is made anew from the octets."""
        before = self.sql("SELECT * FROM sort_keys")
        self.sql("DELETE FROM sort_keys")
        self.check("sort keys")
        self.assertEqual(self.sql("SELECT * FROM sort_keys"), before)

    def test_messages(self) -> None:
        """Another size, a head that is gone, a content that is gone."""
        self.sql("UPDATE messages SET octets = 7 WHERE uid = 1")
        self.check("message")
        self.sql("DELETE FROM heads")
        self.check("message")
        self.sql("DELETE FROM contents WHERE place = 1")
        self.sql("DELETE FROM content_shares")
        self.assertIn(("message", False), [(each.kind, each.is_repairable) for each in self.damages()])

    def test_deleted_messages(self) -> None:
        """Counts of the mailbox that holds them, runs by which they are purged, the mailbox itself."""
        self.store.deleted.settings = DeletedSettings(keep_seconds=60.0)
        run_now(run_now(self.inbox()).remove(UIDSet(((1, 2),))))
        self.assertEqual(self.damages(), [])
        self.sql("UPDATE mailboxes SET messages = messages + 1 WHERE state = 'recoverable'")
        self.check("mailbox")
        self.sql("DELETE FROM deletions")
        self.check("deletion")
        self.assertEqual(self.sql("SELECT low, high FROM deletions"), [(1, 2)])
        self.sql("DELETE FROM deletions")
        self.sql("DELETE FROM messages WHERE mailbox_id IN (SELECT mailbox_id FROM recoverable)")
        self.sql("DELETE FROM mailboxes WHERE state = 'recoverable'")
        for damage in self.damages():
            run_now(self.store.verification().repair(damage))
        self.assertEqual(self.damages(), [])
        run_now(run_now(self.inbox()).remove(EVERY))
        self.assertEqual(run_now(self.boxes.recoverable().select(False))[0].messages, 1)

    def test_homeless_messages(self) -> None:
        """Messages of a mailbox that is not there go."""
        self.sql("DELETE FROM mailboxes WHERE name = 'Archive'")
        self.check("mailbox")

    async def test_the_queue(self) -> None:
        """A queue row points at a content too."""
        await self.queue_one()
        self.assertEqual(self.damages(), [])
        self.sql("DELETE FROM contents WHERE id IN (SELECT content_id FROM queue)")
        self.assertIn("queue", [damage.kind for damage in self.damages()])

    async def queue_one(self) -> None:
        """A message that leaves, with a copy that stays."""
        recipient = Recipient(ForwardPath(parse_address("x@far.example")))
        out = Outgoing(NULL_PATH, recipient, self.now, self.now + 10)
        content = self.content(message("leaves"), [LocalDelivery(self.alice.id, "INBOX")], [out])
        await self.store.acceptance.commit(Acceptance("out", self.now, (content,), "{}"))

    async def test_beside_a_writer(self) -> None:
        """What goes while it looks is no damage."""
        looking = self.store.verification()
        inbox = await self.inbox()
        found = []
        looking.progress = lambda what, _done, _total: run_now(inbox.remove(EVERY)) if what == "tables" else None
        found = list(looking.damages())
        self.assertEqual(found, [])
