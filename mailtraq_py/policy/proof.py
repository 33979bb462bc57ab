"""
The open-relay proof: is there an outsider for whom this configuration relays?

For each SMTP service every class of outsider goes through the whole chain, CONNECT to RECIPIENT: no login of any kind;
each class of client address (`addressclasses.py`); each kind of reverse-path (null, ours, foreign, one for every entry
of a list of senders); a recipient that no list names, and one for every recipient pattern whose domain is a wildcard.
DNS is taken at its worst: every name resolves, no DNS list lists. A service is open when the addresses that get through
are, in public space, more than an IPv4 /8 or an IPv6 /16: what fewer addresses may do was meant by whoever listed them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.directory import (
    Account,
    Destination,
    IDirectory,
    LocalMailbox,
    MailboxLists,
    Remote,
    UnknownUser,
)
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.interfaces.policy import Facts, Stage, Verdict
from mailtraq_py.mail.address import Address, parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath

from .addressclasses import AddressClass, address_classes
from .addresslist import parse_accept_list, parse_kill_list, parse_patterns
from .build import build_policy
from .chain import Policy
from .firewall import FirewallList, parse_rules
from .memoryrows import MemoryRows
from .problems import Problems
from .recentlogin import RecentLoginRules, RecentLogins
from .settings import (
    AbilityRelay,
    CustomRelay,
    Entries,
    IMailRelay,
    MailtraqRelay,
    PolicySettings,
    RelaySettings,
    ServiceSettings,
)
from .trust import own_addresses

IPV4_OPEN_COUNT = 1 << 24
IPV6_OPEN_COUNT = 1 << 112

_OURS = "ours.invalid"
_OUTSIDE = "outside.invalid"
_ELSEWHERE = "elsewhere.invalid"
_CROSSED_MAX = 2000


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One service that is open: who gets through, the ground by which, and a scenario that `explain` shows it with.

    `acknowledged`: the service says `i_know_this_is_an_open_relay`.
    """

    service: str
    outsider: str
    switch: str
    scenario: Mapping[str, Any]
    acknowledged: bool

    def __str__(self) -> str:
        return f'service "{self.service}" is an open relay: {self.outsider}; what opens it is {self.switch}'


async def prove(
    settings: PolicySettings, directory: IDirectory, local_addresses: Sequence[str] = ()
) -> list[Finding]:
    """
    Ask the whole chain about every class of outsider.

    Args:
        directory: which domains are ours.
        local_addresses: some addresses of ours, so that a scenario with a local sender can be replayed.

    Returns:
        at most one finding a service; none where nothing is open.

    Raises:
        BadPolicy: the configuration has errors.
        TemporaryFailure: the directory could not be asked.
    """
    imagined = _Directory(directory)
    recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: 0.0)
    policy = build_policy(settings, imagined, _Resolver(settings), recent, 0)
    findings = []
    for service in settings.services:
        if service.protocol is Protocol.SMTP:
            finding = await _Outsiders(settings, service, policy, imagined, local_addresses).find()
            if finding is not None:
                findings.append(finding)
    return findings


