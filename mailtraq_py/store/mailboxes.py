"""
The mailboxes of one account, and one mailbox as sessions work on it.

Names come in as their canonical form or are brought to it here. Reads run on the reactor thread in slices of at most
`_READ_SLICE` messages, a millisecond or two each, and let others have their turn in between: a thread beside a busy
reactor would fight it for the interpreter at every row. Long writes go to the writer in slices of their own, so that
deliveries are committed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from operator import itemgetter
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.failures import MailboxNotAllowed, NoSuchMailbox, OverQuota, TemporaryFailure
from mailtraq_py.interfaces.store import (
    Appended,
    Column,
    ContentRef,
    Copied,
    IMailbox,
    IMailboxes,
    MailboxInfo,
    MailboxStatus,
    NewMessage,
    Stored,
)
from mailtraq_py.mail.changes import MailboxDelta, MessageState, StateRun
from mailtraq_py.mail.flags import StoreOperation, bits, from_bits, keywords
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR, SPECIAL_USES, canonical_name
from mailtraq_py.mail.search import All, And, SearchKey, UIDs
from mailtraq_py.mail.sorting import SortCriterion
from mailtraq_py.mail.threads import ThreadAlgorithm, ThreadedMessage, Threads, thread
from mailtraq_py.mail.uidset import UIDSet

from .acceptance import Batch
from .content import Content
from .database import Database
from .deleted import Deleted
from .flagchanges import UIDS_MAX, FlagChanges
from .narrowing import IndexedMailbox
from .searchindex import SearchIndexes
from .searching import MailboxSearch
from .sorting import sort_columns, sort_rows
from .sql.acceptance import Entry
from .sql.rows import Row
from .workers import Workers

_SLICE_SECONDS = 0.003
_READ_SLICE = 500
_STORE_SLICE = 5000
# What takes a statement or a value a message.
_STORE_SLICE_BY_ROW = 1500
_EXPUNGE_SLICE = 1500
_COPY_SLICE = 2000
_SCAN_SLICE = 5000
_FIRST_UNSEEN_UIDS = 10_000
_UID_MAX = 0xFFFFFFFF
_EVERY_UID = UIDSet(((1, _UID_MAX),))

_log = Logger()

Pause = Callable[[], Deferred[None]]


class Shelf:
    """What mailboxes need of the store; `pause` lets others have their turn."""

    def __init__(
        self,
        database: Database,
        content: Content,
        deleted: Deleted,
        indexes: SearchIndexes,
        workers: Workers,
        clock: Callable[[], float],
        pause: Pause,
    ) -> None:
        self.database = database
        self.content = content
        self.deleted = deleted
        self.indexes = indexes
        self.workers = workers
        self.clock = clock
        self._pause = pause
        self.flag_changes = FlagChanges()

    async def breathe(self, begun: float) -> float:
        """
        Let others have their turn when a slice is over.

        Args:
            begun: when the slice began, by `time.monotonic`.

        Returns:
            when the slice that goes on began.
        """
        if monotonic() < begun + _SLICE_SECONDS:
            return begun
        await self._pause()
        return monotonic()

    def is_virtual(self, account_id: int, name: str) -> bool:
        """Whether a canonical name is that of the mailbox of deleted messages, or beneath it."""
        virtual = self.deleted.settings.mailbox
        if not virtual or not f"{name}{SEPARATOR}".startswith(f"{virtual}{SEPARATOR}"):
            return False
        return self.database.read("find_mailbox", account_id, virtual) is None


@implementer(IMailboxes)
class Mailboxes:
    """See `IMailboxes`."""

    def __init__(self, shelf: Shelf, account_id: int) -> None:
        self.account_id = account_id
        self._shelf = shelf
        self._database = shelf.database
        self._recoverable_name = shelf.deleted.settings.mailbox

    async def list_mailboxes(self) -> list[MailboxInfo]:
        """See `IMailboxes`."""
        nodes = {row[0]: row for row in self._database.read("list_mailboxes", self.account_id)}
        subscribed = set(self._database.read("list_subscriptions", self.account_id))
        parents = {row[1] for row in nodes.values()}
        listed = []
        for number, _, _, state, special_use in nodes.values():
            name = _full_name(nodes, number)
            is_open = state == "open"
            listed.append(
                MailboxInfo(number if is_open else 0, name, special_use, name in subscribed, number in parents)
            )
        recoverable = self._recoverable_name
        if recoverable and all(info.name != recoverable for info in listed):
            row = self._database.read("find_recoverable", self.account_id)
            if row is not None:
                is_subscribed = recoverable in subscribed
                listed.append(MailboxInfo(row[0], recoverable, "", is_subscribed, False, is_recoverable=True))
        return sorted(listed, key=lambda info: (info.name != INBOX, info.name))

    async def list_subscriptions(self) -> list[str]:
        """See `IMailboxes`."""
        names: list[str] = self._database.read("list_subscriptions", self.account_id)
        return names

    async def status(self, name: str) -> MailboxStatus:
        """See `IMailboxes`."""
        return _status(self._find(name), _canonical(name))

    async def create(self, name: str, special_use: str = "") -> MailboxStatus:
        """See `IMailboxes`."""
        name = self._real(name)
        if special_use and special_use not in SPECIAL_USES:
            raise MailboxNotAllowed(f"no such special use: {special_use}")
        await self._database.run("create_mailbox", self.account_id, name, special_use, self._shelf.clock())
        return await self.status(name)

    async def delete(self, name: str) -> None:
        """See `IMailboxes`. It is gone when this returns; the room of a large one comes back a little later."""
        deleted, now = self._shelf.deleted, self._shelf.clock()
        await self._database.run("delete_mailbox", self.account_id, self._real(name), now, deleted.is_kept)
        Deferred.fromCoroutine(_purge(self._database))

    async def rename(self, name: str, new_name: str) -> None:
        """See `IMailboxes`. INBOX stays: its messages move to the new mailbox, in slices (RFC 9051 6.3.6)."""
        name, new_name = self._real(name), self._real(new_name)
        if name != INBOX:
            await self._database.run("rename_mailbox", self.account_id, name, new_name, self._shelf.clock())
            return
        inbox = await self.open(INBOX)
        await self.create(new_name)
        await inbox.copy(_EVERY_UID, new_name, move=True)

    async def subscribe(self, name: str, subscribed: bool) -> None:
        """See `IMailboxes`. A name that does not exist may be subscribed too (RFC 9051 6.3.7)."""
        await self._database.run("subscribe_mailbox", self.account_id, _canonical(name), subscribed)

    async def open(self, name: str) -> Mailbox:
        """See `IMailboxes`."""
        row = self._find(name)
        return Mailbox(self._shelf, self.account_id, row[0], _canonical(name), row[5], read_only=row[2] < 0)

    def recoverable(self) -> Mailbox:
        """The mailbox of deleted messages, whether it is shown or not."""
        row: Row | None = self._database.read("find_recoverable", self.account_id)
        if row is None:
            raise NoSuchMailbox("the account is gone")
        return Mailbox(self._shelf, self.account_id, row[0], self._recoverable_name, row[5], read_only=True)

    async def append(self, name: str, messages: Sequence[NewMessage]) -> Appended:
        """See `IMailboxes`."""
        name = self._real(name)
        row = self._find(name)
        if not messages:
            return Appended(row[5], UIDSet())
        with Batch(self._shelf.content, self._shelf.clock) as batch:
            prepared = [
                await batch.message(new.spool, new.facts, self.account_id, name, new.flags, new.internal_date)
                for new in messages
            ]
            now = self._shelf.clock()
            entry = Entry("", now, int(now), tuple(prepared), strict=True)
            places = await self._shelf.deleted.write("accept", entry, octets=batch.octets)
            batch.keep()
        return Appended(places[0][3], UIDSet.from_numbers(place[2] for place in places))

    def _find(self, name: str) -> Row:
        canonical = _canonical(name)
        row: Row | None = self._database.read("find_mailbox", self.account_id, canonical)
        if row is None and canonical == self._recoverable_name:
            row = self._database.read("find_recoverable", self.account_id)
        if row is None:
            raise NoSuchMailbox(name)
        return row

    def _real(self, name: str) -> str:
        """The canonical form of a name to write to. A mailbox that has the virtual one's name hides that one."""
        name = _canonical(name)
        if self._shelf.is_virtual(self.account_id, name):
            raise MailboxNotAllowed("deleted messages are only looked at, and copied from there")
        return name


