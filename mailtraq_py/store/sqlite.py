"""
SQLite connections: pragmas, the library's floor, one connection a thread for reading.

Write-ahead log with synchronous=FULL: a commit is on disk when it returns. Readers never block the writer, nor it
them. Checkpoints are run by the writer between its batches, never in the middle of somebody's commit.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path

import apsw

from .disk import Disk

RECENT_FILE = "recent.db"
"""What lies beside the main database's file."""
MEMORY = ":memory:"

# Libraries 3.7.0 to 3.51.2 can corrupt a WAL database when two connections write or checkpoint at once.
LIBRARY_FLOOR = (3, 51, 3)

BUSY_MILLISECONDS = 10_000
PAGE_OCTETS = 8192
# A list of ten thousand messages that is read again fits.
_CACHE_KIB = 32 * 1024
_STATEMENTS = 400
_LOG_OCTETS = 64 * 1024 * 1024


class LibraryTooOld(Exception):
    """The SQLite library has a bug that corrupts databases."""


def check_library(version: str = "") -> None:
    """
    Refuse an SQLite library that corrupts WAL databases.

    Args:
        version: as "3.51.2"; "" is the library's own.

    Raises:
        LibraryTooOld: below `LIBRARY_FLOOR`.
    """
    version = version or apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < LIBRARY_FLOOR:
        floor = ".".join(map(str, LIBRARY_FLOOR))
        raise LibraryTooOld(f"SQLite {version} can corrupt the store; at least {floor} is needed (upgrade apsw)")


class Connections:
    """
    Connections to one database file, or to one database in memory, which has a single one.

    Args:
        path: the file, or ":memory:".
        synchronous: "FULL" for mail, "NORMAL" for what may be lost in a power cut.
    """

    def __init__(self, path: str, synchronous: str = "FULL") -> None:
        check_library()
        self.path = path
        self._synchronous = synchronous
        self._local = threading.local()
        self._open: list[apsw.Connection] = []
        self._lock = threading.Lock()
        self.is_memory = path == MEMORY

    @cached_property
    def writer(self) -> apsw.Connection:
        """The connection that writes, opened when it is asked for first; the file is made when it is missing."""
        if not self.is_memory:
            _create_private(Path(self.path))
        writer = self._connect()
        writer.execute(f"PRAGMA page_size = {PAGE_OCTETS}")
        writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if not self.is_memory:
            writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(f"PRAGMA synchronous = {self._synchronous}")
        # What is deleted is overwritten, so that a purge leaves nothing to be found. FAST would leave whole pages, and
        # those that become free when others' rows are joined hold what is purged only later.
        writer.execute("PRAGMA secure_delete = ON")
        writer.execute(f"PRAGMA journal_size_limit = {_LOG_OCTETS}")
        return writer

    def reader(self) -> apsw.Connection:
        """This thread's connection for reading. It sees what is committed when a statement begins."""
        if self.is_memory:
            return self.writer
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = 1")
            self._local.connection = connection
        return connection

    def close(self) -> None:
        """Close all, readers of other threads included; nobody may be using one."""
        with self._lock:
            for connection in reversed(self._open):
                connection.close()
            self._open.clear()

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(self.path, statementcachesize=_STATEMENTS)
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        # Otherwise a statement is compiled anew whenever a bound value changes that its plan might depend on: a join
        # of two point reads takes 48 microseconds instead of 9.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        with self._lock:
            self._open.append(connection)
        return connection


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, readable by its owner alone; -wal and -shm take their mode from it."""
    Disk().make_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
