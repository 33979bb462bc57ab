"""
Relaying: may this session send to a recipient that is not ours?

One form for all presets: every `require` group holds and any one `grant` group holds; a group is a list of facts that
must all be true. A fact answers None when it is true and otherwise says why it is not, so that a refusal can tell an
administrator how near it was. `presets.py` fills the form in from a service's settings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from zope.interface import implementer

from mailtraq_py.interfaces.connection import Role
from mailtraq_py.interfaces.directory import IDirectory, Remote, UnknownUser
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, TraceLine, Verdict
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.mail.reply import Reply

from .addresslist import AcceptList, AddressList
from .firewall import FirewallList
from .recentlogin import Clock, RecentGrants
from .trust import Trust

NOT_THE_SENDER = "the sender is not an address of an account that logged in from here"
ROLE_WORDS = {Role.MX: "in", Role.SUBMISSION: "out", Role.BOTH: "both"}


class Unmet(NamedTuple):
    """Why a fact is not true; `for_peer` is what the peer hears of it where nothing else grants relaying, or ""."""

    reason: str
    for_peer: str = ""


Question = Callable[[Facts], Awaitable[Unmet | None]]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: its word as configuration has it, "not " included, and how to find out."""

    word: str
    question: Question


@dataclass(frozen=True, slots=True)
class Group:
    """Facts that must all be true. `name` is the ground in logs; a group without facts is always true."""

    name: str
    facts: tuple[Fact, ...] = ()

    async def first_unmet(self, facts: Facts) -> Unmet | None:
        """The first fact that is not true, None where all are."""
        for fact in self.facts:
            unmet = await fact.question(facts)
            if unmet is not None:
                return unmet
        return None


@dataclass(frozen=True, slots=True)
class RelayForm:
    """The unified form. The reply's text may hold `{rcpt_domain}`."""

    require: tuple[Group, ...]
    grant: tuple[Group, ...]
    reply: Reply

    @property
    def words(self) -> frozenset[str]:
        """The words of all facts, without "not "."""
        return frozenset(
            fact.word.removeprefix("not ") for group in (*self.require, *self.grant) for fact in group.facts
        )


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class RelayCheck:
    """
    RECIPIENT, for what is not local: permit by the first ground, or refuse as the preset says.

    `leaves_mapped`: what a domain map names is settled before, as ours.
    """

    form: RelayForm
    leaves_mapped: bool = False
    name = "relay"
    can_permit = True

    async def ask(self, facts: Facts) -> Verdict | None:
        """Judge a recipient that leads away; no opinion of others."""
        destination = facts.destination
        if not isinstance(destination, Remote) or (destination.mapped and self.leaves_mapped):
            return None
        for group in self.form.require:
            unmet = await group.first_unmet(facts)
            if unmet is not None:
                return self._refuse(facts, f"{group.name} is required: {unmet.reason}", ())
        misses: list[TraceLine] = []
        told = None
        for group in self.form.grant:
            unmet = await group.first_unmet(facts)
            if unmet is None:
                return Verdict(Opinion.PERMIT, self.name, group.name, trace=tuple(misses))
            misses.append(TraceLine(f"relay: {group.name}", None, unmet.reason))
            if unmet.for_peer:
                told = unmet
        if told is not None:
            reply = Reply(550, f"Relaying not allowed: {told.for_peer}", "5.7.1")
            return Verdict(Opinion.REFUSE, self.name, told.reason, reply, trace=tuple(misses))
        return self._refuse(facts, "no ground", tuple(misses))

    def _refuse(self, facts: Facts, reason: str, trace: tuple[TraceLine, ...]) -> Verdict:
        reply = self.form.reply
        if "{rcpt_domain}" in reply.text and facts.forward_path is not None:
            reply = replace(reply, text=reply.text.replace("{rcpt_domain}", facts.forward_path.domain_key))
        return Verdict(Opinion.REFUSE, self.name, reason, reply, trace=trace)