@implementer(IMailbox)
class Mailbox:
    """See `IMailbox`."""

    def __init__(
        self, shelf: Shelf, account_id: int, mailbox_id: int, name: str, uid_validity: int, read_only: bool
    ) -> None:
        self.id = mailbox_id
        self.name = name
        self.uid_validity = uid_validity
        self.read_only = read_only
        self._account_id = account_id
        self._shelf = shelf
        self._database = shelf.database

    async def select(self, claim_recent: bool) -> tuple[MailboxStatus, UIDSet]:
        """See `IMailbox`."""
        status, uids = await self._select()
        if not claim_recent or status.first_recent >= status.uid_next:
            return status, uids
        claimed = await self._database.run("claim_recent", self.id)
        status, uids = await self._select()
        return replace(status, first_recent=claimed), uids

    async def first_unseen(self) -> int:
        """See `IMailbox`."""
        uid: int = self._database.read("first_unseen", self.id, _FIRST_UNSEEN_UIDS)
        return uid

    async def states(self, uids: UIDSet) -> list[MessageState]:
        """See `IMailbox`."""
        begun = monotonic()
        states: list[MessageState] = []
        while uids:
            rows = self._database.read("state_rows", self.id, uids.ranges, _READ_SLICE)
            states.extend(_states(rows))
            if len(rows) < _READ_SLICE:
                break
            uids = _after(uids, rows[-1][0])
            begun = await self._shelf.breathe(begun)
        return states

    async def changes(self, since: int) -> MailboxDelta:
        """See `IMailbox`."""
        begun = monotonic()
        found = self._database.read("mod_seqs", self.id)
        if found is None:
            raise NoSuchMailbox(self.name)
        # What changes while rows are read has a higher MODSEQ and is told the next time, too.
        highest, last_change = found
        if since >= highest:
            return MailboxDelta(highest, (), UIDSet())
        states: list[MessageState] = []
        known = self._shelf.flag_changes.changed_since(self.id, since, last_change)
        after = 0
        if known is not None:
            states.extend(_states(self._database.read("newest_changes", self.id, since, known.ranges)))
        while known is None:
            rows, after = self._database.read("changes_after", self.id, since, after, _SCAN_SLICE)
            states.extend(_states(rows))
            if not after:
                break
            begun = await self._shelf.breathe(begun)
        vanished = self._database.read("vanished_between", self.id, since, highest)
        return MailboxDelta(highest, tuple(states), UIDSet.from_ranges(vanished))

    async def fetch(self, uids: UIDSet, columns: Sequence[Column], limit: int) -> list[tuple[object, ...]]:
        """See `IMailbox`."""
        names = tuple(column.value for column in columns)
        convert = _converter(names)
        begun = monotonic()
        fetched: list[tuple[object, ...]] = []
        while uids and len(fetched) < limit:
            wanted = min(limit - len(fetched), _READ_SLICE)
            rows = self._database.read("fetch_rows", self.id, uids.ranges, names, wanted)
            fetched.extend(rows if convert is None else convert(rows))
            if len(rows) < wanted or len(fetched) >= limit:
                break
            uids = _after(uids, rows[-1][0])
            begun = await self._shelf.breathe(begun)
        return fetched

    async def store(
        self, uids: UIDSet, operation: StoreOperation, flags: frozenset[str], unchanged_since: int | None = None
    ) -> Stored:
        """See `IMailbox`."""
        self._must_be_writable()
        runs: list[StateRun] = []
        modified: list[int] = []
        words = keywords(flags)
        is_plain = not words and len(uids.ranges) < _STORE_SLICE_BY_ROW
        limit = _STORE_SLICE if is_plain else _STORE_SLICE_BY_ROW
        since = until = 0
        while uids:
            found, changed, after, before, now, last_change = await self._database.run(
                "store_flags", self.id, uids.ranges, operation.value, bits(flags), words, unchanged_since, limit
            )
            runs.extend(StateRun(low, high, mod_seq, _flags(*kind)) for low, high, mod_seq, *kind in found)
            modified.extend(changed)
            if now > before:
                changed_now = _EVERY_UID
                if len(found) <= UIDS_MAX:
                    changed_now = UIDSet.from_ranges((row[0], row[1]) for row in found if row[2] == now)
                self._shelf.flag_changes.note(self.id, last_change, now, changed_now)
            # Between two slices somebody else may have changed the mailbox.
            since, until = (before, now) if not until else (since if until == before else now, now)
            if not after:
                break
            uids = _after(uids, after)
        return Stored(tuple(runs), UIDSet.from_numbers(modified), since, until)

    async def expunge(self, uids: UIDSet | None) -> UIDSet:
        """See `IMailbox`."""
        return await self._remove(_EVERY_UID if uids is None else uids, True)

    async def remove(self, uids: UIDSet) -> UIDSet:
        """See `IMailbox`."""
        return await self._remove(uids, False)

    async def copy(self, uids: UIDSet, destination: str, move: bool = False) -> Copied:
        """See `IMailbox`."""
        destination = _canonical(destination)
        if self._shelf.is_virtual(self._account_id, destination):
            raise MailboxNotAllowed(f"{destination} is read-only")
        if move:
            return await self._move(uids, destination)
        copied = await self._shelf.deleted.write(
            "copy_messages", self.id, uids.ranges, destination, int(self._shelf.clock()), _COPY_SLICE
        )
        if copied is None:
            return await self._copy_staged(uids, destination)
        uid_validity, source, copies = copied
        return Copied(uid_validity, tuple(source), tuple(copies))

    async def search(self, key: SearchKey, now: float) -> UIDSet:
        """See `IMailbox`."""
        shelf = self._shelf
        mailbox = IndexedMailbox(self._account_id, self.id, self.uid_validity)
        return await MailboxSearch(shelf.database, shelf.content, shelf.workers, shelf.indexes, mailbox).find(key)

    async def sort(self, key: SearchKey, criteria: Sequence[SortCriterion], now: float) -> list[int]:
        """See `IMailbox`."""
        rows = await self._rows(await self._found(key, now), sort_columns(criteria))
        return await self._shelf.workers.run(sort_rows, rows, criteria)

    async def thread(self, key: SearchKey, algorithm: ThreadAlgorithm, now: float) -> Threads:
        """See `IMailbox`."""
        rows = await self._rows(await self._found(key, now), ThreadedMessage._fields[1:])
        return await self._shelf.workers.run(thread, rows, algorithm)

    async def _found(self, key: SearchKey, now: float) -> UIDSet:
        """What to sort. Of everything nothing has to be looked for: the rows say what is there."""
        match key:
            case And((UIDs(uids), All())):
                return uids
        return await self.search(key, now)

    async def _rows(self, uids: UIDSet, columns: tuple[str, ...]) -> list[Row]:
        """UID and columns of all messages of a set."""
        begun = monotonic()
        gathered: list[Row] = []
        while uids:
            rows = self._database.read("fetch_rows", self.id, uids.ranges, columns, _READ_SLICE)
            gathered.extend(rows)
            if len(rows) < _READ_SLICE:
                break
            uids = _after(uids, rows[-1][0])
            begun = await self._shelf.breathe(begun)
        return gathered

    async def _select(self) -> tuple[MailboxStatus, UIDSet]:
        """
        Every UID up to the last is either there or expunged, so the UIDs are what the tombstones leave: a look at a few
        ranges, whatever the number of messages.
        """
        found = self._database.read("select_rows", self.id)
        if found is None:
            raise NoSuchMailbox(self.name)
        row, first, last, gone = found
        status = _status(row, self.name)
        uids = UIDSet(((first, last),)) if last else UIDSet()
        if gone:
            pairs = [pair.split(" ") for pair in gone.split(",")]
            uids = uids.difference(UIDSet.from_ranges([(int(low), int(high)) for low, high in pairs]))
        if len(uids) != status.messages:
            # The counts do not agree, which `mailtraq verify` tells; what is there is shown.
            uids = UIDSet.from_numbers(self._database.read("list_uids", self.id))
        return status, uids

    async def _move(self, uids: UIDSet, destination: str) -> Copied:
        """In slices: each message is in one of the two mailboxes at any instant (RFC 6851 3.3)."""
        gone: list[int] = []
        copies: list[int] = []
        while True:
            uid_validity, some, there, after = await self._shelf.deleted.write(
                "move_messages", self.id, uids.ranges, destination, int(self._shelf.clock()), _COPY_SLICE
            )
            gone.extend(some)
            copies.extend(there)
            if not after:
                return Copied(uid_validity, tuple(gone), tuple(copies))
            uids = _after(uids, after)

    async def _copy_staged(self, uids: UIDSet, destination: str) -> Copied:
        """As a whole or not at all, though it takes longer than others may be held back: see sql/staging.py."""
        write = self._shelf.deleted.write
        source: list[int] = []
        stage = 0
        try:
            while uids:
                stage, some, after = await write(
                    "stage_copies", self.id, uids.ranges, stage, self._shelf.clock(), _COPY_SLICE
                )
                source.extend(some)
                uids = _after(uids, after) if after else UIDSet()
            uid_validity, first = await write("show_copies", stage, destination, int(self._shelf.clock()))
        except (NoSuchMailbox, OverQuota, TemporaryFailure):
            if stage:
                await self._database.run("condemn_staged", stage, self._shelf.clock() + 1)
                Deferred.fromCoroutine(_purge(self._database))
            raise
        return Copied(uid_validity, tuple(source), tuple(range(first, first + len(source))))

    async def _remove(self, uids: UIDSet, only_deleted: bool) -> UIDSet:
        self._must_be_writable()
        gone: list[int] = []
        now, keep = self._shelf.clock(), self._shelf.deleted.is_kept
        while uids:
            some, after = await self._database.run(
                "expunge_messages", self.id, uids.ranges, only_deleted, _EXPUNGE_SLICE, now, keep
            )
            gone.extend(some)
            if not after:
                break
            uids = _after(uids, after)
        return UIDSet.from_numbers(gone)

    def _must_be_writable(self) -> None:
        if self.read_only:
            raise MailboxNotAllowed(f"{self.name} is read-only")


