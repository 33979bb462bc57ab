"""
The writer when the database fails: what of a batch is told to have happened has happened, and nothing else.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from typing import Any

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure
from mailtraq_py.store.migrate import migrate
from mailtraq_py.store.sql.accounts import Missing, Taken
from mailtraq_py.store.sql.rows import Written
from mailtraq_py.store.sqlite import Connections
from mailtraq_py.store.turnstile import Turnstile
from mailtraq_py.store.writer import SLICE_SECONDS, Call, Writer


def add(name: str) -> Call:
    """An operation that adds a domain."""
    return "add_domain", (name, "", 0.0)


class _BrokenFile(apsw.VFSFile):
    """A file whose syncs fail when they are told to."""

    def __init__(self, vfs: str, name: Any, flags: list[int], broken: list[bool]) -> None:
        super().__init__(vfs, name, flags)
        self._broken = broken

    def xSync(self, flags: int) -> None:
        """Sync, or fail."""
        if self._broken:
            error = apsw.IOError("sync failed")
            error.extendedresult = apsw.SQLITE_IOERR_FSYNC
            raise error
        super().xSync(flags)


class _BrokenDisk(apsw.VFS):
    """A file system whose syncs fail while `broken` is not empty."""

    def __init__(self) -> None:
        self.broken: list[bool] = []
        super().__init__("broken", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """Open."""
        return _BrokenFile("unix", name, flags, self.broken)


class WriterTests(SynchronousTestCase):
    """A writer on a file."""

    def setUp(self) -> None:
        """A fresh database."""
        self.folder = tempfile.mkdtemp(prefix="writer-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.open()

    def open(self) -> None:
        """Open it."""
        self.connections = Connections(f"{self.folder}/mail.db")
        migrate(self.connections, "main")
        self.writer = Writer(self.connections, time.time, time.monotonic)
        self.addCleanup(self.connections.close)
        self.addCleanup(self.writer.close)

    def domains(self) -> list[str]:
        """Which domains are committed."""
        rows = self.connections.reader().execute("SELECT name FROM domains ORDER BY name").fetchall()
        return [row[0] for row in rows]

    def kinds(self, *calls: Call) -> list[type]:
        """Run operations in one batch; the types of their outcomes."""
        return [type(outcome) for outcome in self.writer.execute(calls)]

    def test_one_commit(self) -> None:
        """Operations of a batch share a commit, and each has its outcome."""
        outcomes = self.writer.execute([add("a.test"), add("b.test")])
        self.assertEqual([outcome.value for outcome in outcomes if isinstance(outcome, Written)], [1, 2])
        self.assertEqual(self.domains(), ["a.test", "b.test"])
        self.assertEqual((self.writer.metrics.batches, self.writer.metrics.largest_batch), (1, 2))

    def test_a_refusal_is_its_own(self) -> None:
        """What one operation is refused does not touch its neighbours, nor leave anything of it."""
        refused = ("add_domain", ("x.test", "missing.test", 0.0))
        kinds = self.kinds(add("a.test"), refused, add("a.test"), add("b.test"))
        self.assertEqual(kinds, [Written, Missing, Taken, Written])
        self.assertEqual(self.domains(), ["a.test", "b.test"])

    def test_a_bug_is_its_own(self) -> None:
        """A programming error in one operation goes to its caller alone."""
        self.assertEqual(self.kinds(add("a.test"), ("add_domain", ()), add("b.test")), [Written, TypeError, Written])
        self.assertEqual(self.domains(), ["a.test", "b.test"])

    def test_a_slice_of_time(self) -> None:
        """When its time is used up the batch is committed, and what was not begun waits for the next one."""
        ticks = iter(range(1000))
        writer = Writer(self.connections, time.time, lambda: next(ticks) * SLICE_SECONDS / 2)
        self.addCleanup(writer.close)
        outcomes = writer.execute([add("a.test"), add("b.test"), add("c.test"), add("d.test")])
        self.assertEqual([outcome is not None for outcome in outcomes], [True, True, False, False])
        self.assertEqual(self.domains(), ["a.test", "b.test"])
        self.assertEqual(writer.metrics.operations, 2)

    def test_disk_full(self) -> None:
        """Whoever has no room is told so, the others are committed, and all is well when there is room again."""
        writer = self.connections.writer
        pages = writer.pragma("page_count")
        writer.pragma("max_page_count", pages + 2)
        large = ("add_alias", ("a.test", "x", ["t" * 1_000_000]))
        self.assertEqual(
            self.kinds(add("a.test"), large, add("b.test"), ("nothing_such", ())),
            [Written, StorageFull, Written, KeyError],
        )
        self.assertEqual(self.domains(), ["a.test", "b.test"])
        self.assertTrue(self.writer.is_healthy)
        writer.pragma("max_page_count", 1_000_000)
        self.assertEqual(self.kinds(large), [Written])

    def test_a_failed_sync(self) -> None:
        """Nothing of that batch is acknowledged, and nothing is written any more until a restart."""
        self.writer.close()
        self.connections.close()
        disk = _BrokenDisk()
        self.addCleanup(disk.unregister)
        self.open()
        self.assertEqual(self.kinds(add("a.test")), [Written])
        disk.broken.append(True)
        self.assertEqual(self.kinds(add("b.test"), add("c.test")), [TemporaryFailure] * 2)
        self.assertFalse(self.writer.is_healthy)
        disk.broken.clear()
        self.assertEqual(self.kinds(add("d.test")), [TemporaryFailure])
        self.assertEqual(self.domains(), ["a.test"])

    def test_somebody_else_holds_the_lock(self) -> None:
        """A writer that is kept out for too long fails for now and goes on afterwards."""
        other = Connections(f"{self.folder}/mail.db")
        self.addCleanup(other.close)
        self.connections.writer.set_busy_timeout(10)
        other.writer.execute("BEGIN IMMEDIATE")
        self.assertEqual(self.kinds(add("a.test"), add("b.test")), [TemporaryFailure] * 2)
        other.writer.execute("ROLLBACK")
        self.assertEqual(self.kinds(add("a.test")), [Written])

    def test_the_log_is_moved_into_the_file(self) -> None:
        """A grown write-ahead log is checkpointed between batches."""
        self.kinds(add("a.test"))
        for number in range(3):
            self.kinds(("add_alias", ("a.test", f"x{number}", ["t" * 8_000_000])))
            self.writer.checkpoint()
        self.assertGreaterEqual(self.writer.metrics.checkpoints, 1)
        self.assertLess(self.writer.metrics.wal_pages, 6000)


class TurnstileTests(SynchronousTestCase):
    """The turn of writing."""

    def test_one_at_a_time(self) -> None:
        """The second waits until the first leaves."""
        folder = tempfile.mkdtemp(prefix="turnstile-")
        self.addCleanup(shutil.rmtree, folder)
        one, two = Turnstile(f"{folder}/db"), Turnstile(f"{folder}/db")
        self.addCleanup(one.close)
        self.addCleanup(two.close)
        self.patch(time, "sleep", lambda _: one.leave())
        one.enter()
        two.enter()
        two.leave()

    def test_patience_ends(self) -> None:
        """Who waits too long fails for now, and the turnstile is free for others."""
        folder = tempfile.mkdtemp(prefix="turnstile-")
        self.addCleanup(shutil.rmtree, folder)
        one, two = Turnstile(f"{folder}/db"), Turnstile(f"{folder}/db")
        self.addCleanup(one.close)
        self.addCleanup(two.close)
        now = [0.0]
        self.patch(time, "monotonic", lambda: now[0])
        self.patch(time, "sleep", lambda _: now.__setitem__(0, now[0] + 1))
        one.enter()
        self.assertRaises(TemporaryFailure, two.enter)
        one.leave()
        two.enter()
