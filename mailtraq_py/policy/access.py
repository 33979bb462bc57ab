"""
Access control, asked before the greeting: may this client speak to this service at all?
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zope.interface import implementer

from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

from .firewall import FirewallList, parse_client, parse_rules
from .firewallrule import Rule
from .problems import Problems
from .recentlogin import Clock, RecentGrants
from .settings import ACCESS_MODES, RECENT_POSITIONS, REFUSALS, Entry, ServiceSettings
from .trust import Trust

ACCESS_DENIED = Reply(554, "Access denied", "5.7.1")
_EVERYBODY = Entry("*", key="access")


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class AccessCheck:
    """
    CONNECT: the service's list, perhaps followed by the LAN's, perhaps with the recent logins before or after.

    `listed` is None where access is "any"; `grants` is None where recent logins do not count; `recent_last` is
    `recent_position = "end"`; `reply` is None where a refused client is closed without a word.
    """

    listed: FirewallList | None
    grants: RecentGrants | None = None
    recent_last: bool = False
    reply: Reply | None = ACCESS_DENIED
    name = "access"
    can_permit = True

    async def ask(self, facts: Facts) -> Verdict | None:
        """Admit or refuse the client."""
        if self.listed is None:
            return None
        index = self.listed.last_match(parse_client(facts.connection.client))
        rule = self.listed.rules[index] if index >= 0 else None
        if rule is not None and not rule.excludes:
            return Verdict(Opinion.PERMIT, self.name, f"entry {describe(rule.entry)}")
        near = ""
        if self.grants is not None:
            if rule is None or self.recent_last:
                grant = await self.grants.find(facts, Clock.ACCESS)
                if grant.logins:
                    return Verdict(Opinion.PERMIT, self.name, f"recent login of {grant.accounts}")
                near = f"; {grant.reason}"
            else:
                near = "; recent logins come before it"
        reason = f"excluded by {describe(rule.entry)}" if rule is not None else "no entry matches"
        return Verdict(Opinion.REFUSE, self.name, reason + near, self.reply, close=True)


def describe(entry: Entry) -> str:
    """An entry with its origin: `"~10.0.0.5" (etc/lan.txt line 3)`."""
    place = " ".join(part for part in (entry.file, entry.key, f"line {entry.line}" if entry.line else "") if part)
    return f'"{entry.text}" ({place})' if place else f'"{entry.text}"'


def compile_access(
    settings: ServiceSettings, key: str, lan: tuple[Rule, ...], grants: RecentGrants, problems: Problems
) -> AccessCheck:
    """
    Build a service's access check; errors and re-admissions go to `problems`.

    Args:
        key: the service's table, "smtp.mx".
        lan: the server's LAN list, read.
    """
    for word, value, allowed in (
        ("access", settings.access, ACCESS_MODES),
        ("recent_position", settings.recent_position, RECENT_POSITIONS),
        ("refuse", settings.refuse, REFUSALS),
    ):
        if value not in allowed:
            problems.error(f"{key}.{word}", value, "is not one of " + ", ".join(allowed))
    own = parse_rules(settings.firewall, f"{key}.firewall", problems)
    reply = ACCESS_DENIED if settings.refuse == "reply" else None
    mode = settings.access
    if mode == "any":
        return AccessCheck(None, reply=reply)
    if mode == "granted_except":
        everybody = parse_rules((_EVERYBODY,), key, problems)
        own = (*everybody, *(replace(rule, excludes=not rule.excludes) for rule in own))
    elif "lan" in mode:
        _warn_of_readmission(own, lan, key, problems)
        own = (*own, *lan)
    if not mode.endswith("recent"):
        return AccessCheck(FirewallList(own), reply=reply)
    recent_last = settings.recent_position == "end"
    if recent_last:
        for rule in own:
            if rule.excludes:
                problems.warn(
                    f"{key}.firewall",
                    rule.entry,
                    'may be overridden by a recent login, because recent_position is "end"',
                )
    return AccessCheck(FirewallList(own), grants, recent_last, reply)


def _warn_of_readmission(own: tuple[Rule, ...], lan: tuple[Rule, ...], key: str, problems: Problems) -> None:
    """Name each exclusion of the service's list that an entry of the LAN list takes back, with that entry."""
    later = FirewallList(lan)
    for rule in own:
        if not rule.excludes:
            continue
        found = later.first_admitted(rule)
        if found is not None:
            address, index = found
            problems.warn(
                f"{key}.firewall",
                rule.entry,
                f"is overridden for {address} by the later entry {describe(lan[index].entry)}",
            )


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class RangesCheck:
    """
    Ability's outgoing service at CONNECT: own addresses blocked, ranges; safe addresses overrule both. Closes without a
    word.

    `ranges` is None where range control is off.
    """

    trust: Trust
    safe: FirewallList
    ranges: FirewallList | None
    allow_own: bool
    block_own: bool
    name = "ranges"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Close on a blocked own address and on one outside the ranges."""
        client = facts.connection.client
        is_own = self.trust.is_own(facts.connection)
        if self.safe.admits(client) or (self.allow_own and is_own):
            return None
        if self.block_own and is_own:
            return Verdict(Opinion.REFUSE, self.name, "own addresses are blocked", close=True)
        if self.ranges is not None and not self.ranges.admits(client):
            return Verdict(Opinion.REFUSE, self.name, f"{client} is outside the ranges", close=True)
        return None