async def _purge(database: Database) -> None:
    """Purge what was deleted, with nobody waiting. What stops it now is tried again by the store's upkeep."""
    try:
        while await database.run("purge_condemned"):
            pass
    except TemporaryFailure as failure:
        _log.warn("purge-put-off", event="purge-put-off", reason=failure.reason)


def _canonical(name: str) -> str:
    try:
        return canonical_name(name)
    except ValueError as error:
        raise MailboxNotAllowed(str(error)) from error


def _full_name(nodes: dict[int, Row], number: int) -> str:
    levels = []
    while number:
        _, number, level, _, _ = nodes[number]
        levels.append(level)
    return SEPARATOR.join(reversed(levels))


def _status(row: Row, name: str) -> MailboxStatus:
    """From a row of MAILBOX_COLUMNS."""
    number, _, _, _, _, uid_validity, uid_next, highest, _, messages, unseen, deleted, octets, first_recent = row
    return MailboxStatus(
        number, name, uid_validity, uid_next, highest, messages, unseen, deleted, octets, first_recent
    )


@lru_cache(maxsize=4096)
def _flags(number: int, words: str) -> frozenset[str]:
    """Flags of a row; most messages share few sets, so most are at hand."""
    return from_bits(number) | frozenset(words.split()) if words else from_bits(number)


