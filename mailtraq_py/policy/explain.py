"""
What would policy say to this session? A scenario goes through the real chain, stage by stage, and every answer is told.

Nothing of the running server is touched: recent logins are those of the scenario, bans are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.directory import (
    Account,
    Destination,
    Expansion,
    IDirectory,
    LocalMailbox,
    Remote,
    UnknownUser,
)
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver
from mailtraq_py.interfaces.policy import Facts, Opinion, RecentLogin, Stage, TraceLine, Verdict
from mailtraq_py.mail.address import Address, parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath
from mailtraq_py.mail.reply import Reply

from .build import build_policy
from .chain import NOBODY, Policy
from .firewall import parse_client
from .memoryrows import MemoryRows
from .recentlogin import RecentLoginRules, RecentLogins
from .settings import AbilityRelay, PolicySettings, ServiceSettings

FIELDS = ("service", "client", "own", "recent_login", "helo", "auth", "mail_from", "rcpt_to")
_MEMBERS_TOLD = 5
_LOGIN_FIELDS = ("account", "protocol", "seconds_ago", "client", "tls")


class BadScenario(ValueError):
    """A scenario that cannot be played: the message names the field and says why."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A session to be explained. `own` is None where this machine's addresses hold."""

    service: str
    client: str
    own: tuple[str, ...] | None = None
    recent_login: Mapping[str, Any] | None = None
    helo: str | None = None
    auth: str | None = None
    mail_from: str | None = None
    rcpt_to: tuple[str, ...] = ()


def read_scenario(given: Mapping[str, Any]) -> Scenario:
    """
    Read a scenario out of parsed JSON.

    Raises:
        BadScenario: unknown field, wrong type, missing service or client.
    """
    for field in given:
        if field not in FIELDS:
            raise BadScenario(f'"{field}" is no field of a scenario; the fields are {", ".join(FIELDS)}')
    for field in ("service", "client"):
        if not isinstance(given.get(field), str):
            raise BadScenario(f'"{field}" is missing or no text')
    for field in ("helo", "auth", "mail_from"):
        if not isinstance(given.get(field), str | None):
            raise BadScenario(f'"{field}" is neither a text nor null')
    recipients = given.get("rcpt_to") or ()
    login = given.get("recent_login")
    if login is not None:
        _check_login(login)
    return Scenario(
        given["service"],
        _read_address(given["client"], "client"),
        None if given.get("own") is None else tuple(_texts(given["own"], "own")),
        login,
        given.get("helo"),
        given.get("auth"),
        given.get("mail_from"),
        tuple(_texts([recipients] if isinstance(recipients, str) else recipients, "rcpt_to")),
    )


