"""
Lists that lie in files of their own: read, held, and looked at now and then for changes.

`ListFiles` is what was read; a newer reading is another one, so that a file that has become bad leaves the old list
where it was. A file that cannot be read, or is no list as a whole, is refused before anything of it is used.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from mailtraq_py.policy.settings import LIST_MAX_OCTETS, Entries, ListUnreadable, read_list, read_text

ENTRY_PREFIX = "file:"
"""An entry `file:NAME` of a list in the configuration stands for the lines of that file."""

_YOUNG_SECONDS = 2.0
_WHOLE = ""

Stamp = tuple[int, int, int]
"""Inode, octets and time of change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class _Held:
    """
    A file as it was read. `stamp` is None where the next look has to read again: the file was so young that another
    change might not show, or it was not there.
    """

    stamp: Stamp | None
    content: Entries | str


class ListFiles:
    """What was read of the list files of one configuration; a file is read when it is first asked for."""

    def __init__(self) -> None:
        self._held: dict[tuple[Path, str], _Held] = {}
        self._refused: dict[Path, Stamp | None] = {}

    def entries(self, path: Path, key: str) -> Entries:
        """
        The entries of a file.

        Args:
            key: the configuration's key that names the file.

        Raises:
            ListUnreadable: it is no list.
            OSError: it cannot be read.
        """
        content = self._content(path, key)
        assert not isinstance(content, str)  # noqa: S101 - it was read under a key
        return content

    def text(self, path: Path) -> str:
        """
        A file as a whole.

        Raises:
            ListUnreadable: it is no text, or too large.
            OSError: it cannot be read.
        """
        return str(self._content(path, _WHOLE))

    def changed(self) -> list[Path]:
        """The files that are not what was read any more, or may not be; a refused one only once for each change."""
        found: dict[Path, None] = {}
        for (path, key), held in self._held.items():
            stamp = _stamp(path)
            if stamp is not None and stamp == held.stamp:
                continue
            if path in self._refused and self._refused[path] == stamp:
                continue
            if held.stamp is None and stamp is not None and self._is_unchanged(path, key, held):
                continue
            found[path] = None
        return list(found)

    def without(self, path: Path) -> ListFiles:
        """The same without this file, which is then read anew."""
        others = ListFiles()
        others._held = {each: held for each, held in self._held.items() if each[0] != path}
        others._refused = {each: stamp for each, stamp in self._refused.items() if each != path}
        return others

    def note_refused(self, path: Path) -> None:
        """What the file holds now is no good: keep the old list until it changes again."""
        self._refused[path] = _stamp(path)

    def _content(self, path: Path, key: str) -> Entries | str:
        held = self._held.get((path, key))
        if held is None:
            held = self._held[path, key] = _Held(*_read(path, key))
        return held.content

    def _is_unchanged(self, path: Path, key: str, held: _Held) -> bool:
        """Look into a file that was too young to go by its stamp."""
        try:
            stamp, content = _read(path, key)
        except (OSError, ListUnreadable):
            return False
        if content != held.content:
            return False
        self._held[path, key] = _Held(stamp, content)
        return True


def _read(path: Path, key: str) -> tuple[Stamp | None, Entries | str]:
    return read_text_file(path) if key == _WHOLE else read_list_file(path, key)


def read_list_file(path: Path, key: str) -> tuple[Stamp | None, Entries]:
    """
    Read a list file; the stamp is None where the file changed a moment ago.

    Raises:
        ListUnreadable: it is no list: no regular file, too large, no text.
        OSError: it cannot be read.
    """
    stamp, octets = _read_octets(path)
    return stamp, read_list(octets, str(path), key)


def read_text_file(path: Path) -> tuple[Stamp | None, str]:
    """As `read_list_file`, for a file that is taken apart elsewhere."""
    stamp, octets = _read_octets(path)
    return stamp, read_text(octets)


def _read_octets(path: Path) -> tuple[Stamp | None, bytes]:
    # A FIFO would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ListUnreadable("is no regular file")
        if status.st_size > LIST_MAX_OCTETS:
            raise ListUnreadable("is larger than 64 MiB")
        with open(descriptor, "rb", closefd=False) as file:
            octets = file.read(LIST_MAX_OCTETS + 1)
    finally:
        os.close(descriptor)
    is_young = time.time() - status.st_mtime < _YOUNG_SECONDS
    return None if is_young else _stamp_of(status), octets


def _stamp(path: Path) -> Stamp | None:
    try:
        return _stamp_of(path.stat())
    except OSError:
        return None


def _stamp_of(status: os.stat_result) -> Stamp:
    return (status.st_ino, status.st_size, status.st_mtime_ns)
