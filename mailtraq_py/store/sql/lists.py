"""
Distribution lists, and the black and white lists of accounts.

Names and keys come in folded.
"""

from __future__ import annotations

from collections.abc import Sequence

from .accounts import Missing, Taken, account_number, check_free, domain_number
from .ledger import take_numbers
from .rows import Cursor, Row, Written, every, insert, one, where_in

COLOURS = ("white", "black")

# --- distribution lists ----------------------------------------------------------------------------------------


def find_list(cursor: Cursor, domain_id: int, local_part: str) -> Row | None:
    """(id, owner, posting) of a list."""
    return one(
        cursor, "SELECT id, owner, posting FROM lists WHERE domain_id = ? AND local_part = ?", (domain_id, local_part)
    )


def list_members(cursor: Cursor, list_id: int) -> list[str]:
    """Addresses of a list's members, by their folded form."""
    rows = every(cursor, "SELECT address FROM list_members WHERE list_id = ? ORDER BY key", (list_id,))
    return [row[0] for row in rows]


def list_lists(cursor: Cursor) -> list[Row]:
    """(address, owner, posting, members) by address."""
    return every(
        cursor,
        "SELECT l.local_part || '@' || d.name, l.owner, l.posting,"
        " (SELECT count(*) FROM list_members m WHERE m.list_id = l.id)"
        " FROM lists l JOIN domains d ON d.id = l.domain_id ORDER BY d.name, l.local_part",
    )


def write_list(
    cursor: Cursor, domain: str, local_part: str, owner: str | None, posting: str | None, now: float
) -> Written:
    """
    Add a list, or change what is given of one.

    Returns:
        its number.

    Raises:
        Taken: the address is an account's or alias's.
        Missing: no such domain.
    """
    domain_id = domain_number(cursor, domain)
    found = find_list(cursor, domain_id, local_part)
    if found is not None:
        cursor.execute(
            "UPDATE lists SET owner = coalesce(?, owner), posting = coalesce(?, posting) WHERE id = ?",
            (owner, posting, found[0]),
        )
        return Written(found[0])
    check_free(cursor, domain_id, local_part, domain)
    number = take_numbers(cursor, "list", 1)
    row = (number, domain_id, local_part, owner or "", posting or "anyone", now)
    insert(cursor, "lists (id, domain_id, local_part, owner, posting, created)", 6, [row])
    return Written(number)


def add_members(
    cursor: Cursor, domain: str, local_part: str, members: Sequence[tuple[str, str]], limit: int
) -> Written:
    """
    Add (key, address) pairs to a list, whoever is on it already stays as he is; returns how many are new.

    Raises:
        Missing: no such list.
        Taken: it would have more than `limit` members.
    """
    list_id = _list(cursor, domain, local_part)
    (before,) = one(cursor, "SELECT count(*) FROM list_members WHERE list_id = ?", (list_id,)) or (0,)
    keys = [key for key, _ in members]
    there = where_in(cursor, "SELECT key FROM list_members WHERE list_id = ? AND key IN {keys}", keys, (list_id,))
    known = {row[0] for row in there}
    fresh = {key: (list_id, key, address) for key, address in members if key not in known}
    if before + len(fresh) > limit:
        raise Taken(f"a list has at most {limit} members")
    insert(cursor, "list_members (list_id, key, address)", 3, list(fresh.values()))
    return Written(len(fresh))


def remove_members(cursor: Cursor, domain: str, local_part: str, keys: Sequence[str]) -> Written:
    """Take members off a list; returns how many were on it. Raises Missing."""
    list_id = _list(cursor, domain, local_part)
    gone = where_in(
        cursor, "DELETE FROM list_members WHERE list_id = ? AND key IN {keys} RETURNING key", keys, (list_id,)
    )
    return Written(len(gone))


def delete_list(cursor: Cursor, domain: str, local_part: str) -> Written:
    """Delete a list with its members. Raises Missing."""
    list_id = _list(cursor, domain, local_part)
    cursor.execute("DELETE FROM list_members WHERE list_id = ?", (list_id,))
    cursor.execute("DELETE FROM lists WHERE id = ?", (list_id,))
    return Written()


def _list(cursor: Cursor, domain: str, local_part: str) -> int:
    found = find_list(cursor, domain_number(cursor, domain), local_part)
    if found is None:
        raise Missing(f"no list {local_part}@{domain}")
    return int(found[0])


# --- black and white lists of accounts -------------------------------------------------------------------------


def find_account_lists(cursor: Cursor, account_id: int) -> tuple[Row | None, list[Row]]:
    """(black_everyone, white_local_domains, black_folder) or None, and (colour, pattern) in their order."""
    options = one(
        cursor,
        "SELECT black_everyone, white_local_domains, black_folder FROM account_lists WHERE account_id = ?",
        (account_id,),
    )
    entries = every(
        cursor,
        "SELECT colour, pattern FROM account_list_entries WHERE account_id = ? ORDER BY colour, position",
        (account_id,),
    )
    return options, entries


def set_account_lists(
    cursor: Cursor, domain: str, local_part: str, entries: Sequence[tuple[str, str]], options: Row | None
) -> Written:
    """
    Put these lists in place of an account's; in force with the next recipient.

    Args:
        entries: (colour, pattern) in their order.
        options: (black_everyone, white_local_domains, black_folder), None where nothing of it and no entry is set.

    Raises:
        Missing: no such account.
    """
    account = account_number(cursor, domain, local_part)
    cursor.execute("DELETE FROM account_list_entries WHERE account_id = ?", (account,))
    cursor.execute("DELETE FROM account_lists WHERE account_id = ?", (account,))
    rows = [(account, colour, position, pattern) for position, (colour, pattern) in enumerate(entries)]
    insert(cursor, "account_list_entries (account_id, colour, position, pattern)", 4, rows)
    number = 0
    if options is not None:
        number = take_numbers(cursor, "account_lists", 1)
        insert(
            cursor,
            "account_lists (account_id, black_everyone, white_local_domains, black_folder)",
            4,
            [(account, *options)],
        )
    cursor.execute("UPDATE accounts SET lists_number = ? WHERE id = ?", (number, account))
    return Written()
