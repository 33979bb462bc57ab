"""
Delivery: the one door by which mail enters.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import Attribute, Interface

from mailtraq_py.mail.envelope import Envelope

from .connection import Connection, TLSInfo
from .directory import Account, Destination
from .policy import TraceLine


@dataclass(frozen=True, slots=True)
class MailTransaction:
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
