"""
The store: opens everything and holds it together.

    Store(url, data_dir, reactor)      for a server: writer threads, worker threads, notices of other processes
    Store(..., peers=...)              for one of several workers of a server: the writer is a process of its own
    Store(url, data_dir)               at once, without a reactor: the command line, unit tests (`immediate.run_now`)

With SQLite two database files lie in one folder: the one of the URL, and `recent.db` beside it for what may be lost in
a power cut; large contents lie in `data_dir`. With PostgreSQL all lies in one database. Spools lie in `data_dir`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.mail.changes import Change

from .acceptance import AcceptanceDesk
from .administration import Administration
from .content import Content
from .database import Committed, Database, FileDatabase, ThreadedDatabase
from .decisions import DecisionRows
from .deleted import Deleted, DeletedSettings
from .directory import Directory
from .disk import Disk
from .failures import Failures
from .heap import QuietHeap, share_one_heap
from .hub import ChangeHub, Notices
from .immediate import ImmediateDatabase
from .logins import RecentLoginRows
from .mailboxes import Mailboxes, Shelf
from .opening import MAIN, RECENT, SHARED_SCHEME, connect, database_paths, open_shared, open_writer
from .passwords import Passwords
from .queue import Queue
from .remote import RemoteDatabase, WriterLink
from .rounds import Rounds
from .searchindex import SearchIndexes
from .spool import SpoolFolder
from .undelete import Undeletion
from .verification import Progress, Verification
from .workers import AtOnce, Threads, Workers

_UPKEEP_SECONDS = 30.0
_TRACES_KEPT_SECONDS = 14 * 86400.0
# Who stages copies for so long is dead.
_STAGED_SECONDS = 3600.0
_READERS = 2
_SYNCERS = 8


@dataclass(frozen=True, slots=True)
class Peers:
    """
    What a worker knows of its server's others.

    Attributes:
        writer: its end of the socketpair to the writer's process, which PostgreSQL has none of; the store closes it.
        count: how many workers share the host; each has its share of the cores for password checks.
        keeps_up: whether this one purges and expires for all. One does.
        writer_lost: called on the reactor thread when the writer is gone and everybody who waited for it knows. The
            store takes nothing any more; the worker ends and another one comes with another writer.
    """

    writer: socket.socket
    count: int
    keeps_up: bool
    writer_lost: Callable[[], None]


class Store:
    """
    Everything that is kept.

    Args:
        url: "sqlite:/absolute/path.db", or "sqlite::memory:" for tests without a reactor; "postgresql:" and what libpq
            connects to.
        data_dir: for large contents and spools; made when missing, mode 0700.
        reactor: None makes a store that does everything at once in the calling thread.
        clock: seconds since the epoch.
        default_domain: where logins without a domain belong; "" is the domain that was added first.
        announce: write notices of changes for other processes; None: where there is no reactor, which is where
            another process, the server, has to hear of them.
        disk: where content files lie; the operating system's by default.
        peers: where this store is one worker's of several.
        deleted: how long deleted mail stays; at its default not at all.

    Attributes:
        acceptance, administration, content, decisions, deleted, directory, failures, hub, queue, recent_rows: there
            from `start` on.
    """

    log = Logger()

    acceptance: AcceptanceDesk
    administration: Administration
    content: Content
    decisions: DecisionRows
    deleted: Deleted
    directory: Directory
    failures: Failures
    hub: ChangeHub
    queue: Queue
    recent_rows: RecentLoginRows

    def __init__(
        self,
        url: str,
        data_dir: str | os.PathLike[str],
        reactor: Any = None,
        clock: Callable[[], float] = time.time,
        default_domain: str = "",
        announce: bool | None = None,
        disk: Disk | None = None,
        peers: Peers | None = None,
        deleted: DeletedSettings = DeletedSettings(),  # noqa: B008 - a frozen value
    ) -> None:
        self._url = url
        self._paths = {} if url.startswith(SHARED_SCHEME) else database_paths(url)
        self._peers = peers
        self._link: WriterLink | None = None
        self._data_dir = Path(data_dir)
        self._reactor = reactor
        self._clock = clock
        self._default_domain = default_domain
        self._announce = reactor is None if announce is None else announce
        self._disk = disk or Disk()
        self._deleted_settings = deleted
        self._workers: list[Workers] = []
        self._databases: list[Database] = []
        self._heap: QuietHeap | None = None
        self._upkeep = Rounds(self._begin_keeping_up)
        self._keeping_up: Deferred[None] = succeed(None)
        self._notices: Notices | None = None
        self._spools = SpoolFolder(self._data_dir / "spool", self._disk)
        self.hub = ChangeHub()
        self.indexes = SearchIndexes(self._data_dir / "search")

    def clock(self) -> float:
        """Seconds since the epoch, by the database's clock where several hosts go by it."""
        return self._clock() + self._main.ahead

    @property
    def database(self) -> Database:
        """The main database, for its metrics."""
        return self._main

    @property
    def is_healthy(self) -> bool:
        """False after a failed sync: nothing is written until a restart."""
        return self._main.is_healthy and self._recent.is_healthy

    async def start(self) -> None:
        """
        Open, bring the schema up to date, clear away what a crash left.

        Raises:
            StoreRefused: the file is not ours or a newer program's.
            LibraryTooOld: the SQLite library has a bug that corrupts databases.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._reactor is not None:
            share_one_heap()
        syncers = self._new_workers("store-sync", _SYNCERS)
        readers = self._new_workers("store-read", _READERS)
        checks = max(1, (os.cpu_count() or 1) // (self._peers.count if self._peers else 1))
        hashers = self._new_workers("store-hash", checks)
        self._heap = QuietHeap(self._reactor, hashers)
        if self._peers is not None and not self._paths:
            self._peers.writer.close()
        elif self._peers is not None:
            self._link = WriterLink(self._reactor, self._peers.writer, self._peers.writer_lost)
        self._main: Database
        self._recent: Database
        if self._paths:
            self._main = self._open(MAIN, readers, self._committed)
            self._recent = self._open(RECENT, readers, None)
        else:
            self._main = self._recent = self._open_shared(readers)
        if self._link is not None:
            await self._link.ready
        self.content = Content(self._main, self._data_dir, self._spools, syncers)
        self.deleted = Deleted(self._main, self._data_dir, self._deleted_settings, self.clock, self._disk)
        self.acceptance = AcceptanceDesk(self._main, self.content, self.deleted, self.clock)
        self.queue = Queue(self._main, self.content, self.clock)
        passwords = Passwords(hashers, checks, time.monotonic, self._heap)
        self.directory = Directory(self._main, passwords, self._default_domain, self._pause)
        self.recent_rows = RecentLoginRows(self._recent, self._main)
        self.failures = Failures(self._recent)
        self.decisions = DecisionRows(self._recent, self._main)
        self.administration = Administration(self._main, self._recent, hashers, self.clock)
        self._shelf = Shelf(self._main, self.content, self.deleted, self.indexes, readers, self.clock, self._pause)
        if self._reactor is not None:
            await self._start_serving(syncers)

    def mailboxes(self, account_id: int) -> Mailboxes:
        """The mailboxes of an account."""
        return Mailboxes(self._shelf, account_id)

    def undeletion(self, account_id: int) -> Undeletion:
        """What of an account's deleted mail can come back."""
        return Undeletion(self._main, self.mailboxes(account_id))

    def verification(self, progress: Progress | None = None) -> Verification:
        """A look at everything that is kept; see there."""
        root = self._data_dir / "content"
        looking = Verification(self._main, self._recent, self.content, self.indexes, root, self._spools.is_alone)
        if progress is not None:
            looking.progress = progress
        return looking

    async def close(self) -> None:
        """Commit what waits, end the threads, close the files; of a store whose start failed, what there is."""
        if self._notices is not None:
            self._notices.stop()
        self._upkeep.stop()
        if self._heap is not None:
            self._heap.stop()
        for workers in self._workers:
            workers.stop()
        for database in self._databases:
            await database.close()
        if self._link is not None:
            self._link.close()
        self._spools.close()

    async def keep_up(self) -> None:
        """What is done now and then: purge what was condemned or deleted long ago, forget old traces."""
        try:
            await self._main.run("condemn_staged", 0, self.clock() - _STAGED_SECONDS)
            while await self._main.run("purge_condemned"):
                pass
            await self.deleted.expire()
            while await self._main.run("expire_acceptances", self.clock() - _TRACES_KEPT_SECONDS, 500):
                pass
            await self.content.sweep_rows(time.time())
            await self._main.keep_up()
        except TemporaryFailure as failure:
            self.log.warn("upkeep-failed", event="upkeep-failed", reason=failure.reason)

    async def _start_serving(self, syncers: Workers) -> None:
        await syncers.run(self._sync_folders)
        now = time.time()
        self._spools.create()
        # With several workers the writer's process sweeps before there are any: what a dead one asked may be under way.
        if self._spools.remove_abandoned() and self._peers is None:
            removed = await syncers.run(self.content.sweep, now)
            if removed:
                self.log.info("contents-removed", event="contents-removed", count=removed)
        self._notices = self._main.notices(self.hub, self._spools.name)
        self._notices.start(self._reactor)
        if self._peers is not None and not self._peers.keeps_up:
            return
        self._upkeep.start(self._reactor, _UPKEEP_SECONDS)

    def _begin_keeping_up(self) -> None:
        if self._keeping_up.called:
            self._keeping_up = Deferred.fromCoroutine(self.keep_up())

    def _sync_folders(self) -> None:
        """Folders made for us may not have their names on disk yet; what we may not look at is its owner's affair."""
        for folder in {self._data_dir, *(Path(path).parent for path in self._paths.values())}:
            with suppress(PermissionError):
                self._spools.disk.sync_folder(folder.absolute().parent)

    def _open(self, kind: str, workers: Workers, committed: Committed | None) -> FileDatabase:
        connections = connect(kind, self._paths[kind])
        database: FileDatabase
        if self._link is not None:
            database = RemoteDatabase(connections, self._link, kind, workers, self._reactor, committed)
        else:
            origin = self._spools.name if self._announce and kind == MAIN else ""
            writer = open_writer(kind, connections, self._clock, origin)
            if self._reactor is None:
                database = ImmediateDatabase(connections, writer, workers, committed)
            else:
                database = ThreadedDatabase(connections, writer, workers, self._reactor, committed)
        self._databases.append(database)
        return database

    def _open_shared(self, workers: Workers) -> Database:
        name = self._spools.name
        database = open_shared(self._url, workers, self._clock, self._reactor, self._committed, name)
        self._databases.append(database)
        return database

    def _new_workers(self, name: str, size: int) -> Workers:
        workers: Workers = AtOnce() if self._reactor is None else Threads(self._reactor, name, size)
        self._workers.append(workers)
        return workers

    def _committed(self, changes: tuple[Change, ...], purged: tuple[int, ...]) -> None:
        self.hub.publish(changes)
        self.content.unlink(purged)

    def _pause(self) -> Deferred[None]:
        """Let others have their turn."""
        if self._reactor is None:
            return succeed(None)
        pause: Deferred[None] = Deferred()
        self._reactor.callLater(0, pause.callback, None)
        return pause
