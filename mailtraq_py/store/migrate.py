"""
Bring a database to the schema this program knows: numbered steps, a copy of the file before each.

Steps are `schema/KIND_NNNN.sql`; `user_version` is the last one done, `application_id` says that the file is ours.
Each step is one transaction. A file from a newer program is refused.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import apsw

from mailtraq_py import __version__

from .conversions import CONVERSIONS
from .sqlite import Connections

APPLICATION_ID = 0x4D545251  # "MTRQ"

SCHEMA = Path(__file__).parent / "schema"
_STEP = re.compile(r"(?P<kind>[a-z]+)_(?P<number>[0-9]{4})\.sql\Z")


class StoreRefused(Exception):
    """The file is no store of ours, or a newer program's; the message is for the administrator."""


def migrate(connections: Connections, kind: str) -> int:
    """
    Do the steps that are missing.

    Args:
        kind: "main" or "recent".

    Returns:
        how many steps were done.

    Raises:
        StoreRefused: see there.
    """
    connection = connections.writer
    steps = read_steps(kind)
    done = _version(connection, connections.path)
    newest = max(steps)
    if done > newest:
        program = connection.execute("SELECT value FROM properties WHERE name = 'program'").get
        raise StoreRefused(
            f"{connections.path} has schema {done} of version {program}; this is {__version__}, which knows {newest}"
        )
    for number in range(done + 1, newest + 1):
        if done > 0:
            _copy(connection, connections.path, number)
        _step(connection, kind, number, steps[number])
    return newest - done


def schema_of(path: str, kind: str) -> tuple[int, int]:
    """
    The schema of a file, and the one this program knows.

    Raises:
        StoreRefused: the file is no store of ours.
    """
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return _version(connection, path), max(read_steps(kind))
    finally:
        connection.close()


def _version(connection: apsw.Connection, path: str) -> int:
    application = connection.pragma("application_id")
    version = int(connection.pragma("user_version"))
    if application == 0 and version == 0:
        if connection.execute("SELECT count(*) FROM sqlite_schema").get:
            raise StoreRefused(f"{path} is a database, but not one of this program")
        return 0
    if application != APPLICATION_ID:
        raise StoreRefused(f"{path} belongs to another program (application_id {application})")
    return version


def read_steps(kind: str) -> dict[int, str]:
    """The steps of "main" or "recent" by number."""
    steps: dict[int, str] = {}
    for file in SCHEMA.iterdir():
        match = _STEP.match(file.name)
        if match and match["kind"] == kind:
            steps[int(match["number"])] = file.read_text("utf-8")
    return steps


def _copy(connection: apsw.Connection, path: str, number: int) -> None:
    """Keep the file as it was before a step. An existing copy is one of an attempt that failed: it stays."""
    target = Path(f"{path}.before-{number:04}")
    if not target.exists():
        connection.execute("VACUUM INTO ?", (str(target),))
        target.chmod(0o600)


def _step(connection: apsw.Connection, kind: str, number: int, script: str) -> None:
    """One step. Somebody else may have done it while we waited for the lock: then it is done."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if int(connection.pragma("user_version")) < number:
            connection.execute(script)
            convert = CONVERSIONS.get((kind, number))
            if convert is not None:
                convert(connection.cursor())
            if number == 1:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                if kind == "main":
                    # An earlier store of the same users may have given UIDVALIDITYs: begin above them. From
                    # here on they are counted, whatever the clock says (RFC 9051 2.3.1.1).
                    connection.execute(
                        "INSERT INTO counters (name, next) VALUES ('uid_validity', ?)", (int(time.time()),)
                    )
            connection.execute(
                "INSERT INTO properties (name, value) VALUES ('program', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (__version__,),
            )
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
