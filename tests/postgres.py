"""
PostgreSQL for the tests: one cluster for the whole run, on a socket in a folder of its own, with nothing synced.

Tests share a database that is emptied before each, which takes five milliseconds where a fresh one takes a second. As
root, the server runs as the user `postgres`, because it refuses to be root.
"""

from __future__ import annotations

import atexit
import os
import pwd
import subprocess
import tempfile
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from mailtraq_py.store.now import run_now
from mailtraq_py.store.store import Store

USER = "postgres"
NAME = "mailtraq"
_PLACES = "/usr/lib/postgresql/*/bin"
_UNSAFE = (
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "shared_buffers=32MB",
    "max_connections=200", "autovacuum=off", "max_wal_size=2GB",
)  # fmt: skip
# Ends the server when this process is gone, however it ended.
_KEEPER = 'cat; "$0" stop -m immediate -D "$1/data"; rm -rf "$1"'


def programs() -> Path:
    """The folder of PostgreSQL's programs, the newest version's; says how to install missing ones."""
    found = sorted(Path("/").glob(_PLACES[1:]), key=lambda folder: float(folder.parent.name))
    if not found or not (found[-1] / "initdb").exists():
        raise AssertionError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1]


class Cluster:
    """A server of its own. `url` names one of its databases."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self._user = USER if os.geteuid() == 0 else None
        self._numbers = count(1)
        if self._user:
            os.chown(self.folder, pwd.getpwnam(USER).pw_uid, -1)
        self._run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()
        self._keeper = subprocess.Popen(
            ["sh", "-c", _KEEPER, str(programs() / "pg_ctl"), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._identity(),
        )

    def start(self) -> None:
        """Start it, again too; returns when it takes connections."""
        options = " ".join(f"-c {option}" for option in _UNSAFE)
        self._run(
            "pg_ctl", "start", "-w", "-D", self.data, "-l", self.folder / "log", "-o", f"{options} -k {self.folder}"
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop it, as a crash does unless another `mode` of pg_ctl is given."""
        self._run("pg_ctl", "stop", "-w", "-D", self.data, "-m", mode)

    def close(self) -> None:
        """Stop and remove it, by telling the keeper that we are done."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait()

    def url(self, database: str = USER) -> str:
        """The URL of a database."""
        return f"postgresql:///{database}?host={self.folder}&user={USER}"

    def execute(self, statement: str, database: str = USER) -> list[tuple[object, ...]]:
        """Run a statement as the administrator; returns its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, options: str = "") -> str:
        """An empty database; returns its name."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _identity(self) -> dict[str, Any]:
        return {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}

    def _run(self, program: str, *arguments: object) -> None:
        done = subprocess.run(
            [str(programs() / program), *map(str, arguments)],
            **self._identity(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{program} failed: {done.stderr.decode(errors='replace')}")


@cache
def cluster() -> Cluster:
    """The cluster of this run, started when it is first asked for."""
    started = Cluster()
    atexit.register(started.close)
    return started


@cache
def _tables() -> str:
    """Makes the schema in the tests' database; returns the statement that empties all its tables."""
    cluster().execute(f"CREATE DATABASE {NAME} TEMPLATE template0")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(cluster().url(NAME), folder)
        run_now(store.start())
        run_now(store.close())
    rows = cluster().execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'properties'", NAME
    )
    emptied = "; ".join(f"DELETE FROM {table}" for (table,) in rows)
    return f"{emptied}; INSERT INTO counters (name, next) VALUES ('uid_validity', 1795320000)"


def fresh() -> str:
    """The URL of a database with the schema and nothing else in it; all tests have the same, one after the other."""
    cluster().execute(_tables(), NAME)
    return cluster().url(NAME)
