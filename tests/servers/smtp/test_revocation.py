"""
What an authenticated SMTP session hears when its account changes, and by what a recipient was permitted.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.policy import Opinion, Stage, Verdict
from mailtraq_py.mail.changes import AccountRevoked
from tests.play import Play

from .service import Service
from .test_authentication import plain

ADDRESS = "u@here.example"


def logged_in(service: Service) -> Play:
    """A session of u@here.example."""
    return service.greeted("127.0.0.1") << f"AUTH PLAIN {plain(ADDRESS, 'secret')}" >> 235


class Revocation(SynchronousTestCase):
    """Disabled, deleted, a new password, a privilege taken away."""

    def setUp(self) -> None:
        """A service."""
        self.service = Service()
        self.account = self.service.directory.accounts[ADDRESS]

    def revoke(self, number: int | None = None) -> None:
        """As the store tells it."""
        self.service.hub.publish([AccountRevoked(self.account.id if number is None else number)])

    def test_idle_session(self) -> None:
        """It is told and closed at once; others are not."""
        play, other = logged_in(self.service), self.service.greeted()
        self.revoke(99)
        self.assertFalse(play.closed)
        self.revoke()
        play >> "421 4.7.0 your account was changed"
        self.assertTrue(play.closed)
        other << "NOOP" >> 250

    def test_in_the_middle_of_data(self) -> None:
        """The message is dropped."""
        play = logged_in(self.service) << f"MAIL FROM:<{ADDRESS}>" >> 250 << f"RCPT TO:<{ADDRESS}>" >> 250
        play << "DATA" >> 354 << b"Subject: x\r\n"
        self.revoke()
        play >> 421
        self.assertTrue(play.closed)
        self.assertEqual(self.service.accept.begun[0].state, "aborted")

    def test_while_a_message_is_stored(self) -> None:
        """What is being stored is finished and acknowledged; the next command is refused."""
        play = logged_in(self.service) << f"MAIL FROM:<{ADDRESS}>" >> 250 << f"RCPT TO:<{ADDRESS}>" >> 250
        play << "DATA" >> 354
        self.service.policy.hold(Stage.MESSAGE)
        play << b"Subject: x\r\n\r\n.\r\n"
        self.revoke()
        self.service.policy.release(Stage.MESSAGE)
        play >> "250 2.0.0" << "NOOP" >> 421
        self.assertTrue(play.closed)

    def test_a_privilege_taken_away_is_gone_with_the_next_message(self) -> None:
        """The account is looked up for each MAIL."""
        play = logged_in(self.service) << f"MAIL FROM:<{ADDRESS}>" >> 250 << "RSET" >> 250
        self.service.directory.accounts[ADDRESS] = replace(self.account, relay=False)
        play << f"MAIL FROM:<{ADDRESS}>" >> 250
        account = self.service.policy.facts(Stage.SENDER).account
        assert account is not None
        self.assertFalse(account.relay)
        del self.service.directory.accounts[ADDRESS]
        play << "RSET" >> 250 << f"MAIL FROM:<{ADDRESS}>" >> 421
        self.assertTrue(play.closed)

    def test_nothing_is_watched_after_the_end(self) -> None:
        """A session that is gone hears nothing; nor does one that began TLS and forgot its login."""
        play = logged_in(self.service)
        play.end()
        self.revoke()


class Grants(SynchronousTestCase):
    """What `queue delete --granted-by` will name."""

    def test_the_ground_of_the_relay_check(self) -> None:
        """Its reason; of another check that permits, its name."""
        for verdict, grant in (
            (Verdict(Opinion.PERMIT, "relay", "recent login"), "recent login"),
            (Verdict(Opinion.PERMIT, "lists", "whatever"), "lists"),
        ):
            service = Service()
            service.policy.says[Stage.RECIPIENT] = verdict
            play = service.greeted() << "MAIL FROM:<a@b.example>" >> 250 << "RCPT TO:<x@elsewhere.example>" >> 250
            play << "DATA" >> 354 << b"Subject: x\r\n\r\n.\r\n" >> 250
            self.assertEqual(service.accept.accepted[0].transaction.grants, (grant,))