class RelayFacts:
    """
    The facts that forms are made of.

    Args:
        trust: LAN and own addresses.
        role: the service's.
        grants: the recent logins.
        directory: whose domains and users are ours.
    """

    def __init__(self, trust: Trust, role: Role, grants: RecentGrants, directory: IDirectory) -> None:
        self._trust = trust
        self._role = role
        self._grants = grants
        self._directory = directory

    def lan(self) -> Fact:
        """`lan`: the LAN list admits the client."""

        async def question(facts: Facts) -> Unmet | None:
            client = facts.connection.client
            return None if self._trust.in_lan(client) else Unmet(f"{client} is not in the LAN")

        return Fact("lan", question)

    def own(self) -> Fact:
        """`own`: the client is this machine."""

        async def question(facts: Facts) -> Unmet | None:
            own = self._trust.is_own(facts.connection)
            return None if own else Unmet(f"{facts.connection.client} is not an address of this machine")

        return Fact("own", question)

    def address_in(self, word: str, listed: FirewallList) -> Fact:
        """`address_in:LIST`: the firewall list admits the client."""

        async def question(facts: Facts) -> Unmet | None:
            client = facts.connection.client
            return None if listed.admits(client) else Unmet(f"{client} is not in {word}")

        return Fact(f"address_in:{word}", question)

    def auth(self) -> Fact:
        """`auth`: the session is authenticated."""

        async def question(facts: Facts) -> Unmet | None:
            return None if facts.account is not None else Unmet("the session is not authenticated")

        return Fact("auth", question)

    def relay_privilege(self) -> Fact:
        """`privilege:relay`: the authenticated account may send to the world."""

        async def question(facts: Facts) -> Unmet | None:
            if facts.account is None:
                return Unmet("the session is not authenticated")
            return None if facts.account.relay else Unmet(f"{facts.account.address} has not the privilege to relay")

        return Fact("privilege:relay", question)

    def recent_login(self) -> Fact:
        """`recent_login`: a login from this address within relay_seconds, by an account the reverse-path belongs to."""

        async def question(facts: Facts) -> Unmet | None:
            grant = await self._grants.find(facts, Clock.RELAY)
            if not grant.logins:
                return Unmet(grant.reason)
            fault = await self._grants.sender_fault(grant, facts.reverse_path)
            return Unmet(fault, NOT_THE_SENDER) if fault else None

        return Fact("recent_login", question)

    def sender_local_domain(self) -> Fact:
        """`sender_local_domain`: the reverse-path is in a domain of ours; the null path is in none."""

        async def question(facts: Facts) -> Unmet | None:
            domain = facts.reverse_path.domain_key if facts.reverse_path else ""
            if domain and await self._directory.is_local_domain(domain):
                return None
            return Unmet(f"the sender's domain {domain} is not ours" if domain else "the reverse-path is null")

        return Fact("sender_local_domain", question)

    def sender_local_user(self) -> Fact:
        """`sender_local_user`: the reverse-path leads to a user of ours."""

        async def question(facts: Facts) -> Unmet | None:
            address = facts.reverse_path.address if facts.reverse_path else None
            if address is None:
                return Unmet("the reverse-path is null")
            destination = await self._directory.resolve(ForwardPath(address))
            if isinstance(destination, Remote | UnknownUser):
                return Unmet(f"{address} is no user of ours")
            return None

        return Fact("sender_local_user", question)

    def sender_in(self, word: str, listed: AddressList) -> Fact:
        """`sender_in:LIST`: a pattern names the reverse-path."""

        async def question(facts: Facts) -> Unmet | None:
            sender = facts.reverse_path.key if facts.reverse_path else ""
            return None if listed.matches(sender) else Unmet(f"<{sender}> is not in {word}")

        return Fact(f"sender_in:{word}", question)

    def sender_accepted(self, word: str, listed: AcceptList) -> Fact:
        """IMail's accept list has the reverse-path or its host."""

        async def question(facts: Facts) -> Unmet | None:
            path = facts.reverse_path
            if path is not None and listed.find(path.key, path.domain_key) is not None:
                return None
            return Unmet(f"<{path.key if path else ''}> is not in {word}")

        return Fact(f"sender_in:{word}", question)

    def recipient_in(self, word: str, listed: AddressList) -> Fact:
        """`recipient_in:LIST`: a pattern names the recipient, as the directory rewrites it: where mail would go."""

        async def question(facts: Facts) -> Unmet | None:
            path = facts.destination.path if isinstance(facts.destination, Remote) else facts.forward_path
            recipient = path.key if path else ""
            return None if recipient and listed.matches(recipient) else Unmet(f"<{recipient}> is not in {word}")

        return Fact(f"recipient_in:{word}", question)

    def destination_mapped(self) -> Fact:
        """`destination_mapped`: a domain map or backup domain of ours names the recipient's domain."""

        async def question(facts: Facts) -> Unmet | None:
            mapped = isinstance(facts.destination, Remote) and facts.destination.mapped
            return None if mapped else Unmet("no domain map names the recipient")

        return Fact("destination_mapped", question)

    def listener(self, role: Role) -> Fact:
        """`listener:in|out|both`: the service's role."""
        word = ROLE_WORDS[role]
        mine = ROLE_WORDS[self._role]

        async def question(facts: Facts) -> Unmet | None:
            return None if mine == word else Unmet(f"the service's role is {mine}, not {word}")

        return Fact(f"listener:{word}", question)


def never(word: str) -> Fact:
    """A switch that is off: never true."""

    async def question(facts: Facts) -> Unmet | None:
        return Unmet(f"{word} is off")

    return Fact(word, question)


def negated(fact: Fact) -> Fact:
    """`not FACT`."""

    async def question(facts: Facts) -> Unmet | None:
        unmet = await fact.question(facts)
        return Unmet(f"{fact.word} is true") if unmet is None else None

    return Fact(f"not {fact.word}", question)
