"""
The one door: a message from its first octet to the transaction that makes its 250 true.

    begin    identifier, spool, our Received field in front of what comes      (RFC 5321 4.4)
    write    octets into the spool
    commit   describe the content once, for all readers to come
             refuse what circles or is too large
             routing: copies, rows, notices; each with a head of its own; what the journal adds
             IAcceptance.commit: one transaction; then a line in the log for each copy and row

Large messages are described in a thread. From the moment `commit` is called the spool is its own: a session that
ends meanwhile changes nothing any more.

RFC 5321 4.4, 6.1, 6.3
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.connection import Protocol
from mailtraq_py.interfaces.delivery import IAccept, IIncoming, IReports, MailTransaction, ReportedMessage
from mailtraq_py.interfaces.failures import PermanentFailure
from mailtraq_py.interfaces.policy import TraceLine
from mailtraq_py.interfaces.store import (
    Acceptance,
    ContentFacts,
    Delivered,
    IAcceptance,
    IContent,
    ISpool,
    LocalDelivery,
    NewContent,
)
from mailtraq_py.mail.addresspattern import Rewriting
from mailtraq_py.mail.envelope import ReversePath
from mailtraq_py.mail.identifiers import RANDOM_OCTETS, make_identifier
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.report import RETURNED_MAX_OCTETS
from mailtraq_py.mail.trace import (
    count_received,
    delivered_to_field,
    received_field,
    return_path_field,
    transmission_type,
)
from mailtraq_py.wire.imap.structure import describe

from .journal import Copies, Journal
from .routing import Routes, route

log = Logger()

DESCRIBE_INLINE_OCTETS = 128 * 1024

_LOOP = Reply(554, "too many hops: the message circles", "5.4.6")
_TOO_LARGE = Reply(552, "message exceeds the fixed maximum size", "5.3.4")

_NO_REWRITING = Rewriting()

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class AcceptSettings:
    """
    `hostname` in Received; `max_octets` of a message without our own fields, 0 for no limit; `max_hops` Received fields
    of others at which a message circles; `expire_seconds` that a message stays in the outbound queue.
    """

    hostname: str
    max_octets: int = 0
    max_hops: int = 50
    expire_seconds: float = 432_000.0


@implementer(IAccept)
class Accept:
    """
    Args:
        settings: see there.
        content: gives spools.
        acceptance: the transaction.
        reports: for notices that are due at once.
        seconds: tells the time, seconds since the epoch.
        in_thread: calls a function off the reactor thread.
        journal: copies what comes in and what leaves, or None.
        rewriting: of reverse-paths, which policy has seen as they came; may be replaced at any time.
    """

    def __init__(
        self,
        settings: AcceptSettings,
        content: IContent,
        acceptance: IAcceptance,
        reports: IReports,
        seconds: Callable[[], float] = time.time,
        in_thread: Callable[..., Awaitable[Any]] = deferToThread,
        journal: Journal | None = None,
        rewriting: Rewriting = _NO_REWRITING,
    ) -> None:
        self.settings = settings
        self.content = content
        self.acceptance = acceptance
        self.reports = reports
        self.seconds = seconds
        self.in_thread = in_thread
        self.journal = journal
        self.rewriting = rewriting

    def begin(self, transaction: MailTransaction) -> IIncoming:
        """A message whose first octets are our Received field."""
        self.acceptance.check_room()
        if self.rewriting:
            transaction = _rewritten(transaction, self.rewriting)
        return Incoming(self, transaction)


@implementer(IIncoming)
class Incoming:
    """One message on its way in; see IIncoming."""

    __slots__ = ("_accept", "_committing", "_own_octets", "_spool", "_transaction", "id")

    def __init__(self, accept: Accept, transaction: MailTransaction) -> None:
        now = accept.seconds()
        self.id = make_identifier(now, os.urandom(RANDOM_OCTETS))
        self._accept = accept
        self._transaction = transaction
        self._committing = False
        self._spool: ISpool = accept.content.spool()
        received = _received(transaction, self.id, accept.settings.hostname, now)
        self._own_octets = len(received)
        self._spool.write(received)

    @property
    def octets(self) -> int:
        """What the client sent so far."""
        octets: int = self._spool.octets
        return octets - self._own_octets

    def write(self, octets: bytes) -> None:
        """Add message octets."""
        self._spool.write(octets)

    def abort(self) -> None:
        """Forget it, unless its commit has begun, which ends by itself."""
        if not self._committing:
            self._spool.discard()

    async def commit(self, headers: tuple[str, ...], trace: tuple[TraceLine, ...]) -> None:
        """Describe, route, write; see IIncoming."""
        self._committing = True
        try:
            await self._commit(headers, trace)
        finally:
            self._spool.discard()  # does nothing once the content is stored

    async def _commit(self, headers: tuple[str, ...], trace: tuple[TraceLine, ...]) -> None:
        accept, spool = self._accept, self._spool
        if spool.octets <= DESCRIBE_INLINE_OCTETS:
            facts = describe(spool.chunks())
        else:
            facts = await accept.in_thread(describe, spool.chunks())
        self._check(facts)
        now = accept.seconds()
        head = "".join(f"{line}\r\n" for line in headers).encode("utf-8", "surrogateescape")
        routes = route(self._transaction, now, now + accept.settings.expire_seconds, head)
        contents: tuple[NewContent, ...] = ()
        copies: Copies | None = None
        if routes.local or routes.outgoing:
            local, outgoing = self._local(routes, head), tuple(routes.outgoing)
            if accept.journal is not None and accept.journal.is_kept:
                is_null = self._transaction.envelope.reverse_path.is_null
                header = self._first_octets(facts.header_octets) if is_null else b""
                expires = now + accept.settings.expire_seconds
                copies = await accept.journal.copies(self.id, self._transaction, routes, header, now, expires)
                local, outgoing = (*local, *copies.local), (*outgoing, *copies.outgoing)
            contents = (NewContent(spool, facts, local, outgoing),)
        report = await self._report(routes, now) if routes.notices else None
        if report is not None:
            contents += report.contents
        if not contents:
            return
        acceptance = Acceptance(self.id, now, contents, _encode(trace).decode())
        try:
            delivered = await accept.acceptance.commit(acceptance)
        finally:
            if report is not None:
                for content in report.contents:
                    content.spool.discard()
        self._log(routes, facts, delivered)
        if copies is not None and copies.addresses:
            log.info("journal", event="journal", message_id=self.id, to=copies.addresses)

    def _check(self, facts: ContentFacts) -> None:
        settings = self._accept.settings
        if settings.max_octets and self.octets > settings.max_octets:
            raise PermanentFailure(_TOO_LARGE)
        header = self._first_octets(facts.header_octets)
        # Counting lines is cheap and settles it for nearly every message; the first Received is ours.
        if header.count(b"\n") > settings.max_hops and count_received(header) - 1 >= settings.max_hops:
            raise PermanentFailure(_LOOP)

    def _local(self, routes: Routes, head: bytes) -> tuple[LocalDelivery, ...]:
        return_path = return_path_field(str(self._transaction.envelope.reverse_path))
        return tuple(
            LocalDelivery(
                mailbox.account.id,
                mailbox.folder,
                b"".join((return_path, delivered_to_field(mailbox.account.address), head)),
            )
            for mailbox in routes.local
        )

    async def _report(self, routes: Routes, now: float) -> Acceptance | None:
        """Notices that are due with the acceptance itself (RFC 3461 5.2.1 and 5.2.7)."""
        envelope = self._transaction.envelope
        if envelope.reverse_path.is_null:
            return None
        octets = self._first_octets(min(self._spool.octets, RETURNED_MAX_OCTETS))

        async def read(offset: int, length: int) -> bytes:
            return octets[offset : offset + length]

        message = ReportedMessage(
            self.id,
            envelope.reverse_path,
            now,
            self._spool.octets,
            read,
            envelope.ret,
            envelope.envid,
            envelope.body,
        )
        return await self._accept.reports.compose(message, routes.notices)

    def _first_octets(self, count: int) -> bytes:
        """The first octets of the spool, our Received field among them."""
        found = b""
        for piece in self._spool.chunks():
            found = found + piece if found else piece
            if len(found) >= count:
                break
        return found[:count]

    def _log(self, routes: Routes, facts: ContentFacts, delivered: tuple[Delivered, ...]) -> None:
        transaction = self._transaction
        session, sender = transaction.connection.session_id, str(transaction.envelope.reverse_path)
        # Copies for the journal and of a report, if there are any, come after the message's own.
        for mailbox, place in zip(routes.local, delivered, strict=False):
            log.info(
                "delivered",
                event="delivered",
                session=session,
                message_id=self.id,
                sender=sender,
                account=mailbox.account.address,
                mailbox_id=place.mailbox_id,
                uid=place.uid,
                octets=facts.octets,
            )
        for row in routes.outgoing:
            log.info(
                "queued",
                event="queued",
                session=session,
                message_id=self.id,
                sender=str(row.reverse_path),
                to=str(row.recipient.path),
                by=row.granted_by,
                octets=facts.octets,
            )


def _rewritten(transaction: MailTransaction, rewriting: Rewriting) -> MailTransaction:
    """The transaction with another reverse-path; the null path stays what it is."""
    address = transaction.envelope.reverse_path.address
    if address is None:
        return transaction
    path = ReversePath(rewriting.rewrite(address))
    return transaction._replace(envelope=transaction.envelope._replace(reverse_path=path))


def _received(transaction: MailTransaction, identifier: str, hostname: str, now: float) -> bytes:
    connection, envelope = transaction.connection, transaction.envelope
    only = envelope.recipients[0] if len(envelope.recipients) == 1 else None
    return received_field(
        helo=transaction.helo,
        client=connection.client,
        by=hostname,
        protocol=transmission_type(
            extended=transaction.extended,
            tls=transaction.tls is not None,
            authenticated=transaction.account is not None,
            lmtp=connection.protocol is Protocol.LMTP,
            smtputf8=envelope.smtputf8,
        ),
        id=identifier,
        tls=transaction.tls,
        recipient=str(only.path) if only else None,
        seconds=now,
    )
