"""
SENDER: may mail come from this reverse-path?

Barring and the reverse-path's validity are asked first, of everybody; then whether an outsider uses a name of ours;
then kill file, black lists, DNS lists and return-path verification in the configured order.
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

from .addresslist import AddressList, KillList
from .firewall import FirewallList
from .recentlogin import Clock, RecentGrants
from .trust import Trust
from .waiting import Waiting

BLACKLISTED = "blacklisted"
"""The mark of a black-listed session; the grounds follow the word, as in "blacklisted sender x@y"."""


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class BarringCheck:
    """SENDER and RECIPIENT: the barring lists with their configured reply; the LAN is not exempt."""

    senders: AddressList
    recipients: AddressList
    reply: Reply
    name = "barring"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Look the recipient up once there is one, the sender before."""
        if facts.forward_path is not None:
            found = self.recipients.find(facts.forward_path.key)
            what = "recipient"
        else:
            found = self.senders.find(facts.reverse_path.key if facts.reverse_path else "")
            what = "sender"
        if found is None:
            return None
        return Verdict(Opinion.REFUSE, self.name, f'{what} barred by "{found}"', self.reply)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class NullSenderCheck:
    """The null reverse-path refused (IMail's "Refuse NULL <> senders")."""

    name = "null_sender"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse the null path."""
        if facts.reverse_path is None or not facts.reverse_path.is_null:
            return None
        reply = Reply(501, "The null sender is not accepted here", "5.1.7")
        return Verdict(Opinion.REFUSE, self.name, "null reverse-path", reply)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class ValidSenderCheck:
    """A reverse-path must be user@host."""

    name = "valid_sender"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse what has no user or no host."""
        address = facts.reverse_path.address if facts.reverse_path else None
        if address is None or (address.local_part and address.domain):
            return None
        return Verdict(
            Opinion.REFUSE, self.name, "not user@host", Reply(501, "The sender must be user@host", "5.1.7")
        )


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class LocalSenderCheck:
    """
    An outsider who uses an address of ours as reverse-path.

    `grants` is None where the relay does not take recent logins.
    """

    trust: Trust
    directory: IDirectory
    grants: RecentGrants | None
    name = "local_sender"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse a local sender who is neither trusted, authenticated, nor recently logged in."""
        path = facts.reverse_path
        if path is None or path.is_null or facts.account is not None:
            return None
        if self.trust.is_trusted(facts.connection.client) or not await self.directory.is_local_domain(path.domain_key):
            return None
        near = ""
        if self.grants is not None:
            grant = await self.grants.find(facts, Clock.RELAY)
            if grant.logins:
                return None
            near = f"; {grant.reason}"
        reply = Reply(554, f"blacklisted ({path})", "5.7.1")
        return Verdict(Opinion.REFUSE, self.name, f"local sender {path} from outside{near}", reply)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class KillCheck:
    """IMail's kill file."""

    listed: KillList
    name = "kill"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse a sender that the kill file names."""
        path = facts.reverse_path
        found = None if path is None or path.is_null else self.listed.find(path.key, path.domain_key)
        if found is None:
            return None
        line = f" line {found.line}" if found.line else ""
        reply = Reply(501, "unacceptable mail address", "5.1.8")
        return Verdict(Opinion.REFUSE, self.name, f'kill file{line}: "{found}"', reply)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class BlackSenderCheck:
    """
    Marks a session whose client or sender is black-listed; the mark acts at RECIPIENT. White beats black.
    """

    trust: Trust
    black_addresses: FirewallList
    black_senders: AddressList
    white_senders: AddressList
    name = "lists"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Mark, or say nothing."""
        client = facts.connection.client
        if self.trust.is_trusted(client):
            return None
        sender = facts.reverse_path.key if facts.reverse_path else ""
        if self.white_senders.matches(sender):
            return None
        if self.black_addresses.admits(client):
            return _mark(self.name, f"address {client}")
        if self.black_senders.matches(sender):
            return _mark(self.name, f"sender {sender}")
        return None


def _mark(check: str, ground: str) -> Verdict:
    marks = frozenset({f"{BLACKLISTED} {ground}"})
    return Verdict(Opinion.PERMIT, check, f"marked {BLACKLISTED}: {ground}", marks=marks)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class ReturnPathCheck:
    """An outsider's return-path domain must have an MX or an address (RFC 5321 5.1)."""

    trust: Trust
    directory: IDirectory
    resolver: IResolver
    patience: Waiting
    name = "return_path"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse a domain that cannot be answered; defer where DNS does not tell."""
        path = facts.reverse_path
        if path is None or path.is_null or self.trust.is_trusted(facts.connection.client):
            return None
        domain = path.domain_key
        if domain.startswith("[") or await self.directory.is_local_domain(domain):
            return None
        try:
            if await self.patience.wait(facts.connection.session_id, has_mail_host(self.resolver, domain)):
                return None
        except TemporaryFailure as failure:
            reply = Reply(451, "The sender's domain could not be looked up, try again later", "4.4.3")
            return Verdict(Opinion.DEFER, self.name, f"{domain}: {failure.reason}", reply)
        reply = Reply(550, "Unknown sender domain", "5.1.8")
        return Verdict(Opinion.REFUSE, self.name, f"{domain} has neither MX nor address", reply)


async def has_mail_host(resolver: IResolver, domain: str) -> bool:
    """
    Whether a domain has an MX other than the null MX (RFC 7505), or without MX an address.

    Raises:
        TemporaryFailure: DNS did not answer.
    """
    try:
        exchangers = await resolver.mx(domain)
        if exchangers:
            return any(host for _, host in exchangers)
        return bool(await resolver.addresses(domain))
    except NoSuchName:
        return False


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class AuthenticationRequired:
    """Ability's outgoing service with authentication control: 530 at MAIL, but for safe addresses (RFC 4954 6)."""

    trust: Trust
    safe: FirewallList
    allow_own: bool
    name = "authentication"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse an unauthenticated session."""
        if facts.account is not None or self.safe.admits(facts.connection.client):
            return None
        if self.allow_own and self.trust.is_own(facts.connection):
            return None
        reply = Reply(530, "Authentication required", "5.7.0")
        return Verdict(Opinion.REFUSE, self.name, "the session is not authenticated", reply)
