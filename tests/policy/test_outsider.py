"""
The open-relay proof against an outsider who tries: it says open exactly when he gets through.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.proof import prove
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import PolicySettings
from mailtraq_py.servers.login import Logins
from mailtraq_py.servers.smtp.session import SMTPSession
from mailtraq_py.servers.smtp.settings import SMTPServiceSettings, SMTPSurroundings
from tests.fakes import FakeAccept, FakeTLSContexts, make_connection
from tests.play import Play

from .fakes import Directory, run
from .outsider import MAPPED, OURS, Outsider, configurations, settings_of

SEED = 20020
CONFIGURATIONS = 200
ALICE = Account(1, f"alice@{OURS}", OURS)
PATIENT = {"max_errors": 10**6, "max_refused_recipients": 10**6, "slow_refused_recipients": 10**6}


def hosted() -> Directory:
    """One domain with one account, and one domain that is mapped."""
    return Directory((OURS,), (ALICE,), mapped=(MAPPED,))


@implementer(IResolver)
class Everything:
    """Every name is there; no list lists anybody."""

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """There."""
        return [(10, domain)]

    async def addresses(self, host: str) -> list[str]:
        """There."""
        if host.endswith(".black.example"):
            raise NoSuchName(host)
        return ["192.0.2.77"]

    async def txt(self, name: str) -> list[bytes]:
        """Nothing."""
        return []

    async def pointers(self, address: str) -> list[str]:
        """Nothing."""
        return []


class Service:
    """The SMTP service of one configuration, with the real policy and session."""

    def __init__(self, settings: PolicySettings) -> None:
        self.accept = FakeAccept()
        self.settings = settings.services[0]
        self._directory = hosted()
        recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: 0.0)
        self._recent = recent
        self._policy = build_policy(settings, self._directory, Everything(), recent, 1)
        recent.rules = self._policy.recent_rules

    def make_session(self, reactor: Any, connection: Connection) -> SMTPSession:
        """The session of a connection."""
        around = SMTPSurroundings(
            lambda: self._policy,
            self._directory,
            self.accept,
            Logins(lambda: self._policy, self._directory, self._recent, reactor),
            FakeTLSContexts(),
            reactor,
            reactor.seconds,
        )
        settings = SMTPServiceSettings(self.settings.name, "mx.example.test", self.settings.role, "none", **PATIENT)
        return SMTPSession(settings, around, connection)


class Sessions:
    """Speaks to a service through a transport in memory."""

    def __init__(self, settings: PolicySettings) -> None:
        self._service = Service(settings)
        self._plays: dict[str, Play] = {}

    def send(self, client: str, sender: str, recipient: str) -> bool:
        """Whether a message is taken. A session lives until a recipient is refused, which may mark it for good."""
        play = self._plays.get(client)
        if play is None:
            play = self._plays[client] = Play(self._service.make_session, connection=self._connection(client))
            if self._heard(play).startswith("220"):
                self._say(play, "HELO client.outside.invalid")
        if play.closed or not self._say(play, f"MAIL FROM:<{sender}>").startswith("250"):
            return False
        taken = self._say(play, f"RCPT TO:<{recipient}>").startswith("250")
        taken = taken and self._say(play, "DATA").startswith("354")
        taken = taken and self._say(play, "Subject: x\r\n\r\nx\r\n.").startswith("250")
        del self._plays[client]
        return taken

    def _connection(self, client: str) -> Connection:
        settings = self._service.settings
        return make_connection(client=client, local="192.0.2.1", role=settings.role, service=settings.name)

    def _say(self, play: Play, line: str) -> str:
        play << line
        return self._heard(play)

    def _heard(self, play: Play) -> str:
        """The reply, however slow it comes; "" where the connection was closed without one."""
        for _ in range(5):
            octets = play.rest()
            if octets or play.closed:
                return octets.decode()
            play.clock.advance(1)
            play.turn()
        raise AssertionError("no reply")


class OutsiderTests(SynchronousTestCase):
    """Random configurations."""

    def test_the_proof_says_open_exactly_when_the_outsider_gets_through(self) -> None:
        """Every configuration, and among them enough of both kinds."""
        counts = {True: 0, False: 0}
        for number, text in enumerate(configurations(SEED, CONFIGURATIONS)):
            settings = settings_of(text)
            findings = run(prove(settings, hosted(), (ALICE.address,)))
            is_open = Outsider(Sessions(settings).send).opens()
            self.assertEqual(bool(findings), is_open, f"configuration {number}: {findings}\n{text}")
            counts[is_open] += 1
        self.assertGreater(min(counts.values()), CONFIGURATIONS // 8)

    def test_each_finding_can_be_replayed(self) -> None:
        """The scenario that the proof shows gets through the real session."""
        shown = 0
        for text in configurations(SEED + 1, 40):
            settings = settings_of(text)
            for finding in run(prove(settings, hosted(), (ALICE.address,))):
                scenario = finding.scenario
                sessions = Sessions(settings)
                if "ours.invalid" in scenario["mail_from"]:
                    continue
                (recipient,) = scenario["rcpt_to"]
                self.assertTrue(sessions.send(scenario["client"], scenario["mail_from"], recipient), (finding, text))
                shown += 1
        self.assertGreater(shown, 5)
