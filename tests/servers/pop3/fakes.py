"""One account's INBOX in memory, contents and a hub, as far as POP3 asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import Column, ContentRef, MailboxStatus
from mailtraq_py.mail.changes import Change
from mailtraq_py.mail.uidset import UIDSet

UID_VALIDITY = 77
MAILBOX_ID = 5
ROWS_AT_ONCE = 700  # a store gives as many rows as it sees fit


class FakeInbox:
    """
    IMailboxes, IMailbox, IContent and IChangeHub in one. `messages` are octets by UID; the first 9 octets of each are
    its head, as far as it has so many.
    """

    def __init__(self, *messages: bytes) -> None:
        self.messages = dict(enumerate(messages, 10))
        self.removed: list[int] = []
        self.reads: list[tuple[int, int]] = []
        self.fetches = 0
        self.failure: Exception | None = None
        self.read_failure_from: int | None = None
        self.holding: Deferred[None] | None = None
        self.watchers: dict[tuple[str, int], Callable[[Change], None]] = {}

    def of_account(self, account_id: int) -> FakeInbox:
        """The account's mailboxes."""
        return self

    async def open(self, name: str) -> FakeInbox:
        """INBOX."""
        assert name == "INBOX"
        if self.holding is not None:
            await self.holding
        self._may_fail()
        return self

    async def select(self, claim_recent: bool) -> tuple[MailboxStatus, UIDSet]:
        """Status and UIDs."""
        assert not claim_recent
        total = sum(map(len, self.messages.values()))
        status = MailboxStatus(MAILBOX_ID, "INBOX", UID_VALIDITY, 100, 1, len(self.messages), 0, 0, total, 1)
        return status, UIDSet.from_numbers(self.messages)

    async def fetch(self, uids: UIDSet, columns: Sequence[Column], limit: int) -> list[tuple[Any, ...]]:
        """Columns of messages."""
        self._may_fail()
        self.fetches += 1
        found = [uid for uid in sorted(self.messages) if uid in uids][: min(limit, ROWS_AT_ONCE)]
        return [tuple(self._value(uid, column) for column in columns) for uid in found]

    async def remove(self, uids: UIDSet) -> UIDSet:
        """Remove for good."""
        if self.holding is not None:
            await self.holding
        self._may_fail()
        gone = [uid for uid in uids if self.messages.pop(uid, None) is not None]
        self.removed += gone
        return UIDSet.from_numbers(gone)

    async def read(self, content: ContentRef, offset: int = 0, length: int | None = None) -> bytes:
        """Octets of a message."""
        if self.read_failure_from is not None and offset >= self.read_failure_from:
            raise TemporaryFailure("disk")
        end = None if length is None else offset + length
        piece = self.messages[content.id][offset:end]
        self.reads.append((offset, len(piece)))
        return piece

    def watch_mailbox(self, mailbox_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Keep the listener."""
        return self._watch(("mailbox", mailbox_id), listener)

    def watch_account(self, account_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Keep the listener."""
        return self._watch(("account", account_id), listener)

    def _watch(self, key: tuple[str, int], listener: Callable[[Change], None]) -> Callable[[], None]:
        self.watchers[key] = listener
        return lambda: self.watchers.pop(key, None) and None

    def _value(self, uid: int, column: Column) -> object:
        octets = self.messages[uid]
        head = octets[:9]
        header = octets.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in octets else len(octets)
        return {
            Column.UID: uid,
            Column.OCTETS: len(octets),
            Column.CONTENT: ContentRef(uid, len(octets) - len(head), head),
            Column.HEADER_OCTETS: header - len(head),
        }[column]

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure
