"""
Outbound capture: what would leave goes into a mailbox of ours, with its envelope in its header.

For a server that must not send, as `mailtraq trial` is one. Each row becomes one acceptance whose identifier is made
of the row's, so that an attempt that is repeated after a crash delivers nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.failures import OverQuota, TemporaryFailure
from mailtraq_py.interfaces.queue import QueuedRecipient
from mailtraq_py.interfaces.store import Acceptance, IAcceptance, IContent, ISpool, LocalDelivery, NewContent
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.mailbox import INBOX
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.trace import delivered_to_field, return_path_field
from mailtraq_py.wire.imap.structure import describe

from .attempt import Attempt

PIECE_OCTETS = 64 * 1024

_CAPTURED = Reply(250, "captured in a local mailbox", "2.0.0")
_NOT_NOW = Reply(451, "the capturing mailbox takes nothing just now", "4.3.0")


class Capture:
    """
    Args:
        address: the mailbox that gets everything.
        directory: to find it.
        content: the messages' octets, and spools for their copies.
        acceptance: the door into the mailbox.
        seconds: tells the time, seconds since the epoch.
    """

    def __init__(
        self,
        address: str,
        directory: IDirectory,
        content: IContent,
        acceptance: IAcceptance,
        seconds: Callable[[], float],
    ) -> None:
        self._address = parse_address(address).key
        self._directory = directory
        self._content = content
        self._acceptance = acceptance
        self._seconds = seconds

    def destination(self, row: QueuedRecipient) -> str:
        """All go to one place."""
        return "capture"

    async def carry(self, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """Put each row's message into the mailbox; see Carrier."""
        return [Attempt(row, await self._capture(row)) for row in rows]

    async def stop(self) -> None:
        """Nothing is kept."""

    async def _capture(self, row: QueuedRecipient) -> Reply:
        try:
            account = await self._directory.find_account(self._address)
            if account is None:
                return _NOT_NOW
            spool = self._content.spool()
            try:
                await self._copy(row, spool)
                delivery = LocalDelivery(account.id, INBOX, _head(row, account.address))
                contents = (NewContent(spool, describe(spool.chunks()), (delivery,)),)
                identifier = f"{row.acceptance_id}-{row.id}"
                await self._acceptance.commit(Acceptance(identifier, self._seconds(), contents))
            finally:
                spool.discard()  # does nothing once the content is stored
        except (TemporaryFailure, OverQuota):
            return _NOT_NOW
        return _CAPTURED

    async def _copy(self, row: QueuedRecipient, spool: ISpool) -> None:
        for offset in range(0, row.content.total_octets, PIECE_OCTETS):
            spool.write(await self._content.read(row.content, offset, PIECE_OCTETS))


def _head(row: QueuedRecipient, account: str) -> bytes:
    sender, recipient = str(row.outgoing.reverse_path), str(row.outgoing.recipient.path)
    envelope = f"X-Envelope-From: <{sender}>\r\nX-Envelope-To: <{recipient}>\r\n"
    return return_path_field(sender) + delivered_to_field(account) + envelope.encode("utf-8", "replace")