def _check_login(login: object) -> None:
    if not isinstance(login, Mapping):
        raise BadScenario('"recent_login" is neither an object nor null')
    for field in login:
        if field not in _LOGIN_FIELDS:
            raise BadScenario(f'"recent_login.{field}" is no field; the fields are {", ".join(_LOGIN_FIELDS)}')
    if not isinstance(login.get("account"), str):
        raise BadScenario('"recent_login.account" is missing or no text')
    seconds = login.get("seconds_ago", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise BadScenario('"recent_login.seconds_ago" is no number')


def _texts(given: object, field: str) -> Sequence[str]:
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        raise BadScenario(f'"{field}" is no list of texts')
    return given


def _read_address(text: str, field: str) -> str:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        raise BadScenario(f'"{field}": "{text}" is no IP address') from None
    return str(getattr(address, "ipv4_mapped", None) or address)


async def explain(
    settings: PolicySettings,
    scenario: Mapping[str, Any],
    directory: IDirectory,
    resolver: IResolver,
    now: float,
) -> dict[str, Any]:
    """
    Play a scenario against a configuration.

    Args:
        settings: of the configuration, good or refused by the proof.
        scenario: as JSON brings it.
        now: seconds since the epoch; `seconds_ago` counts back from it.

    Returns:
        `connect`, `helo`, `mail` and `rcpt`, each with verdict, reply, by, reason and trace; a stage that was not
        reached is None.

    Raises:
        BadScenario: the scenario names a service, an account or an address that is not there.
        BadPolicy: the configuration has errors.
        TemporaryFailure: the store could not be asked for an account.
    """
    return await _Play(settings, read_scenario(scenario), directory, resolver, float(int(now))).play()


class _Play:
    def __init__(
        self, settings: PolicySettings, scenario: Scenario, directory: IDirectory, resolver: IResolver, now: float
    ) -> None:
        if scenario.own is not None:
            settings = replace(settings, own_addresses=scenario.own)
        self._service = _find_service(settings, scenario.service)
        self._scenario = scenario
        self._directory = directory
        self._hostname = settings.hostname
        self._now = now
        self._rows = MemoryRows()
        self._recent = RecentLogins(self._rows, RecentLoginRules(settings.recent_login), lambda: now)
        self._policy: Policy = build_policy(settings, directory, resolver, self._recent, 0)
        self._recent.rules = self._policy.recent_rules
        local = settings.own_addresses[0] if settings.own_addresses else ""
        connection = Connection(
            "explain",
            self._service.name,
            self._service.protocol,
            scenario.client,
            0,
            local,
            0,
            now,
            self._service.role,
        )
        self._facts = Facts(connection, now)
        self._near_misses: list[str] = []
        self._auth_trace: tuple[TraceLine, ...] = ()

    async def play(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"connect": None, "helo": None, "mail": None, "rcpt": None}
        await self._log_in_recently()
        verdict = await self._policy.decide(Stage.CONNECT, self._facts)
        answer["connect"] = self._told(verdict)
        if not verdict.is_permit or self._service.protocol not in (Protocol.SMTP, Protocol.LMTP):
            return answer
        if self._scenario.helo is not None:
            self._facts = self._facts._replace(helo=self._scenario.helo)
            verdict = await self._policy.decide(Stage.HELLO, self._facts)
            answer["helo"] = self._told(verdict)
            if not verdict.is_permit:
                return answer
        await self._authenticate()
        if self._scenario.mail_from is None:
            return answer
        verdict = await self._mail(self._scenario.mail_from)
        answer["mail"] = self._told(verdict._replace(trace=(*self._auth_trace, *verdict.trace)))
        if verdict.is_permit:
            answer["rcpt"] = [self._told(await self._recipient(text)) for text in self._scenario.rcpt_to]
        return answer

    async def _log_in_recently(self) -> None:
        login = self._scenario.recent_login
        if login is None:
            return
        account = await self._find_account(login["account"], "recent_login.account")
        client = _read_address(login.get("client") or self._scenario.client, "recent_login.client")
        rules = self._policy.recent_rules
        when = self._now - login.get("seconds_ago", 0)
        address = rules.row_address(client)
        row = RecentLogin(address, account, login.get("protocol", "pop3"), login.get("tls", True), when, when)
        self._rows.put(row)
        miss = near_miss(row, self._scenario.client, self._now, rules)
        if miss:
            self._near_misses.append(miss)

    async def _authenticate(self) -> None:
        if not self._scenario.auth:
            return
        relay = self._service.relay
        only = relay.auth_only.login if isinstance(relay, AbilityRelay) and relay.auth_only else ""
        if only and self._scenario.auth.lower() == only.lower():
            account = Account(0, only.lower(), "")
        else:
            account = await self._find_account(self._scenario.auth, "auth")
        facts = self._facts._replace(login=self._scenario.auth, account=account)
        verdict = await self._policy.decide(Stage.AUTHENTICATED, facts)
        if verdict.is_permit:
            self._facts = facts
        self._auth_trace = (TraceLine("auth", verdict.opinion, verdict.reason),)

    async def _find_account(self, address: str, field: str) -> Account:
        try:
            key = parse_address(address).key
        except ValueError as error:
            raise BadScenario(f'"{field}": "{address}": {error}') from None
        account: Account | None = await self._directory.find_account(key)
        if account is None:
            raise BadScenario(f'"{field}": there is no account {address}')
        return account

    async def _mail(self, text: str) -> Verdict:
        text = text.strip()
        if text in ("", "<>"):
            path = NULL_PATH
        else:
            try:
                path = ReversePath(parse_path(text))
            except ValueError as error:
                reply = Reply(501, "Bad sender address syntax", "5.1.7")
                return Verdict(Opinion.REFUSE, "syntax", str(error), reply)
        self._facts = self._facts._replace(reverse_path=path)
        verdict = await self._policy.decide(Stage.SENDER, self._facts)
        self._facts = self._facts._replace(marks=self._facts.marks | verdict.marks)
        return verdict

    async def _recipient(self, text: str) -> Verdict:
        try:
            postmaster = text.strip("<> ").lower() == "postmaster"
            path = ForwardPath(Address("postmaster", self._hostname) if postmaster else parse_path(text))
        except ValueError as error:
            reply = Reply(501, "Bad recipient address syntax", "5.1.3")
            return Verdict(Opinion.REFUSE, "syntax", str(error), reply)
        destination: Destination | None = None
        with suppress(TemporaryFailure):  # the chain fails in its own words
            destination = await self._directory.resolve(path)
        asked = self._facts._replace(forward_path=path, destination=destination)
        verdict = await self._policy.decide(Stage.RECIPIENT, asked)
        if destination is not None:
            verdict = verdict._replace(trace=(TraceLine("directory", None, _leads_to(destination)), *verdict.trace))
        self._facts = self._facts._replace(
            marks=self._facts.marks | verdict.marks,
            recipients=self._facts.recipients + verdict.is_permit,
            failed_recipients=self._facts.failed_recipients + (not verdict.is_permit),
        )
        return verdict

    def _told(self, verdict: Verdict) -> dict[str, Any]:
        word = verdict.opinion.value
        if verdict.close and verdict.reply is None and verdict.opinion is Opinion.REFUSE:
            word = "close"
        trace = [*verdict.trace]
        reason = verdict.reason
        if verdict.opinion is Opinion.REFUSE and verdict.check in ("access", "local_sender", "relay"):
            trace.extend(TraceLine("recent_login", None, f"near miss: {miss}") for miss in self._near_misses)
            reason = "; ".join([reason, *(f"near miss: {miss}" for miss in self._near_misses)])
        return {
            "verdict": word,
            "reply": None if verdict.reply is None else str(verdict.reply),
            "by": _deciding(verdict),
            "reason": reason,
            "trace": [
                {"check": line.check, "opinion": line.opinion.value if line.opinion else None, "reason": line.reason}
                for line in trace
            ],
        }


def _find_service(settings: PolicySettings, name: str) -> ServiceSettings:
    for service in settings.services:
        if service.name == name:
            return service
    names = ", ".join(service.name for service in settings.services)
    raise BadScenario(f'"service": there is no service "{name}"; there are {names or "none"}')


def parse_path(text: str) -> Address:
    """
    Read a path as a scenario has it, with or without angle brackets; a source route is dropped (RFC 5321 4.1.1.3).

    Raises:
        ValueError: what stands there is no address.
    """
    text = text.strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if text.startswith("@") and ":" in text:
        text = text.partition(":")[2]
    return parse_address(text)


def near_miss(row: RecentLogin, client: str, now: float, rules: RecentLoginRules) -> str:
    """Why a login that a person may have in mind is none from this client, "" where it is one."""
    who = row.account.address
    if row.address == rules.row_address(client):
        age = int(now - row.last_login)
        return f"the login of {who} {age} s ago has expired" if age >= rules.horizon_seconds else ""
    here, there = parse_client(client), parse_client(row.address.partition("/")[0])
    if here is not None and there is not None:
        if here.ipv6 != there.ipv6:
            return f"{who} logged in from {row.address}, over the other address family"
        if here.ipv6 and here.value >> 64 == there.value >> 64:
            return f"{who} logged in from {row.address}, in the same /64; a grant covers exactly its address"
    return f"{who} logged in from {row.address}, not from {client}"


def _leads_to(destination: Destination) -> str:
    """Where a recipient leads, in words."""
    if isinstance(destination, UnknownUser):
        return f"leads nowhere: {destination.reason}"
    if isinstance(destination, Expansion):
        some = ", ".join(_member(member) for member in destination.members[:_MEMBERS_TOLD])
        more = len(destination.members) - _MEMBERS_TOLD
        kind = "alias" if destination.reverse_path is None else "list"
        return f"{kind} {destination.name} leads to {some}" + (f" and {more} more" if more > 0 else "")
    return f"leads to {_member(destination)}"


def _member(member: LocalMailbox | Remote) -> str:
    if isinstance(member, Remote):
        return f"{member.path}, {'mapped' if member.mapped else 'elsewhere'}"
    return f"mailbox {member.account.address}" + (f", folder {member.folder}" if member.folder else "")


def _deciding(verdict: Verdict) -> str:
    if verdict.check == "relay" and verdict.is_permit:
        return f"relay: {verdict.reason}"
    return verdict.check


# --- as a person would tell it -------------------------------------------------------------------------------------

_WORDS = {
    "permit": "is permitted",
    "refuse": "is refused",
    "defer": "is put off",
    "discard": "is taken and thrown away",
    "close": "is closed without a word",
}


def render(answer: Mapping[str, Any], scenario: Mapping[str, Any]) -> str:
    """Tell an answer of `explain` in lines, one for each stage that was reached, with its trace below."""
    told = [("The connection from " + str(scenario.get("client")), answer["connect"])]
    told.append((f"The greeting {scenario.get('helo')}", answer["helo"]))
    told.append((f"Mail from <{str(scenario.get('mail_from')).strip('<>')}>", answer["mail"]))
    recipients = scenario.get("rcpt_to") or ()
    recipients = [recipients] if isinstance(recipients, str) else recipients
    told.extend(
        (f"The recipient <{recipient.strip('<>')}>", one)
        for recipient, one in zip(recipients, answer["rcpt"] or (), strict=False)
    )
    lines = []
    for what, one in told:
        if one is None:
            continue
        reply = f' with "{one["reply"]}"' if one["reply"] else ""
        lines.append(f"{what} {_WORDS[one['verdict']]}{reply}{_ground(one['by'], one['reason'])}.")
        lines.extend(
            f"    {line['check']}: {line['opinion'] or 'no opinion'}, {line['reason']}"
            for line in one["trace"]
            if line["reason"]
        )
    return "\n".join((*lines, *_not_asked(answer, scenario))) + "\n"


def _not_asked(answer: Mapping[str, Any], scenario: Mapping[str, Any]) -> list[str]:
    """What a scenario has and nobody could be asked about, though nothing before it was refused."""
    stages = {"helo": "helo", "mail_from": "mail", "rcpt_to": "rcpt"}
    fields = [field for field, stage in stages.items() if scenario.get(field) and answer[stage] is None]
    asked = (answer[stage] for stage in ("connect", "helo", "mail") if answer[stage] is not None)
    if not fields or any(one["verdict"] != "permit" for one in asked):
        return []
    why = '"rcpt_to" needs "mail_from" ("" is the null reverse-path)'
    if fields != ["rcpt_to"] or scenario.get("mail_from") is not None:
        why = f'"{scenario.get("service")}" does not speak SMTP'
    return [f"Not asked about {', '.join(fields)}: {why}."]


def _ground(by: str, reason: str) -> str:
    """Who decided and why; the chain's last word, when no check refused, has no author."""
    if by == NOBODY:
        return f": {reason} it"
    if by.endswith(reason):
        return f" by {by}"
    return f" by {by}: {reason}" if reason else f" by {by}"
