"""
The ledger of one transaction: counters of accounts and mailboxes, read once, written once.

A change takes its MODSEQ, UIDs and room from here; `write` puts the rows back, each with one update however many
messages came. Accounts before mailboxes, in rising id order, which is the order of locks where rows are locked.

RFC 7162 3.1, RFC 9051 2.3.1.1
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mailtraq_py.interfaces.failures import NoSuchMailbox
from mailtraq_py.mail.changes import Change, MailboxChanged
from mailtraq_py.mail.flags import DELETED, SEEN, SYSTEM_BITS

from .rows import Cursor, Row, SharedCursor, every, lock_rows, one, update_from

SEEN_BIT = SYSTEM_BITS[SEEN]
DELETED_BIT = SYSTEM_BITS[DELETED]

_ANY_CASE_MAX = 1000

MAILBOX_COLUMNS = (
    "id, account_id, parent_id, name, special_use, uid_validity, uid_next, highest_mod_seq, changed_mod_seq,"
    " messages, unseen, deleted, octets, first_recent"
)


@dataclass(slots=True)
class AccountCounters:
    """Counters of an account. `mod_seq` is the one of this transaction, 0 until a change needs one."""

    id: int
    next_mod_seq: int
    next_uid_validity: int
    octets: int
    messages: int
    quota_octets: int | None
    quota_messages: int | None
    mod_seq: int = 0

    def has_room(self, octets: int, messages: int) -> bool:
        """Whether so much more stays within the quotas."""
        return (self.quota_octets is None or self.octets + octets <= self.quota_octets) and (
            self.quota_messages is None or self.messages + messages <= self.quota_messages
        )


@dataclass(slots=True)
class MailboxCounters:
    """A mailbox row; see schema."""

    id: int
    account_id: int
    parent_id: int
    name: str
    special_use: str
    uid_validity: int
    uid_next: int
    highest_mod_seq: int
    changed_mod_seq: int
    messages: int
    unseen: int
    deleted: int
    octets: int
    first_recent: int

    @property
    def counts(self) -> bool:
        """Whether the account's quota counts its messages: not those that are deleted."""
        return self.parent_id >= 0


