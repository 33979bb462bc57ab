"""
RECIPIENT: is this recipient ours, and may mail for it come in? What is not ours is the relay check's.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Expansion, Remote, UnknownUser
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

from .addresslist import AddressList
from .firewall import FirewallList
from .recentlogin import Clock, RecentGrants
from .senders import BLACKLISTED
from .trust import Trust

UNKNOWN_USER = Reply(550, "No such user here", "5.1.1")
BLACKLISTED_REPLY = Reply(554, "Blacklisted", "5.7.1")


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class RecipientCountCheck:
    """Past `most` recipients of one transaction the further ones wait; the earlier ones stand (RFC 5321 4.5.3.1.10)."""

    most: int
    name = "max_recipients"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Defer the recipient that is one too many."""
        if facts.recipients < self.most:
            return None
        return Verdict(Opinion.DEFER, self.name, f"more than {self.most}", Reply(452, "Too many recipients", "4.5.3"))


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class BlacklistedCheck:
    """
    RECIPIENT and MESSAGE: what a black-listed session hears.

    Without a delay the recipient is refused; with one (tarpit) the answers come slowly and the message is refused after
    its last octet. The marks are forgotten once the session is authenticated or has a live relay grant.
    """

    trust: Trust
    black_recipients: AddressList
    white_recipients: AddressList
    grants: RecentGrants | None
    delay_seconds: float
    name = "lists"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse, delay, or say nothing."""
        if facts.account is not None:
            return None
        ground = self._ground(facts)
        if not ground:
            return None
        if self.grants is not None and (await self.grants.find(facts, Clock.RELAY)).logins:
            return None
        is_message = facts.message_octets is not None
        marks = frozenset({ground})
        if is_message or not self.delay_seconds:
            return Verdict(Opinion.REFUSE, self.name, ground, BLACKLISTED_REPLY, marks=marks)
        return Verdict(Opinion.PERMIT, self.name, f"tarpit: {ground}", delay_seconds=self.delay_seconds, marks=marks)

    def _ground(self, facts: Facts) -> str:
        marks = sorted(mark for mark in facts.marks if mark.startswith(BLACKLISTED))
        if marks:
            return marks[0]
        if facts.forward_path is None or self.trust.is_trusted(facts.connection.client):
            return ""
        recipient = facts.forward_path.key
        if self.black_recipients.matches(recipient) and not self.white_recipients.matches(recipient):
            return f"{BLACKLISTED} recipient {recipient}"
        return ""


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class LocalRecipientCheck:
    """
    Recipients in our domains: known ones are permitted, unknown ones refused.

    `reports_unknown`: accept the unknown ones and send a report. `takes_mapped`: what a domain map names is ours on
    this service. `remote_post`: outsiders may write to distribution lists; no outsiders are our own addresses,
    `insiders`, and authenticated sessions.
    """

    trust: Trust
    reports_unknown: bool
    takes_mapped: bool
    remote_post: bool
    insiders: FirewallList
    name = "relay"
    can_permit = True

    async def ask(self, facts: Facts) -> Verdict | None:
        """Permit or refuse what is ours; no opinion of what leads away."""
        destination = facts.destination
        if isinstance(destination, Remote):
            if destination.mapped and self.takes_mapped:
                return Verdict(Opinion.PERMIT, self.name, "mapped domain")
            return None
        if isinstance(destination, UnknownUser):
            if self.reports_unknown:
                return Verdict(Opinion.PERMIT, self.name, "unknown user, to be reported")
            return Verdict(Opinion.REFUSE, "recipient", destination.reason, UNKNOWN_USER)
        if self._is_closed_list(facts):
            reply = Reply(550, "Only members of this system may write to this list", "5.7.1")
            return Verdict(Opinion.REFUSE, "recipient", "remote mail to a list", reply)
        return Verdict(Opinion.PERMIT, self.name, "our domain")

    def _is_closed_list(self, facts: Facts) -> bool:
        destination = facts.destination
        if self.remote_post or not isinstance(destination, Expansion) or destination.reverse_path is None:
            return False
        if facts.account is not None or self.trust.is_own(facts.connection):
            return False
        return not self.insiders.admits(facts.connection.client)
