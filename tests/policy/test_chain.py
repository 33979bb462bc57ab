"""
The chain, the errors of building it, the login checks, DNS lists in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection, Protocol, TLSInfo
from mailtraq_py.interfaces.directory import Account, Remote
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Stage, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.chain import Policy, ServiceChain
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.patience import Patience
from mailtraq_py.policy.problems import BadPolicy
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    BarringSettings,
    CustomRelay,
    Entry,
    IMailRelay,
    ListsSettings,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    SendersSettings,
    ServiceSettings,
    entries,
)
from mailtraq_py.policy.waiting import Unbounded

from .fakes import Directory, Resolver, run

NOW = 1_800_000_000.0
ALICE = Account(1, "alice@example.test", "example.test")


def built(settings: PolicySettings, directory: Directory | None = None, clock: Clock | None = None) -> Policy:
    """The policy of settings."""
    recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: NOW)
    waiting = Unbounded if clock is None else partial(Patience, clock)
    return build_policy(settings, directory or Directory(), Resolver(), recent, 5, waiting=waiting)


def facts_of(client: str = "203.0.113.9", service: str = "mx") -> Facts:
    """A fresh session."""
    return Facts(Connection("s", service, Protocol.SMTP, client, 1, "192.0.2.1", 25, NOW), NOW)


@implementer(ICheck)
@dataclass
class Says:
    """A check that says what it was told to; an exception is raised."""

    answer: Verdict | Exception | None
    can_permit: bool = False
    name: str = "says"

    async def ask(self, facts: Facts) -> Verdict | None:
        """Say it."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def verdict(opinion: Opinion, reason: str, **more: object) -> Verdict:
    """A check's answer."""
    return Verdict(opinion, "says", reason, **more)  # type: ignore[arg-type]


class RewrittenTests(SynchronousTestCase):
    """Recipients that the directory leads elsewhere."""

    def test_always_to(self) -> None:
        """A list of recipients names what mail would go to: rewriting makes no open relay of our own domain in it."""
        relay = MailtraqRelay(auth=True, always_to=entries(["*@example.test", "*@partner.example"]))
        policy = built(PolicySettings("mx.example.test", services=(ServiceSettings("mx", relay=relay),)))
        for leads_to, permitted in (("victim@far.example", False), ("x@partner.example", True)):
            said = ForwardPath(parse_address("victim%far.example@example.test"))
            destination = Remote(ForwardPath(parse_address(leads_to)))
            facts = facts_of()._replace(reverse_path=ReversePath(None), forward_path=said, destination=destination)
            self.assertEqual(run(policy.decide(Stage.RECIPIENT, facts)).is_permit, permitted)


class Chain(SynchronousTestCase):
    """Who decides."""

    def decide(self, *checks: Says, stage: Stage = Stage.SENDER) -> Verdict:
        """Ask these checks."""
        recent_rules = RecentLoginRules(RecentLoginSettings())
        policy = Policy(5, {"mx": ServiceChain({stage: tuple(checks)})}, Directory(), recent_rules)
        return run(policy.decide(stage, facts_of()))

    def test_first_refusal_decides(self) -> None:
        """A permit is remembered, the asking goes on, the first refusal decides."""
        found = self.decide(
            Says(verdict(Opinion.PERMIT, "one"), can_permit=True),
            Says(None),
            Says(verdict(Opinion.DISCARD, "three")),
            Says(verdict(Opinion.REFUSE, "four")),
        )
        self.assertEqual((found.opinion, found.reason, found.number), (Opinion.DISCARD, "three", 5))
        self.assertEqual([line.reason for line in found.trace], ["one", "", "three"])

    def test_recipient_needs_a_permit(self) -> None:
        """Nobody objecting is enough elsewhere, but not for a recipient; a mark is no permit."""
        self.assertTrue(self.decide(Says(None)).is_permit)
        marked = Says(verdict(Opinion.PERMIT, "marked", marks=frozenset({"m"}), delay_seconds=3.0))
        found = self.decide(marked, stage=Stage.RECIPIENT)
        self.assertEqual((found.opinion, str(found.reply)), (Opinion.REFUSE, "550 5.7.1 Relaying not allowed"))
        found = self.decide(marked, Says(verdict(Opinion.PERMIT, "yes"), can_permit=True), stage=Stage.RECIPIENT)
        self.assertEqual((found.reason, found.marks, found.delay_seconds), ("yes", frozenset({"m"}), 3.0))

    def test_failure(self) -> None:
        """A check without its answer defers if it could permit, and is silent if it could only refuse."""
        away = TemporaryFailure("away")
        found = self.decide(Says(away, can_permit=True))
        self.assertEqual((found.opinion, str(found.reply)[:9]), (Opinion.DEFER, "451 4.3.0"))
        found = self.decide(Says(away))
        self.assertTrue(found.is_permit)
        self.assertIn("away", found.trace[0].reason)

    def test_directory_away(self) -> None:
        """Without a directory a recipient is put off, whoever sends."""
        directory = Directory()
        policy = built(PolicySettings("mx.example.test", services=(ServiceSettings("mx"),)), directory)
        directory.fails = True
        facts = facts_of()._replace(forward_path=ForwardPath(parse_address("alice@example.test")))
        self.assertEqual(run(policy.decide(Stage.RECIPIENT, facts)).opinion, Opinion.DEFER)

    def test_service_gone(self) -> None:
        """A session of a service that a reload removed is sent away."""
        policy = built(PolicySettings("mx.example.test"))
        found = run(policy.decide(Stage.SENDER, facts_of()))
        self.assertEqual((found.opinion, found.close, found.reply and found.reply.code), (Opinion.DEFER, True, 421))


