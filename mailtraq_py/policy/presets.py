"""
The relay presets, filled into the unified form: mailtraq, ability, imail, and custom as the administrator wrote it.
"""

from __future__ import annotations

from collections.abc import Callable

from mailtraq_py.interfaces.connection import Role
from mailtraq_py.mail.reply import Reply

from .addresslist import AddressList, parse_accept_list, parse_patterns
from .firewall import FirewallList, parse_rules
from .problems import Problems, parse_refusal
from .relay import Fact, Group, RelayFacts, RelayForm, negated, never
from .settings import (
    IMAIL_MODES,
    ROLES,
    AbilityRelay,
    CustomRelay,
    Entries,
    Entry,
    IMailRelay,
    MailtraqRelay,
    RelaySettings,
)

MAILTRAQ_REPLY = Reply(554, "Relay Access Denied", "5.7.1")
ABILITY_REPLY = Reply(550, "relaying not allowed", "5.7.1")
IMAIL_REPLY = Reply(550, "unknown local host {rcpt_domain}, not a gateway", "5.7.1")


def compile_relay(settings: RelaySettings, key: str, facts: RelayFacts, problems: Problems) -> RelayForm:
    """
    Fill the form in.

    Args:
        key: the relay table's key, "smtp.mx.relay", for errors.
        problems: takes what is wrong.
    """
    if isinstance(settings, MailtraqRelay):
        return _mailtraq(settings, key, facts, problems)
    if isinstance(settings, AbilityRelay):
        return _ability(settings, key, facts, problems)
    if isinstance(settings, IMailRelay):
        return _imail(settings, key, facts, problems)
    return _Custom(settings, key, facts, problems).compile()


def _mailtraq(settings: MailtraqRelay, key: str, facts: RelayFacts, problems: Problems) -> RelayForm:
    grant = []
    always_from = parse_patterns(settings.always_from, f"{key}.always_from", problems)
    always_to = parse_patterns(settings.always_to, f"{key}.always_to", problems)
    if settings.always_from:
        grant.append(Group("always_from", (facts.sender_in("always_from", always_from),)))
    if settings.always_to:
        grant.append(Group("always_to", (facts.recipient_in("always_to", always_to),)))
    if settings.auth:
        grant.append(Group("authenticated", (facts.auth(), facts.relay_privilege())))
    if settings.recent_login:
        grant.append(Group("recent login", (facts.recent_login(),)))
    if not settings.auth:
        # The serial pair of the Relaying tab; the outside-LAN option is greyed while POP-before-SMTP is on.
        outside = settings.outside_lan and not settings.recent_login
        where = () if outside else (facts.lan(),)
        who = () if settings.nonlocal_senders else (facts.sender_local_domain(),)
        grant.append(Group("outside_lan" if outside else "lan", (*where, *who)))
    return RelayForm((), tuple(grant), MAILTRAQ_REPLY)


def _ability(settings: AbilityRelay, key: str, facts: RelayFacts, problems: Problems) -> RelayForm:
    safe = FirewallList(parse_rules(settings.safe, f"{key}.safe", problems))
    ranges = FirewallList(parse_rules(settings.ranges, f"{key}.ranges", problems))
    outgoing = () if settings.outgoing else (never("outgoing"),)
    require = (Group("outgoing", outgoing), Group("role", (negated(facts.listener(Role.MX)),)))
    grant = [Group("safe", (facts.address_in("safe", safe),))]
    if settings.allow_own:
        grant.append(Group("own", (facts.own(),)))
    controls: list[Fact] = []
    if settings.block_own:
        controls.append(negated(facts.own()))
    if settings.ip_range_control:
        controls.append(facts.address_in("ranges", ranges))
    if settings.auth:
        controls.append(facts.auth())
    if settings.auth:
        name = "authenticated"
    else:
        name = "ranges" if settings.ip_range_control else "outgoing"
    grant.append(Group(name, tuple(controls)))
    return RelayForm(require, tuple(grant), ABILITY_REPLY)


