"""
Plays the transcripts in `cases/`: a configuration in a few words, then sessions, line by line.

    lan ENTRY ...                             own ADDRESS ...          domain DOMAIN ...
    account ADDRESS [no-relay|disabled]       alias NAME ADDRESS ...   list NAME ADDRESS [members|hidden]
    mapped DOMAIN ...                         unknown refuse|report    mailbox ADDRESS KEY=VALUE ...
    service KEY=VALUE ...                     preset NAME [KEY=VALUE ...]
    senders|greetings|lists|tarpit|barring|lists_access|recent KEY=VALUE ...

    client ADDRESS      a new session; the lines below belong to it
    helo NAME           auth ADDRESS          mail PATH             rcpt PATH           data        expn
    login ADDRESS       POP3 login from the client's address, TLS or not does not matter
    wait SECONDS        revoke ADDRESS        disable ADDRESS

Columns are two spaces apart: the line, what is expected of it (permit, refuse, defer, close), the check with the
beginning of its reason, the beginning of the reply. A value with commas is a list; true and false are switches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.directory import Account, Expansion, LocalMailbox, MailboxLists
from mailtraq_py.interfaces.policy import Facts, Opinion, Stage, Verdict
from mailtraq_py.mail.address import Address, parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.chain import Policy
from mailtraq_py.policy.explain import parse_path
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    ROLES,
    AbilityRelay,
    HeloSettings,
    IMailRelay,
    ListsSettings,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    SendersSettings,
    ServiceSettings,
    TarpitSettings,
    entries,
)

from .fakes import Directory, Resolver, run

PRESETS: dict[str, Any] = {"mailtraq": MailtraqRelay, "ability": AbilityRelay, "imail": IMailRelay}
TABLES: dict[str, Any] = {
    "senders": SendersSettings,
    "helo": HeloSettings,
    "lists": ListsSettings,
    "tarpit": TarpitSettings,
}
_PLAIN_LISTS = {"dns_black", "dns_white", "protocols", "order"}


class Mismatch(AssertionError):
    """A line came out otherwise than it says."""


@dataclass(frozen=True)
class Line:
    """One line of a transcript, its columns taken apart."""

    number: int
    word: str
    values: tuple[str, ...]
    expected: tuple[str, ...]


def read(text: str) -> list[Line]:
    """Take a transcript apart."""
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        if raw.strip() and not raw.startswith("#"):
            columns = re.split(r"\s{2,}", raw.strip())
            word, *values = columns[0].split()
            lines.append(Line(number, word, tuple(values), tuple(columns[1:])))
    return lines


def options(values: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE words as settings have them."""
    found: dict[str, Any] = {}
    for value in values:
        key, _, text = value.partition("=")
        if text in ("true", "false"):
            found[key] = text == "true"
        elif text.isdigit():
            found[key] = int(text)
        elif key in _PLAIN_LISTS:
            found[key] = tuple(text.split(","))
        elif "," in text or key in _list_keys():
            found[key] = entries(text.strip(",").split(",")) if text.strip(",") else ()
        else:
            found[key] = text
    return found


def _list_keys() -> set[str]:
    keys = set()
    for kind in (*PRESETS.values(), *TABLES.values(), ServiceSettings, RecentLoginSettings):
        keys |= {field.name for field in kind.__dataclass_fields__.values() if field.type == "Entries"}
    return keys


