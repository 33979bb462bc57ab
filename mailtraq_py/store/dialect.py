"""
What differs between databases, as a small class of questions.

Statements in sql/ keep to the common subset of SQLite and PostgreSQL. Whatever cannot is asked here.
"""

from __future__ import annotations

import apsw

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure

_FSYNC_FAILED = (
    apsw.SQLITE_IOERR_FSYNC,
    apsw.SQLITE_IOERR_DIR_FSYNC,
    apsw.SQLITE_IOERR_WRITE,
    apsw.SQLITE_IOERR_TRUNCATE,
)
_FOR_NOW = (apsw.BusyError, apsw.LockedError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError, apsw.IOError)


class SQLiteDialect:
    """SQLite's answers."""

    def begin_write(self) -> str:
        """Begin a transaction that is going to write: the lock is taken now, so it cannot fail half-way."""
        return "BEGIN IMMEDIATE"

    def failure(self, error: Exception) -> Exception:
        """
        What an error of the database is to our callers.

        Returns:
            StorageFull or TemporaryFailure for what the outside did, the error itself where it is our bug.
        """
        # The shared memory file beside the write-ahead log grows too, and says so in its own way.
        if isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
            return StorageFull("database: disk full")
        if isinstance(error, _FOR_NOW):
            return TemporaryFailure(f"database: {type(error).__name__}")
        return error

    def is_lasting(self, error: Exception) -> bool:
        """
        Whether after this error the database's word is not to be taken any more until it is opened anew.

        After a failed fsync the kernel may drop the pages and report success the next time.
        """
        return isinstance(error, apsw.CorruptError | apsw.NotADBError) or (
            isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _FSYNC_FAILED
        )