def _imail(settings: IMailRelay, key: str, facts: RelayFacts, problems: Problems) -> RelayForm:
    addresses = FirewallList(parse_rules(settings.addresses, f"{key}.addresses", problems))
    accept = parse_accept_list(settings.accept, f"{key}.accept", problems)
    grant = [Group("own", (facts.own(),))]
    if settings.mode not in IMAIL_MODES:
        problems.error(f"{key}.mode", settings.mode, "is not one of " + ", ".join(IMAIL_MODES))
    if settings.mode == "anyone":
        grant.append(Group("anyone"))
    if settings.auth:
        grant.append(Group("authenticated", (facts.auth(),)))
    if settings.mode == "addresses":
        grant.append(Group("addresses", (facts.address_in("addresses", addresses),)))
        grant.append(Group("mapped", (facts.destination_mapped(),)))
    if settings.mode in ("local_hosts", "local_users"):
        hosts = settings.mode == "local_hosts"
        local = facts.sender_local_domain() if hosts else facts.sender_local_user()
        grant.append(Group(settings.mode, (local,)))
        grant.append(Group("accept", (facts.sender_accepted("accept", accept),)))
    return RelayForm((), tuple(grant), IMAIL_REPLY)


class _Custom:
    """Reads `require` and `grant`; a list is compiled for the kind of fact that names it."""

    def __init__(self, settings: CustomRelay, key: str, facts: RelayFacts, problems: Problems) -> None:
        self._settings = settings
        self._key = key
        self._facts = facts
        self._problems = problems
        self._plain: dict[str, Callable[[], Fact]] = {
            "lan": facts.lan,
            "own": facts.own,
            "auth": facts.auth,
            "privilege:relay": facts.relay_privilege,
            "recent_login": facts.recent_login,
            "sender_local_domain": facts.sender_local_domain,
            "sender_local_user": facts.sender_local_user,
            "destination_mapped": facts.destination_mapped,
        }

    def compile(self) -> RelayForm:
        """The form, with every error noted."""
        reply = parse_refusal(self._settings.reply, f"{self._key}.reply", self._problems)
        require = self._groups(self._settings.require, "require")
        return RelayForm(require, self._groups(self._settings.grant, "grant"), reply)

    def _groups(self, groups: tuple[Entries, ...], word: str) -> tuple[Group, ...]:
        key = f"{self._key}.{word}"
        compiled = []
        for entries in groups:
            facts = [self._fact(entry, key) for entry in entries]
            name = " and ".join(entry.text.strip() for entry in entries) or "anyone"
            compiled.append(Group(name, tuple(facts)))
        return tuple(compiled)

    def _fact(self, entry: Entry, key: str) -> Fact:
        words = entry.text.split()
        is_negated = len(words) == 2 and words[0] == "not"
        word = words[-1] if words and (len(words) == 1 or is_negated) else entry.text
        kind, _, name = word.partition(":")
        if word in self._plain:
            fact = self._plain[word]()
        elif kind == "listener" and name in ROLES:
            fact = self._facts.listener(ROLES[name])
        elif kind in ("address_in", "sender_in", "recipient_in"):
            if name not in self._settings.lists:
                self._problems.error(key, entry, f'names the list "{name}", which is not in lists')
            fact = self._list_fact(kind, name)
        else:
            self._problems.error(key, entry, "is no fact")
            fact = never(word)
        return negated(fact) if is_negated else fact

    def _list_fact(self, kind: str, name: str) -> Fact:
        entries = self._settings.lists.get(name, ())
        key = f"{self._key}.lists.{name}"
        if kind == "address_in":
            return self._facts.address_in(name, FirewallList(parse_rules(entries, key, self._problems)))
        patterns: AddressList = parse_patterns(entries, key, self._problems)
        if kind == "sender_in":
            return self._facts.sender_in(name, patterns)
        return self._facts.recipient_in(name, patterns)
