"""
The tree of mailboxes: parent and name apart, so that a rename is one row whatever lies beneath.

A mailbox that is deleted while others lie beneath it leaves a level behind, a row without mail under a new number. A
deleted mailbox is condemned in the same transaction: nobody finds it any more, and its messages go in slices after
that, also when the process ends in between.

RFC 9051 6.3.4 to 6.3.7
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import MailboxExists, MailboxNotAllowed, NoSuchMailbox
from mailtraq_py.mail.changes import MailboxesChanged, MailboxGone
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR

from .content import release
from .ledger import MAILBOX_COLUMNS, AccountCounters, Ledger, find_node, take_numbers
from .messages import note_purge, take_away, whole_rows
from .rows import Cursor, Row, Written, every, insert, one


def list_mailboxes(cursor: Cursor, account_id: int) -> list[Row]:
    """(id, parent id, name of its level, state, special use) of mailboxes and levels."""
    return every(
        cursor,
        "SELECT id, parent_id, name, state, special_use FROM mailboxes"
        " WHERE account_id = ? AND state IN ('open', 'level')",
        (account_id,),
    )


def list_subscriptions(cursor: Cursor, account_id: int) -> list[str]:
    """Subscribed names."""
    rows = every(cursor, "SELECT name FROM subscriptions WHERE account_id = ? ORDER BY name", (account_id,))
    return [row[0] for row in rows]


def find_mailbox(cursor: Cursor, account_id: int, name: str) -> Row | None:
    """A row of MAILBOX_COLUMNS by canonical name."""
    row = find_node(cursor, account_id, name, f"{MAILBOX_COLUMNS}, state")
    return row[:-1] if row and row[-1] == "open" else None


def create_mailbox(cursor: Cursor, account_id: int, name: str, special_use: str, now: float) -> Written:
    """Create a mailbox and the levels above that are missing. Raises MailboxExists, MailboxNotAllowed."""
    ledger = Ledger(cursor)
    ledger.lock([account_id])
    node = find_node(cursor, account_id, name, "state")
    if node is not None and node[0] == "open":
        raise MailboxExists(name)
    if special_use:
        taken = one(
            cursor,
            "SELECT 1 FROM mailboxes WHERE account_id = ? AND special_use = ? AND state = 'open'",
            (account_id, special_use),
        )
        if taken:
            raise MailboxNotAllowed(f"another mailbox is {special_use}")
    _make(ledger, account_id, name, special_use, now)
    ledger.write()
    return Written(None, (MailboxesChanged(account_id),))


def delete_mailbox(cursor: Cursor, account_id: int, name: str, now: float, keep: bool) -> Written:
    """
    Delete a mailbox; what lies beneath it stays. Raises NoSuchMailbox, MailboxNotAllowed.

    Args:
        keep: whether its messages stay recoverable.
    """
    if name == INBOX:
        raise MailboxNotAllowed("INBOX stays")
    Ledger(cursor).lock([account_id])
    row = find_node(cursor, account_id, name, "id, parent_id, name, state, messages, octets, special_use, created")
    if row is None:
        raise NoSuchMailbox(name)
    number, parent_id, level, state, messages, octets, special_use, created = row
    has_children = one(
        cursor, "SELECT 1 FROM mailboxes WHERE account_id = ? AND parent_id = ? LIMIT 1", (account_id, number)
    )
    if state == "level":
        # RFC 9051 6.3.5: a \Noselect name with inferiors cannot be deleted.
        raise MailboxNotAllowed("it has inferiors")
    if keep:
        gone = (number, account_id, name, special_use, created, now)
        insert(cursor, "deleted_mailboxes (id, account_id, name, special_use, created, deleted)", 6, [gone])
    else:
        note_purge(cursor, account_id, now)
    cursor.execute("UPDATE mailboxes SET state = 'condemned', parent_id = -id WHERE id = ?", (number,))
    if has_children:
        level_id = take_numbers(cursor, "mailbox", 1)
        insert(cursor, _INTO_LEVELS, 8, [(level_id, account_id, parent_id, level, "level", 0, 0, now)])
        cursor.execute(
            "UPDATE mailboxes SET parent_id = ? WHERE account_id = ? AND parent_id = ?", (level_id, account_id, number)
        )
    else:
        _drop_empty_levels(cursor, account_id, parent_id)
    cursor.execute(
        "UPDATE account_counters SET messages = messages - ?, octets = octets - ? WHERE account_id = ?",
        (messages, octets, account_id),
    )
    return Written(None, (MailboxGone(int(str(number))), MailboxesChanged(account_id)))


def rename_mailbox(cursor: Cursor, account_id: int, name: str, new_name: str, now: float) -> Written:
    """
    Rename a mailbox, but for INBOX, with what lies beneath it, making missing levels above the new name.

    Raises NoSuchMailbox, MailboxExists, MailboxNotAllowed.
    """
    ledger = Ledger(cursor)
    ledger.lock([account_id])
    row = find_node(cursor, account_id, name, "id, parent_id")
    if row is None:
        raise NoSuchMailbox(name)
    if find_node(cursor, account_id, new_name, "id") is not None:
        raise MailboxExists(new_name)
    if name == INBOX:
        raise MailboxNotAllowed("INBOX stays")
    if new_name.startswith(name + SEPARATOR):
        raise MailboxNotAllowed("a mailbox cannot go beneath itself")
    parent, _, level = new_name.rpartition(SEPARATOR)
    parent_id = _make(ledger, account_id, parent, "", now) if parent else 0
    cursor.execute("UPDATE mailboxes SET parent_id = ?, name = ? WHERE id = ?", (parent_id, level, row[0]))
    _drop_empty_levels(cursor, account_id, row[1])
    ledger.write()
    return Written(None, (MailboxesChanged(account_id),))


def subscribe_mailbox(cursor: Cursor, account_id: int, name: str, subscribed: bool) -> Written:
    """Change a subscription."""
    if subscribed:
        cursor.execute(
            "INSERT INTO subscriptions (account_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (account_id, name)
        )
    else:
        cursor.execute("DELETE FROM subscriptions WHERE account_id = ? AND name = ?", (account_id, name))
    return Written(None, (MailboxesChanged(account_id),))


def purge_condemned(cursor: Cursor, limit: int = 500) -> Written:
    """
    Take a slice of messages out of a condemned mailbox, and the mailbox with the last of them. They stay recoverable
    where the mailbox is.

    Returns:
        whether there is more to do.
    """
    ledger = Ledger(cursor)
    mailbox = ledger.condemned()
    if mailbox is None:
        return Written(False)
    rows = whole_rows(cursor, mailbox.id, [(1, mailbox.uid_next)], limit)
    if not rows:
        cursor.execute("DELETE FROM vanished WHERE mailbox_id = ?", (mailbox.id,))
        cursor.execute("DELETE FROM mailboxes WHERE id = ?", (mailbox.id,))
        return Written(True)
    deleted = one(cursor, "SELECT deleted FROM deleted_mailboxes WHERE id = ?", (mailbox.id,))
    if deleted is not None:
        purged = take_away(ledger, mailbox, rows, deleted[0], True)
        return Written(True, ledger.write(), purged)
    cursor.execute("DELETE FROM messages WHERE mailbox_id = ? AND uid <= ?", (mailbox.id, rows[-1][0]))
    return Written(True, (), release(cursor, [row[7] for row in rows]))


_INTO_LEVELS = "mailboxes (id, account_id, parent_id, name, state, uid_validity, highest_mod_seq, created)"


def _make(ledger: Ledger, account_id: int, name: str, special_use: str, now: float) -> int:
    """The number of a mailbox, made with all levels above that are no mailboxes yet."""
    cursor = ledger.cursor
    account = ledger.account(account_id)
    if account is None:
        raise NoSuchMailbox(name)
    parent_id = 0
    levels = name.split(SEPARATOR)
    for place, level in enumerate(levels):
        row = one(
            cursor,
            "SELECT id, state FROM mailboxes WHERE account_id = ? AND parent_id = ? AND name = ?",
            (account_id, parent_id, level),
        )
        if row is not None and row[1] == "open":
            parent_id = row[0]
            continue
        use = special_use if place == len(levels) - 1 else ""
        parent_id = _open(cursor, account, (account_id, parent_id, level), use, now, row[0] if row else 0)
    return parent_id


def _open(
    cursor: Cursor, account: AccountCounters, key: tuple[int, int, str], special_use: str, now: float, level_id: int
) -> int:
    """A new mailbox, in the place of a level where there is one: a number is never used again."""
    number = take_numbers(cursor, "mailbox", 1)
    if level_id:
        cursor.execute("DELETE FROM mailboxes WHERE id = ?", (level_id,))
        cursor.execute(
            "UPDATE mailboxes SET parent_id = ? WHERE account_id = ? AND parent_id = ?", (number, key[0], level_id)
        )
    insert(
        cursor,
        "mailboxes (id, account_id, parent_id, name, special_use, uid_validity, highest_mod_seq, created)",
        8,
        [(number, *key, special_use, account.next_uid_validity, account.next_mod_seq, now)],
    )
    account.next_uid_validity += 1
    account.next_mod_seq += 1
    return number


def _drop_empty_levels(cursor: Cursor, account_id: int, level_id: object) -> None:
    """A level without mail goes with the last name beneath it."""
    while level_id:
        row = one(
            cursor,
            "SELECT parent_id FROM mailboxes l WHERE id = ? AND state = 'level'"
            " AND NOT EXISTS (SELECT 1 FROM mailboxes c WHERE c.account_id = ? AND c.parent_id = l.id)",
            (level_id, account_id),
        )
        if row is None:
            return
        cursor.execute("DELETE FROM mailboxes WHERE id = ?", (level_id,))
        level_id = row[0]


