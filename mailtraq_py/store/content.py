"""
Contents: where the octets of messages lie, and how a new one becomes rows.

Small ones lie in the database, compressed where that pays; large ones are files `data_dir/content/XX/ID`, XX the
last octet of the id, or rows of 256 KiB where several hosts share the database. A file is synced, named and its folder
synced before the operation that makes its row is queued; it is unlinked after the commit that deletes its row. A file
without a row is one whose operation did not come to its commit: it is removed at a start that finds no other process
alive; such chunks go when they are an hour old.

Ids are time-ordered, so that new rows go to the end, and random, so that no two processes need to agree.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import ContentFacts, ContentRef, IContent

from .database import Database
from .disk import FULL
from .sortkeys import sort_keys
from .spool import Spool, SpoolFolder, outside_failure
from .sql.content import (
    CHUNK_OCTETS,
    COMPRESSION_NONE,
    COMPRESSION_ZSTD,
    PLACE_FILE,
    PLACE_INLINE,
    PLACE_ROWS,
)
from .sql.rows import Row
from .workers import Workers

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 1
# Below it compressing costs an acceptance about a tenth of its CPU and saves little more than a kilobyte.
_WORTH_TRYING_OCTETS = 8 * 1024
# From here on it takes longer than a thread to be woken; the reactor goes on meanwhile.
_PACK_APART_OCTETS = 64 * 1024
# A compressed form must save an eighth, or reading it is not worth the unpacking.
_GAIN_DIVISOR = 8
_EPOCH_MILLISECONDS = 1_577_836_800_000  # 2020-01-01
_RANDOM_BITS = 22
_CHUNKS_ALONE_SECONDS = 3600.0
_TEN_MINUTES_OF_IDS = 600_000 << _RANDOM_BITS


class ContentIds:
    """Ids of 63 bits: milliseconds since 2020, then random bits; rising within this process."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """A fresh id."""
        number = _first_id(time.time_ns() // 1_000_000) | secrets.randbits(_RANDOM_BITS)
        if number <= self._last:
            number = self._last + 1 + secrets.randbits(8)
        self._last = number
        return number


def _first_id(milliseconds: int) -> int:
    """The lowest id of a millisecond since the epoch."""
    return max(milliseconds - _EPOCH_MILLISECONDS, 1) << _RANDOM_BITS


def first_id_after(seconds: float) -> int:
    """The lowest id that a content may have which came after a time, in seconds since the epoch."""
    return _first_id(int(seconds * 1000) + 1)


@implementer(IContent)
class Content:
    """
    See `IContent`.

    Args:
        database: the main one.
        data_dir: below which files lie.
        spools: this process's spool folder.
        workers: where files are synced and read.
    """

    log = Logger()

    def __init__(self, database: Database, data_dir: Path, spools: SpoolFolder, workers: Workers) -> None:
        self._database = database
        self._root = data_dir / "content"
        self._spools = spools
        self._disk = spools.disk
        self._folders: set[Path] = set()
        self._workers = workers
        self._ids = ContentIds()
        self._swept = 0
        self._compressor = zstd.ZstdCompressor(level=_LEVEL)

    @property
    def is_healthy(self) -> bool:
        """False from a failed sync on, here or in the database."""
        return self._database.is_healthy

    def spool(self) -> Spool:
        """See `IContent`."""
        return Spool(self._spools)

    async def read(self, content: ContentRef, offset: int = 0, length: int | None = None) -> bytes:
        """See `IContent`."""
        at_hand = content.read_at_hand(offset, length)
        if at_hand is not None:
            return at_hand
        end = content.total_octets if length is None else min(content.total_octets, offset + length)
        head = content.head[offset:end]
        start, stop = max(0, offset - len(content.head)), max(0, end - len(content.head))
        if stop <= start:
            return head
        return head + await self._read_shared(content.id, start, stop)

    def reader(self, content_id: int) -> Callable[[int, int], bytes]:
        """
        A function that reads shared octets [start, stop) in the calling thread, any number of times.

        Raises:
            TemporaryFailure: they are not to be had; the function may raise it too.
        """
        return self._reader(content_id, self._place(content_id))

    def readers(self, content_ids: Iterable[int]) -> dict[int, Callable[[int, int], bytes]]:
        """The same of many at once; those whose octets are not to be had are left out."""
        found = {}
        for content_id, *row in self._database.read("content_places", list(content_ids)):
            with suppress(TemporaryFailure):
                found[content_id] = self._reader(content_id, tuple(row))
        return found

    def unpack(self, row: Row) -> bytes:
        """
        The octets of a row of `content_place` that lie inline.

        Raises:
            TemporaryFailure: they are not there, or are damaged.
        """
        _, compression, octets = row
        if octets is None:
            raise TemporaryFailure("content has no octets")
        if compression != COMPRESSION_ZSTD:
            whole: bytes = octets
            return whole
        try:
            return zstd.decompress(octets)
        except zstd.ZstdError as error:
            raise TemporaryFailure("content is damaged") from error

    def path(self, content_id: int) -> Path:
        """Where a content's file lies."""
        return content_path(self._root, content_id)

    async def prepare(self, spool: Spool, facts: ContentFacts) -> tuple[Row, Row, bytes | None]:
        """
        Make a content ready for its operation; a large one is on disk under its final name when this returns.

        Returns:
            its rows of `contents` and `sort_keys`, and its octets where they lie inline.

        Raises:
            StorageFull, TemporaryFailure: it could not be stored.
        """
        number = self._ids.next()
        octets: bytes | None = None
        place, compression = PLACE_INLINE, COMPRESSION_NONE
        if not spool.is_file:
            octets = spool.in_memory()
            if len(octets) < _PACK_APART_OCTETS:
                octets, compression = self._pack(octets)
            else:
                octets, compression = await self._workers.run(self._pack, octets)
        elif self._database.keeps_files:
            place = PLACE_FILE
            await self._workers.run(self._keep_file, spool, number)
        else:
            place = PLACE_ROWS
            await self._keep_rows(spool, number)
        subject = fold(facts.subject)
        row = (
            number,
            place,
            compression,
            0,
            spool.octets,
            spool.sha256,
            facts.lines,
            facts.header_octets,
            facts.envelope,
            facts.body,
            facts.body_structure,
            facts.parts,
            facts.fields,
            facts.sent_day,
            subject,
            fold(facts.sender),
            fold(facts.to),
            fold(facts.cc),
            thread_id(facts, number),
        )
        ids = facts.message_id, facts.in_reply_to, facts.references
        return row, sort_keys(number, facts.sent, subject, *ids), octets

    def unlink(self, content_ids: Iterable[int]) -> None:
        """Remove files whose rows are gone."""
        for content_id in content_ids:
            try:
                self._disk.unlink(self.path(content_id))
            except OSError as error:
                # It has no row, so the next start's sweep finds it.
                self.log.warn("content-left", event="content-left", content=content_id, error=error.strerror)

    def sweep(self, before: float) -> int:
        """
        Remove files without a row.

        Args:
            before: a time, seconds since the epoch, at which nobody was alive who might bring rows for such files. What
                is younger stays.

        Returns:
            how many were removed.
        """
        removed = 0
        if not self._root.is_dir():
            return 0
        bound = _first_id(int(before * 1000))
        for folder in self._root.iterdir():
            ids = [int(file.name, 16) for file in folder.iterdir() if len(file.name) == 16]
            ids = [number for number in ids if number < bound]
            orphans = set(ids).difference(self._database.read("known_contents", ids)) if ids else set()
            self.unlink(orphans)
            removed += len(orphans)
        return removed

    async def sweep_rows(self, now: float) -> None:
        """Remove chunks whose operation did not come to its commit: they are an hour old and have no content."""
        bound = _first_id(int((now - _CHUNKS_ALONE_SECONDS) * 1000))
        if not self._database.keeps_files and bound - self._swept > _TEN_MINUTES_OF_IDS:
            await self._database.run("sweep_chunks", self._swept, bound)
            self._swept = bound

    def _reader(self, content_id: int, row: Row) -> Callable[[int, int], bytes]:
        if row[0] == PLACE_FILE:
            return partial(self._read_file, content_id)
        if row[0] == PLACE_ROWS:
            return partial(self._database.read, "read_chunks", content_id)
        whole = self.unpack(row)
        return lambda start, stop: whole[start:stop]

    def _place(self, content_id: int) -> Row:
        row: Row | None = self._database.read("content_place", content_id)
        if row is None:
            raise TemporaryFailure("content is gone")
        return row

    async def _read_shared(self, content_id: int, start: int, stop: int) -> bytes:
        row = self._place(content_id)
        if row[0] == PLACE_INLINE:
            return self.unpack(row)[start:stop]
        if row[0] == PLACE_ROWS:
            octets: bytes = await self._database.read_apart("read_chunks", content_id, start, stop)
            return octets
        return await self._workers.run(self._read_file, content_id, start, stop)

    def _pack(self, octets: bytes) -> tuple[bytes, int]:
        if len(octets) >= _WORTH_TRYING_OCTETS:
            packed = self._compressor.compress(octets, zstd.ZstdCompressor.FLUSH_FRAME)
            if len(packed) < len(octets) - len(octets) // _GAIN_DIVISOR:
                return packed, COMPRESSION_ZSTD
        return octets, COMPRESSION_NONE

    async def _keep_rows(self, spool: Spool, number: int) -> None:
        """A chunk at a time, each committed: so no more than one is in memory, and no lock is held meanwhile."""
        for place, octets in enumerate(_in_chunks(spool.chunks())):
            await self._database.run("write_chunk", number, place, octets, octets=len(octets))
        spool.discard()

    def _read_file(self, content_id: int, start: int, stop: int) -> bytes:
        try:
            with open(self.path(content_id), "rb", buffering=0) as file:
                return os.pread(file.fileno(), stop - start, start)
        except OSError as error:
            raise outside_failure(error, "read of a content file") from error

    def _make_folder(self, folder: Path) -> None:
        """
        Make a folder's name durable, once in this process's life. That it is there says nothing: who made it may have
        been killed, or may be another thread that has not synced yet.
        """
        self._disk.make_folder(folder)
        self._disk.sync_folder(self._root)
        self._disk.sync_folder(self._root.parent)
        self._folders.add(folder)

    def _keep_file(self, spool: Spool, number: int) -> None:
        """
        In a worker thread: file, name and folder on disk.

        A sync that failed is not tried again, because the next one may succeed with the octets lost. A file of its own
        that found no room is given up and nothing more; after anything else the store takes no more.
        """
        path = self.path(number)
        what = "sync of a spool file"
        try:
            spool.sync()
            what = "sync of a new content folder"
            if path.parent not in self._folders:
                self._make_folder(path.parent)
            what = "naming of a content file"
            spool.move(path)
            what = "sync of a content folder"
            self._disk.sync_folder(path.parent)
        except OSError as error:
            if what.startswith("sync") and error.errno not in FULL:
                self._database.distrust(what)
            raise outside_failure(error, what) from error


def _in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets in pieces of CHUNK_OCTETS, the last one shorter."""
    gathered: list[bytes] = []
    size = 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= CHUNK_OCTETS:
            whole = b"".join(gathered)
            yield whole[:CHUNK_OCTETS]
            gathered = [whole[CHUNK_OCTETS:]]
            size -= CHUNK_OCTETS
    if size:
        yield b"".join(gathered)


def content_path(root: Path, content_id: int) -> Path:
    """Where a content's file lies below a folder of them."""
    return root / f"{content_id & 0xFF:02x}" / f"{content_id:016x}"


def fold(text: str) -> str:
    """The form in which texts are compared: without case, composed (NFC)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def thread_id(facts: ContentFacts, number: int) -> int:
    """
    The thread of a message, from its own header alone: the first of its References is the thread's root, and the
    root's own Message-ID gives the same number. A message without any is a thread of its own.

    RFC 5256 3, RFC 8474 5.2
    """
    for ids in (facts.references, facts.in_reply_to, facts.message_id):
        first = ids.partition(" ")[0]
        if first:
            return int.from_bytes(hashlib.blake2b(first.encode("utf-8", "replace"), digest_size=8).digest()) >> 1
    return number
