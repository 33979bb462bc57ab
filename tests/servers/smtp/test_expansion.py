"""mailtraq_py/servers/smtp/expansion.py: EXPN, and destinations that policy changes."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.directory import Expansion, LocalMailbox, Remote
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Stage
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath
from tests.fakes import PERMIT, FakePolicy, make_account, refuse

from .service import Service

STAFF = Expansion(
    (
        LocalMailbox(make_account("u@here.example")),
        Remote(ForwardPath(parse_address("X@far.example"))),
        Remote(ForwardPath(parse_address("jürgen@far.example"))),
    ),
    "staff@here.example",
    parse_address("staff-owner@here.example"),
)


class ExpandTests(SynchronousTestCase):
    """Lists, and what is none."""

    def setUp(self) -> None:
        self.service = Service(default_domain="here.example")
        self.service.directory.expansions = {
            "staff@here.example": STAFF,
            "alias@here.example": replace(STAFF, reverse_path=None),
        }

    def test_members(self) -> None:
        """A line for each member, by address or bare name, at any time."""
        for name in ("staff@here.example", "<Staff@HERE.example>", "staff"):
            play = self.service.greeted() << f"EXPN {name}"
            lines = play.take().splitlines()
            self.assertEqual(lines, [
                "250-2.1.5 <u@here.example>",
                "250-2.1.5 <X@far.example>",
                "250 2.1.5 (an internationalised address)",
            ])

    def test_no_list(self) -> None:
        """An account, an alias, nobody, the world and what is no address hear the same."""
        heard = set()
        for name in ("u", "alias", "nobody", "a@far.example", "@@", "<>"):
            heard.add((self.service.greeted() << f"EXPN {name}").take())
        self.assertEqual(heard, {"550 5.1.1 no such list"})

    def test_policy_first(self) -> None:
        """Whom policy refuses hears the same whatever was asked, is slowed down, and is sent away."""
        service = Service(
            FakePolicy({Stage.EXPAND: refuse("550 5.7.1 no")}), slow_refused_recipients=2, max_refused_recipients=4
        )
        service.directory.failure = AssertionError("nothing is looked up")
        play = service.greeted()
        play << "EXPN staff" >> "550 5.7.1 no" << "EXPN nobody" >> "550 5.7.1 no" << "EXPN staff"
        play.clock.advance(1.0)
        play >> "550 5.7.1 no" << "EXPN staff" >> 421

    def test_offered(self) -> None:
        """EHLO names EXPN where policy lets this session use it (RFC 5321 3.5.2); the question leaves no trace."""
        for policy, offered in ((FakePolicy(), True), (FakePolicy({Stage.EXPAND: refuse("550 5.7.1 no")}), False)):
            play = Service(policy).play() >> 220 << "EHLO c.example"
            self.assertIs("EXPN" in play.take().split("250-", 1)[1], offered)
            self.assertNotIn(Stage.EXPAND, [stage for stage, _ in policy.asked])

    def test_store_away(self) -> None:
        """A directory that does not answer is a temporary failure."""
        self.service.directory.failure = TemporaryFailure("away")
        self.service.greeted() << "EXPN nobody" >> 451


class DestinationTests(SynchronousTestCase):
    """What a verdict says of the destination."""

    def test_filed(self) -> None:
        """The destination that policy names takes the place of the directory's."""
        filed = LocalMailbox(make_account("u@here.example"), "Junk")
        service = Service(FakePolicy({Stage.RECIPIENT: PERMIT._replace(destination=filed)}))
        service.greeted() << "MAIL FROM:<a@b.example>" >> 250 << "RCPT TO:<u@here.example>" >> 250 << "DATA" >> 354
        self.assertEqual(service.accept.begun[0].transaction.destinations, (filed,))
