"""
RECIPIENT: is this recipient ours, and may mail for it come in? What is not ours is the relay check's. EXPAND: may this
session see who is on a list?
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.directory import Expansion, IDirectory, Remote, UnknownUser
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

from .addresslist import AddressList
from .firewall import FirewallList
from .recentlogin import Clock, RecentGrants
from .senders import BLACKLISTED
from .trust import Trust

UNKNOWN_USER = Reply(550, "No such user here", "5.1.1")
LIST_CLOSED = Reply(550, "Only members of this system may write to this list", "5.7.1")
MEMBERS_ONLY = Reply(550, "Only members may write to this list", "5.7.1")
LISTS_NOT_SHOWN = Reply(550, "Lists are not shown", "5.7.1")
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


@dataclass(frozen=True, slots=True)
class Outsiders:
    """Who is remote to distribution lists: not our own addresses, nor `insiders`, nor who has logged in."""

    trust: Trust
    insiders: FirewallList

    def include(self, facts: Facts) -> bool:
        """Whether this session is an outsider's."""
        if facts.account is not None or self.trust.is_own(facts.connection):
            return False
        return not self.insiders.admits(facts.connection.client)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class LocalRecipientCheck:
    """
    Recipients in our domains: known ones are permitted, unknown ones refused.

    `reports_unknown`: accept the unknown ones and send a report, but to nobody who surely did not write: the null path,
    and our own users when an outsider names them (attack S 23). `takes_mapped`: what a domain map names is ours on
    this service. `remote_post`: outsiders may write to distribution lists.
    """

    outsiders: Outsiders
    directory: IDirectory
    reports_unknown: bool
    takes_mapped: bool
    remote_post: bool
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
            if self.reports_unknown and await self._may_report(facts):
                return Verdict(Opinion.PERMIT, self.name, "unknown user, to be reported")
            return Verdict(Opinion.REFUSE, "recipient", destination.reason, UNKNOWN_USER)
        if isinstance(destination, Expansion) and destination.reverse_path is not None:
            refusal = await self._list_refusal(facts, destination)
            if refusal is not None:
                return refusal
        return Verdict(Opinion.PERMIT, self.name, "our domain")

    async def _may_report(self, facts: Facts) -> bool:
        path = facts.reverse_path
        if path is None or path.is_null:
            return False
        return not self.outsiders.include(facts) or not await self.directory.is_local_domain(path.domain_key)

    async def _list_refusal(self, facts: Facts, destination: Expansion) -> Verdict | None:
        """Why this sender may not write to a distribution list, None where he may."""
        if destination.hidden and self.outsiders.include(facts):
            return Verdict(Opinion.REFUSE, "recipient", "a list for insiders", UNKNOWN_USER)
        if not self.remote_post and self.outsiders.include(facts):
            return Verdict(Opinion.REFUSE, "recipient", "remote mail to a list", LIST_CLOSED)
        if destination.posters is not None and not await self._is_poster(facts, destination.posters):
            return Verdict(Opinion.REFUSE, "recipient", "the sender is no member of the list", MEMBERS_ONLY)
        return None

    async def _is_poster(self, facts: Facts, posters: frozenset[str]) -> bool:
        if facts.account is not None and facts.account.address in posters:
            return True
        key = facts.reverse_path.key if facts.reverse_path is not None else ""
        if not key or key in posters:
            return key in posters
        account = await self.directory.find_account(key)
        return account is not None and account.address in posters


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class ExpandCheck:
    """EXPAND: outsiders see who is on a list only where `remote_expand` says so; asked before anything is looked up."""

    outsiders: Outsiders
    remote_expand: bool
    name = "lists_access"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse, or say nothing."""
        if self.remote_expand or not self.outsiders.include(facts):
            return None
        return Verdict(Opinion.REFUSE, self.name, "remote EXPN", LISTS_NOT_SHOWN)
