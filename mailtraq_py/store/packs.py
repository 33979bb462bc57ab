"""
A database as pages that backups share: each writes only those that the backup before it does not have.

    NAME.map      for each page its digest, and where it is: a pack and a place in it
    pages/PACK    pages one after the other, as they were new; a backup holds a link to each pack it needs

So each backup is whole by itself, whatever becomes of the others, and a pack's room is free when the last backup that
needs it is deleted. `PackedFile` is such a database as SQLite sees a file, through a VFS of its own: copied into page
by page, and opened and changed like any other. Each page that is read is held against its digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from .disk import Disk
from .packvfs import connect
from .throttle import Throttle

PAGES = "pages"
_DIGEST_OCTETS = 16
_UNSYNCED_OCTETS = 8 << 20
_PACKS_MAX = 60
# A pack of which less than this is still needed is copied, so that it can go.
_WORTH_KEEPING = 0.25
# A page that was never written: SQLite keeps the one at 1 GiB for its locks.
_NOWHERE = 0xFFFF
_NOT_YET = -1


class DamagedPack(Exception):
    """A page, or the map, is not what was written; the message says which."""


class PackedFile:
    """
    A database of a backup.

    Args:
        folder: of the backup.
        name: of the database.
        earlier: the same database of an earlier backup, whose pages may be shared; it is on the same disk.
        throttle: is told of each page.

    Attributes:
        written: octets of pages that were new.
    """

    def __init__(
        self, folder: Path, name: str, earlier: PackedFile | None = None, throttle: Throttle | None = None
    ) -> None:
        self.written = 0
        self._folder = folder
        self._name = name
        self._earlier = earlier
        self._throttle = throttle or Throttle(1.0)
        self._page_octets = 0
        self._digests = bytearray()
        self._packs: list[str] = []
        self._pack_of = array("H")
        self._place_of = array("I")
        self._descriptors: dict[str, int] = {}
        self._fresh: int | None = None
        self._fresh_number = _NOWHERE
        self._fresh_pages = 0
        self._unsynced = 0
        self._shared = {} if earlier is None else earlier._worth_keeping()

    @classmethod
    def read(cls, folder: Path, name: str, throttle: Throttle | None = None) -> PackedFile:
        """
        One that was written.

        Raises:
            DamagedPack: its map is damaged.
            OSError: there is none.
        """
        octets = (folder / f"{name}.map").read_bytes()
        body, digest = octets[:-32], octets[-32:]
        if hashlib.sha256(body).digest() != digest:
            raise DamagedPack(f"{folder / name}.map is damaged")
        head, _, rest = body.partition(b"\n")
        told: dict[str, Any] = json.loads(head)
        packed = cls(folder, name, throttle=throttle)
        packed._page_octets, packed._packs = told["page_octets"], told["packs"]
        count = told["pages"]
        ends = (count * _DIGEST_OCTETS, count * (_DIGEST_OCTETS + 2))
        packed._digests = bytearray(rest[: ends[0]])
        packed._pack_of = _from_octets("H", rest[ends[0] : ends[1]])
        packed._place_of = _from_octets("I", rest[ends[1] :])
        return packed

    def save(self) -> int:
        """Bring it to disk, map and all; returns the octets that were written."""
        disk = Disk()
        if self._fresh is not None:
            disk.sync(self._fresh)
        used = sorted({number for number in self._pack_of if number != _NOWHERE})
        numbers = {_NOWHERE: _NOWHERE, **{number: place for place, number in enumerate(used)}}
        packs = [self._packs[number] for number in used]
        head = {"page_octets": self._page_octets, "pages": len(self._pack_of), "packs": packs}
        body = b"".join(
            (
                json.dumps(head).encode() + b"\n",
                self._digests,
                _to_octets(array("H", (numbers[number] for number in self._pack_of))),
                _to_octets(self._place_of),
            )
        )
        descriptor = disk.new_file(self._folder / f"{self._name}.map")
        try:
            disk.write(descriptor, body + hashlib.sha256(body).digest())
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
        if (self._folder / PAGES).is_dir():
            disk.sync_folder(self._folder / PAGES)
        return self.written + len(body)

    def close(self) -> None:
        """Let go of the packs."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def connect(self) -> apsw.Connection:
        """Open it through SQLite; to be closed before `save`."""
        return connect(str((self._folder / f"{self._name}.db").absolute()), self)

    def extract(self, target: Path, progress: Callable[[str, int, int], None] = lambda *_: None) -> None:
        """
        Write it as one plain file.

        Raises:
            DamagedPack: a page is damaged or missing.
        """
        with open(target, "xb") as file:
            target.chmod(0o600)
            for page in range(len(self._pack_of)):
                file.write(self._read_page(page))
                progress("database", page + 1, len(self._pack_of))

    def verify(self) -> None:
        """
        Read what was written.

        Raises:
            DamagedPack: a page is damaged.
        """
        for page, pack in enumerate(self._pack_of):
            if pack == self._fresh_number != _NOWHERE:
                self._read_page(page)

    # -- as SQLite sees a file --------------------------------------------------------------------------------

    @property
    def octets(self) -> int:
        """Of the database."""
        return len(self._pack_of) * self._page_octets

    def read_at(self, octets: int, place: int) -> bytes:
        """Octets at a place of the file, fewer at its end."""
        if place >= self.octets:
            return b""
        page, first = divmod(place, self._page_octets)
        return self._read_page(page)[first : first + octets]

    def write_at(self, octets: bytes, place: int) -> None:
        """Write whole pages."""
        if not self._page_octets:
            self._page_octets = len(octets)
            if self._earlier is not None and self._earlier._page_octets != self._page_octets:
                self._shared = {}
        for at in range(0, len(octets), self._page_octets):
            self._write_page((place + at) // self._page_octets, octets[at : at + self._page_octets])

    def truncate(self, octets: int) -> None:
        """Cut off what is behind."""
        pages = octets // self._page_octets if octets else 0
        del self._digests[pages * _DIGEST_OCTETS :], self._pack_of[pages:], self._place_of[pages:]

    # -- pages ------------------------------------------------------------------------------------------------

    def _write_page(self, page: int, octets: bytes) -> None:
        while len(self._pack_of) <= page:
            self._digests += bytes(_DIGEST_OCTETS)
            self._pack_of.append(_NOWHERE)
            self._place_of.append(0)
        if page == 0:
            # A copy says that it has a log, as its source has: it has none (SQLite's file format, 1.3.2).
            octets = octets[:18] + b"\x01\x01" + octets[20:]
        digest = _digest(octets)
        earlier = self._earlier
        if earlier is not None and earlier._digest_of(page) == digest:
            pack = self._linked(earlier._packs[earlier._pack_of[page]])
            if pack != _NOWHERE:
                self._point(page, digest, pack, earlier._place_of[page])
                return
        self._point(page, digest, self._append(octets), self._fresh_pages - 1)

    def _point(self, page: int, digest: bytes, pack: int, place: int) -> None:
        self._digests[page * _DIGEST_OCTETS : (page + 1) * _DIGEST_OCTETS] = digest
        self._pack_of[page], self._place_of[page] = pack, place
        self._throttle.rest()

    def _digest_of(self, page: int) -> bytes:
        return bytes(self._digests[page * _DIGEST_OCTETS : (page + 1) * _DIGEST_OCTETS])

    def _append(self, octets: bytes) -> int:
        if self._fresh is None:
            pack = f"{self._name}-{self._folder.stem}"
            (self._folder / PAGES).mkdir(mode=0o700, exist_ok=True)
            self._fresh = self._descriptors[pack] = Disk().new_file(self._folder / PAGES / pack)
            self._fresh_number = len(self._packs)
            self._packs.append(pack)
        Disk().write(self._fresh, octets)
        self._fresh_pages += 1
        self.written += len(octets)
        self._unsynced += len(octets)
        # Synced in small amounts: a large one would be waited for by every commit of the server.
        if self._unsynced >= _UNSYNCED_OCTETS:
            Disk().sync(self._fresh)
            self._unsynced = 0
        return self._fresh_number

    def _linked(self, pack: str) -> int:
        """The number of a pack of the earlier backup, linked here; _NOWHERE where it cannot be, or is not worth it."""
        if self._earlier is not None and self._shared.get(pack) == _NOT_YET:
            try:
                (self._folder / PAGES).mkdir(mode=0o700, exist_ok=True)
                os.link(self._earlier._folder / PAGES / pack, self._folder / PAGES / pack)
            except OSError:
                self._shared[pack] = _NOWHERE
            else:
                self._shared[pack] = len(self._packs)
                self._packs.append(pack)
        return self._shared.get(pack, _NOWHERE)

    def _worth_keeping(self) -> dict[str, int]:
        """The packs that a later backup may share, none of them linked yet."""
        used = Counter(self._pack_of)
        del used[_NOWHERE]
        worth = {}
        for number, count in used.most_common(_PACKS_MAX):
            path = self._folder / PAGES / self._packs[number]
            if path.exists() and count * self._page_octets >= _WORTH_KEEPING * path.stat().st_size:
                worth[self._packs[number]] = _NOT_YET
        return worth

    def _read_page(self, page: int) -> bytes:
        if self._pack_of[page] == _NOWHERE:
            return bytes(self._page_octets)
        pack = self._packs[self._pack_of[page]]
        descriptor = self._descriptors.get(pack)
        if descriptor is None:
            try:
                descriptor = os.open(self._folder / PAGES / pack, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise DamagedPack(f"{self._folder / PAGES / pack}: {error.strerror}") from None
            self._descriptors[pack] = descriptor
        octets = os.pread(descriptor, self._page_octets, self._place_of[page] * self._page_octets)
        if _digest(octets) != self._digest_of(page):
            raise DamagedPack(f"{self._folder / PAGES / pack}: page {page + 1} of {self._name} is damaged")
        self._throttle.rest()
        return octets


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()[:_DIGEST_OCTETS]


def _to_octets(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_octets(code: str, octets: bytes) -> array[int]:
    numbers = array(code, octets)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
