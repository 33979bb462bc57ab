"""
What differs in PostgreSQL: the form of statements and of the schema, and what its errors mean.

Statements and schema files are SQLite's, translated once each. Texts compare by their octets, as they do there.
"""

from __future__ import annotations

import re
from functools import lru_cache

import psycopg

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure

_TYPES = (
    (re.compile(r"\bWITHOUT ROWID\b"), ""),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'),
    (re.compile(r"CAST\(strftime\('%s', 'now'\) AS DOUBLE PRECISION\)"), "extract(epoch FROM now())"),
    # Both databases lie in one here, and this table is in both.
    (re.compile(r"CREATE TABLE properties\b"), "CREATE TABLE IF NOT EXISTS properties"),
)
_UNLOGGED = re.compile(r"CREATE TABLE (?!IF NOT EXISTS)")
_COMMENT = re.compile(r"--[^\n]*")

_FUNCTIONS = (
    (re.compile(r"\binstr\("), "strpos("),
    (re.compile(r"\bgroup_concat\(([^()]*)\)"), r"string_agg(CAST(\1 AS TEXT), ',')"),
    (re.compile(r"\(SELECT value FROM json_each\(\?\)\)"), "(SELECT CAST(json_array_elements_text(?) AS BIGINT))"),
)

# What decides by many rows, where nothing could be locked beforehand: rare enough to be run again.
_SERIALIZABLE = frozenset(
    (
        "add_accounts", "add_alias", "add_domain", "delete_alias", "delete_domain", "set_account",
        "add_members", "delete_list", "remove_members", "set_account_lists", "write_list",
        "revoke_logins", "write_login",
    )
)  # fmt: skip

_AGAIN = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "23505",  # unique_violation: somebody else inserted it meanwhile, which the next look shows
}
_DISK_FULL = "53100"
_DAMAGED = ("XX001", "XX002")
# What the outside did: resources, an operator, the system; timeouts and locks; a server that only reads.
_FOR_NOW = re.compile(r"(08|53|57|58|XX)...|25006|25P03|55P03|40...")


@lru_cache(maxsize=2048)
def statement(text: str) -> str:
    """A statement with this engine's placeholders and names of functions."""
    for pattern, replacement in _FUNCTIONS:
        text = pattern.sub(replacement, text)
    first, *rest = text.split("?")
    return first + "".join(f"${number}{piece}" for number, piece in enumerate(rest, 1))


def schema(kind: str, script: str) -> str:
    """
    A step of the schema with this engine's types.

    Args:
        kind: "main", or "recent" for what may be lost when the server crashes.
    """
    script = _COMMENT.sub("", script)
    for pattern, replacement in _TYPES:
        script = pattern.sub(replacement, script)
    return _UNLOGGED.sub("CREATE UNLOGGED TABLE ", script) if kind == "recent" else script


def begin(name: str) -> str:
    """Begin the transaction of an operation."""
    return "BEGIN ISOLATION LEVEL SERIALIZABLE" if name in _SERIALIZABLE else "BEGIN ISOLATION LEVEL READ COMMITTED"


def may_run_again(error: Exception) -> bool:
    """Whether the transaction was ended for the sake of another one, and may succeed the next time."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _AGAIN


def is_lasting(error: Exception) -> bool:
    """Whether the database's word is not to be taken any more: it found itself damaged."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _DAMAGED


def failure(error: Exception) -> Exception:
    """
    What an error of the database is to our callers.

    Returns:
        StorageFull or TemporaryFailure for what the outside did, the error itself where it is our bug.
    """
    if not isinstance(error, psycopg.Error):
        return error
    state = error.sqlstate
    if state == _DISK_FULL:
        return StorageFull("database: disk full")
    if state is None:
        is_outside = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return TemporaryFailure("database: no connection") if is_outside else error
    if _FOR_NOW.fullmatch(state):
        return TemporaryFailure(f"database: {type(error).__name__}")
    return error
