"""
`mailtraq verify`: everything that is kept, held against everything else, while servers run.

    database      the pages of each table (SQLite's quick_check; PostgreSQL looks after its own: pg_amcheck, checksums)
    contents      the octets of each, by length and SHA-256; the map of MIME parts
    references    who points at each content; rows and files that belong to none
    mailboxes     counts, sizes, UIDs, MODSEQs; each message's content, head and size
    accounts      octets and messages that quotas go by; counters that must never give a number again
    indexes       the full-text indexes: their pages, and some messages' texts

Nothing is held while it looks, so what is deleted meanwhile is no damage. What can be counted or rebuilt anew is
repaired when asked, each thing in a transaction of its own; octets that are gone are not, and are said.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apsw

from mailtraq_py.interfaces.failures import NoSuchMailbox, TemporaryFailure
from mailtraq_py.mail import partmap
from mailtraq_py.wire.imap.structure import describe

from .content import Content, fold
from .database import Database
from .indexing import lost_text
from .searchindex import IndexDamaged, IndexUnavailable, SearchIndexes
from .sortkeys import sort_keys
from .sql.content import PLACE_FILE, PLACE_ROWS
from .sql.rows import Row

_SLICE = 100
_SPAN = 5000
# As many messages' texts are looked for in each index.
_INDEX_TEXTS = 500
_CHUNK_OCTETS = 1 << 20
# A file is there before its row. What is older has lost its operation.
_GRACE_SECONDS = 3600.0

_RESTORE = "cannot be repaired: restore it from a backup"

Progress = Callable[[str, int, int], None]
"""Called with what is looked at, how much is done, and of how much."""


@dataclass(slots=True)
class Damage:
    """
    Something that does not fit. `repair` names the operation that mends it, with its arguments, `file` one to remove,
    `index` the account whose full-text index is to be made anew; None where nothing does.
    """

    kind: str
    subject: str
    detail: str
    repair: tuple[object, ...] | None = None
    file: Path | None = None
    index: int | None = None
    repaired: bool = False

    @property
    def is_repairable(self) -> bool:
        """Whether `Verification.repair` can mend it."""
        return (self.repair, self.file, self.index) != (None, None, None)


@dataclass(slots=True)
class Verification:
    """
    One look at a store.

    Args:
        main, recent: its databases.
        content: its contents.
        indexes: its full-text indexes.
        root: the folder of content files.
        is_alone: asked whether no other process may be writing contents just now.
        progress: told how far it is.
    """

    main: Database
    recent: Database
    content: Content
    indexes: SearchIndexes
    root: Path
    is_alone: Callable[[], bool]
    progress: Progress = lambda _what, _done, _total: None
    looked_at: dict[str, int] = field(default_factory=dict)

    def damages(self) -> Iterator[Damage]:
        """
        Look at everything.

        Raises:
            TemporaryFailure: something cannot be looked at just now.
        """
        steps = (self._tables, self._contents, self._references, self._files, self._mailboxes, self._accounts)
        for step in (*steps, self._indexes):
            try:
                yield from step()
            except (apsw.CorruptError, apsw.NotADBError) as error:
                yield Damage("database", step.__name__.strip("_"), f"{error}; {_RESTORE}")

    async def repair(self, damage: Damage) -> None:
        """
        Mend one damage; `damage.repaired` says whether it is.

        Raises:
            TemporaryFailure: it cannot be written just now.
        """
        if damage.file is not None:
            damage.file.unlink(missing_ok=True)
            damage.repaired = True
        elif damage.index is not None:
            self.indexes.condemn(damage.index)
            damage.repaired = True
        elif damage.repair is not None:
            name, *arguments = damage.repair
            # A mailbox that went meanwhile took its damage with it.
            with suppress(NoSuchMailbox):
                await self.main.run(str(name), *arguments)
            damage.repaired = True

    # -- steps ------------------------------------------------------------------------------------------

    def _tables(self) -> Iterator[Damage]:
        for database in (self.main, self.recent) if self.main.keeps_files else ():
            tables = database.read("list_tables")
            for number, table in enumerate(tables, 1):
                for line in database.read("check_table", table):
                    yield Damage("database", table, f"{line}; {_RESTORE}")
                self.progress("tables", number, len(tables))
            self._note("tables", len(tables))

    def _contents(self) -> Iterator[Damage]:
        total = self.main.read("count_contents")
        done = after = 0
        while rows := self.main.read("contents_after", after, _SLICE):
            for row in rows:
                yield from self._content(row)
            after = rows[-1][0]
            done += len(rows)
            self.progress("contents", min(done, total), total)
        self._note("contents", done)

    def _content(self, row: Row) -> Iterator[Damage]:
        number, place, compression, octets, sha256, header_octets, parts, inline, has_keys = row
        name = f"{number:016x}"
        try:
            if place == PLACE_FILE:
                length, digest = _digest_of(self.content.path(number))
            elif place == PLACE_ROWS:
                length, digest = _digest(self._chunks(number, octets))
            elif inline is None:
                yield Damage("content", name, f"its octets are not there; {_RESTORE}")
                return
            else:
                whole = self.content.unpack((place, compression, inline))
                length, digest = len(whole), hashlib.sha256(whole).digest()
        except (OSError, TemporaryFailure) as error:
            if self.main.read("content_place", number) is not None:
                reason = getattr(error, "strerror", None) or "its octets cannot be unpacked"
                yield Damage("content", name, f"{reason}; {_RESTORE}")
            return
        if length != octets:
            yield Damage("content", name, f"{length} octets instead of {octets}; {_RESTORE}")
        elif digest != sha256:
            yield Damage("content", name, f"its octets have changed (SHA-256); {_RESTORE}")
        elif not _is_sound(parts, header_octets, octets):
            facts = describe(self._chunks(number, octets))
            yield Damage(
                "parts",
                name,
                "the map of its MIME parts is damaged",
                ("set_parts", number, facts.header_octets, facts.parts),
            )
        elif not has_keys:
            facts = describe(self._chunks(number, octets))
            ids = facts.message_id, facts.in_reply_to, facts.references
            keys = sort_keys(number, facts.sent, fold(facts.subject), *ids)
            yield Damage("sort keys", name, "what SORT and THREAD need is not there", ("set_sort_keys", keys))

    def _references(self) -> Iterator[Damage]:
        self.progress("references", 0, 1)
        for number, kept, found in self.main.read("wrong_references"):
            detail = f"{kept} references are counted, there are {found}"
            yield Damage("references", f"{number:016x}", detail, ("recount_references", number))
        for table, number in self.main.read("stray_rows"):
            yield Damage("stray", f"{number:016x}", f"a row of {table} without its content", ("delete_strays", number))
        for number, content_id in self.main.read("queue_without_content"):
            yield Damage("queue", str(number), f"its content {content_id:016x} is not there; {_RESTORE}")
        self.progress("references", 1, 1)

    def _files(self) -> Iterator[Damage]:
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else []
        found = 0
        for number, folder in enumerate(folders, 1):
            files = {int(file.name, 16): file for file in folder.iterdir() if _is_content_name(file.name)}
            found += len(files)
            known = set(self.main.read("known_contents", list(files)))
            orphans = {key: file for key, file in files.items() if key not in known}
            # Asked after the files were listed: who begins to write now has none of them.
            is_alone = bool(orphans) and self.is_alone()
            for key, file in orphans.items():
                if is_alone or _is_old(file):
                    yield Damage("orphan", f"{key:016x}", "a file without a content", file=file)
            self.progress("files", number, len(folders))
        self._note("files", found)

    def _mailboxes(self) -> Iterator[Damage]:
        mailboxes = self.main.read("list_all_mailboxes")
        total, done = sum(messages for _, messages in mailboxes), 0
        for mailbox_id, messages in mailboxes:
            counts = self.main.read("mailbox_counts", mailbox_id)
            if counts is None:
                continue
            yield from _miscounts(mailbox_id, *counts)
            last_uid = max(counts[0][4], counts[1][4])
            for after in range(0, last_uid, _SPAN):
                for row in self.main.read("wrong_messages", mailbox_id, after, after + _SPAN):
                    yield _wrong_message(mailbox_id, row)
            done += messages
            self.progress("messages", done, total)
        for mailbox_id, messages in self.main.read("homeless_messages"):
            detail = f"{messages} messages of a mailbox that is not there"
            yield Damage("mailbox", str(mailbox_id), detail, ("delete_homeless", mailbox_id))
        self._note("mailboxes", len(mailboxes))
        self._note("messages", done)

    def _accounts(self) -> Iterator[Damage]:
        for account_id, what, kept, found in self.main.read("wrong_accounts"):
            detail = f"{what} is {kept}, its mailboxes say {found}"
            yield Damage("account", str(account_id), detail, ("recount_account", account_id))
        for account_id in self.main.read("without_recoverable"):
            detail = "has no mailbox for what is deleted"
            yield Damage("account", str(account_id), detail, ("mend_recoverable", account_id))
        for mailbox_id, messages in self.main.read("without_deletion"):
            detail = f"{messages} deleted messages of which is not known when they were"
            yield Damage("deletion", str(mailbox_id), detail, ("cover_deleted", mailbox_id, time.time()))
        for name, due, high in self.main.read("wrong_counters"):
            yield Damage("counter", name, f"the next is {due}, {high} is given", ("raise_counter", name, high))

    def _indexes(self) -> Iterator[Damage]:
        accounts = sorted(self.indexes.present()[0])
        for number, account_id in enumerate(accounts, 1):
            lost = ""
            try:
                with self.indexes.reading(account_id) as index:
                    if index is not None:
                        lost = index.check() or lost_text(self.main, self.content, index, _INDEX_TEXTS)
            except IndexDamaged as error:
                lost = str(error)
            except IndexUnavailable:
                pass  # it is being made
            if lost:
                yield Damage("index", str(account_id), lost, index=account_id)
            self.progress("indexes", number, len(accounts))
        self._note("indexes", len(accounts))

    def _chunks(self, number: int, octets: int) -> Iterator[bytes]:
        read = self.content.reader(number)
        for place in range(0, octets, _CHUNK_OCTETS):
            yield read(place, min(octets, place + _CHUNK_OCTETS))

    def _note(self, what: str, count: int) -> None:
        self.looked_at[what] = self.looked_at.get(what, 0) + count


def _digest_of(path: Path) -> tuple[int, bytes]:
    """Length and SHA-256 of a file."""
    with open(path, "rb", buffering=0) as file:
        return _digest(iter(partial(file.read, _CHUNK_OCTETS), b""))


def _digest(chunks: Iterable[bytes]) -> tuple[int, bytes]:
    """Length and SHA-256 of octets in pieces."""
    digest, length = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        length += len(chunk)
    return length, digest.digest()


def _is_sound(parts: bytes, header_octets: int, octets: int) -> bool:
    """Whether a map of parts can be one of this content: every part within its parent, none behind the end."""
    if not 0 <= header_octets <= octets:
        return False
    try:
        listed = partmap.unpack(parts, header_octets, octets)
    except (ValueError, struct.error):
        return False
    return all(
        part.start <= part.body_start <= part.end <= octets and number + part.inferiors < len(listed)
        for number, part in enumerate(listed)
    )


def _is_content_name(name: str) -> bool:
    return len(name) == 16 and all(sign in "0123456789abcdef" for sign in name)


def _is_old(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_ctime > _GRACE_SECONDS
    except FileNotFoundError:
        return False


def _miscounts(mailbox_id: int, kept: Row, counted: Row) -> Iterator[Damage]:
    names = ("messages", "unseen", "deleted", "octets")
    wrong = [
        f"{name}: {was} instead of {is_}"
        for name, was, is_ in zip(names, kept, counted, strict=False)
        if was != is_
    ]
    if counted[4] > kept[4]:
        wrong.append(f"UID {counted[4]} is there, the next is {kept[4] + 1}")
    if counted[5] > kept[5]:
        wrong.append(f"MODSEQ {counted[5]} is there, the highest is {kept[5]}")
    if wrong:
        yield Damage("mailbox", str(mailbox_id), "; ".join(wrong), ("recount_mailbox", mailbox_id))


def _wrong_message(mailbox_id: int, row: Row) -> Damage:
    uid, content_id, kept, found, is_whole = row
    subject = f"{mailbox_id}/{uid}"
    if found is None:
        return Damage("message", subject, f"its content {content_id:016x} is not there; {_RESTORE}")
    detail = f"{kept} octets instead of {found}" if is_whole else "its head is not there"
    return Damage("message", subject, detail, ("mend_message", mailbox_id, uid))
