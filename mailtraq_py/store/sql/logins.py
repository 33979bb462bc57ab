"""
Recent logins and their revocations, in the second database. Accounts are in the first and looked up by the caller.
"""

from __future__ import annotations

from .rows import Cursor, Row, Written, every, one

_COLUMNS = "address, account_id, protocol, tls, first_login, last_login, logged_in"
_AFTER_ALL_TEXTS = "\U0010ffff"


def write_login(
    cursor: Cursor, address: str, account_id: int, protocol: str, tls: bool, now: float, logged_in: float
) -> Written:
    """
    Insert a row or move its last login to `now`.

    Returns:
        False when the address or the account was revoked after `logged_in`; nothing is written then.
    """
    revoked = one(
        cursor,
        "SELECT 1 FROM revocations WHERE address IN ('', ?) AND account_id IN (0, ?) AND not_before > ?",
        (address, account_id, logged_in),
    )
    if revoked:
        return Written(False)
    cursor.execute(
        f"INSERT INTO recent_logins ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (address, account_id) DO UPDATE SET protocol = excluded.protocol, tls = excluded.tls,"
        " last_login = excluded.last_login, logged_in = CASE WHEN excluded.logged_in > recent_logins.logged_in"
        " THEN excluded.logged_in ELSE recent_logins.logged_in END",
        (address, account_id, protocol, int(tls), now, now, logged_in),
    )
    return Written(True)


def find_logins(cursor: Cursor, address: str, since: float) -> list[Row]:
    """Rows of an address."""
    return every(
        cursor, f"SELECT {_COLUMNS} FROM recent_logins WHERE address = ? AND last_login >= ?", (address, since)
    )


def find_logins_near(cursor: Cursor, prefix: str, since: float, limit: int) -> list[Row]:
    """Rows whose address begins with a text."""
    return every(
        cursor,
        f"SELECT {_COLUMNS} FROM recent_logins WHERE address >= ? AND address < ? AND last_login >= ?"
        " ORDER BY address LIMIT ?",
        (prefix, prefix + _AFTER_ALL_TEXTS, since, limit),
    )


def list_logins(cursor: Cursor, since: float) -> list[Row]:
    """All rows, newest first."""
    return every(
        cursor, f"SELECT {_COLUMNS} FROM recent_logins WHERE last_login >= ? ORDER BY last_login DESC", (since,)
    )


def revoke_logins(cursor: Cursor, address: str | None, account_id: int | None, now: float) -> Written:
    """
    Remove rows that match all that is given, and remember it, so that no session from before writes them again.

    Returns:
        how many rows.
    """
    cursor.execute(
        "INSERT INTO revocations (address, account_id, not_before) VALUES (?, ?, ?)"
        " ON CONFLICT (address, account_id) DO UPDATE SET not_before = excluded.not_before",
        (address or "", account_id or 0, now),
    )
    cursor.execute(
        "DELETE FROM recent_logins WHERE ? IN ('', address) AND ? IN (0, account_id) RETURNING account_id",
        (address or "", account_id or 0),
    )
    return Written(len(cursor.fetchall()))


def expire_logins(cursor: Cursor, before: float, limit: int) -> Written:
    """Remove at most `limit` rows with a last login before a time; returns how many."""
    cursor.execute(
        "DELETE FROM recent_logins WHERE (address, account_id) IN (SELECT address, account_id FROM recent_logins"
        " WHERE last_login < ? ORDER BY last_login LIMIT ?) RETURNING account_id",
        (before, limit),
    )
    return Written(len(cursor.fetchall()))
