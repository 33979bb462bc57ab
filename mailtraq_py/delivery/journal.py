"""
The journal: a copy of all mail that comes in, and of all that leaves.

    comes in    something was delivered here    -> copy_inbound, a mailbox of ours or an address elsewhere
    leaves      something went into the queue   -> copy_outbound, a mailbox of ours only

A copy travels from the null reverse-path with NOTIFY=NEVER and asks for no room, so nothing that becomes of it reaches
the sender, and no limit counts it. Who got the message anyway gets no copy of it. Reports do not pass here and are not
copied; a copy that comes back to us is known by a field of its own, whose token outsiders cannot make. The token's key
lives as long as the process: a circle across a restart ends at the hop limit.

RFC 3461 4.1, RFC 5321 6.3
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from twisted.logger import Logger

from mailtraq_py.interfaces.delivery import MailTransaction
from mailtraq_py.interfaces.directory import Account, Destination, Expansion, IDirectory, LocalMailbox, Remote
from mailtraq_py.interfaces.queue import Origin, Outgoing
from mailtraq_py.interfaces.store import LocalDelivery
from mailtraq_py.mail.address import Address
from mailtraq_py.mail.envelope import NOTIFY_NEVER, NULL_PATH, ForwardPath, Recipient
from mailtraq_py.mail.mailbox import INBOX
from mailtraq_py.mail.trace import delivered_to_field, return_path_field

from .routing import Routes
from .settings import JournalSettings

FIELD = b"X-Mailtraq-Journal"
TOKEN_SIZE = 32


@dataclass(slots=True)
class Copies:
    """What is added to a message's own deliveries and rows."""

    local: list[LocalDelivery] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


class Journal:
    """
    Args:
        settings: may be replaced at any time.
        directory: where the journal's addresses lead.
        key: random octets, with which copies are marked as ours.
    """

    log = Logger()

    def __init__(self, settings: JournalSettings, directory: IDirectory, key: bytes) -> None:
        self.settings = settings
        self._directory = directory
        self._key = key

    @property
    def is_kept(self) -> bool:
        """Whether anything is copied at all."""
        return self.settings.copy_inbound is not None or self.settings.copy_outbound is not None

    async def copies(
        self,
        message_id: str,
        transaction: MailTransaction,
        routes: Routes,
        header: bytes,
        now: float,
        expires: float,
    ) -> Copies:
        """
        The copies of one message.

        Args:
            header: the message's header as it came; looked at where the reverse-path is null, as a copy's is.
            now: when a copy that leaves is due, seconds since the epoch.
            expires: when the queue gives it up.

        Raises:
            TemporaryFailure: the directory did not answer; the message is not accepted without its copy.
        """
        found = Copies()
        if transaction.envelope.reverse_path.is_null and self._is_copy(header):
            return found
        fields = self._fields(message_id, transaction)
        taken = {mailbox.account.id for mailbox in routes.local}
        inbound, outbound = self.settings.copy_inbound, self.settings.copy_outbound
        if inbound is not None and routes.local:
            for member in await self._resolve(inbound):
                if isinstance(member, LocalMailbox):
                    self._copy_here(found, member, taken, fields)
                elif all(member.path.key != row.recipient.path.key for row in routes.outgoing):
                    found.outgoing.append(_leaving(member.path, transaction, fields, now, expires))
                    found.addresses.append(str(member.path))
        if outbound is not None and routes.outgoing:
            for member in await self._resolve(outbound):
                if isinstance(member, LocalMailbox):
                    self._copy_here(found, member, taken, fields)
        return found

    def _copy_here(self, found: Copies, mailbox: LocalMailbox, taken: set[int], fields: bytes) -> None:
        account: Account = mailbox.account
        if account.id not in taken:
            taken.add(account.id)
            head = b"".join((return_path_field(""), delivered_to_field(account.address), fields))
            found.local.append(LocalDelivery(account.id, mailbox.folder or INBOX, head, counts=False))
            found.addresses.append(account.address)

    async def _resolve(self, address: Address) -> Iterable[LocalMailbox | Remote]:
        destination: Destination = await self._directory.resolve(ForwardPath(address))
        if isinstance(destination, Expansion):
            return destination.members
        if isinstance(destination, LocalMailbox | Remote):
            return (destination,)
        self.log.warn("journal-lost", event="journal-lost", address=str(address), reason=destination.reason)
        return ()

    # -- the copy's own fields ---------------------------------------------------------------------------------

    def _fields(self, message_id: str, transaction: MailTransaction) -> bytes:
        """The envelope, which a copy has no other place for, and the mark by which it is known."""
        envelope = transaction.envelope
        recipients = ",\r\n ".join(f"<{recipient.path}>" for recipient in envelope.recipients)
        lines = f"X-Envelope-From: <{envelope.reverse_path}>\r\nX-Envelope-To: {recipients}\r\n"
        mark = b"%s: %s %s\r\n" % (FIELD, message_id.encode(), self._token(message_id.encode()))
        return lines.encode("utf-8", "replace") + mark

    def _token(self, message_id: bytes) -> bytes:
        return hmac.digest(self._key, message_id, "sha256").hex()[:TOKEN_SIZE].encode()

    def _is_copy(self, header: bytes) -> bool:
        """Whether one of our marks stands in a header."""
        start = header.find(FIELD)
        while start >= 0:
            end = header.find(b"\n", start)
            words = header[start:end].split() if end >= 0 else []
            if len(words) == 3 and hmac.compare_digest(words[2], self._token(words[1])):
                return True
            start = header.find(FIELD, start + 1)
        return False


def _leaving(
    path: ForwardPath, transaction: MailTransaction, fields: bytes, now: float, expires: float
) -> Outgoing:
    envelope = transaction.envelope
    return Outgoing(
        reverse_path=NULL_PATH,
        recipient=Recipient(path, NOTIFY_NEVER),
        due=now,
        expires=expires,
        head=fields,
        origin=Origin.JOURNAL,
        body=envelope.body,
        smtputf8=envelope.smtputf8 or not str(path).isascii(),
        granted_by="journal",
        client=transaction.connection.client,
    )
