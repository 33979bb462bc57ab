"""
Spools: messages while they arrive, and the folder they grow in.

A small message stays in memory. One that outgrows `INLINE_MAX_OCTETS` goes on in a file of this process's own spool
folder, and becomes a content file by being renamed. Each process has a folder, held by a lock that ends with the
process; a folder whose lock can be taken belongs to nobody any more and is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure
from mailtraq_py.interfaces.store import ISpool

from .disk import FULL, Disk

INLINE_MAX_OCTETS = 128 * 1024
CHUNK_OCTETS = 64 * 1024


def outside_failure(error: OSError, what: str) -> TemporaryFailure:
    """What an operating system's error is to our callers."""
    if error.errno in FULL:
        return StorageFull(f"{what}: {error.strerror}")
    return TemporaryFailure(f"{what}: {error.strerror}")


class SpoolFolder:
    """
    This process's folder `data_dir/spool/NAME`, made when the first large message comes.

    Args:
        root: `data_dir/spool`.
        disk: where files lie.
    """

    log = Logger()

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.name = secrets.token_hex(8)
        self._root = root
        self._lock = -1
        self._count = 0

    def create(self) -> None:
        """Make the folder and hold it. Idempotent."""
        if self._lock >= 0:
            return
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            lock = os.open(self._root / f"{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                break
            # Another process took it for a dead one's and removed it before we held it.
            os.close(lock)
        (self._root / self.name).mkdir(mode=0o700)
        self._lock = lock

    def new_file(self) -> tuple[Path, int]:
        """A fresh file, open for reading and writing."""
        self.create()
        self._count += 1
        path = self._root / self.name / str(self._count)
        return path, self.disk.new_file(path)

    def remove_abandoned(self) -> bool:
        """
        Remove the folders of processes that are dead.

        Returns:
            whether this process is now the only one that has a folder.
        """
        is_alone = True
        for name in self._others():
            with self._hold(name) as is_dead:
                if is_dead:
                    shutil.rmtree(self._root / name, ignore_errors=True)
                    (self._root / f"{name}.lock").unlink(missing_ok=True)
                    self.log.info("spool-removed", event="spool-removed", spool=name)
                is_alone = is_alone and is_dead
        return is_alone

    def is_alone(self) -> bool:
        """Whether no other process has a folder now; those of dead ones stay."""
        for name in self._others():
            with self._hold(name) as is_dead:
                if not is_dead:
                    return False
        return True

    def close(self) -> None:
        """Remove the folder and let go of it."""
        if self._lock >= 0:
            shutil.rmtree(self._root / self.name, ignore_errors=True)
            (self._root / f"{self.name}.lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _others(self) -> list[str]:
        """Names of all folders but ours."""
        return [path.stem for path in self._root.glob("*.lock") if path.stem != self.name]

    @contextmanager
    def _hold(self, name: str) -> Iterator[bool]:
        """Hold the lock of a folder if nobody else does; whether that is so. Another one may remove it beside us."""
        try:
            lock = os.open(self._root / f"{name}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield True
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(lock)


@implementer(ISpool)
class Spool:
    """
    See `ISpool`.

    Args:
        folder: where it goes on when it outgrows memory.
    """

    def __init__(self, folder: SpoolFolder) -> None:
        self.octets = 0
        self._folder = folder
        self._pieces: list[bytes] = []
        self._path: Path | None = None
        self._descriptor = -1
        self._digest = hashlib.sha256()

    @property
    def is_file(self) -> bool:
        """Whether it outgrew memory."""
        return self._path is not None

    @property
    def sha256(self) -> bytes:
        """The digest of all that was written."""
        return self._digest.digest()

    def write(self, octets: bytes) -> None:
        """See `ISpool`."""
        self.octets += len(octets)
        self._digest.update(octets)
        if self._path is None:
            self._pieces.append(bytes(octets))
            if self.octets <= INLINE_MAX_OCTETS:
                return
            octets = self._go_on_in_file()
        try:
            self._folder.disk.write(self._descriptor, octets)
        except OSError as error:
            raise outside_failure(error, "spool") from error

    def in_memory(self) -> bytes:
        """All of a message that stayed in memory."""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def chunks(self) -> Iterator[bytes]:
        """See `ISpool`."""
        if self._path is None:
            whole = self.in_memory()
            for place in range(0, len(whole), CHUNK_OCTETS):
                yield whole[place : place + CHUNK_OCTETS]
            return
        for place in range(0, self.octets, CHUNK_OCTETS):
            yield os.pread(self._descriptor, CHUNK_OCTETS, place)

    def sync(self) -> None:
        """
        Bring the file to disk.

        Raises:
            OSError: it is not there; the spool is good for `discard` only.
        """
        self._folder.disk.sync(self._descriptor)

    def move(self, target: Path) -> None:
        """Rename the file. The file belongs to this spool until `keep`."""
        if self._path is not None:
            self._folder.disk.rename(self._path, target)
            self._path = target

    def keep(self) -> None:
        """It is stored: what was written stays where it is."""
        self._path = None
        self._close()

    def discard(self) -> None:
        """See `ISpool`."""
        if self._path is not None:
            self._folder.disk.unlink(self._path)
            self._path = None
        self._close()

    def _go_on_in_file(self) -> bytes:
        try:
            self._path, self._descriptor = self._folder.new_file()
        except OSError as error:
            raise outside_failure(error, "spool") from error
        octets = b"".join(self._pieces)
        self._pieces.clear()
        return octets

    def _close(self) -> None:
        self._pieces.clear()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.discard()