class _Outsiders:
    """The outsiders of one service."""

    def __init__(
        self,
        settings: PolicySettings,
        service: ServiceSettings,
        policy: Policy,
        directory: _Directory,
        local_addresses: Sequence[str],
    ) -> None:
        self._settings = settings
        self._service = service
        self._policy = policy
        self._directory = directory
        self._local_addresses = local_addresses
        self._recipients = tuple(self._recipient_samples())

    async def find(self) -> Finding | None:
        """The finding of this service: the first class that gets through, if all that do are together too many."""
        own = own_addresses(self._settings.own_addresses)
        senders = await self._sender_classes()
        through = {False: 0, True: 0}
        first: dict[bool, Finding] = {}
        for outsiders in address_classes(self._address_lists(), own):
            finding = await self._ask(outsiders, senders)
            if finding is None:
                continue
            family = outsiders.ipv6
            first.setdefault(family, finding)
            through[family] += outsiders.count
            if through[family] > (IPV6_OPEN_COUNT if family else IPV4_OPEN_COUNT):
                return first[family]
        return None

    async def _ask(self, outsiders: AddressClass, senders: Sequence[ReversePath]) -> Finding | None:
        local = next((text for text in self._settings.own_addresses if text != outsiders.example), "")
        service = self._service
        connection = Connection(
            "proof", service.name, service.protocol, outsiders.example, 0, local, 0, 0.0, service.role
        )
        facts = Facts(connection, 0.0)
        if not (await self._policy.decide(Stage.CONNECT, facts)).is_permit:
            return None
        facts = facts._replace(helo=f"client.{_OUTSIDE}")
        if not (await self._policy.decide(Stage.HELLO, facts)).is_permit:
            return None
        for path in senders:
            sending = facts._replace(reverse_path=path)
            verdict = await self._policy.decide(Stage.SENDER, sending)
            if not verdict.is_permit:
                continue
            sending = sending._replace(marks=verdict.marks)
            for recipient in self._recipients:
                destination = await self._directory.resolve(recipient)
                if not isinstance(destination, Remote) or destination.mapped:
                    continue
                asked = sending._replace(forward_path=recipient, destination=destination)
                verdict = await self._policy.decide(Stage.RECIPIENT, asked)
                if verdict.is_permit and await self._is_accepted(asked, verdict):
                    return self._finding(asked, verdict.reason)
        return None

    async def _is_accepted(self, asked: Facts, permitted: Verdict) -> bool:
        """A tarpit accepts a recipient and refuses the message."""
        message = asked._replace(marks=asked.marks | permitted.marks, recipients=1, message_octets=1000)
        return (await self._policy.decide(Stage.MESSAGE, message)).is_permit

    def _finding(self, facts: Facts, ground: str) -> Finding:
        client, path, recipient = facts.connection.client, facts.reverse_path, facts.forward_path
        relay = self._service.relay
        return Finding(
            self._service.name,
            f"anybody, as {client}, may send from <{path}> to <{recipient}> without any login",
            f"{ground} (preset {relay.preset})",
            {
                "service": self._service.name,
                "client": client,
                "recent_login": None,
                "helo": facts.helo,
                "auth": None,
                "mail_from": str(path),
                "rcpt_to": [str(recipient)],
            },
            relay.i_know_this_is_an_open_relay,
        )

    # -- classes --------------------------------------------------------------------------------------------

    def _address_lists(self) -> list[FirewallList]:
        """Every firewall list that a decision of this service looks at."""
        lists = self._service.lists
        relay = self._service.relay
        looked_at: list[Entries] = [
            self._service.firewall,
            self._settings.lan,
            (*self._service.firewall, *self._settings.lan),
            lists.white_addresses,
            lists.black_addresses,
        ]
        if isinstance(relay, AbilityRelay):
            looked_at += [relay.ranges, relay.safe]
        elif isinstance(relay, IMailRelay):
            looked_at.append(relay.addresses)
        elif isinstance(relay, CustomRelay):
            looked_at += [relay.lists[name] for name in _named_lists(relay, "address_in") if name in relay.lists]
        return [FirewallList(parse_rules(one, "", Problems())) for one in looked_at if one]

    async def _sender_classes(self) -> list[ReversePath]:
        """One reverse-path of each class: of two in a class all lists of senders, and the directory, say the same."""
        lists = self._service.lists
        relay = self._service.relay
        looked_at = [self._settings.barring.senders, lists.white_senders, lists.black_senders]
        looked_at += _sender_lists(relay)
        compiled = [parse_patterns(one, "", Problems()) for one in looked_at if one]
        accept = parse_accept_list(relay.accept if isinstance(relay, IMailRelay) else (), "", Problems())
        kill = parse_kill_list(self._service.senders.kill, "", Problems())
        classes: dict[tuple[object, ...], ReversePath] = {}
        for path in self._sender_samples(self._local_addresses):
            key, domain = path.key, path.domain_key
            destination = None if path.address is None else await self._directory.resolve(ForwardPath(path.address))
            signature = (
                path.is_null,
                not path.is_null and await self._directory.is_local_domain(domain),
                type(destination),
                *(listed.matches(key) for listed in compiled),
                accept.find(key, domain) is None,
                kill.find(key, domain) is None,
            )
            classes.setdefault(signature, path)
        return list(classes.values())

    def _sender_samples(self, local_addresses: Sequence[str]) -> Iterator[ReversePath]:
        yield NULL_PATH
        yield ReversePath(Address("somebody", _OUTSIDE))
        for text in local_addresses:
            yield ReversePath(parse_address(text))
        yield ReversePath(Address("user", _OURS))
        yield ReversePath(Address("nobody", _OURS))
        lists = self._service.lists
        # Entries that only refuse let nobody in; what they exclude may.
        refusing = (*self._settings.barring.senders, *lists.black_senders)
        listed = [*lists.white_senders, *(entry for entry in refusing if entry.text.lstrip().startswith("~"))]
        relay = self._service.relay
        listed += [entry for one in _sender_lists(relay) for entry in one]
        listed += relay.accept if isinstance(relay, IMailRelay) else ()
        samples = {sample.key: sample for entry in listed for sample in pattern_samples(entry.text, _OUTSIDE)}
        yield from (ReversePath(sample) for sample in samples.values())
        users = {sample.local_part for sample in samples.values()}
        domains = {sample.domain for sample in samples.values()}
        if len(users) * len(domains) <= _CROSSED_MAX:
            yield from (
                ReversePath(Address(user, domain))
                for user, domain in product(sorted(users), sorted(domains))
                if f"{user}@{domain}" not in samples
            )

    def _recipient_samples(self) -> Iterator[ForwardPath]:
        yield ForwardPath(Address("victim", _ELSEWHERE))
        lists = self._service.lists
        listed = [*self._settings.barring.recipients, *lists.white_recipients, *lists.black_recipients]
        relay = self._service.relay
        if isinstance(relay, MailtraqRelay):
            listed += relay.always_to
        elif isinstance(relay, CustomRelay):
            listed += [entry for name in _named_lists(relay, "recipient_in") for entry in relay.lists.get(name, ())]
        for entry in listed:
            if names_many_domains(entry.text):
                yield from (ForwardPath(sample) for sample in pattern_samples(entry.text, _ELSEWHERE))


