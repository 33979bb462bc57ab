"""
INBOX as a POP3 session sees it: the messages that were there at the login, numbered from 1, for the whole session.

Of each message only UID and size are kept (12 octets), so that a maildrop of a million messages costs 12 MB and not a
gigabyte. Where contents lie, and small ones themselves, are read in batches ahead of the RETRs that follow one another,
and forgotten when the mailbox changes. Nothing is deleted before `commit`.

RFC 1939 3, 5, 6, 7
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

from mailtraq_py.interfaces.store import Column, ContentRef, IMailbox, IMailboxes
from mailtraq_py.mail.mailbox import INBOX
from mailtraq_py.mail.uidset import UIDSet

SIZES_BATCH = 2000
CONTENTS_BATCH = 20
LINES_BATCH = 4096


class Maildrop:
    """
    A snapshot with deletion marks. Make it with `open_maildrop`.

    Args:
        mailbox: INBOX.
        mailbox_id: to watch it by.
        uid_validity: of INBOX, the first half of unique-ids.
        uids: in rising order.
        octets: sizes, parallel to `uids`.

    `count` and `total_octets` leave out what is marked (RFC 1939 5, STAT).
    """

    def __init__(
        self, mailbox: IMailbox, mailbox_id: int, uid_validity: int, uids: array[int], octets: array[int]
    ) -> None:
        self.mailbox_id = mailbox_id
        self.count = len(uids)
        self.total_octets = sum(octets)
        self._mailbox = mailbox
        self._uid_validity = uid_validity
        self._uids = uids
        self._octets = octets
        self._deleted: set[int] = set()
        self._ahead: dict[int, tuple[ContentRef, int]] = {}

    def __contains__(self, number: int) -> bool:
        """Whether there is such a message and it is not marked as deleted."""
        return 0 < number <= len(self._uids) and number not in self._deleted

    @property
    def deleted(self) -> int:
        """How many are marked."""
        return len(self._deleted)

    def size(self, number: int) -> int:
        """Octets of a message."""
        return self._octets[number - 1]

    def unique_id(self, number: int) -> str:
        """The same for a message in all sessions, never used for another (RFC 1939 7, UIDL)."""
        return f"{self._uid_validity}.{self._uids[number - 1]}"

    def size_lines(self) -> Iterator[bytes]:
        """The scan listing of LIST, in pieces of some thousand lines."""
        return self._lines(lambda number: f"{number} {self._octets[number - 1]}\r\n")

    def unique_id_lines(self) -> Iterator[bytes]:
        """The listing of UIDL, in pieces of some thousand lines."""
        prefix = f"{self._uid_validity}."
        return self._lines(lambda number: f"{number} {prefix}{self._uids[number - 1]}\r\n")

    def mark(self, number: int) -> None:
        """Mark as deleted."""
        self._deleted.add(number)
        self.count -= 1
        self.total_octets -= self._octets[number - 1]

    def unmark_all(self) -> None:
        """Undo all marks."""
        self._deleted.clear()
        self.count = len(self._uids)
        self.total_octets = sum(self._octets)

    async def find_content(self, number: int) -> tuple[ContentRef, int] | None:
        """
        Where a message's octets are, and how many of them are its header with the blank line.

        Returns:
            None when the message was expunged elsewhere meanwhile.
        """
        uid = self._uids[number - 1]
        if uid not in self._ahead:
            await self._read_ahead(number)
        return self._ahead.get(uid)

    def octets_at_hand(self, number: int) -> bytes | None:
        """A small message that is there, not marked and was read ahead; else None."""
        found = self._ahead.get(self._uids[number - 1]) if number in self else None
        return None if found is None else found[0].read_at_hand()

    def forget_contents(self) -> None:
        """The mailbox changed: what was read ahead may be gone."""
        self._ahead.clear()

    async def commit(self) -> int:
        """
        Remove what is marked; durable when this returns.

        Returns:
            how many went; those that others expunged meanwhile are not counted.
        """
        if not self._deleted:
            return 0
        return len(await self._mailbox.remove(UIDSet.from_numbers(self._uids[number - 1] for number in self._deleted)))

    async def _read_ahead(self, number: int) -> None:
        uids = UIDSet.from_numbers(self._uids[number - 1 : number - 1 + CONTENTS_BATCH])
        columns = (Column.UID, Column.CONTENT, Column.HEADER_OCTETS)
        rows = cast(
            "list[tuple[int, ContentRef, int]]", await self._mailbox.fetch(uids, columns, CONTENTS_BATCH)
        )
        self._ahead = {uid: (content, len(content.head) + header) for uid, content, header in rows}

    def _lines(self, line: Callable[[int], str]) -> Iterator[bytes]:
        deleted = self._deleted
        for first in range(1, len(self._uids) + 1, LINES_BATCH):
            numbers = range(first, min(first + LINES_BATCH, len(self._uids) + 1))
            yield "".join([line(number) for number in numbers if number not in deleted]).encode("ascii")


async def open_maildrop(mailboxes: IMailboxes, let_others_go: Callable[[], Awaitable[None]]) -> Maildrop:
    """
    Take the snapshot.

    Args:
        let_others_go: waited for between batches, so that a large maildrop holds nobody else up.
    """
    mailbox = await mailboxes.open(INBOX)
    status, selected = await mailbox.select(False)
    uids, octets = array("I"), array("Q")
    first, last = (selected.ranges[0][0], selected.ranges[-1][1]) if selected else (1, 0)
    while first <= last:
        rows = cast(
            "list[tuple[int, int]]",
            await mailbox.fetch(UIDSet(((first, last),)), (Column.UID, Column.OCTETS), SIZES_BATCH),
        )
        if not rows:  # the last ones were expunged meanwhile; a store may also give fewer rows than it is asked for
            break
        uids.extend([uid for uid, _ in rows])
        octets.extend([size for _, size in rows])
        first = rows[-1][0] + 1
        await let_others_go()
    return Maildrop(mailbox, status.id, status.uid_validity, uids, octets)
