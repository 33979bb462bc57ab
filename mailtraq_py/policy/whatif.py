"""
What would another configuration have decided? Recorded sessions go through its chain, decision by decision.

A decision is asked again with the facts of its time: who was connected, greeted, logged in, lately and here, what was
said before. Accounts and domains are those of today. Bans and DNS are of the moment: what they decided is left out,
but what DNS lists said of a client is kept where the new configuration asks any.

Where the new configuration ends a session, or refuses a sender, what followed is not reached.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailtraq_py.interfaces.connection import Connection, Protocol, Role, TLSInfo
from mailtraq_py.interfaces.directory import Account, IDirectory
from mailtraq_py.interfaces.policy import Facts, Opinion, RecentLogin, Stage, Verdict
from mailtraq_py.interfaces.store import RecordedSession
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath

from .build import build_policy
from .memoryrows import MemoryRows
from .noanswers import NoAnswers
from .recentlogin import RecentLoginRules, RecentLogins
from .senders import BLACKLISTED
from .settings import PolicySettings

_SESSIONS_MAX = 100_000
_OF_THE_MOMENT = frozenset({"ban", "directory", "return_path"})
_SOME_TLS = TLSInfo("TLS", "", 0)
_ENDING = (Stage.CONNECT, Stage.HELLO)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change: where, from what and by whom, to what and by whom."""

    service: str
    stage: str
    before: str
    before_by: str
    after: str
    after_by: str