# As MessageState._make does it, but without a step of the interpreter for each.
_make_state: Callable[[Iterable[Any]], MessageState] = partial(tuple.__new__, MessageState)


def _states(rows: Sequence[Row]) -> Iterator[MessageState]:
    """From rows (uid, mod_seq, flags, keywords), column by column."""
    if not rows:
        return iter(())
    uids, mod_seqs, numbers, words = zip(*rows, strict=True)
    return map(_make_state, zip(uids, mod_seqs, map(_flags, numbers, words), strict=True))


def _after(uids: UIDSet, uid: int) -> UIDSet:
    """What of a set lies behind a UID."""
    return uids.intersection(UIDSet(((uid + 1, _UID_MAX),)))


def _content(number: int, octets: int, head: bytes | None, at_hand: bytes | None) -> ContentRef:
    return ContentRef(number, octets - len(head), head, at_hand) if head else ContentRef(number, octets, b"", at_hand)


# How many SQL columns each column takes, where it is not one, and how its value is made of them.
_CONVERSIONS: dict[str, tuple[int, Callable[..., object]]] = {
    "flags": (2, _flags),
    "content": (4, _content),
    "email_id": (2, lambda number, head: f"M{number:x}-{head}"),
    "thread_id": (1, lambda number: f"T{number:x}"),
}


