"""
Which databases a store has, and how each is opened for writing: by a server's own thread, by the command line, by the
writer's process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .database import Committed, Database
from .migrate import StoreRefused, migrate
from .sqlite import MEMORY, RECENT_FILE, Connections
from .workers import Workers
from .writer import Writer

SCHEME = "sqlite:"
SHARED_SCHEME = "postgresql:"
MAIN = "main"
RECENT = "recent"

_SYNCHRONOUS = {MAIN: "FULL", RECENT: "NORMAL"}


def database_paths(url: str) -> dict[str, str]:
    """
    The file of each database.

    Raises:
        StoreRefused: the URL is no store's.
    """
    if not url.startswith(SCHEME):
        raise StoreRefused(f"{url.partition(':')[0]!r} is no kind of store; it begins with {SCHEME} or {SHARED_SCHEME}")
    path = url[len(SCHEME) :]
    return {MAIN: path, RECENT: MEMORY if path == MEMORY else str(Path(path).parent / RECENT_FILE)}


def connect(kind: str, path: str) -> Connections:
    """Connections to a database, none of them open yet."""
    return Connections(path, _SYNCHRONOUS[kind])


def open_writer(kind: str, connections: Connections, clock: Callable[[], float], origin: str = "") -> Writer:
    """
    What writes to a database, its schema brought up to date.

    Args:
        origin: see `Writer`.

    Raises:
        StoreRefused: the file is not ours or a newer program's.
    """
    migrate(connections, kind)
    return Writer(connections, clock, time.monotonic, origin)


def open_shared(
    url: str,
    workers: Workers,
    clock: Callable[[], float],
    reactor: Any,
    committed: Committed | None,
    origin: str,
) -> Database:
    """
    A PostgreSQL database, its schema brought up to date; both kinds of state lie in it.

    Args:
        origin: this process's name in notices; the others are as of `PostgresDatabase`.

    Raises:
        StoreRefused: its driver is not installed, there is no connection, or the server or its database will not do.
    """
    try:
        from .postgres.address import parse_address
        from .postgres.database import PostgresDatabase
    except ImportError as error:
        raise StoreRefused(f"no driver for PostgreSQL ({error.name}): pip install 'mailtraq_py[postgres]'") from None
    database = PostgresDatabase(parse_address(url), workers, clock, reactor, committed, origin)
    database.open()
    return database
