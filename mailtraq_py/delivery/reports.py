"""
Reports: delivery status notifications put together and addressed.

`mail/report.py` knows what a report says; here it gets its identifier, the returned octets and its place: the
mailbox of a sender of ours at once, or the outbound queue, always from the null reverse-path.

RFC 3461 6.1, RFC 5321 6.1
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.delivery import IReports, ReportedMessage
from mailtraq_py.interfaces.directory import Destination, Expansion, IDirectory, LocalMailbox, Remote
from mailtraq_py.interfaces.queue import Origin, Outgoing
from mailtraq_py.interfaces.store import Acceptance, IContent, ISpool, LocalDelivery, NewContent
from mailtraq_py.mail.address import Address
from mailtraq_py.mail.envelope import NOTIFY_NEVER, NULL_PATH, ForwardPath, Recipient
from mailtraq_py.mail.identifiers import RANDOM_OCTETS, make_identifier
from mailtraq_py.mail.mailbox import INBOX
from mailtraq_py.mail.report import RecipientStatus, Report, begin, end, returns_full
from mailtraq_py.mail.trace import delivered_to_field, return_path_field
from mailtraq_py.wire.imap.structure import describe

PIECE_OCTETS = 64 * 1024
HEADER_MAX_OCTETS = 256 * 1024


@implementer(IReports)
class Reports:
    """
    Args:
        hostname: our name, in the reports.
        content: for their octets.
        directory: where a reverse-path leads.
        expire_seconds: how long a report that leaves stays in the queue.
        seconds: tells the time, seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        hostname: str,
        content: IContent,
        directory: IDirectory,
        expire_seconds: float,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._hostname = hostname
        self._content = content
        self._directory = directory
        self._expire_seconds = expire_seconds
        self._seconds = seconds

    async def compose(self, message: ReportedMessage, statuses: Sequence[RecipientStatus]) -> Acceptance | None:
        """The report as one acceptance, None where nobody may be told."""
        address = message.reverse_path.address
        if address is None:
            self._log_unsent(message, "null reverse-path")
            return None
        destination = await self._directory.resolve(ForwardPath(address))
        now = self._seconds()
        local, outgoing = self._address(destination, now)
        if not local and not outgoing:
            self._log_unsent(message, "reverse-path leads nowhere")
            return None
        identifier = make_identifier(now, os.urandom(RANDOM_OCTETS))
        spool = self._content.spool()
        try:
            await self._write(spool, self._report(identifier, address, message, statuses, now), message)
            facts = describe(spool.chunks())
        except BaseException:
            spool.discard()
            raise
        self.log.info(
            "report",
            event="report",
            message_id=message.id,
            report_id=identifier,
            to=str(address),
            actions=",".join(sorted({status.action.value for status in statuses})),
        )
        return Acceptance(identifier, now, (NewContent(spool, facts, local, outgoing),))

    def _report(
        self,
        identifier: str,
        address: Address,
        message: ReportedMessage,
        statuses: Sequence[RecipientStatus],
        now: float,
    ) -> Report:
        return Report(
            id=identifier,
            hostname=self._hostname,
            to=address,
            now=now,
            arrived=message.arrived,
            statuses=tuple(statuses),
            envid=message.envid,
            eight_bit=message.body != "7BIT",
        )

    async def _write(self, spool: ISpool, report: Report, message: ReportedMessage) -> None:
        full = returns_full(message.ret, message.octets, [status.action for status in report.statuses])
        spool.write(begin(report, full))
        if full:
            for offset in range(0, message.octets, PIECE_OCTETS):
                spool.write(await message.read(offset, PIECE_OCTETS))
        else:
            spool.write(_header(await message.read(0, HEADER_MAX_OCTETS)))
        spool.write(end(report))

    def _address(
        self, destination: Destination, now: float
    ) -> tuple[tuple[LocalDelivery, ...], tuple[Outgoing, ...]]:
        """Where the report goes. A sender behind an alias hears it at each of its members."""
        members = destination.members if isinstance(destination, Expansion) else (destination,)
        local = [
            LocalDelivery(
                member.account.id, INBOX, return_path_field("") + delivered_to_field(member.account.address)
            )
            for member in members
            if isinstance(member, LocalMailbox)
        ]
        outgoing = [
            Outgoing(
                reverse_path=NULL_PATH,
                # RFC 3461 6.1: a report asks for no report.
                recipient=Recipient(member.path, NOTIFY_NEVER),
                due=now,
                expires=now + self._expire_seconds,
                origin=Origin.REPORT,
                body="8BITMIME",
                smtputf8=not str(member.path).isascii(),
                granted_by="report",
            )
            for member in members
            if isinstance(member, Remote)
        ]
        return tuple(local), tuple(outgoing)

    def _log_unsent(self, message: ReportedMessage, reason: str) -> None:
        self.log.info("report-dropped", event="report-dropped", message_id=message.id, reason=reason)


def _header(octets: bytes) -> bytes:
    """A message's header without the blank line behind it."""
    ends = [end for end in (octets.find(b"\r\n\r\n"), octets.find(b"\n\n")) if end >= 0]
    return octets[: min(ends)] if ends else octets