def _named_lists(relay: CustomRelay, kind: str) -> list[str]:
    """Names of the lists that facts of this kind speak of."""
    facts = [entry for group in (*relay.require, *relay.grant) for entry in group]
    words = {entry.text.split()[-1] for entry in facts if entry.text.strip()}
    return sorted(word.partition(":")[2] for word in words if word.startswith(f"{kind}:"))


def _sender_lists(relay: RelaySettings) -> list[Entries]:
    """The relay's lists of sender patterns."""
    if isinstance(relay, MailtraqRelay):
        return [relay.always_from]
    if isinstance(relay, CustomRelay):
        return [relay.lists.get(name, ()) for name in _named_lists(relay, "sender_in")]
    return []


def names_many_domains(pattern: str) -> bool:
    """Whether a pattern's domain is (partly) a wildcard, so that it names recipients nobody has thought of."""
    domain = pattern.rpartition("@")[2]
    return any(sign in domain for sign in "*?%$")


def pattern_samples(pattern: str, filling: str) -> Iterable[Address]:
    """
    Addresses that a pattern names, or would but for its `~`; a bare host (IMail's accept list) counts for its users.

    Args:
        filling: a domain to put where the pattern leaves the domain open.
    """
    text = pattern.strip().removeprefix("~")
    text = text.replace("?", "x").replace("%", "1").replace("$", "x")
    candidates = []
    if "@" in text:
        local_part, _, domain = text.rpartition("@")
        user = local_part.replace("*", "x") or "x"
        if domain == "*":
            candidates.append(f"{user}@{filling}")
        candidates += [f"{user}@{_fill(domain, inside)}" for inside in ("x", f"x.{filling}")]
    elif "*" in text:
        for number, star in enumerate(re.finditer(r"\*", text)):
            before, after = text[: star.start()], text[star.end() :]
            insides = (f"x@{filling}", f"@{filling}", "x@x", "x@")
            candidates += [(before + inside + after).replace("*", "x") for inside in insides]
            if number > 8:
                break
    else:
        candidates.append(f"x@{text}")
    samples = {}
    for candidate in candidates:
        try:
            address = parse_address(candidate)
        except ValueError:
            continue
        samples[address.key] = address
    return samples.values()


def _fill(domain: str, inside: str) -> str:
    """Fill a domain pattern's stars; one that stands for no label at all is left out."""
    return domain.replace("*", inside).strip(".")


# --- the imagined world --------------------------------------------------------------------------------------------


@implementer(IDirectory)
class _Directory:
    """The real directory, with one more domain of ours and one user in it."""

    def __init__(self, real: IDirectory) -> None:
        self._real = real
        self._user = Account(-1, f"user@{_OURS}", _OURS)

    async def is_local_domain(self, domain: str) -> bool:
        return domain == _OURS or bool(await self._real.is_local_domain(domain))

    async def find_account(self, address: str) -> Account | None:
        if address == self._user.address:
            return self._user
        found: Account | None = await self._real.find_account(address)
        return found

    async def resolve(self, path: ForwardPath) -> Destination:
        if path.key == self._user.address:
            return LocalMailbox(self._user)
        if path.domain_key == _OURS:
            return UnknownUser()
        if path.domain_key.endswith(".invalid"):
            return Remote(path)
        destination: Destination = await self._real.resolve(path)
        return destination

    async def mailbox_lists(self, account: Account) -> MailboxLists:
        lists: MailboxLists = await self._real.mailbox_lists(account)
        return lists

    async def has_room(self, account: Account) -> bool:
        return True

    async def verify_password(self, login: str, password: bytes, client: str) -> None:
        return None

    async def find_cram_secret(self, login: str) -> None:
        return None

    async def offers_cram_md5(self) -> bool:
        return False


@implementer(IResolver)
class _Resolver:
    """DNS at its worst for us: every name is there, and no list names the outsider."""

    def __init__(self, settings: PolicySettings) -> None:
        self._zones = tuple(
            f".{zone}" for service in settings.services for zone in (*service.lists.dns_black, *service.lists.dns_white)
        )

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        return [(10, domain)]

    async def addresses(self, host: str) -> list[str]:
        if self._zones and host.endswith(self._zones):
            raise NoSuchName(host)
        return ["203.0.113.9"]

    async def txt(self, name: str) -> list[bytes]:
        return []

    async def pointers(self, address: str) -> list[str]:
        return []