class Transcript:
    """One transcript, played."""

    def __init__(self, text: str) -> None:
        self._lines = read(text)
        self._now = 1_800_000_000.0
        self._settings = PolicySettings("mx.here.example", own_addresses=("192.0.2.1", "127.0.0.1"))
        self._service: dict[str, Any] = {}
        self._domains: list[str] = []
        self._accounts: dict[str, Account] = {}
        self._expansions: dict[str, Expansion] = {}
        self._mapped: list[str] = []
        self._lists: dict[int, MailboxLists] = {}
        self._policy: Policy | None = None

    def play(self) -> None:
        """Play every line. Raises Mismatch at the first that comes out otherwise."""
        for line in self._lines:
            configure: Callable[[tuple[str, ...]], None] | None = getattr(self, f"_set_{line.word}", None)
            if configure is not None:
                configure(line.values)
                continue
            if self._policy is None:
                self._build()
            verdict: Verdict | None = getattr(self, f"_do_{line.word}")(*line.values)
            if line.expected:
                self._compare(line, verdict)

    def _compare(self, line: Line, verdict: Verdict | None) -> None:
        assert verdict is not None, f"line {line.number} expects something of a line that decides nothing"
        word = verdict.opinion.value
        if verdict.close and verdict.reply is None and verdict.opinion is Opinion.REFUSE:
            word = "close"
        found = (word, f"{verdict.check}: {verdict.reason}", str(verdict.reply))
        for expected, is_so in zip(line.expected, found, strict=False):
            if not is_so.startswith(expected):
                raise Mismatch(f"line {line.number}: expected {line.expected}, found {found}, trace {verdict.trace}")

    # -- configuration ------------------------------------------------------------------------------------

    def _set_lan(self, values: tuple[str, ...]) -> None:
        self._settings = replace(self._settings, lan=entries(values, "lan.addresses"))

    def _set_own(self, values: tuple[str, ...]) -> None:
        self._settings = replace(self._settings, own_addresses=values)

    def _set_domain(self, values: tuple[str, ...]) -> None:
        self._domains.extend(values)

    def _set_account(self, values: tuple[str, ...]) -> None:
        address = values[0]
        self._accounts[address] = Account(
            len(self._accounts) + 1,
            address,
            address.partition("@")[2],
            enabled="disabled" not in values,
            relay="no-relay" not in values,
        )

    def _set_alias(self, values: tuple[str, ...]) -> None:
        name, *targets = values
        self._expansions[name] = Expansion(tuple(LocalMailbox(self._accounts[target]) for target in targets), name)

    def _set_list(self, values: tuple[str, ...]) -> None:
        name, member, *rights = values
        owner = parse_address(f"owner-{name}")
        posters = frozenset({member}) if "members" in rights else None
        members = (LocalMailbox(self._accounts[member]),)
        self._expansions[name] = Expansion(members, name, owner, posters, "hidden" in rights)

    def _set_mapped(self, values: tuple[str, ...]) -> None:
        self._mapped.extend(values)

    def _set_unknown(self, values: tuple[str, ...]) -> None:
        self._settings = replace(self._settings, unknown_recipient=values[0])

    def _set_mailbox(self, values: tuple[str, ...]) -> None:
        given: dict[str, Any] = dict(value.split("=", 1) for value in values[1:])
        for colour in ("white", "black"):
            given[colour] = tuple(filter(None, given.get(colour, "").split(",")))
        for key in ("black_everyone", "white_local_domains"):
            given[key] = given.get(key) == "true"
        account = replace(self._accounts[values[0]], lists_number=1)
        self._accounts[values[0]] = account
        self._lists[account.id] = MailboxLists(**given)

    def _set_service(self, values: tuple[str, ...]) -> None:
        found = options(values)
        if "role" in found:
            found["role"] = ROLES[found["role"]]
        self._service.update(found)

    def _set_preset(self, values: tuple[str, ...]) -> None:
        self._service["relay"] = PRESETS[values[0]](**options(values[1:]))

    def _set_recent(self, values: tuple[str, ...]) -> None:
        self._settings = replace(self._settings, recent_login=RecentLoginSettings(**options(values)))

    def _set_senders(self, values: tuple[str, ...]) -> None:
        self._service["senders"] = SendersSettings(**options(values))

    def _set_greetings(self, values: tuple[str, ...]) -> None:
        self._service["helo"] = HeloSettings(**options(values))

    def _set_lists(self, values: tuple[str, ...]) -> None:
        self._service["lists"] = ListsSettings(**options(values))

    def _set_tarpit(self, values: tuple[str, ...]) -> None:
        self._service["tarpit"] = TarpitSettings(**options(values))

    def _set_barring(self, values: tuple[str, ...]) -> None:
        self._settings = replace(
            self._settings, barring=replace(self._settings.barring, **options(values))
        )

    def _set_lists_access(self, values: tuple[str, ...]) -> None:
        self._settings = replace(
            self._settings, lists_access=replace(self._settings.lists_access, **options(values))
        )

    def _build(self) -> None:
        settings = replace(self._settings, services=(ServiceSettings("mx", **self._service),))
        self._directory = Directory(self._domains, self._accounts.values(), self._expansions, self._mapped)
        self._directory.lists = self._lists
        self._rows = MemoryRows({account.id: account for account in self._accounts.values()})
        self._recent = RecentLogins(self._rows, RecentLoginRules(settings.recent_login), lambda: self._now)
        resolver = Resolver(
            {"good.example": ["198.51.100.20"], "2.0.0.203.bl.example": ["127.0.0.2"]},
            {"nullmx.example": [(0, "")], "b.example": [(10, "mx.b.example")]},
            dead=("dead.example",),
        )
        self._policy = build_policy(settings, self._directory, resolver, self._recent, 1)
        self._recent.rules = self._policy.recent_rules

    # -- sessions -----------------------------------------------------------------------------------------

    def _decide(self, stage: Stage, facts: Facts) -> Verdict:
        assert self._policy is not None
        verdict = run(self._policy.decide(stage, facts))
        self._facts = self._facts._replace(marks=self._facts.marks | verdict.marks)
        return verdict

    def _do_client(self, address: str) -> Verdict:
        role = self._service.get("role", ROLES["both"])
        connection = Connection("s", "mx", Protocol.SMTP, address, 1, "192.0.2.1", 25, self._now, role)
        self._facts = Facts(connection, self._now)
        return self._decide(Stage.CONNECT, self._facts)

    def _do_helo(self, name: str) -> Verdict:
        self._facts = self._facts._replace(helo=name)
        return self._decide(Stage.HELLO, self._facts)

    def _do_auth(self, address: str) -> Verdict:
        facts = self._facts._replace(account=self._accounts[address])
        verdict = self._decide(Stage.AUTHENTICATED, facts)
        if verdict.is_permit:
            self._facts = facts
        return verdict

    def _do_mail(self, path: str = "<>") -> Verdict:
        reverse_path = NULL_PATH if path == "<>" else ReversePath(parse_path(path))
        self._facts = self._facts._replace(reverse_path=reverse_path, recipients=0)
        return self._decide(Stage.SENDER, self._facts)

    def _do_rcpt(self, *path: str) -> Verdict:
        address: Address = parse_path(" ".join(path))
        verdict = self._decide(Stage.RECIPIENT, self._facts._replace(forward_path=ForwardPath(address)))
        permitted = verdict.is_permit
        self._facts = self._facts._replace(
            recipients=self._facts.recipients + permitted,
            failed_recipients=self._facts.failed_recipients + (not permitted),
        )
        return verdict

    def _do_data(self) -> Verdict:
        return self._decide(Stage.MESSAGE, self._facts._replace(message_octets=1000))

    def _do_expn(self) -> Verdict:
        return self._decide(Stage.EXPAND, self._facts)

    def _do_login(self, address: str) -> None:
        connection = replace(self._facts.connection, service="pop3", protocol=Protocol.POP3)
        run(self._recent.record(connection, self._accounts[address], tls=True))

    def _do_wait(self, seconds: str) -> None:
        self._now += float(seconds)
        self._facts = self._facts._replace(now=self._now)

    def _do_revoke(self, address: str) -> None:
        run(self._recent.revoke(address=address))

    def _do_disable(self, address: str) -> None:
        account = replace(self._accounts[address], enabled=False)
        self._accounts[address] = self._rows.accounts[account.id] = account
