"""
Where a message goes: copies for mailboxes of ours, rows for the outbound queue, notices to the sender.

Pure: what the directory said of each recipient comes in, plain values go out. A mailbox gets one copy, and an address
elsewhere one row, however many recipients of the envelope lead there; the first that names it decides.

What becomes of the sender's wishes for notices where an alias stands between (RFC 3461 5.2.7):

    alias with one member       goes on as if the member had been named
    alias with several          goes on without SUCCESS; SUCCESS is answered "expanded" here
    list (has its own           ends here: SUCCESS is answered "delivered", the members' rows start afresh and
    reverse-path)               report to the list's owner

RFC 5321 3.9, RFC 3461 5.2.7
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mailtraq_py.interfaces.delivery import MailTransaction
from mailtraq_py.interfaces.directory import Destination, Expansion, LocalMailbox, Remote, UnknownUser
from mailtraq_py.interfaces.queue import Origin, Outgoing
from mailtraq_py.mail.address import fold_domain
from mailtraq_py.mail.envelope import NOTIFY_DEFAULT, Recipient, ReversePath
from mailtraq_py.mail.mailbox import INBOX, canonical_name
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.report import Action, RecipientStatus


@dataclass(slots=True)
class Routes:
    """What `route` found. `notices` are what the sender is to be told now, in the order of recipients."""

    local: list[LocalMailbox] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    notices: list[RecipientStatus] = field(default_factory=list)


def route(transaction: MailTransaction, now: float, expires: float, head: bytes) -> Routes:
    """
    Settle where each recipient leads.

    Args:
        transaction: with its destinations.
        now: when the rows are due, seconds since the epoch.
        expires: when the queue gives up.
        head: octets in front of the content for what leaves.
    """
    return _Router(transaction, now, expires, head).route()


class _Router:
    def __init__(self, transaction: MailTransaction, now: float, expires: float, head: bytes) -> None:
        self._transaction = transaction
        self._now = now
        self._expires = expires
        self._head = head
        self._routes = Routes()
        self._seen: set[tuple[object, str]] = set()

    def route(self) -> Routes:
        transaction = self._transaction
        for recipient, destination, grant in zip(
            transaction.envelope.recipients, transaction.destinations, transaction.grants, strict=True
        ):
            self._add(recipient, destination, grant)
        return self._routes

    def _add(self, recipient: Recipient, destination: Destination, grant: str) -> None:
        if isinstance(destination, LocalMailbox):
            self._deliver(destination)
            if recipient.notify.success:
                self._notify(recipient, Action.DELIVERED, Reply(250, "delivered", "2.1.5"))
        elif isinstance(destination, Remote):
            self._send(replace(recipient, path=destination.path), Origin.CLIENT, grant)
        elif isinstance(destination, Expansion):
            self._expand(recipient, destination)
        else:
            self._refuse(recipient, destination)

    def _expand(self, recipient: Recipient, expansion: Expansion) -> None:
        wishes = recipient
        if expansion.reverse_path is not None:
            wishes = Recipient(recipient.path, NOTIFY_DEFAULT)
            if recipient.notify.success:
                self._notify(recipient, Action.DELIVERED, Reply(250, "delivered to the list", "2.1.5"))
        elif len(expansion.members) > 1 and recipient.notify.success:
            wishes = replace(recipient, notify=replace(recipient.notify, success=False))
            self._notify(recipient, Action.EXPANDED, Reply(250, "expanded", "2.1.5"))
        for member in expansion.members:
            if isinstance(member, LocalMailbox):
                self._deliver(member)
                if wishes.notify.success:
                    self._notify(recipient, Action.DELIVERED, Reply(250, "delivered", "2.1.5"))
            else:
                grant = f"alias {expansion.name}"
                self._send(replace(wishes, path=member.path), Origin.FORWARD, grant, expansion)

    def _deliver(self, mailbox: LocalMailbox) -> None:
        folder = _folder(mailbox.folder)
        if self._is_new(mailbox.account.id, folder):
            self._routes.local.append(LocalMailbox(mailbox.account, folder))

    def _send(self, recipient: Recipient, origin: Origin, grant: str, expansion: Expansion | None = None) -> None:
        address = recipient.path.address
        # Local parts elsewhere may tell capitals apart; domains do not (RFC 5321 2.4).
        if not self._is_new(address.local_part, fold_domain(address.domain)):
            return
        transaction, envelope = self._transaction, self._transaction.envelope
        list_path = expansion.reverse_path if expansion else None
        self._routes.outgoing.append(
            Outgoing(
                reverse_path=ReversePath(list_path) if list_path else envelope.reverse_path,
                recipient=recipient,
                due=self._now,
                expires=self._expires,
                head=self._head,
                origin=origin,
                ret="" if list_path else envelope.ret,
                envid="" if list_path else envelope.envid,
                body=envelope.body,
                smtputf8=envelope.smtputf8,
                granted_by=grant,
                client=transaction.connection.client,
                account=transaction.account.address if transaction.account else "",
            )
        )

    def _refuse(self, recipient: Recipient, destination: UnknownUser) -> None:
        """Policy accepts unknown users in order to report them."""
        if recipient.notify.failure:
            self._notify(recipient, Action.FAILED, Reply(550, destination.reason, "5.1.1"))

    def _notify(self, recipient: Recipient, action: Action, reply: Reply) -> None:
        self._routes.notices.append(RecipientStatus(recipient, action, reply))

    def _is_new(self, whose: object, where: str) -> bool:
        key = (whose, where)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def _folder(folder: str) -> str:
    """The mailbox a sub-address asks for; INBOX where it asks for none or for what no mailbox may be called."""
    if not folder:
        return INBOX
    try:
        return canonical_name(folder)
    except ValueError:
        return INBOX
