"""
A disk that can lose what was not synced, be full, or fail: beneath SQLite (a VFS) and beneath content files (a `Disk`).

`Recorder` passes everything on to the real files and notes it. `rebuild` writes the files as a power cut at one moment
may have left them: what was synced is there; of what was not, any part may be, in sectors, in any order. Names in a
folder are such parts too, until the folder is synced.
"""

from __future__ import annotations

import errno
import os
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from mailtraq_py.store.disk import Disk

SECTOR = 512
Fault = Callable[[str, str], "OSError | None"]


def nothing_fails(_kind: str, _name: str) -> OSError | None:
    """A good disk."""
    return None


class Recorder:
    """
    What was done to the files below a folder, in order.

    Args:
        root: the folder; it exists and is on disk already.

    Attributes:
        fault: asked before each step with its kind (new, write, sync, rename, sync_folder, make) and file; the
            OSError it returns is what comes of the step.
        marks: (moment, value) pairs that the test notes with `mark`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fault: Fault = nothing_fails
        self.marks: list[tuple[int, Any]] = []
        self.disk = RecordingDisk(self)
        self.vfs = _RecordingVFS(self)
        self._events: list[tuple[Any, ...]] = []
        self._live: dict[str, int] = {}
        self._count = 0

    @property
    def moment(self) -> int:
        """How many steps there were."""
        return len(self._events)

    def mark(self, value: Any) -> None:
        """Note that something is true from this moment on."""
        self.marks.append((self.moment, value))

    def note(self, *event: Any) -> None:
        """Add a step."""
        self._events.append(event)

    def inode(self, path: str) -> int:
        """The file of this name, a new one where there is none."""
        if path not in self._live:
            self._count += 1
            self._live[path] = self._count
            self.note("link", path, self._count)
        return self._live[path]

    def check(self, kind: str, name: str) -> None:
        """Ask for a fault; raises it."""
        error = self.fault(kind, name)
        if error is not None:
            raise error

    def unlinked(self, path: str) -> None:
        """A name is gone."""
        if self._live.pop(path, None) is not None:
            self.note("unlink", path)

    def renamed(self, source: str, target: str) -> None:
        """A file has another name."""
        self._live[target] = self._live.pop(source)
        self.note("link", target, self._live[target])
        self.note("unlink", source)

    def rebuild(self, moment: int, target: Path, dice: random.Random) -> None:
        """Write the files as a power cut after so many steps may have left them."""
        events = self._events[:moment]
        synced: dict[int, int] = defaultdict(int)
        folders: dict[str, int] = defaultdict(int)
        for event in events:
            if event[0] == "sync":
                synced[event[1]] = max(synced[event[1]], event[2])
            elif event[0] == "sync_folder":
                folders[event[1]] = max(folders[event[1]], event[2])
        octets = _octets(events, synced, dice)
        # One disk keeps all that was not synced, another nothing, most something.
        chance = dice.choice((0.0, 1.0, dice.random()))
        names: dict[str, int] = {}
        made = {str(self.root)}
        for number, event in enumerate(events):
            if event[0] not in ("link", "unlink", "make"):
                continue
            is_there = number < folders[str(Path(event[1]).parent)] or dice.random() < chance
            if not is_there:
                continue
            if event[0] == "link":
                names[event[1]] = event[2]
            elif event[0] == "unlink":
                names.pop(event[1], None)
            else:
                made.add(event[1])
        for name, inode in names.items():
            if not self._is_reached(Path(name).parent, made):
                continue
            path = target / Path(name).relative_to(self.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(octets.get(inode, b""))

    def _is_reached(self, folder: Path, made: set[str]) -> bool:
        while folder != self.root:
            if str(folder) not in made:
                return False
            folder = folder.parent
        return True


def _octets(events: list[tuple[Any, ...]], synced: dict[int, int], dice: random.Random) -> dict[int, bytearray]:
    """What each file holds."""
    files: dict[int, bytearray] = defaultdict(bytearray)
    pending: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for number, event in enumerate(events):
        if event[0] not in ("write", "truncate"):
            continue
        if number < synced[event[1]]:
            _apply(files[event[1]], event)
        else:
            pending[event[1]].append(event)
    for inode, steps in pending.items():
        chance = dice.choice((0.0, 1.0, dice.random()))
        parts = [part for step in steps for part in _sectors(step) if dice.random() < chance]
        if chance < 1.0:
            dice.shuffle(parts)
        for part in parts:
            _apply(files[inode], part)
    return files


def _sectors(step: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    if step[0] == "truncate":
        return [step]
    kind, inode, offset, octets = step
    return [
        (kind, inode, offset + place, octets[place : place + SECTOR]) for place in range(0, len(octets), SECTOR)
    ]


def _apply(file: bytearray, step: tuple[Any, ...]) -> None:
    if step[0] == "truncate":
        size = step[2]
        del file[size:]
        file.extend(bytes(size - len(file)))
        return
    _, _, offset, octets = step
    file.extend(bytes(max(0, offset - len(file))))
    file[offset : offset + len(octets)] = octets


class RecordingDisk(Disk):
    """Beneath content files."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._open: dict[int, tuple[int, str]] = {}

    def new_file(self, path: Path) -> int:
        """See `Disk`."""
        self._recorder.check("new", str(path))
        descriptor = super().new_file(path)
        self._open[descriptor] = (self._recorder.inode(str(path)), str(path))
        return descriptor

    def write(self, descriptor: int, octets: bytes) -> None:
        """See `Disk`."""
        inode, path = self._open[descriptor]
        self._recorder.check("write", path)
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        super().write(descriptor, octets)
        self._recorder.note("write", inode, offset, bytes(octets))

    def sync(self, descriptor: int) -> None:
        """See `Disk`. The real sync is left out: the power stays on."""
        inode, path = self._open[descriptor]
        self._recorder.check("sync", path)
        self._recorder.note("sync", inode, self._recorder.moment)

    def make_folder(self, path: Path) -> None:
        """See `Disk`."""
        self._recorder.check("make", str(path))
        super().make_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        """See `Disk`."""
        self._recorder.check("rename", str(source))
        super().rename(source, target)
        self._recorder.renamed(str(source), str(target))

    def sync_folder(self, path: Path) -> None:
        """See `Disk`."""
        self._recorder.check("sync_folder", str(path))
        for entry in path.iterdir():
            if entry.is_dir():
                self._recorder.note("make", str(entry))
        self._recorder.note("sync_folder", str(path), self._recorder.moment)

    def unlink(self, path: Path) -> None:
        """See `Disk`."""
        super().unlink(path)
        self._recorder.unlinked(str(path))


