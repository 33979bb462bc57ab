"""
Delivery: the one door by which mail enters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zope.interface import Attribute, Interface

from mailtraq_py.mail.envelope import Envelope, ReversePath
from mailtraq_py.mail.report import RecipientStatus

from .connection import Connection, TLSInfo
from .directory import Account, Destination
from .policy import TraceLine
from .store import Acceptance


class MailTransaction(NamedTuple):
    """
    A transaction when its data begin. `destinations` runs parallel to `envelope.recipients`; `grants`, parallel too,
    names the policy's grant by which each was permitted.
    """

    connection: Connection
    envelope: Envelope
    destinations: tuple[Destination, ...]
    grants: tuple[str, ...]
    helo: str
    extended: bool
    tls: TLSInfo | None = None
    account: Account | None = None
    started: float = 0.0


class IIncoming(Interface):
    """One message while its octets arrive."""

    id = Attribute("the message's identifier, in Received and in the 250 reply")
    octets = Attribute("what the client sent so far, our fields not counted")

    def write(octets: bytes) -> None:
        """Add message octets. Raises StorageFull."""

    async def commit(headers: tuple[str, ...], trace: tuple[TraceLine, ...]) -> None:
        """
        Deliver and queue it.

        When this returns the message is in its mailboxes and in the outbound queue, on disk: say 250.

        Args:
            headers: whole header lines without CRLF that policy adds on top.
            trace: what policy said, kept with the message.

        Raises:
            TemporaryFailure: nothing was accepted.
            PermanentFailure: never acceptable (a mail loop: RFC 5321 6.3); its reply is for the peer.
            OverQuota: no recipient has room.
        """

    def abort() -> None:
        """Forget it. Idempotent."""


class IAccept(Interface):
    """The one door: SMTP, LMTP and later everything else that brings mail to be delivered."""

    def begin(transaction: MailTransaction) -> IIncoming:
        """
        Start a message with the trace fields that are known (RFC 5321 4.4).

        Raises:
            TemporaryFailure: the store's writer has too much waiting; say 451 before DATA.
        """


@dataclass(frozen=True, slots=True)
class ReportedMessage:
    """
    The message that a report is about. `arrived` is seconds since the epoch, `octets` its size with its head; `ret`,
    `envid` and `body` as in Envelope; `read(offset, length)` brings octets of it, at most 256 KiB at once.
    """

    id: str
    reverse_path: ReversePath
    arrived: float
    octets: int
    read: Callable[[int, int], Awaitable[bytes]]
    ret: str = ""
    envid: str = ""
    body: str = "7BIT"


class IReports(Interface):
    """Delivery status notifications, ready to be committed."""

    async def compose(message: ReportedMessage, statuses: Sequence[RecipientStatus]) -> Acceptance | None:
        """
        Write one report to the message's reverse-path, from the null one, and settle where it goes: into a mailbox of
        ours or the outbound queue.

        Returns:
            None, with a line in the log, where nobody may be told: the reverse-path is null (RFC 5321 6.1: never a
            notification of a notification) or leads nowhere.

        Raises:
            TemporaryFailure: the directory or the store did not answer.
        """
