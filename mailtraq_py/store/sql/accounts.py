"""
Domains, accounts and aliases.

Names come in folded. An alias of a domain has all accounts and aliases of the domain it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailtraq_py.mail.changes import AccountRevoked, MailboxGone
from mailtraq_py.mail.mailbox import INBOX, SPECIAL_USES

from .ledger import take_numbers
from .recoverable import add_recoverable
from .rows import Cursor, Row, Written, every, insert, lock_rows, one, where_in

# id, address, domain, state, relay, credential number, quotas, lists: what `directory.account_of` reads.
_ACCOUNT = (
    "a.id, a.local_part || '@' || d.name, d.name, a.state, a.relay, a.credential_number, a.quota_octets,"
    " a.quota_messages, a.lists_number"
)
ACCOUNT_COLUMNS = 9
# Tables whose rows go with their account; its mailboxes are purged later.
_OF_ACCOUNT = (
    "subscriptions", "account_counters", "account_list_entries", "account_lists", "recoverable", "deleted_mailboxes",
)  # fmt: skip
_FROM_ACCOUNTS = "FROM accounts a JOIN domains d ON d.id = a.domain_id"


class Taken(Exception):
    """The name or address is taken; the message says by what."""


class Missing(Exception):
    """There is no such domain, account, alias or list; the message says which."""


# --- reading ---------------------------------------------------------------------------------------------------


def find_domain(cursor: Cursor, name: str) -> Row | None:
    """(id, name) of a domain, its alias followed."""
    row = one(cursor, "SELECT id, name, alias_of FROM domains WHERE name = ?", (name,))
    if row is None:
        return None
    if row[2]:
        return one(cursor, "SELECT id, name FROM domains WHERE id = ?", (row[2],))
    return row[:2]


def first_domain(cursor: Cursor) -> str | None:
    """The name of the domain that was added first."""
    row = one(cursor, "SELECT name FROM domains WHERE alias_of = 0 ORDER BY id LIMIT 1")
    return str(row[0]) if row else None


def find_account(cursor: Cursor, domain_id: int, local_part: str) -> Row | None:
    """An account's row."""
    return one(
        cursor,
        f"SELECT {_ACCOUNT} {_FROM_ACCOUNTS} WHERE a.domain_id = ? AND a.local_part = ?",
        (domain_id, local_part),
    )


def find_account_by_id(cursor: Cursor, account_id: int) -> Row | None:
    """An account's row, with `not_before` behind it."""
    return one(cursor, f"SELECT {_ACCOUNT}, a.not_before {_FROM_ACCOUNTS} WHERE a.id = ?", (account_id,))


def account_usage(cursor: Cursor, account_id: int) -> Row:
    """(octets, messages) that an account holds; (0, 0) where there is none."""
    row = one(cursor, "SELECT octets, messages FROM account_counters WHERE account_id = ?", (account_id,))
    return row or (0, 0)


def find_credentials(cursor: Cursor, domain_id: int, local_part: str) -> Row | None:
    """(password hash, cram_md5, inner, outer) behind an account's row."""
    return one(
        cursor,
        f"SELECT {_ACCOUNT}, a.password_hash, a.cram_md5, a.cram_inner, a.cram_outer {_FROM_ACCOUNTS}"
        " WHERE a.domain_id = ? AND a.local_part = ?",
        (domain_id, local_part),
    )


def find_alias(cursor: Cursor, domain_id: int, local_part: str) -> list[str]:
    """Targets of an alias in their order, [] where there is none."""
    rows = every(
        cursor,
        "SELECT target FROM aliases WHERE domain_id = ? AND local_part = ? ORDER BY position",
        (domain_id, local_part),
    )
    return [row[0] for row in rows]


def has_cram_secret(cursor: Cursor) -> bool:
    """Whether any account can log in by CRAM-MD5."""
    return one(cursor, "SELECT 1 FROM accounts WHERE cram_inner IS NOT NULL LIMIT 1") is not None


def list_domains(cursor: Cursor) -> list[Row]:
    """(name, name it stands for or "", accounts) by name."""
    return every(
        cursor,
        "SELECT d.name, coalesce(o.name, ''), (SELECT count(*) FROM accounts a WHERE a.domain_id = d.id)"
        " FROM domains d LEFT JOIN domains o ON o.id = d.alias_of ORDER BY d.name",
    )


def list_accounts(cursor: Cursor, domain: str) -> list[Row]:
    """
    Account rows with (cram_md5, octets, messages, octets of deleted messages) behind each, by address; of one domain,
    or of all when "".
    """
    return every(
        cursor,
        f"SELECT {_ACCOUNT}, a.cram_md5, c.octets, c.messages, coalesce(b.octets, 0) {_FROM_ACCOUNTS}"
        " JOIN account_counters c ON c.account_id = a.id LEFT JOIN recoverable r ON r.account_id = a.id"
        " LEFT JOIN mailboxes b ON b.id = r.mailbox_id WHERE ? IN ('', d.name) ORDER BY d.name, a.local_part",
        (domain,),
    )