@dataclass(slots=True)
class Ledger:
    """See the file's head. One lives as long as one call of a function of a cursor."""

    cursor: Cursor
    _accounts: dict[int, AccountCounters | None] = field(default_factory=dict)
    _mailboxes: dict[int, MailboxCounters] = field(default_factory=dict)
    _names: dict[tuple[int, str], MailboxCounters | None] = field(default_factory=dict)
    _changed: set[int] = field(default_factory=set)
    _locked: set[int] = field(default_factory=set)

    def lock(self, account_ids: Iterable[int]) -> None:
        """Hold accounts, before anything of them is read: who changes a mailbox holds its account until the commit."""
        fresh = set(account_ids) - self._locked
        lock_rows(self.cursor, "account_counters", "account_id", fresh)
        self._locked |= fresh

    def account(self, account_id: int) -> AccountCounters | None:
        """Counters of an account, None where there is none."""
        if account_id not in self._accounts:
            self.lock([account_id])
            row = one(
                self.cursor,
                "SELECT account_id, next_mod_seq, next_uid_validity, c.octets, c.messages, quota_octets, quota_messages"
                " FROM account_counters c JOIN accounts a ON a.id = c.account_id WHERE c.account_id = ?",
                (account_id,),
            )
            self._accounts[account_id] = AccountCounters(*row) if row else None
        return self._accounts[account_id]

    def account_of(self, mailbox: MailboxCounters) -> AccountCounters:
        """
        Counters of a mailbox's account.

        Raises:
            NoSuchMailbox: the account is being deleted.
        """
        account = self.account(mailbox.account_id)
        if account is None:
            raise NoSuchMailbox(mailbox.name)
        return account

    def mailbox(self, mailbox_id: int) -> MailboxCounters:
        """
        A mailbox by its number.

        Raises:
            NoSuchMailbox: it is gone.
        """
        if mailbox_id not in self._mailboxes:
            statement = f"SELECT {MAILBOX_COLUMNS} FROM mailboxes WHERE id = ? AND state <> 'condemned'"
            row = one(self.cursor, statement, (mailbox_id,))
            if row is not None and row[1] not in self._locked and isinstance(self.cursor, SharedCursor):
                # What was read before the lock may be another's to change yet.
                self.lock([row[1]])
                row = one(self.cursor, statement, (mailbox_id,))
            if row is None:
                raise NoSuchMailbox(str(mailbox_id))
            self._mailboxes[mailbox_id] = MailboxCounters(*row)
        return self._mailboxes[mailbox_id]

    def recoverable(self, account_id: int) -> MailboxCounters | None:
        """The mailbox of an account's deleted messages, None where the account is being deleted."""
        row = one(self.cursor, "SELECT mailbox_id FROM recoverable WHERE account_id = ?", (account_id,))
        return None if row is None else self.mailbox(row[0])

    def condemned(self) -> MailboxCounters | None:
        """The first mailbox that was deleted and whose messages have not gone yet, None without one."""
        statement = "SELECT id, account_id FROM mailboxes WHERE state = 'condemned' ORDER BY id LIMIT 1"
        while (row := one(self.cursor, statement)) is not None:
            self.account(row[1])
            lock_rows(self.cursor, "mailboxes", "id", [row[0]])
            found = one(self.cursor, f"SELECT {MAILBOX_COLUMNS} FROM mailboxes WHERE id = ?", row[:1])
            if found is not None:
                return self._mailboxes.setdefault(row[0], MailboxCounters(*found))
            # Somebody else ended it while we waited for it; there may be others.
        return None

    def find_mailbox(self, account_id: int, name: str) -> MailboxCounters | None:
        """A mailbox by its canonical name, None where there is none."""
        key = (account_id, name)
        if key not in self._names:
            row = find_node(self.cursor, account_id, name, f"{MAILBOX_COLUMNS}, state")
            if row is None or row[-1] != "open":
                self._names[key] = None
            else:
                self._names[key] = self._mailboxes.setdefault(row[0], MailboxCounters(*row[:-1]))
        return self._names[key]

    def find_mailbox_any_case(self, account_id: int, name: str) -> MailboxCounters | None:
        """The same for a name as senders write it behind a delimiter: local parts have no regard for case."""
        found = name_any_case(self.cursor, account_id, name)
        return None if found is None else self.find_mailbox(account_id, found)

    def touch(self, mailbox: MailboxCounters, only_new: bool = False) -> int:
        """
        Note that a mailbox changes, and give the transaction's MODSEQ.

        Args:
            only_new: nothing but new messages, whose UIDs are behind all others.
        """
        account = self.account_of(mailbox)
        if account.mod_seq == 0:
            account.mod_seq = account.next_mod_seq
            account.next_mod_seq += 1
        mailbox.highest_mod_seq = account.mod_seq
        if not only_new:
            mailbox.changed_mod_seq = account.mod_seq
        self._changed.add(mailbox.id)
        return account.mod_seq

    def add(self, mailbox: MailboxCounters, bits: int, octets: int) -> int:
        """Count a new message and give its UID."""
        uid = mailbox.uid_next
        mailbox.uid_next += 1
        self.count(mailbox, bits, 1, octets)
        return uid

    def count(self, mailbox: MailboxCounters, bits: int, messages: int, octets: int) -> None:
        """Count messages of the same system flags in, or out where the numbers are negative."""
        mailbox.messages += messages
        mailbox.octets += octets
        if not bits & SEEN_BIT:
            mailbox.unseen += messages
        if bits & DELETED_BIT:
            mailbox.deleted += messages
        if mailbox.counts:
            account = self.account_of(mailbox)
            account.messages += messages
            account.octets += octets

    def write(self) -> tuple[Change, ...]:
        """Write what changed; returns the hints for the hub."""
        accounts = [self._accounts[number] for number in sorted(self._accounts)]
        update_from(
            self.cursor,
            "UPDATE account_counters SET next_mod_seq = given.column2, next_uid_validity = given.column3,"
            " octets = given.column4, messages = given.column5",
            5,
            "WHERE account_id = given.column1",
            [
                (account.id, account.next_mod_seq, account.next_uid_validity, account.octets, account.messages)
                for account in accounts
                if account is not None
            ],
        )
        mailboxes = [self._mailboxes[number] for number in sorted(self._changed)]
        update_from(
            self.cursor,
            "UPDATE mailboxes SET uid_next = given.column2, highest_mod_seq = given.column3,"
            " changed_mod_seq = given.column4, messages = given.column5, unseen = given.column6,"
            " deleted = given.column7, octets = given.column8",
            8,
            "WHERE id = given.column1",
            [
                (
                    mailbox.id,
                    mailbox.uid_next,
                    mailbox.highest_mod_seq,
                    mailbox.changed_mod_seq,
                    mailbox.messages,
                    mailbox.unseen,
                    mailbox.deleted,
                    mailbox.octets,
                )
                for mailbox in mailboxes
            ],
        )
        return tuple(MailboxChanged(mailbox.id, mailbox.highest_mod_seq) for mailbox in mailboxes)


def find_node(cursor: Cursor, account_id: int, name: str, columns: str) -> Row | None:
    """The row of a mailbox or level by its canonical name, walked from the top."""
    parent_id: object = 0
    levels = name.split("/")
    for level in levels[:-1]:
        row = one(
            cursor,
            "SELECT id FROM mailboxes WHERE account_id = ? AND parent_id = ? AND name = ?",
            (account_id, parent_id, level),
        )
        if row is None:
            return None
        parent_id = row[0]
    return one(
        cursor,
        f"SELECT {columns} FROM mailboxes WHERE account_id = ? AND parent_id = ? AND name = ?",
        (account_id, parent_id, levels[-1]),
    )


def name_any_case(cursor: Cursor, account_id: int, name: str) -> str | None:
    """The name of the first mailbox that differs in case alone, None where there is none."""
    parent_id: object = 0
    found = []
    for level in name.split("/"):
        rows = every(
            cursor,
            "SELECT id, name FROM mailboxes WHERE account_id = ? AND parent_id = ? ORDER BY id LIMIT ?",
            (account_id, parent_id, _ANY_CASE_MAX),
        )
        row = next((row for row in rows if row[1].casefold() == level.casefold()), None)
        if row is None:
            return None
        parent_id = row[0]
        found.append(row[1])
    return "/".join(found)


def take_numbers(cursor: Cursor, name: str, count: int) -> int:
    """Take `count` numbers from a counter; returns the first. They are never given again."""
    if isinstance(cursor, SharedCursor):
        return cursor.take_numbers(name, count)
    row = one(cursor, "UPDATE counters SET next = next + ? WHERE name = ? RETURNING next", (count, name))
    if row is None:
        cursor.execute("INSERT INTO counters (name, next) VALUES (?, ?)", (name, 1 + count))
        return 1
    return int(row[0]) - count