class Errors(SynchronousTestCase):
    """What is wrong with a configuration is told at once and in full."""

    def test_all_errors(self) -> None:
        """Every list and word is looked at."""
        bad = entries(["300.1.1.1"])
        settings = PolicySettings(
            "mx example",
            lan=bad,
            proxies=bad,
            unknown_recipient="perhaps",
            recent_login=RecentLoginSettings(("pop4",), -1, max_accounts_per_address=0, ipv6_prefix=129, exclude=bad),
            barring=BarringSettings(entries(["joe@"]), entries(["~"]), "250 fine"),
            services=(
                ServiceSettings(
                    "mx",
                    access="some",
                    firewall=bad,
                    recent_position="middle",
                    refuse="politely",
                    auth_without_tls="maybe",
                    relay=IMailRelay("all", bad, entries(["*"])),
                    senders=SendersSettings(
                        kill=entries(["x"]), local_sender_from_outside="maybe", order=("kill", "spf")
                    ),
                    lists=ListsSettings(bad, entries(["joe@"]), entries(["joe@"]), bad, entries(["@"]), entries([""])),
                ),
                ServiceSettings(
                    "mx",
                    relay=CustomRelay(
                        (entries(["lan", "sun"]),),
                        (entries(["address_in:a"]), entries(["sender_in:b", "not  not lan", "listener:up"])),
                        {"a": bad},
                        "hello",
                    ),
                ),
            ),
        )
        with self.assertRaises(BadPolicy) as caught:
            built(settings)
        keys = [error.key for error in caught.exception.errors]
        self.assertEqual(len(keys), len(caught.exception.errors))
        for key in (
            "lan.addresses",
            "proxies",
            "unknown_recipient",
            "recent_login.protocols",
            "recent_login.access_seconds",
            "recent_login.max_accounts_per_address",
            "recent_login.ipv6_prefix",
            "recent_login.exclude",
            "barring.senders",
            "barring.recipients",
            "barring.reply",
            "name",
            "smtp.mx.access",
            "smtp.mx.firewall",
            "smtp.mx.recent_position",
            "smtp.mx.refuse",
            "smtp.mx.auth_without_tls",
            "smtp.mx.relay.mode",
            "smtp.mx.relay.addresses",
            "smtp.mx.relay.accept",
            "smtp.mx.relay.require",
            "smtp.mx.relay.grant",
            "smtp.mx.relay.lists.a",
            "smtp.mx.relay.reply",
            "smtp.mx.senders.kill_file",
            "smtp.mx.senders.local_sender_from_outside",
            "smtp.mx.senders.order",
            "smtp.mx.lists.black_addresses",
            "smtp.mx.lists.black_senders",
            "smtp.mx.lists.black_recipients",
            "smtp.mx.lists.white_addresses",
            "smtp.mx.lists.white_senders",
            "smtp.mx.lists.white_recipients",
        ):
            self.assertIn(key, keys)

    def test_readmission_is_warned_of(self) -> None:
        """An exclusion that the LAN list takes back is accepted with a warning that names both entries."""
        for exclusion, lan, example in (
            ("~10.0.0.5", "10.*", "10.0.0.5"),
            ("~10.*", "10.1.2.*", "10.1.2.0"),
            ("~*.5.*.7", "10.5.*.*", "10.5.0.7"),
            ("~10.5.*.*", "*.5.*.7", "10.5.0.7"),
            ("~*.5.*.*", "*.*.3.*", "0.5.3.0"),
            ("~2001:db8::/32", "2001:db8::1", "2001:db8::1"),
        ):
            firewall = (Entry("*"), Entry(exclusion, "fw.txt", "", 2))
            settings = PolicySettings(
                "mx.example.test",
                lan=(Entry("172.16.*"), Entry(lan, "lan.txt", "lan", 4)),
                services=(ServiceSettings("mx", access="firewall+lan", firewall=firewall),),
            )
            warnings = built(settings).warnings
            self.assertEqual(len(warnings), 1, exclusion)
            told = str(warnings[0])
            self.assertIn(f'fw.txt:2: smtp.mx.firewall: "{exclusion}" is overridden for {example}', told)
            self.assertIn(f'"{lan}" (lan.txt lan line 4)', told)
        quiet = PolicySettings(
            "mx.example.test",
            lan=entries(["10.*", "~10.0.0.5"]),
            services=(ServiceSettings("mx", access="firewall+lan", firewall=entries(["~10.0.0.5", "~11.*"])),),
        )
        self.assertEqual(built(quiet).warnings, ())


