"""
RECIPIENT: a mailbox that is full may be emptied, so its mail waits. One that has room is asked again when the message's
size is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Expansion, IDirectory, LocalMailbox
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

FULL = Reply(452, "The mailbox is full, try again later", "4.2.2")


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class QuotaCheck:
    """A recipient all of whose mailboxes are full waits (RFC 3463 3.3, X.2.2)."""

    directory: IDirectory
    name = "quota"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Defer, or say nothing."""
        destination = facts.destination
        if isinstance(destination, LocalMailbox):
            members: tuple[object, ...] = (destination,)
        elif isinstance(destination, Expansion):
            members = destination.members
        else:
            return None
        for member in members:
            if not isinstance(member, LocalMailbox) or await self.directory.has_room(member.account):
                return None
        return Verdict(Opinion.DEFER, self.name, "mailbox full", FULL)
