"""
One connection to PostgreSQL, bounded in everything it waits for, and the cursor that functions in sql/ are given.

Every wait is psycopg's generator run by its waiter with an end in sight: a server that does not answer costs its
patience once, then the connection is given up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from ..migrate import StoreRefused
from ..sql.rows import SharedCursor
from .address import Address
from .dialect import statement

VERSION_FLOOR = 14

_PATIENCE_SECONDS = 60.0
_INTERVAL_SECONDS = 0.1
_STATEMENTS = 500
# Numbers taken at once of counters that many wait for; what a process does not use is given to nobody.
_BLOCKS = {"queue": 64}

# A transaction that waits for its program holds locks for nothing. Whatever postgresql.conf says, a commit is on disk.
_SETTINGS = """
SELECT set_config('statement_timeout', '50s', false), set_config('lock_timeout', '20s', false),
 set_config('idle_in_transaction_session_timeout', '60s', false), set_config('jit', 'off', false),
 CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""

RV = TypeVar("RV")
Connect = Callable[[], "Link"]


class _WholeLoader(NumericBinaryLoader):
    """Sums of whole numbers come as NUMERIC, and are whole."""

    def load(self, data: Any) -> Any:
        return int(super().load(data))


class _FlagDumper(Int8BinaryDumper):
    """Booleans are 0 and 1."""


class Link(psycopg.Connection[tuple[Any, ...]]):
    """A connection; `patience` is how long its server may think, in seconds."""

    patience = _PATIENCE_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> RV:
        """
        Run a generator of psycopg's to its end.

        Raises:
            psycopg.OperationalError: it took too long; the connection is closed then.
        """
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def connect(address: Address) -> Link:
    """
    Connect.

    Raises:
        psycopg.OperationalError: there is no connection to be had; its message is for the administrator.
    """
    link = Link.connect(address.conninfo, autocommit=True, prepare_threshold=2, cursor_factory=psycopg.RawCursor)
    link.prepared_max = _STATEMENTS
    # All numbers are of one type, so that a statement is prepared once and not for each width.
    link.adapters.register_dumper(int, Int8BinaryDumper)
    link.adapters.register_dumper(bool, _FlagDumper)
    link.adapters.register_loader("numeric", _WholeLoader)
    link.execute(_SETTINGS)
    return link


def check_server(link: Link) -> list[str]:
    """
    Refuse a server on which the store would not be safe; returns what an administrator is to be warned of.

    Raises:
        StoreRefused: it is too old, or does not keep texts as UTF-8.
    """
    version = link.info.server_version // 10_000
    if version < VERSION_FLOOR:
        raise StoreRefused(f"PostgreSQL {version} is too old: at least {VERSION_FLOOR} is needed")
    encoding = link.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreRefused(
            f"the database's encoding is {encoding}, not UTF8: createdb --encoding=UTF8 --template=template0 NAME"
        )
    rows = link.execute(
        "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name"
    ).fetchall()
    return [f"PostgreSQL runs with {name} = off: mail that was acknowledged may be lost" for (name,) in rows]


class Numbers:
    """
    Takes numbers from counters on a connection of its own, so that no transaction waits for the end of another one
    that took some.
    """

    def __init__(self, connect_to: Connect) -> None:
        self._connect = connect_to
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._blocks: dict[str, tuple[int, int]] = {}

    def take(self, name: str, count: int) -> int:
        """`count` numbers that follow each other; returns the first. They are never given again."""
        with self._lock:
            first, end = self._blocks.get(name, (0, 0))
            if end - first < count:
                size = max(count, _BLOCKS.get(name, 1))
                first, end = self._fetch(name, size), 0
                end = first + size
            self._blocks[name] = (first + count, end)
            return first

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None

    def _fetch(self, name: str, size: int) -> int:
        if self._link is None or self._link.closed:
            self._link = self._connect()
        cursor = self._link.execute(
            "INSERT INTO counters (name, next) VALUES ($1, 1 + $2)"
            " ON CONFLICT (name) DO UPDATE SET next = counters.next + $2 RETURNING next",
            (name, size),
        )
        return int(cursor.fetchall()[0][0]) - size


class LinkCursor:
    """A cursor that takes SQLite's statements."""

    def __init__(self, link: Link) -> None:
        self._cursor = link.cursor(binary=True)

    def execute(self, text: str, bindings: Sequence[object] = (), /) -> object:
        """See `Cursor`. NUL is no character of PostgreSQL's texts: U+FFFD stands for it."""
        try:
            return self._cursor.execute(statement(text), bindings)
        except psycopg.DataError as error:
            if error.sqlstate is not None or not any(isinstance(value, str) and "\0" in value for value in bindings):
                raise
        plain = [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in bindings]
        return self._cursor.execute(statement(text), plain)

    def fetchall(self) -> list[Any]:
        """See `Cursor`."""
        return self._cursor.fetchall() if self._cursor.description else []


class PostgresCursor(LinkCursor, SharedCursor):
    """What functions in sql/ are given."""

    def __init__(self, link: Link, numbers: Numbers) -> None:
        super().__init__(link)
        self._numbers = numbers

    def take_numbers(self, name: str, count: int) -> int:
        """See `SharedCursor`."""
        return self._numbers.take(name, count)
