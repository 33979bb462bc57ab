"""
The chain: for each service and stage a tuple of checks, asked in order.

The first refuse, defer or discard decides. A permit is remembered and the asking goes on; only checks that can permit
count as somebody who permits, others speak to leave a mark or a delay. RECIPIENT needs a permit: nothing is relayed
because nobody objected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from zope.interface import implementer

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, ICheck, IPolicy, Opinion, Stage, TraceLine, Verdict
from mailtraq_py.mail.reply import Reply

from .problems import PolicyError
from .ratelimit import BanCheck
from .recentlogin import RecentLoginRules
from .settings import FixedLogin
from .trust import Trust

NOBODY = "nobody"  # who decided where no check spoke
TRY_LATER = Reply(451, "Temporary local problem, try again later", "4.3.0")
SERVICE_GONE = Reply(421, "This service has been closed", "4.3.2")
Note = Callable[[Stage, Facts, Verdict], None]
NO_GROUND = Reply(550, "Relaying not allowed", "5.7.1")


@dataclass(frozen=True, slots=True)
class ServiceChain:
    """
    One service's checks by stage; `ban` counts failed recipients, or is None; `fixed_login` is the one login that
    counts here, or None.
    """

    stages: Mapping[Stage, tuple[ICheck, ...]]
    ban: BanCheck | None = None
    trust: Trust = field(default_factory=Trust)
    plaintext_rule: str = "loopback"
    fixed_login: FixedLogin | None = None


@implementer(IPolicy)
class Policy:
    """
    The policy in force, built by `build.build_policy`.

    Args:
        number: the configuration's.
        services: chains by service name.
        directory: asked for a recipient's destination where the facts bring none.
        recent_rules: for `RecentLogins.rules`, when this policy comes into force.
        warnings: what is doubtful in the configuration.
        note: is told every decision.
    """

    def __init__(
        self,
        number: int,
        services: Mapping[str, ServiceChain],
        directory: IDirectory,
        recent_rules: RecentLoginRules,
        warnings: tuple[PolicyError, ...] = (),
        note: Note | None = None,
    ) -> None:
        self.number = number
        self.services = dict(services)
        self.recent_rules = recent_rules
        self.warnings = warnings
        self._directory = directory
        self._note = note

    def allows_plaintext(self, service: str, client: str) -> bool:
        """Whether plaintext mechanisms may be offered to this client without TLS."""
        chain = self.services.get(service)
        return chain is not None and chain.trust.may_use_plaintext(client, chain.plaintext_rule)

    def fixed_login(self, service: str) -> FixedLogin | None:
        """The one login that counts on a service, None where those of accounts do."""
        chain = self.services.get(service)
        return None if chain is None else chain.fixed_login

    async def decide(self, stage: Stage, facts: Facts) -> Verdict:
        """Ask the checks of the service and stage; see IPolicy."""
        chain = self.services.get(facts.connection.service)
        if chain is None:
            return Verdict(Opinion.DEFER, "service", "no longer configured", SERVICE_GONE, True, number=self.number)
        if stage is Stage.RECIPIENT and facts.destination is None and facts.forward_path is not None:
            try:
                facts = facts._replace(destination=await self._directory.resolve(facts.forward_path))
            except TemporaryFailure as failure:
                return Verdict(Opinion.DEFER, "directory", failure.reason, TRY_LATER, number=self.number)
        verdict = await self._ask(stage, chain.stages.get(stage, ()), facts)
        if chain.ban is not None:
            await chain.ban.note(stage, facts, verdict)
        if self._note is not None:
            self._note(stage, facts, verdict)
        return verdict

    async def would_pass(self, stage: Stage, facts: Facts) -> bool:
        """Ask without a note; see IPolicy."""
        chain = self.services.get(facts.connection.service)
        if chain is None:
            return False
        return (await self._ask(stage, chain.stages.get(stage, ()), facts)).is_permit

    async def _ask(self, stage: Stage, checks: tuple[ICheck, ...], facts: Facts) -> Verdict:
        trace: list[TraceLine] = []
        permit: Verdict | None = None
        carried: dict[str, Any] = {}
        for check in checks:
            try:
                answer = await check.ask(facts)
            except TemporaryFailure as failure:
                answer = None
                if check.can_permit:
                    answer = Verdict(Opinion.DEFER, check.name, failure.reason, TRY_LATER)
                else:
                    trace.append(TraceLine(check.name, None, f"no answer: {failure.reason}"))
                    continue
            if answer is None:
                trace.append(_no_opinion(check.name))
                continue
            trace.extend(answer.trace)
            trace.append(TraceLine(answer.check, answer.opinion, answer.reason))
            if answer.marks or answer.headers or answer.delay_seconds or answer.destination is not None:
                _carry(carried, answer)
                if answer.marks:
                    facts = facts._replace(marks=facts.marks | answer.marks)
            if answer.opinion is not Opinion.PERMIT:
                return self._settled(answer, trace, carried)
            if permit is None and check.can_permit:
                permit = answer
        if permit is None:
            if stage is Stage.RECIPIENT:
                return self._settled(Verdict(Opinion.REFUSE, "relay", "no ground", NO_GROUND), trace, carried)
            permit = Verdict(Opinion.PERMIT, NOBODY, "nobody refuses")
        return self._settled(permit, trace, carried)

    def _settled(self, verdict: Verdict, trace: list[TraceLine], carried: dict[str, Any]) -> Verdict:
        return Verdict(
            verdict.opinion,
            verdict.check,
            verdict.reason,
            verdict.reply,
            verdict.close,
            carried.get("delay_seconds", 0.0),
            carried.get("marks", verdict.marks),
            carried.get("headers", ()),
            tuple(trace),
            self.number,
            carried.get("destination"),
        )


@lru_cache(maxsize=256)
def _no_opinion(check: str) -> TraceLine:
    return TraceLine(check, None, "")


def _carry(carried: dict[str, Any], answer: Verdict) -> None:
    """Add up what checks leave behind: the longest delay, all marks, all headers, another destination."""
    carried["delay_seconds"] = max(carried.get("delay_seconds", 0.0), answer.delay_seconds)
    carried["marks"] = carried.get("marks", frozenset()) | answer.marks
    carried["headers"] = (*carried.get("headers", ()), *answer.headers)
    if answer.destination is not None:
        carried["destination"] = answer.destination
