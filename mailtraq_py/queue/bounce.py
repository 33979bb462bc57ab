"""
What the sender hears: which outcomes of a message are worth a report, one report for each reverse-path.

Never for the null reverse-path: a report that cannot be delivered ends here, with a line in the log (RFC 5321 6.1).
NOTIFY decides for the rest; without it failures and delays are told, success is not.

RFC 3461 4.1, 5.2, 6, RFC 3464
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mailtraq_py.interfaces.delivery import IReports, ReportedMessage
from mailtraq_py.interfaces.queue import Failed, Outcome, QueuedRecipient, Sent
from mailtraq_py.interfaces.store import Acceptance, ContentRef, IContent
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.report import Action, RecipientStatus

from .attempt import Attempt


@dataclass(frozen=True, slots=True)
class Settled:
    """An attempt with the outcome it led to."""

    attempt: Attempt
    outcome: Outcome


def report_status(settled: Settled, now: float) -> RecipientStatus | None:
    """
    What is to be told of one outcome, None for nothing.

    A deferral is told when its outcome says that a delay report goes out with it; success when the next host does
    not take that duty over (RFC 3461 5.2.2 (b)).
    """
    attempt, outcome = settled.attempt, settled.outcome
    outgoing = attempt.row.outgoing
    notify = outgoing.recipient.notify
    if outgoing.reverse_path.is_null:
        return None
    retry_until = None
    reply: Reply
    if isinstance(outcome, Failed):
        wanted, action, reply = notify.failure, Action.FAILED, outcome.reply
    elif isinstance(outcome, Sent):
        wanted, action, reply = notify.success and not attempt.dsn, Action.RELAYED, attempt.reply
    else:
        told_now = outcome.delay_reported and not attempt.row.delay_reported
        wanted, action, reply = notify.delay and told_now, Action.DELAYED, outcome.reply
        retry_until = outgoing.expires
    if not wanted:
        return None
    remote_mta = "" if attempt.said is None else attempt.host
    return RecipientStatus(outgoing.recipient, action, reply, remote_mta, now, retry_until, attempt.said)


async def compose_reports(
    reports: IReports, content: IContent, settled: Sequence[Settled], now: float
) -> list[Acceptance]:
    """
    Write the reports that outcomes of one message call for, one for each reverse-path.

    Raises:
        TemporaryFailure: the directory or the store did not answer.
    """
    by_sender: dict[tuple[str, str], list[tuple[QueuedRecipient, RecipientStatus]]] = {}
    for each in settled:
        status = report_status(each, now)
        if status is not None:
            row = each.attempt.row
            by_sender.setdefault((row.outgoing.reverse_path.key, row.outgoing.envid), []).append((row, status))
    composed = []
    for told in by_sender.values():
        row = told[0][0]
        report = await reports.compose(_reported(row, content), [status for _, status in told])
        if report is not None:
            composed.append(report)
    return composed


def _reported(row: QueuedRecipient, content: IContent) -> ReportedMessage:
    outgoing = row.outgoing
    return ReportedMessage(
        id=row.acceptance_id,
        reverse_path=outgoing.reverse_path,
        arrived=row.received,
        octets=row.content.total_octets,
        read=_reader(content, row.content),
        ret=outgoing.ret,
        envid=outgoing.envid,
        body=outgoing.body,
    )


def _reader(content: IContent, ref: ContentRef) -> Callable[[int, int], Awaitable[bytes]]:
    async def read(offset: int, length: int) -> bytes:
        octets: bytes = await content.read(ref, offset, length)
        return octets

    return read


def needs_report(settled: Settled, now: float) -> bool:
    """Whether an outcome waits for the others of its message, to be told together."""
    return report_status(settled, now) is not None
