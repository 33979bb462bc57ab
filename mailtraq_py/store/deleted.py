"""
Deleted mail: how long it stays recoverable, and its end.

    expunge, DELETE     messages move to the account's recoverable mailbox (`sql/recoverable.py`)
    expire              now and then: what is too old goes, then what is too much of an account, of the server, or for
                        the disk; the oldest first, in slices, so that deliveries are committed in between
    write               what finds no room on the disk is tried again once something has gone

After a purge nothing of it is in the database's file: freed pages are overwritten (`secure_delete`), and the
write-ahead log is truncated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from mailtraq_py.interfaces.failures import StorageFull

from .database import Database
from .disk import Disk
from .sql.rows import Row

# A slice of a purge holds others back for some milliseconds.
_SLICE_MESSAGES = 64
_SLICE_OCTETS = 1 << 20
# Room for more than the operation that found none.
_ROOM_OCTETS = 16 << 20
_EVERYTHING = 1 << 62
# Each waits for readers; a process that ends has no later batch to empty the log after.
_ERASE_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class DeletedSettings:
    """
    How long deleted mail stays, and where its owner sees it.

    `keep_seconds` 0: it is gone at once. The oldest goes first where there is more than `max_octets` in all or
    `max_account_octets` of an account (0: no bound; the account's quota), or less than `min_free_octets` free on the
    disk. `mailbox` is the name under which IMAP shows it, "" for none.
    """

    keep_seconds: float = 0.0
    max_octets: int = 0
    max_account_octets: int = 0
    min_free_octets: int = 0
    mailbox: str = ""


class Deleted:
    """
    See the file's head.

    Args:
        database: the main one.
        folder: on the disk whose room counts.
        settings: how long and how much.
        clock: seconds since the epoch.
        disk: asked for its room.
    """

    log = Logger()

    def __init__(
        self, database: Database, folder: Path, settings: DeletedSettings, clock: Callable[[], float], disk: Disk
    ) -> None:
        self.settings = settings
        self._database = database
        self._folder = folder
        self._clock = clock
        self._disk = disk

    @property
    def is_kept(self) -> bool:
        """Whether what is deleted now stays recoverable."""
        return self.settings.keep_seconds > 0

    async def write(self, name: str, *arguments: Any, octets: int = 0) -> Any:
        """`Database.run`; what finds no room is tried again after deleted mail has made some."""
        try:
            return await self._database.run(name, *arguments, octets=octets)
        except StorageFull:
            if not await self.make_room():
                raise
        return await self._database.run(name, *arguments, octets=octets)

    async def make_room(self) -> bool:
        """Purge some of the oldest, whatever its age; whether there was any."""
        try:
            return await self._purge(self._oldest, _ROOM_OCTETS) > 0
        except StorageFull:
            return False

    async def expire(self) -> None:
        """
        Purge what is too old or too much.

        Raises:
            TemporaryFailure: it cannot be written now.
        """
        settings, before = self.settings, self._clock() - self.settings.keep_seconds
        gone = await self._purge(lambda: self._oldest(before))
        await self._database.run("expire_deleted_mailboxes", before)
        for mailbox_id, excess in await self._database.read_apart("recoverable_excess", settings.max_account_octets):
            gone += await self._purge(partial(self._database.read, "oldest_deletion_of", mailbox_id), excess)
        if settings.max_octets:
            total = await self._database.read_apart("recoverable_octets")
            gone += await self._purge(self._oldest, total - settings.max_octets)
        if settings.min_free_octets and self._database.keeps_files:
            gone += await self._purge(self._oldest, settings.min_free_octets - self._free_octets())
        if gone:
            await self._database.run("end_purge")
            self.log.info("deleted-purged", event="deleted-purged", octets=gone)

    async def purge(self, runs: Iterable[tuple[int, int]], progress: Callable[[int], None] = lambda _: None) -> int:
        """
        Purge runs (recoverable mailbox, low) now; nothing of them is in the file when this returns.

        Returns:
            octets.
        """
        gone = 0
        for mailbox_id, low in runs:
            while low:
                messages, octets, low = await self._slice(mailbox_id, low, _SLICE_OCTETS)
                gone += octets
                progress(messages)
        for _ in range(_ERASE_ATTEMPTS):
            await self._database.run("end_purge")
            if not self._database.metrics.wal_pages:
                break
        return gone

    async def _purge(self, find: Callable[[], Row | None], octets: int = _EVERYTHING) -> int:
        """Purge what `find` finds until so many octets, or all of it, are gone; returns how many."""
        gone = 0
        while gone < octets and (run := find()) is not None:
            mailbox_id, low = run
            _, some, _ = await self._slice(mailbox_id, low, min(octets - gone, _SLICE_OCTETS))
            gone += some
        return gone

    async def _slice(self, mailbox_id: int, low: int, octets: int) -> tuple[int, int, int]:
        """(messages, octets) that are gone of a run, and the lowest UID that is left of it or 0."""
        gone: tuple[int, int, int] = await self._database.run(
            "purge_deletion", mailbox_id, low, octets, _SLICE_MESSAGES
        )
        return gone

    def _oldest(self, before: float = math.inf) -> Row | None:
        run: Row | None = self._database.read("oldest_deletion", before)
        return run

    def _free_octets(self) -> int:
        """What the disk has, and what the database's file has within."""
        return self._disk.free_octets(self._folder) + self._database.spare_octets()
