"""
SENDER and MESSAGE: messages that are larger than a service takes from just anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

from .addresslist import AddressList
from .firewall import FirewallList
from .trust import Trust

TOO_LARGE = Reply(552, "Message too large for this service", "5.3.4")


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class LargeMessageCheck:
    """
    Past `most_octets` a message is refused, at MAIL where its size was declared (RFC 1870 6.1), else at its end; not
    from the LAN or from authenticated sessions where these are exempt, nor from listed addresses and senders.
    """

    trust: Trust
    most_octets: int
    exempt_lan: bool
    exempt_authenticated: bool
    addresses: FirewallList
    senders: AddressList
    name = "large_messages"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse what is too large."""
        octets = facts.message_octets or 0
        if octets <= self.most_octets:
            return None
        client = facts.connection.client
        if (self.exempt_lan and self.trust.in_lan(client)) or self.addresses.admits(client):
            return None
        if self.exempt_authenticated and facts.account is not None:
            return None
        if facts.reverse_path is not None and self.senders.matches(facts.reverse_path.key):
            return None
        return Verdict(Opinion.REFUSE, self.name, f"{octets} octets, and {self.most_octets} is the limit", TOO_LARGE)
