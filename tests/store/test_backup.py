"""
Backups: made beside a store that is written to, linked where nothing changed, restored octet for octet.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mailtraq_py.interfaces.store import Column
from mailtraq_py.store import backup as backups
from mailtraq_py.store.backup import Backup, BackupFailed, list_backups, make_backup, restore_backup
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store

from .contract import ALICE, EVERY, HEAD, StoreCase, message, uids

State = dict[str, list[tuple[object, ...]]]


class BackupTests(StoreCase):
    """On a store with small and large messages."""

    def make_store(self, data_dir: str) -> Store:
        """On disk, at once."""
        return Store(f"sqlite:{data_dir}/live/mailtraq.db", f"{data_dir}/live", clock=self.clock)

    async def setUp(self) -> None:
        """Three messages, two of them in files."""
        await super().setUp()
        self.live = Path(self.data_dir, "live")
        self.folder = Path(self.data_dir, "backups")
        await self.deliver(message("small"), head=HEAD)
        await self.deliver(message("large", "x" * 300_000))
        await self.deliver(message("larger", "y" * 400_000), "Archive")

    def back_up(self, later: float = 0.0) -> Backup:
        """Make one."""
        return make_backup(self.live / "mailtraq.db", self.live, self.folder, self.now + later)

    def state(self, store: Store) -> State:
        """Everything a user sees but UIDVALIDITY."""
        account = run_now(store.administration.find(ALICE))
        boxes = store.mailboxes(account.id)
        found: State = {}
        for info in run_now(boxes.list_mailboxes()):
            mailbox = run_now(boxes.open(info.name))
            columns = [Column.UID, Column.FLAGS, Column.INTERNAL_DATE, Column.EMAIL_ID, Column.CONTENT]
            rows = run_now(mailbox.fetch(EVERY, columns, 100))
            found[info.name] = [(*row[:-1], run_now(store.content.read(row[-1]))) for row in rows]  # type: ignore[arg-type]
        return found

    def restored(self, name: str, **options: bool) -> Store:
        """A store elsewhere, out of a backup."""
        target = Path(self.data_dir, "restored")
        restore_backup(self.folder / name, target / "mailtraq.db", target, self.now, **options)
        store = Store(f"sqlite:{target}/mailtraq.db", target, clock=self.clock)
        run_now(store.start())
        self.addCleanup(lambda: run_now(store.close()))
        self.assertEqual(list(store.verification().damages()), [])
        return store

    def test_there_and_back(self) -> None:
        """A restored store holds the same, with the same UIDs under another UIDVALIDITY."""
        made = self.back_up()
        self.assertEqual((made.messages, made.copied, made.linked, made.damaged), (3, 2, 0, ()))
        store = self.restored(made.name)
        self.assertEqual(self.state(store), self.state(self.store))
        before = run_now(self.boxes.status("INBOX")).uid_validity
        after = run_now(store.mailboxes(self.alice.id).status("INBOX")).uid_validity
        self.assertGreater(after, before)
        self.assertEqual(self.folder.joinpath(made.name, "mail.map").stat().st_mode & 0o777, 0o600)

    def test_a_move(self) -> None:
        """Where nothing was changed since, UIDVALIDITY may stay."""
        store = self.restored(self.back_up().name, renew_uids=False)
        before = run_now(self.boxes.status("INBOX")).uid_validity
        self.assertEqual(run_now(store.mailboxes(self.alice.id).status("INBOX")).uid_validity, before)

    async def test_linked(self) -> None:
        """The second backup links what the first has, and stays whole when the first is deleted."""
        first = self.back_up()
        await self.deliver(message("new", "z" * 300_000))
        inbox = await self.inbox()
        await inbox.remove(uids(2))
        second = self.back_up(later=60)
        self.assertEqual((second.messages, second.copied, second.linked), (3, 1, 1))
        self.assertEqual([each.name for each in list_backups(self.folder)], [first.name, second.name])
        for path in sorted(self.folder.joinpath(first.name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.assertEqual(self.state(self.restored(second.name)), self.state(self.store))

    def test_what_comes_and_goes_meanwhile(self) -> None:
        """Messages that come while the database is copied are there or not, and files agree with rows."""
        take = backups._take_pages

        def take_beside_a_writer(source: Path, *arguments: Any) -> Any:
            inbox = run_now(self.inbox())
            run_now(inbox.remove(uids(2)))
            run_now(self.deliver(message("between", "b" * 300_000)))
            taken = take(source, *arguments)
            if source.name != backups.RECENT:
                run_now(inbox.remove(EVERY))
            return taken

        self.patch(backups, "_take_pages", take_beside_a_writer)
        made = self.back_up()
        self.assertEqual(made.damaged, ())
        state = self.state(self.restored(made.name))
        # The copied database knows it, and its file was gone when the files were looked at again.
        self.assertEqual([len(state[name]) for name in ("INBOX", "Archive")], [1, 1])

    def test_damage(self) -> None:
        """A file that is damaged is said in the backup, and a damaged backup is not restored."""
        (file, _) = sorted(path for path in self.live.joinpath("content").rglob("*") if path.is_file())
        octets = bytearray(file.read_bytes())
        octets[7] ^= 1
        file.write_bytes(octets)
        made = self.back_up()
        self.assertEqual(made.damaged, (file.name,))
        self.assertRaises(BackupFailed, self.restored, made.name)
        self.assertFalse(Path(self.data_dir, "restored", "mailtraq.db").exists())

    async def test_in_place(self) -> None:
        """The store that was there is kept; UIDVALIDITYs are above its own too."""
        made = self.back_up()
        await self.boxes.create("New")
        newest = (await self.boxes.status("New")).uid_validity
        await self.store.close()
        kept = restore_backup(self.folder / made.name, self.live / "mailtraq.db", self.live, 5.0)
        assert kept is not None
        self.assertTrue(kept.joinpath("mailtraq.db").exists())
        self.assertEqual(len(list(kept.joinpath("content").rglob("*"))), 4)
        self.store = self.make_store(self.data_dir)
        await self.store.start()
        names = [info.name for info in await self.boxes.list_mailboxes()]
        self.assertNotIn("New", names)
        self.assertGreater((await self.boxes.status("INBOX")).uid_validity, newest)

    def test_given_up(self) -> None:
        """A backup that was not ended is no backup, and the next one clears it away."""
        self.folder.mkdir()
        os.mkdir(self.folder / "20200101T000000Z.new")
        self.back_up()
        self.assertEqual(len(list_backups(self.folder)), 1)
        self.assertEqual(len(list(self.folder.iterdir())), 1)
        self.assertRaises(BackupFailed, self.back_up)

    async def test_deleted_mail(self) -> None:
        """It is in the backup, and can be brought back after the restore; it is not counted as mail."""
        self.store.deleted.settings = DeletedSettings(keep_seconds=60.0)
        self.now += 10
        at = self.now - 5
        await (await self.inbox()).remove(EVERY)
        made = self.back_up()
        self.assertEqual(made.messages, 1)
        store = self.restored(made.name)
        undeletion = store.undeletion(self.alice.id)
        run_now(undeletion.restore(run_now(undeletion.plan(at))))
        self.assertEqual(run_now(store.mailboxes(self.alice.id).status("INBOX")).messages, 2)
        self.assertEqual(list(store.verification().damages()), [])
