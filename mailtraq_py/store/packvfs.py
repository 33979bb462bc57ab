"""
SQLite's view of a file that is none: a database of one connection, without journal and locks, kept as its owner likes.
"""

from __future__ import annotations

from typing import Any, Protocol

import apsw

_VFS = "mailtraq-packs"
_SECTOR_OCTETS = 4096


class Pages(Protocol):
    """What keeps the octets."""

    @property
    def octets(self) -> int:
        """How many there are."""

    def read_at(self, octets: int, place: int) -> bytes:
        """Octets at a place of the file, fewer at its end."""

    def write_at(self, octets: bytes, place: int) -> None:
        """Write whole pages."""

    def truncate(self, octets: int) -> None:
        """Cut off what is behind."""


def connect(path: str, pages: Pages) -> apsw.Connection:
    """
    Open it through SQLite.

    Args:
        path: absolute, its name for SQLite; there need not be such a file.
        pages: the database; an exception out of it comes out of the statement that asked.
    """
    _FILES[path] = pages
    if not _VFSS:
        _VFSS.append(_PagesVFS())
    connection = apsw.Connection(path, vfs=_VFS)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = OFF", "cache_size = 500"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


_FILES: dict[str, Pages] = {}
_VFSS: list[apsw.VFS] = []


class _PagesVFS(apsw.VFS):
    """Opens files of `_FILES`, each by the path it would have."""

    def __init__(self) -> None:
        super().__init__(_VFS, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path not in _FILES:
            raise apsw.CantOpenError(f"{path} is no file of pages")
        return _Handle(_FILES.pop(path))

    def xAccess(self, pathname: str, flags: int) -> bool:
        return False


class _Handle:
    """The methods of SQLite's file that a database without a journal, of one connection, asks for."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def xRead(self, amount: int, offset: int) -> bytes:
        return self._pages.read_at(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._pages.write_at(bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        self._pages.truncate(newsize)

    def xFileSize(self) -> int:
        return self._pages.octets

    def xClose(self) -> None:
        """Nothing: the file lives on."""

    def xSync(self, flags: int) -> None:
        """Its owner does it."""

    def xLock(self, level: int) -> None:
        """Nobody else has it."""

    def xUnlock(self, level: int) -> None:
        """Nobody else has it."""

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return _SECTOR_OCTETS

    def xDeviceCharacteristics(self) -> int:
        return 0
