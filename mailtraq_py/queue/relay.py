"""
One message to one destination by SMTP: host after host until each recipient has its answer.

    carry         next hops; each hop in turn for the recipients that wait; what none took waits for the next attempt
    _try_hop      a kept or new connection; one transaction for recipients who share reverse-path, head and parameters
    _transact     envelope, the message in pieces, one reply for each recipient

A permanent reply to a recipient or the message is final. A host that cannot be reached, greets badly or says 4xx
leaves the recipient to the next host, and after the last one to the next attempt. A destination none of whose hosts
could be reached is left alone for a moment: the thousand messages that wait for it must not cost a time-out each.

RFC 5321 3.6, 4.2.5, 4.5.3.1.10, 5.1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from mailtraq_py.interfaces.failures import PermanentFailure, TemporaryFailure
from mailtraq_py.interfaces.queue import QueuedRecipient
from mailtraq_py.interfaces.store import IContent
from mailtraq_py.mail.envelope import Envelope
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.smtp.clientevents import (
    ClientEvent,
    Finished,
    ReadyForData,
    RecipientResult,
    TransactionRefused,
)
from mailtraq_py.wire.smtp.extensions import DSN

from .attempt import Attempt
from .connections import Connections, HostRefused
from .dialogue import ConnectionFailed, Dialogue
from .nexthop import Hop, NextHops
from .settings import OutboundSettings

PIECE_OCTETS = 64 * 1024
# RFC 5321 4.5.3.1.8: what any server must take in one transaction.
RECIPIENTS_MAX = 100
# No further host is begun with after this, so that a row's lease outlives the attempt.
ATTEMPT_SECONDS = 300.0
DEAD_SECONDS = 60.0

_NO_ANSWER = Reply(451, "no host could be reached", "4.4.1")


class _Unreached(Exception):
    """No message could be offered to this host: our reply, and what it said itself, if it said something."""

    def __init__(self, reply: Reply, host: str = "", said: Reply | None = None) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.host = host
        self.said = said


class Relay:
    """
    Args:
        settings: see there.
        next_hops: where mail for a domain goes.
        connections: to the hosts.
        content: the messages' octets.
        seconds: tells the time.
    """

    def __init__(
        self,
        settings: OutboundSettings,
        next_hops: NextHops,
        connections: Connections,
        content: IContent,
        seconds: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._next_hops = next_hops
        self._connections = connections
        self._content = content
        self._seconds = seconds
        self._dead: dict[str, tuple[float, Reply]] = {}

    def destination(self, row: QueuedRecipient) -> str:
        """The recipient's domain; a route or the smarthost takes many at once."""
        return self._next_hops.route(row.outgoing.recipient.path.domain_key)

    async def carry(self, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """Try rows of one message and one destination; see Carrier."""
        destination = self.destination(rows[0])
        dead = self._dead_reply(destination)
        if dead is not None:
            return [Attempt(row, dead) for row in rows]
        try:
            hops = await self._next_hops.find(rows[0].outgoing.recipient.path.domain_key)
        except PermanentFailure as failure:
            return [Attempt(row, failure.reply) for row in rows]
        except TemporaryFailure:
            reply = Reply(451, "the name service gave no answer", "4.4.3")
            return [Attempt(row, reply) for row in rows]
        waiting = list(rows)
        answers = {row.id: Attempt(row, _NO_ANSWER) for row in rows}
        end = self._seconds() + ATTEMPT_SECONDS
        reached = False
        for hop in hops:
            try:
                attempts = await self._try_hop(hop, waiting)
                reached = True
            except _Unreached as failure:
                attempts = [Attempt(row, failure.reply, failure.host, said=failure.said) for row in waiting]
            answers |= {attempt.row.id: attempt for attempt in attempts}
            waiting = [row for row in waiting if answers[row.id].reply.is_temporary]
            if not waiting or self._seconds() >= end:
                break
        if not reached:
            self._note_dead(destination, answers[rows[0].id].reply)
        return [answers[row.id] for row in rows]

    async def stop(self) -> None:
        """End the connections that are kept."""
        await self._connections.stop()

    def _dead_reply(self, destination: str) -> Reply | None:
        until, reply = self._dead.get(destination, (0.0, _NO_ANSWER))
        if until > self._seconds():
            return reply
        self._dead.pop(destination, None)
        return None

    def _note_dead(self, destination: str, reply: Reply) -> None:
        now = self._seconds()
        self._dead = {name: (until, said) for name, (until, said) in self._dead.items() if until > now}
        # Over before the first of its messages is due again.
        self._dead[destination] = (now + min(DEAD_SECONDS, self._settings.retry_seconds[0] / 2), reply)

    async def _try_hop(self, hop: Hop, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """
        One answer for each row; a temporary one where the host did not get as far.

        Raises:
            _Unreached: nothing was offered to it.
        """
        done: list[Attempt] = []
        fresh = False
        while True:
            try:
                dialogue = await self._connections.lend(hop, fresh)
            except HostRefused as refusal:
                said = refusal.reply if refusal.said else None
                raise _Unreached(_temporary(refusal.reply), hop.name, said) from refusal
            except ConnectionFailed as failure:
                raise _Unreached(_broken(hop, failure)) from failure
            was_kept = dialogue.messages > 0
            try:
                for group in _transactions(rows):
                    done += await self._transact(dialogue, hop, group)
            except ConnectionFailed as failure:
                dialogue.drop()
                if was_kept and not done:
                    # The host had ended the kept connection meanwhile: that is no failure of the host.
                    fresh = True
                    continue
                answered = {attempt.row.id for attempt in done}
                return done + [Attempt(row, _broken(hop, failure)) for row in rows if row.id not in answered]
            except BaseException:
                dialogue.drop()
                raise
            self._connections.take_back(hop, dialogue)
            return done

    async def _transact(self, dialogue: Dialogue, hop: Hop, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """Rows of one transaction; again for those that were one too many, as long as some go through."""
        attempts: list[Attempt] = []
        while rows:
            sent = await self._send(dialogue, hop, rows)
            again = [attempt.row for attempt in sent if attempt.reply.code == 452]
            if len(again) == len(rows) or not any(attempt.reply.is_positive for attempt in sent):
                again = []
            attempts += [attempt for attempt in sent if attempt.row not in again]
            rows = again
        return attempts

    async def _send(self, dialogue: Dialogue, hop: Hop, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """One transaction: an answer for each row."""
        envelope = _envelope(rows)
        refusal: Reply | None = dialogue.core.missing_for(envelope)
        if refusal is not None:
            return [Attempt(row, refusal, hop.name, dialogue.tls_version) for row in rows]
        try:
            # Before MAIL, so that a store in trouble costs the host nothing.
            piece = await self._content.read(rows[0].content, 0, PIECE_OCTETS)
        except TemporaryFailure:
            reply = Reply(451, "the message cannot be read here just now", "4.3.0")
            return [Attempt(row, reply) for row in rows]
        dialogue.messages += 1
        dialogue.core.send_envelope(envelope)
        answer, before = await dialogue.answer(ReadyForData, TransactionRefused)
        said = _recipient_replies(before, len(rows))
        if isinstance(answer, ReadyForData):
            answer = await self._send_content(dialogue, rows[0], piece)
        dsn = DSN in dialogue.core.extensions
        last = [answer.reply if reply is None or reply.is_positive else reply for reply in said]
        return [
            Attempt(row, _final(reply), hop.name, dialogue.tls_version, dsn, said=reply)
            for row, reply in zip(rows, last, strict=True)
        ]

    async def _send_content(self, dialogue: Dialogue, row: QueuedRecipient, piece: bytes) -> Finished:
        """The message after 354. A host that speaks before its end has refused it."""
        offset, total = 0, row.content.total_octets
        while True:
            dialogue.core.send_data(piece)
            offset += len(piece)
            await dialogue.drained()
            if dialogue.has_spoken:
                break
            if offset >= total or not piece:
                dialogue.core.end_data()
                break
            try:
                piece = await self._content.read(row.content, offset, PIECE_OCTETS)
            except TemporaryFailure as failure:
                raise ConnectionFailed("the message cannot be read here just now") from failure
        answer, _ = await dialogue.answer(Finished)
        finished: Finished = answer
        return finished


def _transactions(rows: Sequence[QueuedRecipient]) -> list[list[QueuedRecipient]]:
    """Rows that can share a transaction: the same octets from the same sender with the same parameters."""

    def key(row: QueuedRecipient) -> tuple[str, bytes, str, str, str, bool]:
        outgoing = row.outgoing
        return (
            str(outgoing.reverse_path),
            row.content.head,
            outgoing.ret,
            outgoing.envid,
            outgoing.body,
            outgoing.smtputf8,
        )

    groups = [list(group) for _, group in groupby(sorted(rows, key=key), key)]
    return [group[start : start + RECIPIENTS_MAX] for group in groups for start in range(0, len(group), RECIPIENTS_MAX)]


def _envelope(rows: Sequence[QueuedRecipient]) -> Envelope:
    outgoing = rows[0].outgoing
    return Envelope(
        reverse_path=outgoing.reverse_path,
        recipients=tuple(row.outgoing.recipient for row in rows),
        ret=outgoing.ret,
        envid=outgoing.envid,
        body=outgoing.body,
        smtputf8=outgoing.smtputf8,
        declared_octets=rows[0].content.total_octets,
    )


def _recipient_replies(events: Sequence[ClientEvent], count: int) -> list[Reply | None]:
    replies: list[Reply | None] = [None] * count
    for event in events:
        if isinstance(event, RecipientResult):
            replies[event.index] = event.reply
    return replies


def _final(reply: Reply) -> Reply:
    """A 3xx where an answer was due is a host out of step."""
    return Reply(451, f"unexpected reply: {reply}", "4.5.0") if 300 <= reply.code < 400 else reply


def _temporary(reply: Reply) -> Reply:
    """What a host says against us, not against a recipient, is a reason to wait (RFC 5321 3.1, 4.3.2)."""
    if reply.is_temporary:
        return reply
    return Reply(451, f"the host said: {reply}", "4.3.2")


def _broken(hop: Hop, failure: ConnectionFailed) -> Reply:
    return Reply(451, f"{hop.name} [{hop.address}]: {failure}", "4.4.2")
