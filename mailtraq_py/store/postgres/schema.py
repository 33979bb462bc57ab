"""
Bring the database to the schema this program knows: the same numbered steps as with SQLite, translated.

All missing steps are one transaction under a row that is locked, so that of two processes that start at once one does
them and the other finds them done. What only this engine has stands in `schema/KIND_NNNN.postgres.sql`.
"""

from __future__ import annotations

import time
from typing import LiteralString

import psycopg

from mailtraq_py import __version__

from ..conversions import CONVERSIONS
from ..migrate import SCHEMA, StoreRefused, read_steps
from .dialect import schema as translated
from .link import Link, LinkCursor

KINDS = ("main", "recent")

_ATTEMPTS = 5
_MADE_BY_ANOTHER = (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject, psycopg.errors.DuplicateTable)
_PROPERTIES = 'CREATE TABLE IF NOT EXISTS properties (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL)'


def migrate(link: Link, shown: str) -> int:
    """
    Do the steps that are missing; returns how many were done.

    Raises:
        StoreRefused: the database is another program's or a newer one's.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _make_properties(link, shown)
            break
        except _MADE_BY_ANOTHER:
            # Two that make a table at the same moment meet in the catalogue, whatever IF NOT EXISTS says.
            if attempt == _ATTEMPTS:
                raise
    with link.transaction():
        if _one(link, "SELECT name FROM properties WHERE name = 'schema lock' FOR UPDATE") is None:
            raise StoreRefused(f"{shown} is a database with tables, but not of this program")
        done = sum(_steps(link, kind, shown) for kind in KINDS)
        if done:
            _set(link, "program", __version__)
    return done


def _make_properties(link: Link, shown: str) -> None:
    """See that the database is ours, or has nothing in it yet."""
    if _one(link, "SELECT current_schema() IS NULL"):
        raise StoreRefused(f"{shown}: there is no schema to make tables in; see its search_path")
    # Of one instant, because another process may be making them.
    ((tables, ours),) = link.execute(
        "SELECT count(*), count(*) FILTER (WHERE tablename = 'properties') FROM pg_tables"
        " WHERE schemaname = current_schema()"
    ).fetchall()
    if tables and not ours:
        raise StoreRefused(f"{shown} is a database with tables, but not of this program")
    if not ours:
        with link.transaction():
            link.execute(_PROPERTIES)
            link.execute("INSERT INTO properties (name, value) VALUES ('schema lock', '') ON CONFLICT DO NOTHING")


def _one(link: Link, question: LiteralString) -> object:
    rows = link.execute(question).fetchall()
    return rows[0][0] if rows else None


def _steps(link: Link, kind: str, shown: str) -> int:
    steps = read_steps(kind)
    done, newest = _version(link, kind), max(steps)
    if done > newest:
        program = link.execute("SELECT value FROM properties WHERE name = 'program'").fetchall()
        raise StoreRefused(
            f"{shown} has schema {done} of version {program[0][0]}; this is {__version__}, which knows {newest}"
        )
    for number in range(done + 1, newest + 1):
        link.execute(translated(kind, steps[number]).encode())
        addition = SCHEMA / f"{kind}_{number:04}.postgres.sql"
        if addition.exists():
            link.execute(addition.read_bytes())
        convert = CONVERSIONS.get((kind, number))
        if convert is not None:
            convert(LinkCursor(link))
        if (kind, number) == ("main", 1):
            # See the same place for SQLite: UIDVALIDITYs begin above those of an earlier store of the same users.
            link.execute("INSERT INTO counters (name, next) VALUES ('uid_validity', $1)", (int(time.time()),))
    _set(link, f"schema {kind}", str(newest))
    return newest - done


def _version(link: Link, kind: str) -> int:
    rows = link.execute("SELECT value FROM properties WHERE name = $1", (f"schema {kind}",)).fetchall()
    return int(rows[0][0]) if rows else 0


def _set(link: Link, name: str, value: str) -> None:
    link.execute(
        "INSERT INTO properties (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