def list_aliases(cursor: Cursor) -> list[Row]:
    """(address, target) pairs by address and position."""
    return every(
        cursor,
        "SELECT l.local_part || '@' || d.name, l.target FROM aliases l JOIN domains d ON d.id = l.domain_id"
        " ORDER BY d.name, l.local_part, l.position",
    )


# --- domains ---------------------------------------------------------------------------------------------------


def add_domain(cursor: Cursor, name: str, alias_of: str, now: float) -> Written:
    """Add a domain, or an alias of one. Raises Taken, Missing."""
    if one(cursor, "SELECT 1 FROM domains WHERE name = ?", (name,)):
        raise Taken(f"domain {name} exists already")
    stands_for = domain_number(cursor, alias_of) if alias_of else 0
    number = take_numbers(cursor, "domain", 1)
    insert(cursor, "domains (id, name, alias_of, created)", 4, [(number, name, stands_for, now)])
    return Written(number)


def delete_domain(cursor: Cursor, name: str) -> Written:
    """Delete a domain that has no accounts left, with its aliases and lists. Raises Missing, Taken."""
    row = one(cursor, "SELECT id FROM domains WHERE name = ?", (name,))
    if row is None:
        raise Missing(f"no domain {name}")
    (accounts,) = one(cursor, "SELECT count(*) FROM accounts WHERE domain_id = ?", row) or (0,)
    if accounts:
        raise Taken(f"domain {name} has {accounts} account(s): delete them first")
    if one(cursor, "SELECT 1 FROM domains WHERE alias_of = ?", row):
        raise Taken(f"another domain is an alias of {name}: delete it first")
    cursor.execute("DELETE FROM aliases WHERE domain_id = ?", row)
    cursor.execute("DELETE FROM list_members WHERE list_id IN (SELECT id FROM lists WHERE domain_id = ?)", row)
    cursor.execute("DELETE FROM lists WHERE domain_id = ?", row)
    cursor.execute("DELETE FROM domains WHERE id = ?", row)
    return Written()


# --- accounts --------------------------------------------------------------------------------------------------


def add_accounts(cursor: Cursor, rows: Sequence[Row], now: float) -> Written:
    """
    Add accounts, all or none, each with INBOX and the special uses.

    Args:
        rows: (domain, local part, password hash, relay, cram_md5, inner, outer).

    Returns:
        the first of the account numbers, which follow each other.

    Raises:
        Taken: the address is an account's, alias's or list's.
        Missing: no such domain.
    """
    first = take_numbers(cursor, "account", len(rows))
    (uid_validity,) = one(cursor, "SELECT next FROM counters WHERE name = 'uid_validity'") or (1,)
    domains = {name: domain_number(cursor, name) for name in {row[0] for row in rows}}
    accounts: list[Row] = []
    seen: set[tuple[int, str]] = set()
    for number, (domain, local_part, *rest) in enumerate(rows, first):
        key = (domains[domain], local_part)
        if key in seen:
            raise Taken(f"{local_part}@{domain} is an account already")
        check_free(cursor, *key, domain)
        seen.add(key)
        accounts.append((number, *key, *rest, now))
    insert(
        cursor,
        "accounts (id, domain_id, local_part, password_hash, relay, cram_md5, cram_inner, cram_outer, created)",
        9,
        accounts,
    )
    names = [(INBOX, ""), *((name, use) for use, name in SPECIAL_USES.items())]
    insert(
        cursor,
        "account_counters (account_id, next_mod_seq, next_uid_validity)",
        3,
        [(row[0], 2, uid_validity + len(names) + 1) for row in accounts],
    )
    mailbox_id = take_numbers(cursor, "mailbox", (len(names) + 1) * len(accounts))
    mailboxes = [
        (mailbox_id + place, row[0], 0, name, use, uid_validity + place % len(names), 1, now)
        for place, (row, (name, use)) in enumerate((row, pair) for row in accounts for pair in names)
    ]
    insert(
        cursor,
        "mailboxes (id, account_id, parent_id, name, special_use, uid_validity, highest_mod_seq, created)",
        8,
        mailboxes,
    )
    numbers = range(mailbox_id + len(mailboxes), mailbox_id + len(mailboxes) + len(accounts))
    last = uid_validity + len(names)
    add_recoverable(cursor, [(row[0], number, last) for row, number in zip(accounts, numbers, strict=True)], now)
    insert(cursor, "subscriptions", 2, [(row[0], name) for row in accounts for name, _ in names])
    return Written(first)


