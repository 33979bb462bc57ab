"""
Import and export: messages of an account from and to Maildir and mbox, so that doing it twice does no harm.

A message is the same as another one of the mailbox when all octets are, head included: by size first, then by SHA-256.
Imported messages are committed in batches; what was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mailtraq_py.interfaces.failures import MailboxExists
from mailtraq_py.interfaces.store import Column, ContentRef, IMailbox, IMailboxes, NewMessage
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe

from .mailfolders import FoundMessage, MaildirWriter, print_mbox

_BATCH_MESSAGES = 100
_BATCH_OCTETS = 8 * 1024 * 1024
_SLICE = 200
_READ_OCTETS = 1 << 20
_DIGESTS = 5000
_EVERY = ((1, 0xFFFFFFFF),)

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Known:
    """What a mailbox holds: by size, digests, and messages with a head whose digest is not known yet."""

    digests: dict[int, set[bytes]] = field(default_factory=dict)
    with_head: dict[int, list[ContentRef]] = field(default_factory=dict)


class Importer:
    """
    Puts messages into mailboxes of an account. Raises OverQuota and what else `IMailboxes.append` does.

    Args:
        store: of the account.
        account_id: whose.
    """

    def __init__(self, store: Store, account_id: int) -> None:
        self.imported = 0
        self.known_before = 0
        self._store = store
        self._boxes: IMailboxes = store.mailboxes(account_id)
        self._known: dict[str, _Known] = {}
        self._batch: list[NewMessage] = []
        self._batch_mailbox = ""
        self._batch_octets = 0

    async def add(self, message: FoundMessage) -> None:
        """Take a message, unless its mailbox has it."""
        known = self._known.get(message.mailbox)
        if known is None:
            known = self._known[message.mailbox] = await self._look(message.mailbox)
        spool = self._store.content.spool()
        try:
            for chunk in message.chunks():
                if chunk:
                    spool.write(chunk)
        except BaseException:
            spool.discard()
            raise
        if await self._has(known, spool.octets, spool.sha256):
            spool.discard()
            self.known_before += 1
            return
        known.digests.setdefault(spool.octets, set()).add(spool.sha256)
        if message.mailbox != self._batch_mailbox:
            await self.flush()
            self._batch_mailbox = message.mailbox
        self._batch.append(NewMessage(spool, describe(spool.chunks()), message.flags, message.date))
        self._batch_octets += spool.octets
        if len(self._batch) >= _BATCH_MESSAGES or self._batch_octets >= _BATCH_OCTETS:
            await self.flush()

    async def flush(self) -> None:
        """Commit what was taken."""
        batch, self._batch, self._batch_octets = self._batch, [], 0
        if batch:
            await self._boxes.append(self._batch_mailbox, batch)
            self.imported += len(batch)

    async def _look(self, name: str) -> _Known:
        with suppress(MailboxExists):
            await self._boxes.create(name)
        status = await self._boxes.status(name)
        known = _Known()
        after = 0
        while rows := self._store.database.read("message_digests", status.id, after, _DIGESTS):
            for _, octets, content_id, sha256, head in rows:
                if head:
                    known.with_head.setdefault(octets, []).append(ContentRef(content_id, octets - len(head), head))
                else:
                    known.digests.setdefault(octets, set()).add(sha256)
            after = rows[-1][0]
        return known

    async def _has(self, known: _Known, octets: int, sha256: bytes) -> bool:
        for content in known.with_head.pop(octets, ()):
            digest = hashlib.sha256()
            async for chunk in _octets(self._store, content):
                digest.update(chunk)
            known.digests.setdefault(octets, set()).add(digest.digest())
        return sha256 in known.digests.get(octets, ())


class Exporter:
    """
    Writes the mailboxes of an account beneath a folder.

    Args:
        store: of the account.
        account_id: whose.
        folder: a Maildir, or a folder of mbox files.
    """

    def __init__(self, store: Store, account_id: int, folder: Path) -> None:
        self.written = 0
        self.known_before = 0
        self._store = store
        self._boxes: IMailboxes = store.mailboxes(account_id)
        self._folder = folder

    async def mailboxes(self) -> list[str]:
        """Names of all there are."""
        return [info.name for info in await self._boxes.list_mailboxes() if info.id]

    async def to_maildir(self, name: str, progress: Progress) -> None:
        """A mailbox as a Maildir folder; what is there already stays."""
        writer = MaildirWriter(self._folder, name)
        mailbox: IMailbox = await self._boxes.open(name)
        total, done = (await self._boxes.status(name)).messages, 0
        async for uid, flags, date, email_id, content in _messages(mailbox):
            base = f"{date}.{email_id}.V{mailbox.uid_validity}U{uid}.mailtraq"
            if writer.has(base, flags):
                self.known_before += 1
            else:
                chunks = [chunk async for chunk in _octets(self._store, content)]
                writer.write(base, flags, date, chunks)
                self.written += 1
            done += 1
            progress(name, done, total)

    async def to_mbox(self, name: str, progress: Progress) -> None:
        """A mailbox as an mbox file, written anew."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{name.replace('/', '.')}.mbox"
        fresh = path.with_name(f"{path.name}.new")
        mailbox: IMailbox = await self._boxes.open(name)
        total, done = (await self._boxes.status(name)).messages, 0
        with open(fresh, "wb") as file:
            async for _, _, date, _, content in _messages(mailbox):
                chunks = [chunk async for chunk in _octets(self._store, content)]
                file.write(print_mbox(b"".join(chunks), date))
                self.written += 1
                done += 1
                progress(name, done, total)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)


async def import_all(importer: Importer, messages: Iterable[FoundMessage], total: int, progress: Progress) -> None:
    """Take all messages and commit the last of them."""
    for done, message in enumerate(messages, 1):
        await importer.add(message)
        progress(message.mailbox, done, total)
    await importer.flush()


def renamed(messages: Iterable[FoundMessage], names: Callable[[str], str]) -> Iterator[FoundMessage]:
    """The same messages for other mailboxes."""
    for message in messages:
        yield FoundMessage(names(message.mailbox), message.flags, message.date, message.chunks)


async def _messages(mailbox: IMailbox) -> AsyncIterator[tuple[Any, ...]]:
    """(uid, flags, date, email id, content) of all messages, read in slices."""
    uids = UIDSet(_EVERY)
    columns = [Column.UID, Column.FLAGS, Column.INTERNAL_DATE, Column.EMAIL_ID, Column.CONTENT]
    while rows := await mailbox.fetch(uids, columns, _SLICE):
        for row in rows:
            yield row
        uids = UIDSet(((cast(int, rows[-1][0]) + 1, _EVERY[0][1]),))


async def _octets(store: Store, content: ContentRef) -> AsyncIterator[bytes]:
    """A message's octets in pieces."""
    for place in range(0, content.total_octets, _READ_OCTETS):
        yield await store.content.read(content, place, _READ_OCTETS)
