"""
What only files have: a disk that is short or full, and what a purge leaves in them.
"""

from __future__ import annotations

import errno
from pathlib import Path

from mailtraq_py.interfaces.failures import StorageFull
from mailtraq_py.store.now import run_now
from mailtraq_py.store.store import Store

from .contract import EVERY
from .deletedcontract import NAME, DeletedCase
from .disks import Recorder, nothing_fails

LARGE = "0123456789abcdef\r\n" * 10_000
MARKER = "marker-of-a-secret"


class FileTests(DeletedCase):
    """On a disk that can be told what to do."""

    def make_store(self, data_dir: str) -> Store:
        """At once, on a recorded disk."""
        self.recorder = Recorder(Path(data_dir))
        self.addCleanup(self.recorder.vfs.unregister)
        return Store(f"sqlite:{data_dir}/mail.db", data_dir, clock=self.clock, disk=self.recorder.disk)

    def fill_disk(self, missing: int) -> None:
        """There is so much less room than there must be, or so much more."""
        spare = self.store.database.spare_octets()
        self.patch(self.recorder.disk, "free_octets", lambda _path: 1 << 30)
        self.settle(min_free_octets=(1 << 30) + spare + missing)

    async def test_when_the_disk_is_short(self) -> None:
        """What is missing of the room that must be free goes, and no more."""
        for subject in ("one", "two", "six"):
            await self.put(subject)
            self.now += 60
            await self.take(subject)
        self.fill_disk(0)
        await self.store.keep_up()
        self.assertEqual(len(await self.subjects(NAME)), 3)
        self.fill_disk(1)
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), ["two", "six"])

    async def test_when_the_disk_is_full(self) -> None:
        """Mail that finds no room is taken once something deleted has gone; without such it is refused."""
        for subject in ("one", "two"):
            await self.put(subject, body=LARGE)
        await self.take("one", "two")
        purge = self.store.deleted._purge

        async def purge_with_room(*arguments: object) -> int:
            self.recorder.fault = nothing_fails
            return await purge(*arguments)  # type: ignore[arg-type]

        def full(_kind: str, name: str) -> OSError | None:
            return OSError(errno.ENOSPC, "No space left") if name.endswith("mail.db-wal") else None

        self.patch(self.store.deleted, "_purge", purge_with_room)
        self.recorder.fault = full
        await self.put("three")
        self.assertEqual(await self.subjects("INBOX"), ["three"])
        self.assertEqual(await self.subjects(NAME), [])
        self.patch(self.store.deleted, "_purge", purge)
        self.recorder.fault = full
        await self.assert_raises(StorageFull, self.put("four"))
        self.recorder.fault = nothing_fails
        await self.put("five")
        self.assertEqual(await self.subjects("INBOX"), ["three", "five"])

    async def test_nothing_is_left(self) -> None:
        """After a purge no file has an octet of it: not of the text, the subject, or what was put before it."""
        for body in (MARKER, MARKER + "\r\n" + LARGE):
            await self.put(MARKER, body=body)
        await self.put("stays")
        await self.take(MARKER)
        self.assertTrue(self.traces())
        self.now += 8 * 86400
        await self.store.keep_up()
        self.assertEqual(self.traces(), [])
        self.assertEqual(await self.subjects("INBOX"), ["stays"])

    async def test_by_hand(self) -> None:
        """The same when somebody says so."""
        await self.put(MARKER, body=MARKER + "\r\n" + LARGE)
        await (await self.inbox()).remove(EVERY)
        runs = await self.store.undeletion(self.alice.id).runs()
        await self.store.deleted.purge((run.recoverable_id, run.low) for run in runs)
        self.assertEqual(self.traces(), [])

    def traces(self) -> list[str]:
        """Files that have the marker somewhere; folded, as texts are kept for SEARCH."""
        files = [path for path in Path(self.data_dir).rglob("*") if path.is_file()]
        return [path.name for path in files if MARKER.encode() in path.read_bytes().lower()]

    async def test_a_reader_in_the_log(self) -> None:
        """Who reads just then is not waited for; the log is emptied after a later batch."""
        await self.put(MARKER)
        await self.take(MARKER)
        other = Store(f"sqlite:{self.data_dir}/mail.db", self.data_dir)
        run_now(other.start())
        reader = other.database._connections.reader()
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        self.now += 8 * 86400
        await self.store.keep_up()
        self.assertTrue(self.traces())
        reader.execute("ROLLBACK")
        await self.put("next")
        self.assertEqual(self.traces(), [])
        run_now(other.close())
