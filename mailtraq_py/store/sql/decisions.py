"""
What policy decided, in the second database: written many sessions at a time, dropped when old or too much.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .rows import Cursor, Row, Written, every, one

_ROW_OCTETS = 100  # what a row weighs besides its texts


def write_decisions(cursor: Cursor, rows: Sequence[tuple[float, str, str, str, str, str]]) -> Written:
    """
    Add what was decided.

    Args:
        rows: (time of the first decision, session, service, client, address of its recent logins, record).
    """
    logins: dict[str, str] = {}
    octets = 0
    for decided, session, service, client, address, record in rows:
        if address not in logins:
            found = every(
                cursor,
                "SELECT account_id, protocol, tls, first_login, last_login FROM recent_logins WHERE address = ?",
                (address,),
            )
            logins[address] = json.dumps(found)
        size = len(record) + len(logins[address]) + len(session) + len(service) + len(client) + _ROW_OCTETS
        cursor.execute(
            "INSERT INTO decisions (decided, session, service, client, logins, record, octets)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (decided, session) DO NOTHING RETURNING octets",
            (decided, session, service, client, logins[address], record, size),
        )
        octets += sum(row[0] for row in cursor.fetchall())
    _count(cursor, octets)
    return Written(len(rows))


def read_decisions(cursor: Cursor, since: float, session: str, limit: int) -> list[Row]:
    """Rows after (since, session) in the order of time: decided, session, service, client, logins, record."""
    return every(
        cursor,
        "SELECT decided, session, service, client, logins, record FROM decisions"
        " WHERE (decided, session) > (?, ?) ORDER BY decided, session LIMIT ?",
        (since, session, limit),
    )


def expire_decisions(cursor: Cursor, before: float, most_octets: int, limit: int) -> Written:
    """Remove at most `limit` rows: those from before a time, then the oldest while there is more than allowed."""
    size = one(cursor, "SELECT octets FROM decisions_size WHERE name = 'decisions'") or (0,)
    condition, bindings = "WHERE decided < ?", (before, limit)
    if size[0] > most_octets:
        oldest = every(cursor, "SELECT decided, octets FROM decisions ORDER BY decided, session LIMIT ?", (limit,))
        excess, last = size[0] - most_octets, before
        for decided, octets in oldest:
            if excess <= 0:
                break
            excess -= octets
            last = max(last, decided)
        condition, bindings = "WHERE decided <= ?", (last, limit)
    cursor.execute(
        "DELETE FROM decisions WHERE (decided, session) IN"
        f" (SELECT decided, session FROM decisions {condition} ORDER BY decided, session LIMIT ?) RETURNING octets",
        bindings,
    )
    gone = [row[0] for row in cursor.fetchall()]
    _count(cursor, -sum(gone))
    return Written(len(gone))


def _count(cursor: Cursor, octets: int) -> None:
    cursor.execute(
        "INSERT INTO decisions_size (name, octets) VALUES ('decisions', ?)"
        " ON CONFLICT (name) DO UPDATE SET octets = decisions_size.octets + excluded.octets",
        (octets,),
    )
