"""
What was there at a time and is gone since, brought back: `mailtraq restore`.

A message comes back into the mailbox it was deleted from, under a new UID, with the flags it had then; a mailbox that
is gone is made anew. One that was moved since that time comes back where it was last, unless another copy of it is
there. What was deleted before that time stays deleted.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass

from mailtraq_py.interfaces.failures import MailboxExists
from mailtraq_py.mail.mailbox import INBOX
from mailtraq_py.mail.uidset import UIDSet

from .content import first_id_after
from .database import Database
from .mailboxes import Mailboxes
from .resolution import account_of
from .sql.rows import Row
from .verification import Progress

_SLICE = 500


@dataclass(frozen=True, slots=True)
class Comeback:
    """
    What comes back into one mailbox: `uids` of the recoverable one. `is_new`: the mailbox is made anew, with its
    `special_use` where no other has it.
    """

    mailbox: str
    is_new: bool
    special_use: str
    uids: UIDSet
    octets: int


@dataclass(frozen=True, slots=True)
class Run:
    """Messages that were deleted from one mailbox at one time: what `Deleted.purge` takes."""

    recoverable_id: int
    low: int
    mailbox: str
    messages: int
    octets: int


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a restore would do. `purged_until`: of what was deleted up to then something is gone for good, in seconds
    since the epoch. `fits`: the account's quota has room for all.
    """

    mailboxes: tuple[Comeback, ...]
    purged_until: float
    fits: bool


class Undeletion:
    """
    Deleted mail of one account.

    Args:
        database: the main one.
        boxes: the account's.
    """

    def __init__(self, database: Database, boxes: Mailboxes) -> None:
        self._database = database
        self._boxes = boxes

    async def plan(self, at: float, only: str | None = None) -> Plan:
        """
        Look what was there at a time and is gone since; nothing is changed.

        Args:
            at: seconds since the epoch.
            only: what was in the mailbox of this name.
        """
        names, existing = await self._names()
        read, account_id = self._database.read, self._boxes.account_id
        by_name: dict[str, list[Row]] = {}
        for row in _wanted(read("deleted_messages", account_id, at), read("living_copies", account_id), at):
            by_name.setdefault(names[row[1]], []).append(row)
        uses: dict[str, str] = {}
        for _, name, special_use, created, deleted in read("deleted_mailboxes", account_id):
            uses[name] = special_use
            if created <= at < deleted:
                by_name.setdefault(name, [])
        taken = set(existing.values())
        comebacks = []
        for name, rows in sorted(by_name.items()):
            is_new = name not in existing
            if only not in (None, name) or not (rows or is_new):
                continue
            use = uses[name] if is_new and uses[name] not in taken else ""
            taken.add(use)
            uids = UIDSet.from_numbers(row[0] for row in rows)
            comebacks.append(Comeback(name, is_new, use, uids, sum(row[3] for row in rows)))
        return Plan(tuple(comebacks), read("purged_until", account_id), self._fits(comebacks))

    async def restore(self, plan: Plan, progress: Progress = lambda *_: None) -> None:
        """
        Bring back what a plan says, in slices; what is done is done when something stops it.

        Raises:
            OverQuota: there is no room any more.
        """
        recoverable = self._boxes.recoverable()
        total, done = sum(len(comeback.uids) for comeback in plan.mailboxes), 0
        for comeback in plan.mailboxes:
            if comeback.is_new:
                with suppress(MailboxExists):
                    await self._boxes.create(comeback.mailbox, comeback.special_use)
            numbers = list(comeback.uids)
            for first in range(0, len(numbers), _SLICE):
                some = UIDSet.from_numbers(numbers[first : first + _SLICE])
                done += len((await recoverable.copy(some, comeback.mailbox, move=True)).source)
                progress("messages", done, total)

    async def runs(self, only: str | None = None) -> list[Run]:
        """What can be purged, the oldest first; `only` what was in the mailbox of this name."""
        names, _ = await self._names()
        rows = self._database.read("deletions", self._boxes.account_id)
        found = [Run(box, low, names[origin], messages, octets) for box, low, origin, messages, octets in rows]
        return [run for run in found if run.messages and only in (None, run.mailbox)]

    async def _names(self) -> tuple[defaultdict[int, str], dict[str, str]]:
        """
        Names of mailboxes that are and that were by their number, INBOX where a number is not known any more; and the
        special use of each that is.
        """
        while await self._database.run("purge_condemned"):
            pass
        rows = self._database.read("deleted_mailboxes", self._boxes.account_id)
        there = [info for info in await self._boxes.list_mailboxes() if info.id and not info.is_recoverable]
        names = defaultdict(lambda: INBOX, {row[0]: row[1] for row in rows})
        names.update((info.id, info.name) for info in there)
        return names, {info.name: info.special_use for info in there}

    def _fits(self, comebacks: list[Comeback]) -> bool:
        account_id = self._boxes.account_id
        account = account_of(self._database.read("find_account_by_id", account_id))
        octets, messages = self._database.read("account_usage", account_id)
        octets += sum(comeback.octets for comeback in comebacks)
        messages += sum(len(comeback.uids) for comeback in comebacks)
        return (account.quota_octets is None or octets <= account.quota_octets) and (
            account.quota_messages is None or messages <= account.quota_messages
        )


def _wanted(rows: list[Row], living: list[Row], at: float) -> list[Row]:
    """
    Of deleted messages (see `deleted_messages`) those that were there at a time and of which no copy is there.

    What was saved to its mailbox later, but came to the server before, was moved or copied since: it comes back once,
    from where it was last, unless it does from where it was then.
    """
    in_place = {tuple(row) for row in living}
    anywhere = {row[1:] for row in in_place}
    newest_id = first_id_after(at)
    chosen: list[Row] = []
    later: dict[Row, Row] = {}
    for row in rows:
        _, origin, saved, _, *copy = row
        if saved > at:
            if copy[0] < newest_id:
                later[tuple(copy)] = row
        elif (origin, *copy) not in in_place:
            chosen.append(row)
            anywhere.add(tuple(copy))
    return [*chosen, *(row for copy, row in later.items() if copy not in anywhere)]
