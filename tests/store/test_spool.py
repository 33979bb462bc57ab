"""
Spools, and what a crash leaves behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure
from mailtraq_py.store import spool as module
from mailtraq_py.store.spool import CHUNK_OCTETS, INLINE_MAX_OCTETS, Spool, SpoolFolder


class SpoolTests(SynchronousTestCase):
    """One message while it arrives."""

    def setUp(self) -> None:
        """A folder for spools."""
        self.root = Path(tempfile.mkdtemp(prefix="spool-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.folder = SpoolFolder(self.root / "spool")
        self.addCleanup(self.folder.close)

    def files(self) -> list[Path]:
        """Files in the folder."""
        return [path for path in self.root.rglob("*") if path.is_file() and path.suffix != ".lock"]

    def test_a_small_one_stays_in_memory(self) -> None:
        """No file is made, and all that was written comes back."""
        spool = Spool(self.folder)
        self.assertEqual(list(spool.chunks()), [])
        spool.write(b"one")
        spool.write(b"two")
        self.assertEqual((b"".join(spool.chunks()), spool.octets), (b"onetwo", 6))
        self.assertEqual(list(self.root.iterdir()), [])

    def test_a_large_one_goes_on_in_a_file(self) -> None:
        """Chunks are of 64 KiB at most; the file is private and goes with `discard`."""
        spool = Spool(self.folder)
        octets = os.urandom(INLINE_MAX_OCTETS + 5)
        for place in range(0, len(octets), 10_000):
            spool.write(octets[place : place + 10_000])
        self.assertEqual(b"".join(spool.chunks()), octets)
        self.assertLessEqual(max(map(len, spool.chunks())), CHUNK_OCTETS)
        (file,) = self.files()
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        spool.discard()
        spool.discard()
        self.assertEqual(self.files(), [])

    def test_a_forgotten_one(self) -> None:
        """A spool that nobody holds any more leaves no file."""
        spool = Spool(self.folder)
        spool.write(bytes(INLINE_MAX_OCTETS + 1))
        self.assertEqual(len(self.files()), 1)
        del spool
        self.assertEqual(self.files(), [])

    def test_disk_full(self) -> None:
        """A full disk is StorageFull, another error a failure for now."""
        for number, kind in ((errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EIO, TemporaryFailure)):

            def fail(_descriptor: int, _octets: object, number: int = number) -> int:
                raise OSError(number, os.strerror(number))

            spool = Spool(self.folder)
            spool.write(bytes(INLINE_MAX_OCTETS))
            self.patch(module.os, "write", fail)
            self.assertRaises(kind, spool.write, b"x")
            spool.discard()

    def test_a_dead_processes_folder(self) -> None:
        """A folder whose lock nobody holds is removed, a living one's stays."""
        dead = SpoolFolder(self.root / "spool")
        dead.create()
        spool = Spool(dead)
        spool.write(bytes(INLINE_MAX_OCTETS + 1))
        self.folder.create()
        self.assertFalse(self.folder.remove_abandoned())
        self.assertEqual(len(self.files()), 1)
        os.close(dead._lock)
        dead._lock = -1
        self.assertTrue(self.folder.remove_abandoned())
        self.assertEqual(self.files(), [])

    def test_its_lock_is_taken_for_a_dead_ones(self) -> None:
        """Several processes start at once: one whose lock another removes before it is held makes a new one."""
        removed = []

        def flock(descriptor: int, operation: int) -> None:
            if not removed:
                removed.append(descriptor)
                self.assertTrue(SpoolFolder(self.root / "spool").remove_abandoned())
            fcntl.flock(descriptor, operation)

        self.patch(module, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB))
        self.folder.create()
        self.assertFalse(SpoolFolder(self.root / "spool").is_alone())

    def test_two_remove_the_same(self) -> None:
        """Who finds that another one removed a folder meanwhile goes on."""
        other = SpoolFolder(self.root / "spool")
        self.patch(other, "_others", lambda: ["gone"])
        self.assertTrue(other.remove_abandoned())
        self.assertTrue(other.is_alone())