class Logins(SynchronousTestCase):
    """LOGIN and AUTHENTICATED."""

    def test_plaintext(self) -> None:
        """auth_without_tls: never, loopback, lan, always; TLS and CRAM-MD5 are not asked."""
        for rule, loopback, lan, outside in (
            ("never", False, False, False),
            ("loopback", True, False, False),
            ("lan", True, True, False),
            ("always", True, True, True),
        ):
            service = ServiceSettings("mx", auth_without_tls=rule)
            policy = built(PolicySettings("mx.example.test", lan=entries(["192.168.1.*"]), services=(service,)))
            for client, allowed in (("127.0.0.1", loopback), ("192.168.1.9", lan), ("203.0.113.9", outside)):
                facts = facts_of(client)._replace(mechanism="PLAIN")
                found = run(policy.decide(Stage.LOGIN, facts))
                self.assertEqual(found.is_permit, allowed, (rule, client))
                self.assertEqual(policy.allows_plaintext("mx", client), allowed)
                if not allowed:
                    self.assertEqual(found.reply and found.reply.code, 538)
                secure = facts._replace(tls=TLSInfo("TLSv1.3", "x", 256))
                self.assertTrue(run(policy.decide(Stage.LOGIN, secure)).is_permit)
                cram = facts._replace(mechanism="CRAM-MD5")
                self.assertTrue(run(policy.decide(Stage.LOGIN, cram)).is_permit)

    def test_disabled(self) -> None:
        """A disabled account hears what a wrong password hears."""
        policy = built(PolicySettings("mx.example.test", services=(ServiceSettings("mx"),)))
        for enabled in (True, False):
            facts = facts_of()._replace(account=replace(ALICE, enabled=enabled))
            found = run(policy.decide(Stage.AUTHENTICATED, facts))
            self.assertEqual(found.is_permit, enabled)
        self.assertEqual(str(found.reply), "535 5.7.8 Authentication credentials invalid")


class SilentResolver(Resolver):
    """DNS that never answers."""

    async def addresses(self, host: str) -> list[str]:
        """Wait for ever."""
        return await Deferred()


class DNSLists(SynchronousTestCase):
    """DNS lists, their trigger, and dead servers."""

    def policy(self, lists: ListsSettings, resolver: Resolver, clock: Clock | None = None) -> Policy:
        """A policy with these lists."""
        settings = PolicySettings("mx.example.test", services=(ServiceSettings("mx", lists=lists),))
        recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: NOW)
        waiting = Unbounded if clock is None else partial(Patience, clock)
        return build_policy(settings, Directory(), resolver, recent, 5, waiting=waiting)

    def test_dead_server_costs_five_seconds(self) -> None:
        """After dns_seconds the session goes on, unmarked."""
        clock = Clock()
        policy = self.policy(ListsSettings(dns_black=("a.example", "b.example")), SilentResolver(), clock)
        facts = facts_of()._replace(reverse_path=ReversePath(parse_address("a@b.test")))
        waiting = Deferred.fromCoroutine(policy.decide(Stage.SENDER, facts))
        clock.advance(4.9)
        self.assertNoResult(waiting)
        clock.advance(0.2)
        found = self.successResultOf(waiting)
        self.assertTrue(found.is_permit and not found.marks)

    def test_trigger_and_white(self) -> None:
        """As many black lists as the trigger says; one white list spares; error codes and parked zones do not list."""
        names = {
            "9.113.0.203.a.example": ["127.0.0.2"],
            "9.113.0.203.b.example": ["127.0.0.4"],
            "9.113.0.203.w.example": ["127.0.0.1"],
            "9.113.0.203.full.example": ["127.255.255.254"],
            "9.113.0.203.parked.example": ["198.51.100.1"],
        }
        facts = facts_of()._replace(reverse_path=ReversePath(parse_address("a@b.test")))
        for lists, marked in (
            (ListsSettings(dns_black=("a.example",)), True),
            (ListsSettings(dns_black=("a.example", "none.example"), dns_trigger=2), False),
            (ListsSettings(dns_black=("a.example", "b.example"), dns_trigger=2), True),
            (ListsSettings(dns_black=("a.example",), dns_white=("w.example",)), False),
            (ListsSettings(dns_black=("full.example", "parked.example")), False),
        ):
            policy = self.policy(lists, Resolver(names))
            self.assertEqual(bool(run(policy.decide(Stage.SENDER, facts)).marks), marked, lists)