class _RecordingVFS(apsw.VFS):
    """Beneath SQLite; it is the default while it lives."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__("recording", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        """Open."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _RecordingFile(self._recorder, name, flags, path or "")

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Delete."""
        super().xDelete(filename, syncdir)
        self._recorder.unlinked(filename)
        if syncdir:
            self._recorder.note("sync_folder", str(Path(filename).parent), self._recorder.moment)


class _RecordingFile(apsw.VFSFile):
    """A database or its write-ahead log. What is not below the recorder's folder is passed on."""

    def __init__(self, recorder: Recorder, name: Any, flags: list[int], path: str) -> None:
        super().__init__("unix", name, flags)
        self._recorder = recorder
        self._path = path
        self._is_noted = path.startswith(str(recorder.root))
        self._syncs_folder = True
        self._inode = recorder.inode(path) if self._is_noted else 0

    def xWrite(self, octets: bytes, offset: int) -> None:
        """Write, or fail: for want of room, or for good."""
        if self._is_noted:
            self._check("write")
        super().xWrite(octets, offset)
        if self._is_noted:
            self._recorder.note("write", self._inode, offset, bytes(octets))

    def xTruncate(self, size: int) -> None:
        """Truncate."""
        super().xTruncate(size)
        if self._is_noted:
            self._recorder.note("truncate", self._inode, size)

    def xSync(self, flags: int) -> None:
        """Sync, or fail. The first sync of a new file syncs its folder, as SQLite does."""
        if not self._is_noted:
            super().xSync(flags)
            return
        self._check("sync")
        recorder = self._recorder
        recorder.note("sync", self._inode, recorder.moment)
        if self._syncs_folder:
            self._syncs_folder = False
            recorder.note("sync_folder", str(Path(self._path).parent), recorder.moment)

    def _check(self, kind: str) -> None:
        error = self._recorder.fault(kind, self._path)
        if error is None:
            return
        if error.errno == errno.ENOSPC:
            raise apsw.FullError("the test's disk is full")
        failure = apsw.IOError("the test's disk fails")
        failure.extendedresult = apsw.SQLITE_IOERR_FSYNC if kind == "sync" else apsw.SQLITE_IOERR_WRITE
        raise failure
