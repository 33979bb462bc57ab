"""
Indexing: what is new in each account's mailboxes is read and written into the account's full-text index.

One look goes over all mailboxes in a single statement, and visits the accounts in which something changed since it
last looked. An account is worked some messages at a time, one account after the other, so that a large import holds
nobody else's new mail back. A message's text is read once, however often it is copied and moved.

What was expunged leaves the index some time later: its places, its documents, and, by merging all trigrams anew, its
trigrams.

This runs in a process of its own (`app/indexer.py`) and stops soon when it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter

from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.mail.text import BREAK, body_texts, header_text

from .attachments import AttachmentText
from .content import Content, fold
from .database import Database
from .searchindex import (
    TEXT_MAX_OCTETS,
    Document,
    IndexDamaged,
    IndexUnavailable,
    SearchIndex,
    SearchIndexes,
    match_expression,
    searchable,
)
from .sql.rows import Row

# As many messages a transaction, or fewer when their texts are long: more save a little and delay the others.
_SLICE = 200
_SLICE_OCTETS = 4 * 1024 * 1024
_SLICES_A_TURN = 5

SETTLE_SECONDS = 60.0
"""A log is written back so long after it was begun."""

PUT_OFF_SECONDS = 60.0
"""An index that could not be written is tried again so long after it."""

FORGET_SECONDS = 4 * 3600.0
"""What is expunged is forgotten so long after the last time, at most."""


@dataclass(slots=True)
class IndexMetrics:
    """What was done so far. `documents` are texts that were read, `messages` what got a place."""

    messages: int = 0
    documents: int = 0
    forgotten: int = 0
    text_octets: int = 0

    def take(self) -> IndexMetrics:
        """What was done since this was asked the last time."""
        taken = replace(self)
        self.messages = self.documents = self.forgotten = self.text_octets = 0
        return taken


@dataclass(slots=True)
class Indexing:
    """
    The indexes, kept up with the mail.

    Args:
        database, content: of the store; they are only read.
        indexes: to be written; nobody else may (`SearchIndexes.lock`).
        attachments: reads the text of attachments.
        clock: seconds of any steady clock.
        is_stopping: asked between messages.

    `look_seconds` is how long the last look at all mailboxes took, without what came of it.
    """

    database: Database
    content: Content
    indexes: SearchIndexes
    attachments: AttachmentText
    clock: Callable[[], float]
    is_stopping: Callable[[], bool] = lambda: False
    metrics: IndexMetrics = field(default_factory=IndexMetrics)
    look_seconds: float = 0.0
    _seen: dict[int, list[Row]] = field(default_factory=dict)
    _put_off: dict[int, float] = field(default_factory=dict)
    _forget_due: dict[int, float] = field(default_factory=dict)
    _unsettled: dict[int, float] = field(default_factory=dict)
    _strays: set[int] = field(default_factory=set)
    _unmerged: set[int] = field(default_factory=set)
    _chore: Iterator[None] | None = None

    log = Logger()

    def look(self, only: int | None = None) -> bool:
        """
        Visit each account in which there is something to do, for one turn.

        Args:
            only: this account and no other.

        Returns:
            whether there is more to do at once.

        Raises:
            TemporaryFailure: the mail cannot be read just now.
        """
        started = self.clock()
        rows = self.database.read("indexable_mailboxes")
        accounts = {account_id: list(group) for account_id, group in groupby(rows, itemgetter(0))}
        present, condemned = self.indexes.present()
        for account_id in (present | condemned) - accounts.keys():
            self.indexes.remove(account_id)
        if only is not None:
            accounts = {only: accounts[only]} if only in accounts else {}
        now = self.clock()
        self.look_seconds = now - started
        is_more = False
        for account_id, mailboxes in accounts.items():
            if self.is_stopping():
                return False
            # An index that somebody took away is made anew; an account without mail needs none.
            is_there = account_id in present or not _has_mail(mailboxes)
            is_due = account_id in condemned or self._forget_due.get(account_id, now) < now
            is_new = not is_there or is_due or self._seen.get(account_id) != mailboxes
            if is_new and self._put_off.get(account_id, now) <= now:
                is_more |= self._visit(account_id, mailboxes)
        return is_more

    def tidy(self) -> bool:
        """
        One step of what can wait: forgotten texts merged away, logs written back.

        Returns:
            whether there is more of it.
        """
        if self._chore is None:
            if self._unmerged:
                self._chore = self._merge(self._unmerged.pop())
            else:
                due = self.clock() - SETTLE_SECONDS
                account_id = next((key for key, since in self._unsettled.items() if since <= due), None)
                if account_id is None:
                    return False
                del self._unsettled[account_id]
                self._chore = self._settle(account_id)
        try:
            next(self._chore)
        except StopIteration:
            self._chore = None
        except IndexUnavailable as error:
            self._chore = None
            self.log.warn("index-not-tidied", event="index-not-tidied", reason=str(error))
        return True

    def _visit(self, account_id: int, mailboxes: list[Row]) -> bool:
        """One turn of an account; whether there is more to do for it at once."""
        if not _has_mail(mailboxes):
            self.indexes.remove(account_id)
            self._seen[account_id] = mailboxes
            return False
        try:
            with closing(self.indexes.open_to_write(account_id)) as index:
                self._unsettled.setdefault(account_id, self.clock())
                if account_id not in self._seen:
                    # Who did this before may have been stopped half-way.
                    self._strays.add(account_id)
                is_done = self._catch_up(account_id, index, mailboxes)
                if is_done:
                    self._forget(account_id, index, mailboxes)
        except IndexUnavailable as error:
            if isinstance(error, IndexDamaged):
                self.indexes.condemn(account_id)
            self._put_off[account_id] = self.clock() + PUT_OFF_SECONDS
            self.log.warn("index-unavailable", event="index-unavailable", account=account_id, reason=str(error))
            return False
        if is_done:
            self._seen[account_id] = mailboxes
        return not is_done

    def _catch_up(self, account_id: int, index: SearchIndex, mailboxes: list[Row]) -> bool:
        marks = index.marks()
        for mailbox_id in marks.keys() - {row[1] for row in mailboxes}:
            index.forget_mailbox(mailbox_id)
            self._strays.add(account_id)
        turns = 0
        for _, mailbox_id, uid_validity, uid_next, _ in mailboxes:
            known_validity, last_uid, _ = marks.get(mailbox_id, (uid_validity, 0, 0))
            if known_validity != uid_validity:
                index.forget_mailbox(mailbox_id)
                self._strays.add(account_id)
                last_uid = 0
            while last_uid < uid_next - 1:
                if turns == _SLICES_A_TURN or self.is_stopping():
                    return False
                last_uid = self._index_slice(index, mailbox_id, uid_validity, last_uid, uid_next - 1)
                turns += 1
        return True

    def _index_slice(self, index: SearchIndex, mailbox_id: int, uid_validity: int, after: int, until: int) -> int:
        """Index the next messages of a mailbox; returns the last UID that is done."""
        rows = self.database.read("messages_to_index", mailbox_id, after, _SLICE)
        last_uid: int = rows[-1][0] if len(rows) == _SLICE else max([until, *(row[0] for row in rows)])
        known = index.known({(row[1], row[2]) for row in rows})
        readers = self.content.readers({row[1] for row in rows if (row[1], row[2]) not in known})
        documents: dict[tuple[int, int], Document] = {}
        places = []
        octets = 0
        for row in rows:
            uid, place = row[0], (row[1], row[2])
            if octets > _SLICE_OCTETS or self.is_stopping():
                last_uid = uid - 1
                break
            if place not in known and place not in documents:
                documents[place] = document = read_document(readers.get(row[1]), self.attachments, row)
                octets += len(document.text or "")
            places.append((uid, *place))
        index.add(mailbox_id, uid_validity, list(documents.values()), places, last_uid)
        self.metrics.messages += len(places)
        self.metrics.documents += len(documents)
        self.metrics.text_octets += octets
        return last_uid

    def _forget(self, account_id: int, index: SearchIndex, mailboxes: list[Row]) -> None:
        """Forget what was expunged, unless that was done a short time ago."""
        now = self.clock()
        if self._forget_due.get(account_id, now) > now:
            return
        self._forget_due.pop(account_id, None)
        marks = index.marks()
        shrunk = [row[1] for row in mailboxes if row[1] in marks and marks[row[1]][2] > row[4]]
        if not shrunk and account_id not in self._strays:
            return
        for mailbox_id in shrunk:
            index.forget_gone(mailbox_id, set(self.database.read("list_uids", mailbox_id)))
        self.metrics.forgotten += index.forget_strays()
        self._strays.discard(account_id)
        self._forget_due[account_id] = now + FORGET_SECONDS
        if index.is_unmerged():
            self._unmerged.add(account_id)

    def _merge(self, account_id: int) -> Iterator[None]:
        with closing(self.indexes.open_to_write(account_id)) as index:
            yield from index.merge()

    def _settle(self, account_id: int) -> Iterator[None]:
        with closing(self.indexes.open_to_write(account_id)) as index:
            index.settle()
        yield


def read_document(
    reader: Callable[[int, int], bytes] | None, attachments: AttachmentText | None, row: Row
) -> Document:
    """
    All that SEARCH looks at of a message, in the forms in which it compares.

    Args:
        reader: of its content; None where that is gone or damaged.
        row: of `messages_to_index`.
    """
    _, content_id, number, head, octets, header_octets, parts, *columns = row
    head = head or b""
    octets -= len(head)
    if reader is None:
        # Nothing of it is ruled out.
        return Document(content_id, number, None)

    def read(offset: int, length: int) -> bytes:
        return reader(offset, offset + length)

    try:
        header = header_text(head + read(0, header_octets))
        texts = [header.casefold(), BREAK, *columns, BREAK]
        if not header.isascii():
            texts += [fold(header), BREAK]
        length = sum(map(len, texts))
        for text in body_texts(read, parts, header_octets, octets):
            texts.append(text.casefold())
            length += len(text)
            if length > TEXT_MAX_OCTETS:
                return Document(content_id, number, None)
        extract = "" if attachments is None else attachments.read(read, parts, header_octets, octets).casefold()
    except TemporaryFailure:
        return Document(content_id, number, None)
    return Document(content_id, number, searchable("".join((*texts, BREAK, extract))), searchable(extract))


def lost_text(database: Database, content: Content, index: SearchIndex, most: int) -> str:
    """What of some messages' texts is missing in an index, "" where nothing is. At most so many are looked at."""
    for mailbox_id, uid, number in index.some_places(most):
        rows = database.read("messages_to_index", mailbox_id, uid - 1, 1)
        # What was expunged is not forgotten at once.
        if rows and rows[0][0] == uid:
            document = read_document(content.readers([rows[0][1]]).get(rows[0][1]), None, rows[0])
            expression = match_expression(document.text or "")
            if expression is not None and not index.holds(number, expression):
                return f"the text of {mailbox_id}/{uid} is not in it"
    return ""


def _has_mail(mailboxes: list[Row]) -> bool:
    """Whether there ever was any, going by the next UIDs."""
    return any(uid_next > 1 for _, _, _, uid_next, _ in mailboxes)
