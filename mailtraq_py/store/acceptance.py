"""
Acceptance: what becomes of a message is prepared here, and written in one transaction by `sql/acceptance.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError
from zope.interface import implementer

from mailtraq_py.interfaces.queue import Origin, Outgoing
from mailtraq_py.interfaces.store import (
    Acceptance,
    ContentFacts,
    Delivered,
    IAcceptance,
    ISpool,
    LocalDelivery,
    NewContent,
)
from mailtraq_py.mail.flags import bits, keywords

from .content import Content
from .database import Database
from .deleted import Deleted
from .spool import Spool
from .sql.acceptance import Copy, Entry, Place, PreparedContent, QueueRow


@implementer(IAcceptance)
class AcceptanceDesk:
    """
    See `IAcceptance`.

    Args:
        database: the main one.
        content: where octets go.
        deleted: makes room.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, content: Content, deleted: Deleted, clock: Callable[[], float]) -> None:
        self._database = database
        self._content = content
        self._deleted = deleted
        self._clock = clock

    def check_room(self) -> None:
        """See `IAcceptance`."""
        self._database.check_room()

    async def commit(self, acceptance: Acceptance) -> tuple[Delivered, ...]:
        """See `IAcceptance`."""
        with Batch(self._content, self._clock) as batch:
            entry = await batch.entry(acceptance)
            places: Sequence[Place] = await self._deleted.write("accept", entry, octets=batch.octets)
            batch.keep()
        return tuple(Delivered(account_id, mailbox_id, uid) for account_id, mailbox_id, uid, _ in places)


class Batch:
    """
    The spools of one operation: kept when it is committed, discarded when it is not.

    `octets` is what the prepared rows hold in memory.
    """

    def __init__(self, content: Content, clock: Callable[[], float]) -> None:
        self.octets = 0
        self._content = content
        self._clock = clock
        self._spools: list[Spool] = []

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        """
        What was not kept and lies under a content's name already goes; a message in memory stays as it is.

        Who stops waiting does not know what came of it: the operation may be committed yet, so the files stay, and
        without a row they go at the next start. The same holds when a sync failed: the commit may be in the
        write-ahead log for all that.
        """
        if kind is not None and (issubclass(kind, CancelledError | GeneratorExit) or not self._content.is_healthy):
            self.keep()
        for spool in self._spools:
            if spool.is_file:
                spool.discard()

    def keep(self) -> None:
        """It is committed."""
        for spool in self._spools:
            spool.keep()
        self._spools.clear()

    async def entry(self, acceptance: Acceptance) -> Entry:
        """Prepare an acceptance, file contents on disk. Raises StorageFull, TemporaryFailure."""
        contents = [
            await self._prepare(content, acceptance.received)
            for content in acceptance.contents
            if content.local or content.outgoing
        ]
        return Entry(acceptance.id, acceptance.received, int(self._clock()), tuple(contents), acceptance.trace)

    async def message(
        self, spool: ISpool, facts: ContentFacts, account_id: int, mailbox: str, flags: frozenset[str], date: int
    ) -> PreparedContent:
        """Prepare one message of an APPEND."""
        local = LocalDelivery(account_id, mailbox, flags=flags)
        return await self._prepare(NewContent(spool, facts, (local,)), date)

    async def _prepare(self, new: NewContent, received: float) -> PreparedContent:
        spool = new.spool
        if not isinstance(spool, Spool):
            raise TypeError("a content's spool comes from IContent.spool")
        self._spools.append(spool)
        heads: dict[bytes, int] = {b"": 0}
        for head in (*(local.head for local in new.local), *(row.head for row in new.outgoing)):
            heads.setdefault(head, len(heads))
        row, keys, octets = await self._content.prepare(spool, new.facts)
        self.octets += len(octets or b"") + sum(map(len, heads)) + 2048
        copies = tuple(
            Copy(
                local.account_id,
                local.mailbox,
                heads[local.head],
                spool.octets + len(local.head),
                bits(local.flags),
                join_keywords(local.flags),
                int(received),
                local.counts,
            )
            for local in new.local
        )
        outgoing = tuple(_queue_row(out, heads[out.head]) for out in new.outgoing)
        return PreparedContent(row, keys, octets, spool.octets, tuple(heads)[1:], copies, outgoing)


def join_keywords(flags: frozenset[str]) -> str:
    """Keywords as a row holds them; they are atoms, so a space parts them (RFC 9051 9, flag-keyword)."""
    return " ".join(sorted(keywords(flags))) if flags else ""


def _queue_row(out: Outgoing, head: int) -> QueueRow:
    recipient = out.recipient
    return QueueRow(
        head,
        recipient.path.domain_key,
        out.due,
        out.expires,
        (
            str(out.reverse_path),
            str(recipient.path),
            str(recipient.notify),
            recipient.original,
            out.origin.value,
            out.ret,
            out.envid,
            out.body,
            int(out.smtputf8),
            out.granted_by,
            out.client,
            out.account,
        ),
        out.origin is not Origin.JOURNAL,
    )
