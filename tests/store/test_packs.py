"""
Databases as pages that backups share: only what changed is written, each copy is whole, damage is seen.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.packs import DamagedPack, PackedFile
from mailtraq_py.store.throttle import Throttle

PAGE = 4096


class PackTests(SynchronousTestCase):
    """A database of 200 rows, each a page and a little, and copies of it."""

    def setUp(self) -> None:
        """The rows."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.live = apsw.Connection(str(self.folder / "live.db"))
        self.addCleanup(self.live.close)
        self.live.execute(f"PRAGMA page_size = {PAGE}; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF").fetchall()
        self.live.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, octets BLOB)")
        self.change(*range(200))

    def change(self, *numbers: int) -> None:
        """Other octets for these rows."""
        for number in numbers:
            self.live.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (number, os.urandom(PAGE)))

    def copy(self, name: str, earlier: str = "") -> PackedFile:
        """A backup of it, saved."""
        folder = self.folder / name
        folder.mkdir()
        packed = PackedFile(folder, "mail", PackedFile.read(self.folder / earlier, "mail") if earlier else None)
        with closing(packed.connect()) as target, target.backup("main", self.live, "main") as backup:
            backup.step(-1)
        packed.save()
        packed.verify()
        self.addCleanup(packed.close)
        return packed

    def rows(self, name: str) -> list[object]:
        """What a backup holds, taken out of it."""
        with closing(PackedFile.read(self.folder / name, "mail")) as packed:
            packed.extract(self.folder / f"{name}.out")
        with closing(apsw.Connection(str(self.folder / f"{name}.out"))) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").get, "ok")
            return list(connection.execute("SELECT * FROM t ORDER BY id"))

    def test_only_what_changed(self) -> None:
        """The second copy writes the changed rows' pages, the third one at most the first page; all are whole."""
        states = [self.live.execute("SELECT * FROM t ORDER BY id").fetchall()]
        self.assertGreater(self.copy("one").written, 200 * PAGE)
        self.change(7, 70)
        states.append(self.live.execute("SELECT * FROM t ORDER BY id").fetchall())
        self.assertLess(self.copy("two", "one").written, 10 * PAGE)
        self.assertLessEqual(self.copy("three", "two").written, PAGE)
        self.assertEqual([self.rows("one"), self.rows("two")], states)
        shutil.rmtree(self.folder / "one")
        self.assertEqual(self.rows("three"), states[1])

    def test_a_pack_that_is_hardly_needed(self) -> None:
        """Its pages are copied, and later copies do not need it."""
        self.copy("one")
        self.change(*range(190))
        self.copy("two", "one")
        self.assertEqual(sorted(os.listdir(self.folder / "two" / "pages")), ["mail-one", "mail-two"])
        self.copy("three", "two")
        self.assertEqual(sorted(os.listdir(self.folder / "three" / "pages")), ["mail-three", "mail-two"])

    def test_smaller(self) -> None:
        """A database that shrank is as short as it is."""
        self.copy("one")
        self.live.execute("DELETE FROM t WHERE id > 3")
        self.live.execute("VACUUM")
        self.copy("two", "one")
        self.assertEqual(len(self.rows("two")), 4)
        self.assertLess(os.path.getsize(self.folder / "two.out"), 20 * PAGE)

    def test_damage(self) -> None:
        """A page or a map that is not what was written, or a pack that is gone, is told."""
        self.copy("one")
        pack = self.folder / "one" / "pages" / "mail-one"
        octets = bytearray(pack.read_bytes())
        octets[5 * PAGE + 7] ^= 1
        pack.write_bytes(octets)
        error = self.assertRaises(DamagedPack, self.rows, "one")
        self.assertIn("mail is damaged", str(error))
        pack.unlink()
        os.unlink(self.folder / "one.out")
        self.assertRaises(DamagedPack, self.rows, "one")
        table = self.folder / "one" / "mail.map"
        table.write_bytes(table.read_bytes()[:-1] + b"?")
        self.assertRaises(DamagedPack, PackedFile.read, self.folder / "one", "mail")

    def test_a_page_that_was_never_written(self) -> None:
        """SQLite leaves out the one at 1 GiB; it is read as zeros."""
        (self.folder / "gap").mkdir()
        packed = PackedFile(self.folder / "gap", "mail")
        packed.write_at(b"a" * PAGE, 0)
        packed.write_at(b"b" * PAGE, 2 * PAGE)
        packed.save()
        packed.close()
        with closing(PackedFile.read(self.folder / "gap", "mail")) as again:
            self.assertEqual(again.read_at(PAGE, PAGE), bytes(PAGE))
            self.assertEqual(again.read_at(3, 2 * PAGE + 5), b"bbb")
            self.assertEqual(again.read_at(PAGE, 3 * PAGE), b"")

    def test_throttle(self) -> None:
        """It rests as long as was worked."""
        slept: list[float] = []
        throttle = Throttle(0.5, slept.append)
        throttle._began -= 1.0
        throttle.rest()
        throttle.rest()
        self.assertEqual(len(slept), 1)
        self.assertAlmostEqual(slept[0], 1.0, 1)
