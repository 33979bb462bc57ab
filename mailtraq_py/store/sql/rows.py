"""
How functions of a cursor write and read rows: many rows a statement, one row at most, what a write comes to.

Every step of a statement lets go of the interpreter lock and waits to get it back, which beside a busy reactor
costs more than the row. So many rows go into one statement. The number of rows a statement takes has few values,
so that its compiled form is found in the connection's cache.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, Protocol

from mailtraq_py.mail.changes import Change

Row = tuple[Any, ...]

_ROWS_IN_A_STATEMENT = (64, 16, 8)
_KEYS_IN_A_STATEMENT = 64


class Cursor(Protocol):
    """As much of a database cursor as SQL here needs; both engines' cursors have it."""

    def execute(self, statement: str, bindings: Sequence[object] = (), /) -> object:
        """Run a statement; `?` stands for a value."""

    def fetchall(self) -> list[Any]:
        """All rows it gave, as tuples."""


class SharedCursor(ABC):
    """A cursor of an engine where several write at the same time: rows are locked, numbers are given beside it."""

    @abstractmethod
    def execute(self, statement: str, bindings: Sequence[object] = (), /) -> object:
        """See `Cursor`."""

    @abstractmethod
    def fetchall(self) -> list[Any]:
        """See `Cursor`."""

    @abstractmethod
    def take_numbers(self, name: str, count: int) -> int:
        """Take numbers from a counter in a transaction of its own, so that nobody waits for this one's end."""


class Written(NamedTuple):
    """
    What a writing function returns.

    `changes` are told after the commit. `purged` are ids of contents whose files go after the commit. `erases`: what
    was deleted up to this commit shall not be found in the file any more.
    """

    value: Any = None
    changes: tuple[Change, ...] = ()
    purged: tuple[int, ...] = ()
    erases: bool = False


def one(cursor: Cursor, statement: str, bindings: Sequence[object] = ()) -> Row | None:
    """The first row or None. All are fetched, because a statement left in the middle holds its read transaction."""
    cursor.execute(statement, bindings)
    rows = cursor.fetchall()
    return rows[0] if rows else None


def every(cursor: Cursor, statement: str, bindings: Sequence[object] = ()) -> list[Row]:
    """All rows."""
    cursor.execute(statement, bindings)
    return cursor.fetchall()


def insert(cursor: Cursor, into: str, width: int, rows: Sequence[Row]) -> None:
    """
    Insert rows, many at a time.

    Args:
        into: "table" or "table (column, ...)".
        width: columns of a row.
    """
    for count, values in _portions(rows):
        cursor.execute(_insertion(into, width, count), values)


def update_from(cursor: Cursor, head: str, width: int, tail: str, rows: Sequence[Row]) -> None:
    """
    Update rows from values, many at a time: `{head} FROM (VALUES ...) AS given {tail}`.

    The values are named `given.column1`, `given.column2` ... in both engines.
    """
    for count, values in _portions(rows):
        cursor.execute(_update(head, width, tail, count), values)


def _portions(rows: Sequence[Row]) -> Iterable[tuple[int, Row]]:
    """The values of as many rows as go into one statement, and how many rows they are."""
    return ((1, rows[0]),) if len(rows) == 1 else _gathered(rows) if rows else ()


def _gathered(rows: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    place = 0
    while place < len(rows):
        left = len(rows) - place
        count = left if left < _ROWS_IN_A_STATEMENT[-1] else next(size for size in _ROWS_IN_A_STATEMENT if size <= left)
        yield count, tuple(chain.from_iterable(rows[place : place + count]))
        place += count


def where_in(cursor: Cursor, statement: str, keys: Iterable[object], before: Row = ()) -> list[Row]:
    """
    Run a statement that has `IN {keys}` for all keys, and gather its rows. Bindings `before` precede the keys.

    The last key is repeated to fill a statement up, which changes nothing about a set.
    """
    pending = list(keys)
    rows: list[Row] = []
    for place in range(0, len(pending), _KEYS_IN_A_STATEMENT):
        chosen = pending[place : place + _KEYS_IN_A_STATEMENT]
        size = 1 if len(chosen) == 1 else 8 if len(chosen) <= 8 else _KEYS_IN_A_STATEMENT
        chosen.extend(chosen[-1:] * (size - len(chosen)))
        cursor.execute(_with_keys(statement, size), (*before, *chosen))
        rows.extend(cursor.fetchall())
    return rows


def lock_rows(cursor: Cursor, table: str, key: str, values: Iterable[int]) -> None:
    """
    Hold rows until the transaction ends, in the rising order of a key, so that no two wait for each other. What is
    read after that is what the last one who held them left. Where one alone writes at a time it is nothing to do.
    """
    if isinstance(cursor, SharedCursor):
        where_in(
            cursor, f"SELECT {key} FROM {table} WHERE {key} IN {{keys}} ORDER BY {key} FOR UPDATE", sorted(set(values))
        )


@lru_cache(maxsize=256)
def _insertion(into: str, width: int, count: int) -> str:
    return f"INSERT INTO {into} VALUES {_values(width, count)}"


@lru_cache(maxsize=256)
def _update(head: str, width: int, tail: str, count: int) -> str:
    return f"{head} FROM (VALUES {_values(width, count)}) AS given {tail}"


@lru_cache(maxsize=128)
def _with_keys(statement: str, count: int) -> str:
    before, after = statement.split("{keys}")
    return f"{before}({', '.join('?' * count)}){after}"


def _values(width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * count)
