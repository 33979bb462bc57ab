"""
What content files ask of the disk: the steps whose order makes a file durable, in one place.

    new_file, write     octets, in the operating system's memory
    sync                the octets are on disk
    rename              the file has its name
    sync_folder         the name is on disk

A power cut may undo, in part and in any order, whatever was not synced. The tests put a disk in this one's place that
does so, and one that is full or fails.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """The operating system's. Every method may raise OSError."""

    def new_file(self, path: Path) -> int:
        """A file that was not there, open for reading and writing, its owner's alone; returns its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, octets: bytes) -> None:
        """Write all of it at the file's place."""
        view = memoryview(octets)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Bring a file's octets to disk. After a failure the next success means nothing: give the file up."""
        os.fsync(descriptor)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above that are missing; their names are on disk afterwards."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            self.sync_folder(folder.parent)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name."""
        source.rename(target)

    def sync_folder(self, path: Path) -> None:
        """Bring a folder's names to disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_octets(self, path: Path) -> int:
        """How much room there is for us on a folder's disk."""
        room = os.statvfs(path)
        return room.f_bavail * room.f_frsize

    def unlink(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)