@lru_cache(maxsize=128)
def _converter(names: tuple[str, ...]) -> Callable[[Sequence[Row]], Iterable[tuple[object, ...]]] | None:
    """
    Makes tuples of columns out of rows of `fetch_rows`, whose first column is the UID; None where the rows are right
    as they are. Column by column, so that no step of the interpreter is taken for a single value.
    """
    values: list[Callable[[Sequence[Row]], Iterable[object]]] = []
    place = 1
    for name in names:
        if name == "uid":
            values.append(_column(0))
            continue
        width, convert = _CONVERSIONS.get(name, (1, None))
        columns = [_column(number) for number in range(place, place + width)]
        values.append(columns[0] if convert is None else _converted(convert, columns))
        place += width
    if names[:1] == ("uid",) and names.count("uid") == 1 and not any(name in _CONVERSIONS for name in names):
        return None
    return lambda rows: zip(*[column(rows) for column in values], strict=True)


def _column(place: int) -> Callable[[Sequence[Row]], Iterable[Any]]:
    return partial(map, itemgetter(place))


def _converted(
    convert: Callable[..., object], columns: Sequence[Callable[[Sequence[Row]], Iterable[Any]]]
) -> Callable[[Sequence[Row]], Iterable[object]]:
    return lambda rows: map(convert, *[column(rows) for column in columns])