def set_account(
    cursor: Cursor, domain: str, local_part: str, values: Sequence[tuple[str, object]], now: float
) -> Written:
    """
    Change columns of an account.

    Args:
        values: (column, value) pairs; columns are state, relay, password_hash, cram_md5, cram_inner, cram_outer,
            quota_octets, quota_messages.

    Returns:
        the account's number. A new password or another state ends its sessions and what they were granted.

    Raises:
        Missing: no such account.
    """
    account = account_number(cursor, domain, local_part)
    columns = {column for column, _ in values}
    before = one(cursor, "SELECT state FROM accounts WHERE id = ?", (account,)) or ("",)
    revokes = "password_hash" in columns or any(column == "state" and value != before[0] for column, value in values)
    assignments = ", ".join(f"{column} = ?" for column, _ in values)
    cursor.execute(
        f"UPDATE accounts SET {assignments}, credential_number = credential_number + 1,"
        " not_before = CASE WHEN ? = 1 THEN ? ELSE not_before END WHERE id = ?",
        (*(value for _, value in values), int(revokes), now, account),
    )
    return Written((account, revokes), (AccountRevoked(account),) if revokes else ())


def replace_credentials(
    cursor: Cursor, account_id: int, old_hash: str, new_hash: str, inner: bytes | None, outer: bytes | None
) -> Written:
    """
    Keep the same password in another form: an upgraded hash, or CRAM-MD5 states that were waited for.

    Nothing happens when the password was changed meanwhile, and nothing that was granted ends.
    """
    cursor.execute(
        "UPDATE accounts SET password_hash = ?, cram_inner = CASE WHEN cram_md5 = 1 THEN ? END,"
        " cram_outer = CASE WHEN cram_md5 = 1 THEN ? END WHERE id = ? AND password_hash = ?",
        (new_hash, inner, outer, account_id, old_hash),
    )
    return Written()


def delete_account(cursor: Cursor, domain: str, local_part: str) -> Written:
    """
    Delete an account; its mailboxes are condemned and purged later. Raises Missing.

    Returns:
        its number.
    """
    account = account_number(cursor, domain, local_part)
    lock_rows(cursor, "account_counters", "account_id", [account])
    counters = one(cursor, "SELECT next_uid_validity FROM account_counters WHERE account_id = ?", (account,)) or (0,)
    # Whoever gets this address next must not meet his predecessor's UIDVALIDITYs (RFC 9051 2.3.1.1).
    cursor.execute(
        "UPDATE counters SET next = CASE WHEN next < ? THEN ? ELSE next END WHERE name = 'uid_validity'", counters * 2
    )
    cursor.execute(
        "DELETE FROM deletions WHERE mailbox_id IN (SELECT mailbox_id FROM recoverable WHERE account_id = ?)",
        (account,),
    )
    gone = where_in(
        cursor,
        "UPDATE mailboxes SET state = 'condemned', parent_id = -id WHERE account_id IN {keys} RETURNING id",
        [account],
    )
    for table in _OF_ACCOUNT:
        cursor.execute(f"DELETE FROM {table} WHERE account_id = ?", (account,))
    cursor.execute("DELETE FROM accounts WHERE id = ?", (account,))
    return Written(account, (*(MailboxGone(row[0]) for row in gone), AccountRevoked(account)))


# --- aliases ---------------------------------------------------------------------------------------------------


def add_alias(cursor: Cursor, domain: str, local_part: str, targets: Sequence[str]) -> Written:
    """Add an alias, "*" for what nobody else takes. Raises Missing, Taken."""
    key = (domain_number(cursor, domain), local_part)
    check_free(cursor, *key, domain)
    insert(cursor, "aliases", 4, [(*key, position, target) for position, target in enumerate(targets)])
    return Written()


def delete_alias(cursor: Cursor, domain: str, local_part: str) -> Written:
    """Delete an alias. Raises Missing."""
    key = (domain_number(cursor, domain), local_part)
    cursor.execute("DELETE FROM aliases WHERE domain_id = ? AND local_part = ? RETURNING position", key)
    if not cursor.fetchall():
        raise Missing(f"no alias {local_part}@{domain}")
    return Written()


def check_free(cursor: Cursor, domain_id: int, local_part: str, domain: str) -> None:
    """See that nobody has this address. Raises Taken."""
    for table, what in (("accounts", "an account"), ("aliases", "an alias"), ("lists", "a list")):
        if one(cursor, f"SELECT 1 FROM {table} WHERE domain_id = ? AND local_part = ?", (domain_id, local_part)):
            raise Taken(f"{local_part}@{domain} exists already: it is {what}")


def domain_number(cursor: Cursor, name: str) -> int:
    """The number of a domain, its alias followed. Raises Missing."""
    row = find_domain(cursor, name)
    if row is None:
        raise Missing(f"no domain {name}: add it first")
    return int(row[0])


def account_number(cursor: Cursor, domain: str, local_part: str) -> int:
    """The number of an account. Raises Missing."""
    found = find_domain(cursor, domain)
    row = found and one(
        cursor, "SELECT id FROM accounts WHERE domain_id = ? AND local_part = ?", (found[0], local_part)
    )
    if not row:
        raise Missing(f"no account {local_part}@{domain}")
    return int(row[0])
