"""mailtraq_py/policy/quota.py: who is full waits."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.directory import Destination, Expansion, LocalMailbox, Remote, UnknownUser
from mailtraq_py.interfaces.policy import Facts, Opinion
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.policy.quota import QuotaCheck
from tests.fakes import make_account, make_connection

from .fakes import Directory, run

FULL = LocalMailbox(make_account("full@here.example", 1))
ROOMY = LocalMailbox(make_account("roomy@here.example", 2))
AWAY = Remote(ForwardPath(parse_address("x@far.example")))


class QuotaTests(SynchronousTestCase):
    """Destinations in, verdicts out."""

    def is_deferred(self, destination: Destination) -> bool:
        """What the check says."""
        directory = Directory(["here.example"])
        directory.full = {1}
        verdict = run(QuotaCheck(directory).ask(Facts(make_connection(), 0.0, destination=destination)))
        if verdict is None:
            return False
        self.assertEqual((verdict.opinion, str(verdict.reply)[:9]), (Opinion.DEFER, "452 4.2.2"))
        return True

    def test_one(self) -> None:
        """452 4.2.2 for a full mailbox, nothing for others."""
        self.assertTrue(self.is_deferred(FULL))
        for other in (ROOMY, AWAY, UnknownUser()):
            self.assertFalse(self.is_deferred(other))

    def test_several(self) -> None:
        """Somebody with room is enough: one answer stands for all."""
        self.assertTrue(self.is_deferred(Expansion((FULL, FULL), "both")))
        self.assertFalse(self.is_deferred(Expansion((FULL, ROOMY), "both")))
        self.assertFalse(self.is_deferred(Expansion((FULL, AWAY), "both")))
