"""
What clients failed at lately, and who is banned for it, in the second database.
"""

from __future__ import annotations

from .rows import Cursor, Written, one

_LOGIN, _RECIPIENT = "login", "recipient"


def note_failed_login(cursor: Cursor, client: str, now: float, seconds: float) -> Written:
    """Count a failed login; returns how many there were, each within `seconds` of the one before."""
    cursor.execute(
        "INSERT INTO failures (kind, client, times, ends) VALUES (?, ?, 1, ?)"
        " ON CONFLICT (kind, client) DO UPDATE SET ends = excluded.ends,"
        " times = CASE WHEN failures.ends > ? THEN failures.times + 1 ELSE 1 END RETURNING times",
        (_LOGIN, client, now + seconds, now),
    )
    return Written(cursor.fetchall()[0][0])


def note_failed_recipient(cursor: Cursor, client: str, now: float, seconds: float, most: int) -> Written:
    """
    Count a failed recipient in windows of `seconds` that begin with the first failure. With the `most`th the client is
    banned for as long, and its count begins anew.

    Returns:
        whether the client is banned.
    """
    # A window that ends later than one that begins now is from before the clock was set back.
    cursor.execute(
        "INSERT INTO failures (kind, client, times, ends) VALUES (?, ?, 1, ?)"
        " ON CONFLICT (kind, client) DO UPDATE SET"
        " times = CASE WHEN failures.ends > ? AND failures.ends <= excluded.ends THEN failures.times + 1 ELSE 1 END,"
        " ends = CASE WHEN failures.ends > ? AND failures.ends <= excluded.ends THEN failures.ends"
        " ELSE excluded.ends END RETURNING times",
        (_RECIPIENT, client, now + seconds, now, now),
    )
    if cursor.fetchall()[0][0] < most:
        return Written(False)
    cursor.execute("DELETE FROM failures WHERE kind = ? AND client = ?", (_RECIPIENT, client))
    cursor.execute(
        "INSERT INTO bans (client, ends) VALUES (?, ?) ON CONFLICT (client) DO UPDATE SET ends = excluded.ends",
        (client, now + seconds),
    )
    return Written(True)


def banned_until(cursor: Cursor, client: str, now: float) -> float:
    """When the ban of a client ends, 0.0 where there is none."""
    row = one(cursor, "SELECT ends FROM bans WHERE client = ? AND ends > ?", (client, now))
    return float(row[0]) if row else 0.0


def expire_failures(cursor: Cursor, now: float, most: int, limit: int) -> Written:
    """
    Remove counts and bans that have ended, and those that end soonest while a table has more than `most`; at most
    `limit` of each.

    Returns:
        whether there may be more to remove.
    """
    gone = []
    for table, key in (("failures", "kind, client"), ("bans", "client")):
        row = one(cursor, f"SELECT count(*) FROM {table}")
        excess = min(limit, max(0, int(row[0]) - most)) if row else 0
        cursor.execute(
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} ORDER BY ends LIMIT ?)"
            f" OR ({key}) IN (SELECT {key} FROM {table} WHERE ends <= ? ORDER BY ends LIMIT ?) RETURNING ends",
            (excess, now, limit),
        )
        gone.append(len(cursor.fetchall()))
    return Written(max(gone) >= limit)