@dataclass(slots=True)
class Changed:
    """How often a kind of change was found, with the first examples."""

    count: int = 0
    examples: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Difference:
    """
    What a replay came to, in decisions: `same`, changed (`changes`), `not_reached` behind a change, and `left_out`:
    decided by bans or DNS, or in a way that cannot be asked again (`without_account`: the account is gone).
    """

    sessions: int = 0
    decisions: int = 0
    same: int = 0
    not_reached: int = 0
    left_out: int = 0
    without_account: int = 0
    changes: dict[Kind, Changed] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many decisions would change."""
        return sum(change.count for change in self.changes.values())


@dataclass(slots=True)
class _Course:
    """Where a replayed session stands: what was marked, and from which stage on nothing is reached."""

    marks: frozenset[str] = frozenset()
    ended: bool = False
    sender_refused: bool = False
    told: dict[str, Any] = field(default_factory=dict)


class Replay:
    """
    Asks one configuration about recorded sessions, which must come in the order of time.

    Args:
        settings: of the configuration.
        directory: who is hosted, today.
        examples: how many to keep of each kind of change.

    Raises:
        BadPolicy: the configuration has errors.
    """

    def __init__(self, settings: PolicySettings, directory: IDirectory, examples: int = 3) -> None:
        self.difference = Difference()
        self._directory = directory
        self._examples = examples
        self._rows = MemoryRows()
        recent = RecentLogins(self._rows, RecentLoginRules(settings.recent_login), lambda: 0.0)
        self._policy = build_policy(settings, directory, _Silent(), recent, 0)
        self._rules = recent.rules = self._policy.recent_rules
        self._asks_dns_lists = {service.name for service in settings.services if service.lists.dns_black}
        self._courses: OrderedDict[str, _Course] = OrderedDict()

    async def ask(self, recorded: RecordedSession) -> None:
        """Ask again what was decided; what differs joins `difference`. Raises TemporaryFailure."""
        difference = self.difference
        course = self._courses.pop(recorded.session, None)
        if course is None:
            course = _Course()
            difference.sessions += 1
            if len(self._courses) >= _SESSIONS_MAX:
                self._courses.popitem(last=False)
        self._courses[recorded.session] = course
        connection = Connection(
            recorded.session,
            recorded.service,
            Protocol(recorded.record["protocol"]),
            recorded.client,
            0,
            recorded.record["local"],
            0,
            recorded.record["accepted"],
            Role(recorded.record["role"]),
        )
        course.told = {}  # each row tells its facts from the beginning
        for decision in recorded.record["decisions"]:
            difference.decisions += 1
            course.told.update(decision["facts"])
            await self._ask(connection, recorded, decision, course)

    async def _ask(
        self, connection: Connection, recorded: RecordedSession, decision: Mapping[str, Any], course: _Course
    ) -> None:
        stage, before = Stage(decision["stage"]), decision["verdict"]
        difference = self.difference
        if stage is Stage.SENDER:
            course.sender_refused = False
        if course.ended or (course.sender_refused and stage in (Stage.RECIPIENT, Stage.MESSAGE)):
            difference.not_reached += 1
            return
        if _is_of_the_moment(before):
            difference.left_out += 1
            return
        account = None
        if course.told.get("account"):
            account = await self._directory.find_account(course.told["account"])
            if account is None:
                difference.without_account += 1
                return
        facts = self._facts(connection, decision["now"], course, account)
        self._remember_logins(recorded, decision["now"], before)
        after = await self._policy.decide(stage, facts)
        course.marks |= after.marks
        if not after.is_permit:
            course.ended = course.ended or stage in _ENDING or after.close
            course.sender_refused = stage is Stage.SENDER
        if _word(after) == _old_word(before):
            difference.same += 1
        else:
            self._note(recorded, decision, course, after)

    def _facts(self, connection: Connection, now: float, course: _Course, account: Account | None) -> Facts:
        told = course.told
        marks = course.marks
        if connection.service in self._asks_dns_lists:
            listed = f"{BLACKLISTED} {connection.client} in "
            marks |= frozenset(mark for mark in told.get("marks") or () if mark.startswith(listed))
        return Facts(
            connection,
            now,
            _SOME_TLS if told.get("tls") else None,
            told.get("helo"),
            None,
            told.get("mechanism"),
            account,
            _reverse_path(told.get("mail_from")),
            None if told.get("rcpt_to") is None else ForwardPath(parse_address(told["rcpt_to"])),
            None,
            told.get("recipients") or 0,
            told.get("failed_recipients") or 0,
            told.get("message_octets"),
            marks,
        )

    def _remember_logins(self, recorded: RecordedSession, now: float, before: Mapping[str, Any]) -> None:
        """
        The recent logins as they were. A row that was renewed between the decision and its recording has lost its
        earlier time; the decision itself then tells whether it counted.
        """
        self._rows.clear()
        address = self._rules.row_address(recorded.client)
        for login in recorded.logins:
            last = login.last_login
            if last > now:
                if login.first_login > now or "recent login" not in before["reason"]:
                    continue
                last = now
            self._rows.put(
                RecentLogin(address, login.account, login.protocol, login.tls, login.first_login, last)
            )

    def _note(
        self, recorded: RecordedSession, decision: Mapping[str, Any], course: _Course, after: Verdict
    ) -> None:
        before = decision["verdict"]
        kind = Kind(
            recorded.service, decision["stage"], _old_word(before), _by(before), _word(after), _by(_told(after))
        )
        change = self.difference.changes.setdefault(kind, Changed())
        change.count += 1
        if len(change.examples) < self._examples:
            told = course.told
            change.examples.append(
                {
                    "session": recorded.session,
                    "time": decision["now"],
                    "client": recorded.client,
                    **{name: told.get(name) for name in ("helo", "account", "mail_from", "rcpt_to")},
                    "before": before,
                    "after": _told(after),
                }
            )


def _is_of_the_moment(before: Mapping[str, Any]) -> bool:
    if before["opinion"] == Opinion.PERMIT.value:
        return False
    return before["by"] in _OF_THE_MOMENT or before["reason"].endswith("does not resolve")


def _reverse_path(text: str | None) -> ReversePath | None:
    if text is None:
        return None
    return ReversePath(parse_address(text)) if text else NULL_PATH


def _told(verdict: Verdict) -> dict[str, Any]:
    told: dict[str, Any] = {"opinion": verdict.opinion.value, "by": verdict.check, "reason": verdict.reason}
    if verdict.reply is not None:
        told["reply"] = str(verdict.reply)
    return told


def _word(verdict: Verdict) -> str:
    is_silent = verdict.close and verdict.reply is None and verdict.opinion is Opinion.REFUSE
    return "close" if is_silent else verdict.opinion.value


def _old_word(before: Mapping[str, Any]) -> str:
    is_silent = before.get("close") and "reply" not in before and before["opinion"] == Opinion.REFUSE.value
    return "close" if is_silent else str(before["opinion"])


def _by(told: Mapping[str, Any]) -> str:
    """Who decided; for a permitted recipient by what ground."""
    if told["by"] == "relay" and told["opinion"] == Opinion.PERMIT.value:
        return f"relay: {told['reason']}"
    return str(told["by"])


class _Silent(NoAnswers):
    """The DNS of the past is not there to be asked."""

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        return [(0, domain)]
