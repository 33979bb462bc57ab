"""
From settings to a policy: compiles every list, puts each service's checks in order, and collects all that is wrong.

The order of stages and checks is fixed (CONNECT: access, ranges, bans; SENDER: barring, validity, then the configured
order; RECIPIENT: count, bans, barring, black lists, local delivery, mailbox lists, quota, relay); which checks there
are is configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mailtraq_py.interfaces.connection import Protocol, Role
from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.net import IResolver
from mailtraq_py.interfaces.policy import IBans, ICheck, IRecentLogins, Stage
from mailtraq_py.mail.address import fold_domain

from .access import RangesCheck, compile_access
from .addresslist import parse_kill_list, parse_patterns
from .authentication import AccountCheck, PlaintextCheck
from .chain import Note, Policy, ServiceChain
from .dnsbl import DNSListCheck
from .firewall import FirewallList, parse_rules
from .firewallrule import Rule
from .helo import LocalHeloCheck, ResolvableHeloCheck
from .largemessages import LargeMessageCheck
from .mailboxlists import MailboxListsCheck
from .presets import compile_relay
from .problems import BadPolicy, Problems, parse_refusal
from .quota import QuotaCheck
from .ratelimit import BanCheck, Bans
from .recentlogin import RecentGrants, RecentLoginRules
from .recipient import BlacklistedCheck, ExpandCheck, LocalRecipientCheck, Outsiders, RecipientCountCheck
from .relay import RelayCheck, RelayFacts
from .senders import (
    AuthenticationRequired,
    BarringCheck,
    BlackSenderCheck,
    KillCheck,
    LocalSenderCheck,
    NullSenderCheck,
    ReturnPathCheck,
    ValidSenderCheck,
)
from .settings import (
    LOCAL_SENDER_RULES,
    PLAINTEXT_RULES,
    SENDER_ORDER,
    UNKNOWN_RECIPIENT_RULES,
    AbilityRelay,
    Entry,
    FixedLogin,
    IMailRelay,
    PolicySettings,
    ServiceSettings,
)
from .trust import Trust, own_addresses
from .waiting import Unbounded, Waiting


def build_policy(
    settings: PolicySettings,
    directory: IDirectory,
    resolver: IResolver,
    recent: IRecentLogins,
    number: int,
    *,
    bans: IBans | None = None,
    waiting: Callable[[float], Waiting] = Unbounded,
    note: Note | None = None,
) -> Policy:
    """
    Build the policy of a configuration.

    Args:
        number: the configuration's, put into every verdict.
        bans: what failed recipients are counted in, the same over all reloads; a fresh one where None.
        waiting: bounds the wait of a session for DNS, given its seconds; by default the resolver's own limits do.
        note: is told every decision.

    Raises:
        BadPolicy: with every error that was found.
    """
    return _Builder(settings, directory, resolver, recent, bans, waiting).build(number, note)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What is compiled once for all services."""

    lan: tuple[Rule, ...]
    trust: Trust
    grants: RecentGrants
    barring: BarringCheck
    mailbox_lists: MailboxListsCheck


