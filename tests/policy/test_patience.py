"""
A session's time for DNS, and what the checks make of its end.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver
from mailtraq_py.interfaces.policy import Facts, Opinion, Stage, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.patience import Patience
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    HeloSettings,
    LargeMessagesSettings,
    ListsSettings,
    PolicySettings,
    SendersSettings,
    ServiceSettings,
    entries,
)
from tests.fakes import make_account, make_connection

from .fakes import Directory, Resolver, run


@implementer(IResolver)
class Dead:
    """A resolver whose nameservers never answer; `alive` names do."""

    def __init__(self, alive: dict[str, list[str]] | None = None) -> None:
        self.alive = alive or {}

    async def addresses(self, host: str) -> list[str]:
        """Silence."""
        return self.alive[host] if host in self.alive else await Deferred()

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """Silence."""
        return await Deferred()

    async def txt(self, name: str) -> list[bytes]:
        """Silence."""
        return await Deferred()

    async def pointers(self, address: str) -> list[str]:
        """Silence."""
        return await Deferred()


class PatienceTests(SynchronousTestCase):
    """The clock."""

    def test_a_session_waits_once(self) -> None:
        """Five seconds in all, whatever it asks; another session has its own."""
        clock = Clock()
        patience = Patience(clock, 5.0)

        def ask(session: str) -> Deferred[Any]:
            return Deferred.fromCoroutine(patience.wait(session, Dead().mx("a.example")))

        first = ask("one")
        clock.advance(3)
        self.assertNoResult(first)
        clock.advance(2)
        self.failureResultOf(first, TemporaryFailure)
        second = ask("one")
        clock.advance(0)
        self.failureResultOf(second, TemporaryFailure)
        other = ask("two")
        clock.advance(4.9)
        self.assertNoResult(other)
        clock.advance(0.1)
        self.failureResultOf(other, TemporaryFailure)

    def test_answers_at_hand_cost_nothing(self) -> None:
        """They come whatever was spent."""
        clock = Clock()
        patience = Patience(clock, 0.0)
        answer = patience.wait("one", Resolver({"a.example": ["192.0.2.1"]}).addresses("a.example"))
        self.assertEqual(run(answer), ["192.0.2.1"])


class DeadServerTests(SynchronousTestCase):
    """All DNS checks of a session on a dead server."""

    def decided(self, resolver: Any, clock: Clock) -> list[Verdict]:
        """HELO and MAIL of a session, the clock going second by second; fails past five seconds and a little."""
        service = ServiceSettings(
            "test",
            helo=HeloSettings(refuse_unresolvable=True),
            senders=SendersSettings(verify_return_path=True),
            lists=ListsSettings(dns_black=("black.example", "slow.example"), dns_trigger=1),
        )
        settings = PolicySettings("mx.example.test", services=(service,))
        recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), clock.seconds)
        policy = build_policy(settings, Directory(), resolver, recent, 1, waiting=partial(Patience, clock))
        path = ReversePath(parse_address("a@b.example"))
        facts = Facts(make_connection(), 0.0, helo="c.outside.example", reverse_path=path)
        verdicts: list[Verdict] = []
        for stage in (Stage.HELLO, Stage.SENDER):
            verdict: Deferred[Verdict] = Deferred.fromCoroutine(policy.decide(stage, facts))
            verdict.addCallback(verdicts.append)
            clock.pump([0, 0, 0])
            while not verdict.called and clock.seconds() <= 5.5:
                clock.pump([0.5, 0, 0])
            self.successResultOf(verdict)
        return verdicts

    def test_five_seconds_in_all(self) -> None:
        """HELO passes, lists have no opinion, the return-path is put off."""
        clock = Clock()
        hello, sender = self.decided(Dead(), clock)
        self.assertLessEqual(clock.seconds(), 5.0)
        self.assertTrue(hello.is_permit)
        self.assertEqual((sender.opinion, str(sender.reply)[:9]), (Opinion.DEFER, "451 4.4.3"))

    def test_a_list_that_answers_counts_beside_one_that_does_not(self) -> None:
        """The client is marked by the one; the other is waited for no longer than allowed."""
        _, sender = self.decided(Dead({"9.113.0.203.black.example": ["127.0.0.2"]}), Clock())
        self.assertEqual(list(sender.marks), ["blacklisted 203.0.113.9 in black.example"])


class LargeMessageTests(SynchronousTestCase):
    """[smtp.large_messages]"""

    def test_who_may_send_large_messages(self) -> None:
        """At MAIL by the declared size, after the data by the real one; the exempt may."""
        large = LargeMessagesSettings(
            1000, True, True, entries(["198.51.100.*"]), entries(["*@partner.example", "~bulk@partner.example"])
        )
        settings = PolicySettings(
            "mx.example.test",
            lan=entries(["192.168.1.*"]),
            services=(ServiceSettings("test", large_messages=large),),
        )
        recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: 0.0)
        policy = build_policy(settings, Directory(), Resolver(), recent, 1)
        for client, sender, account, octets, passes in (
            ("203.0.113.9", "a@b.example", None, 1000, True),
            ("203.0.113.9", "a@b.example", None, None, True),
            ("203.0.113.9", "a@b.example", None, 1001, False),
            ("192.168.1.7", "a@b.example", None, 1001, True),
            ("::ffff:198.51.100.3", "a@b.example", None, 1001, True),
            ("203.0.113.9", "A@Partner.Example.", None, 1001, True),
            ("203.0.113.9", "bulk@partner.example", None, 1001, False),
            ("203.0.113.9", "a@b.example", make_account("alice@example.test"), 1001, True),
        ):
            facts = Facts(
                make_connection(client=client),
                0.0,
                reverse_path=ReversePath(parse_address(sender)),
                account=account,
                message_octets=octets,
            )
            for stage in (Stage.SENDER, Stage.MESSAGE):
                verdict = run(policy.decide(stage, facts))
                self.assertEqual(verdict.is_permit, passes, (client, sender, octets, stage))
                if not passes:
                    self.assertEqual(str(verdict.reply)[:9], "552 5.3.4")