class _Builder:
    def __init__(
        self,
        settings: PolicySettings,
        directory: IDirectory,
        resolver: IResolver,
        recent: IRecentLogins,
        bans: IBans | None,
        waiting: Callable[[float], Waiting],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._resolver = resolver
        self._recent = recent
        self._bans = bans or Bans()
        self._waiting = waiting
        self._problems = Problems(settings.file)

    def build(self, number: int, note: Note | None) -> Policy:
        settings = self._settings
        lan = parse_rules(settings.lan, "lan.addresses", self._problems)
        trust = Trust(FirewallList(lan), own=own_addresses(settings.own_addresses))
        rules = self._recent_rules(trust)
        grants = RecentGrants(self._recent, rules, self._directory)
        shared = _Shared(lan, trust, grants, self._barring(), MailboxListsCheck(self._directory))
        self._check_word("unknown_recipient", settings.unknown_recipient, UNKNOWN_RECIPIENT_RULES)
        services: dict[str, ServiceChain] = {}
        for service in settings.services:
            if service.name in services:
                self._problems.error("name", service.name, "names two services")
            services[service.name] = self._service(service, shared)
        if self._problems.errors:
            raise BadPolicy(self._problems.errors)
        return Policy(number, services, self._directory, rules, tuple(self._problems.warnings), note)

    # -- server-wide ----------------------------------------------------------------------------------------

    def _check_word(self, key: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            self._problems.error(key, value, "is not one of " + ", ".join(allowed))

    def _barring(self) -> BarringCheck:
        barring = self._settings.barring
        return BarringCheck(
            parse_patterns(barring.senders, "barring.senders", self._problems),
            parse_patterns(barring.recipients, "barring.recipients", self._problems),
            parse_refusal(barring.reply, "barring.reply", self._problems),
        )

    def _recent_rules(self, trust: Trust) -> RecentLoginRules:
        options = self._settings.recent_login
        for protocol in options.protocols:
            self._check_word("recent_login.protocols", protocol, ("pop3", "imap"))
        for key, value, lowest, highest in (
            ("access_seconds", options.access_seconds, 0, 86400 * 366),
            ("relay_seconds", options.relay_seconds, 0, 86400 * 366),
            ("max_accounts_per_address", options.max_accounts_per_address, 1, 1_000_000),
            ("ipv6_prefix", options.ipv6_prefix, 16, 128),
        ):
            if not lowest <= value <= highest:
                self._problems.error(f"recent_login.{key}", str(value), f"is not between {lowest} and {highest}")
        words = {
            "own": self._settings.own_addresses,
            "loopback": ("127.0.0.0/8", "::1"),
            "gateway": self._settings.gateways,
        }
        excluded: list[Entry] = []
        for entry in options.exclude:
            if entry.text in words:
                excluded.extend(replace(entry, text=address) for address in words[entry.text])
            else:
                excluded.append(entry)
        return RecentLoginRules(
            options,
            trust,
            FirewallList(parse_rules(tuple(excluded), "recent_login.exclude", self._problems)),
            any(entry.text == "own" for entry in options.exclude),
            FirewallList(parse_rules(self._settings.proxies, "proxies", self._problems)),
        )

    # -- one service ----------------------------------------------------------------------------------------

    def _service(self, service: ServiceSettings, shared: _Shared) -> ServiceChain:
        key = f"{service.protocol.value}.{service.name}"
        white = FirewallList(
            parse_rules(service.lists.white_addresses, f"{key}.lists.white_addresses", self._problems)
        )
        trust = replace(shared.trust, white=white)
        ban = None
        if service.tarpit.block_after_failed_recipients > 0:
            ban = BanCheck(trust, service.tarpit, self._bans)
        stages: dict[Stage, tuple[ICheck, ...]] = {}
        access = compile_access(service, key, shared.lan, shared.grants, self._problems)
        stages[Stage.CONNECT] = (access, *self._ranges(service, key, trust), *((ban,) if ban else ()))
        self._check_word(f"{key}.auth_without_tls", service.auth_without_tls, PLAINTEXT_RULES)
        stages[Stage.LOGIN] = (PlaintextCheck(trust, service.auth_without_tls),)
        fixed = _fixed_login(service)
        stages[Stage.AUTHENTICATED] = (AccountCheck(fixed.login.lower() if fixed is not None else ""),)
        if service.protocol in (Protocol.SMTP, Protocol.LMTP):
            self._smtp(service, key, trust, shared, ban, stages)
        return ServiceChain(stages, ban, trust, service.auth_without_tls, _fixed_login(service))

    def _ranges(self, service: ServiceSettings, key: str, trust: Trust) -> tuple[ICheck, ...]:
        relay = service.relay
        if not isinstance(relay, AbilityRelay) or service.role is not Role.SUBMISSION:
            return ()
        safe = FirewallList(parse_rules(relay.safe, f"{key}.relay.safe", Problems()))
        ranges = FirewallList(parse_rules(relay.ranges, f"{key}.relay.ranges", Problems()))
        return (
            RangesCheck(trust, safe, ranges if relay.ip_range_control else None, relay.allow_own, relay.block_own),
        )

    def _smtp(
        self,
        service: ServiceSettings,
        key: str,
        trust: Trust,
        shared: _Shared,
        ban: BanCheck | None,
        stages: dict[Stage, tuple[ICheck, ...]],
    ) -> None:
        facts = RelayFacts(trust, service.role, shared.grants, self._directory)
        form = compile_relay(service.relay, f"{key}.relay", facts, self._problems)
        grants = shared.grants if "recent_login" in form.words else None
        patience = self._waiting(service.lists.dns_seconds)
        large = self._large_messages(service, key, trust)
        stages[Stage.HELLO] = self._helo(service, trust, patience)
        stages[Stage.SENDER] = (*large, *self._senders(service, key, trust, shared, grants, patience))
        blacklisted = BlacklistedCheck(
            trust,
            parse_patterns(service.lists.black_recipients, f"{key}.lists.black_recipients", self._problems),
            parse_patterns(service.lists.white_recipients, f"{key}.lists.white_recipients", self._problems),
            grants,
            service.tarpit.delay_seconds,
        )
        outsiders = _outsiders(service, trust)
        stages[Stage.RECIPIENT] = (
            RecipientCountCheck(service.max_recipients),
            *((ban,) if ban else ()),
            shared.barring,
            blacklisted,
            self._local_recipients(service, outsiders),
            shared.mailbox_lists,
            QuotaCheck(self._directory),
            RelayCheck(form, _takes_mapped(service)),
        )
        stages[Stage.EXPAND] = (ExpandCheck(outsiders, self._settings.lists_access.remote_expand),)
        stages[Stage.MESSAGE] = (*large, *((blacklisted,) if service.tarpit.delay_seconds > 0 else ()))

    def _helo(self, service: ServiceSettings, trust: Trust, patience: Waiting) -> tuple[ICheck, ...]:
        checks: list[ICheck] = []
        if service.helo.refuse_local and service.role is Role.MX:
            checks.append(LocalHeloCheck(trust, self._directory, self._hostname()))
        if service.helo.refuse_unresolvable:
            checks.append(ResolvableHeloCheck(trust, self._resolver, patience))
        return tuple(checks)

    def _hostname(self) -> str:
        try:
            return fold_domain(self._settings.hostname)
        except ValueError as error:
            self._problems.error("hostname", self._settings.hostname, f"is no host name: {error}")
            return ""

    def _senders(
        self,
        service: ServiceSettings,
        key: str,
        trust: Trust,
        shared: _Shared,
        grants: RecentGrants | None,
        patience: Waiting,
    ) -> tuple[ICheck, ...]:
        senders = service.senders
        lists = service.lists
        checks: list[ICheck] = [shared.barring]
        relay = service.relay
        if isinstance(relay, AbilityRelay) and relay.auth and service.role is Role.SUBMISSION:
            safe = FirewallList(parse_rules(relay.safe, f"{key}.relay.safe", Problems()))
            checks.append(AuthenticationRequired(trust, safe, relay.allow_own))
        if senders.refuse_null:
            checks.append(NullSenderCheck())
        if senders.valid_sender:
            checks.append(ValidSenderCheck())
        rule = senders.local_sender_from_outside
        self._check_word(f"{key}.senders.local_sender_from_outside", rule, LOCAL_SENDER_RULES)
        if rule == "refuse":
            checks.append(LocalSenderCheck(trust, self._directory, grants))
        ordered: dict[str, ICheck] = {}
        if senders.kill:
            ordered["kill"] = KillCheck(parse_kill_list(senders.kill, f"{key}.senders.kill_file", self._problems))
        if lists.black_addresses or lists.black_senders:
            ordered["lists"] = BlackSenderCheck(
                trust,
                FirewallList(parse_rules(lists.black_addresses, f"{key}.lists.black_addresses", self._problems)),
                parse_patterns(lists.black_senders, f"{key}.lists.black_senders", self._problems),
                parse_patterns(lists.white_senders, f"{key}.lists.white_senders", self._problems),
            )
        if lists.dns_black:
            ordered["dns_lists"] = DNSListCheck(trust, lists, self._resolver, patience)
        if senders.verify_return_path:
            ordered["return_path"] = ReturnPathCheck(trust, self._directory, self._resolver, patience)
        for word in senders.order:
            self._check_word(f"{key}.senders.order", word, SENDER_ORDER)
            if word in ordered:
                checks.append(ordered.pop(word))
        return (*checks, *(ordered[word] for word in SENDER_ORDER if word in ordered))

    def _large_messages(self, service: ServiceSettings, key: str, trust: Trust) -> tuple[ICheck, ...]:
        large = service.large_messages
        key = f"{key}.large_messages"
        addresses = parse_rules(large.exempt_addresses, f"{key}.exempt_addresses", self._problems)
        senders = parse_patterns(large.exempt_senders, f"{key}.exempt_senders", self._problems)
        if large.max_octets <= 0:
            return ()
        exempt = FirewallList(addresses)
        return (
            LargeMessageCheck(
                trust, large.max_octets, large.exempt_lan, large.exempt_authenticated, exempt, senders
            ),
        )

    def _local_recipients(self, service: ServiceSettings, outsiders: Outsiders) -> LocalRecipientCheck:
        return LocalRecipientCheck(
            outsiders,
            self._directory,
            self._settings.unknown_recipient == "report",
            _takes_mapped(service),
            self._settings.lists_access.remote_post,
        )


def _takes_mapped(service: ServiceSettings) -> bool:
    """Whether mapped domains are ours to everybody; IMail has a ground for them, and the unified form a fact."""
    return service.relay.preset not in ("imail", "custom")


def _outsiders(service: ServiceSettings, trust: Trust) -> Outsiders:
    relay = service.relay
    if not isinstance(relay, IMailRelay):
        return Outsiders(trust, trust.lan)
    entries = relay.addresses if relay.mode == "addresses" else ()
    return Outsiders(trust, FirewallList(parse_rules(entries, "", Problems())))


def _fixed_login(service: ServiceSettings) -> FixedLogin | None:
    return service.relay.auth_only if isinstance(service.relay, AbilityRelay) else None
