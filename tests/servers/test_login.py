"""A login of any protocol: order of the questions, what is noted, what is told and when."""

from __future__ import annotations

import hmac
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Protocol, TLSInfo
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, Stage
from mailtraq_py.servers.login import (
    DELAY_MAX_SECONDS,
    FAILURES_KEPT_SECONDS,
    FAILURES_MAX_ADDRESSES,
    FailedLogins,
    LoginOutcome,
    Logins,
)
from mailtraq_py.store.immediate import run_now
from mailtraq_py.wire.sasl import CramResponse, PasswordCredentials
from tests.fakes import FakeDirectory, FakePolicy, FakeRecentLogins, defer, make_connection, refuse

ALICE = "alice@example.test"
CHALLENGE = b"<1.2@mx.example.test>"


def facts(protocol: Protocol = Protocol.POP3, **more: Any) -> Facts:
    """Of a session of this protocol."""
    return Facts(make_connection(protocol, **more), now=1_000_000.0)


def password(text: bytes, login: str = ALICE, authorisation: str = "") -> PasswordCredentials:
    """A name and a password."""
    return PasswordCredentials(login, text, authorisation)


def cram(secret: bytes, login: str = ALICE) -> CramResponse:
    """What a client answers to CHALLENGE."""
    return CramResponse(login, CHALLENGE, hmac.new(secret, CHALLENGE, "md5").hexdigest().encode())


class LoginTests(SynchronousTestCase):
    """Logins over fakes; time moved by hand."""

    def setUp(self) -> None:
        self.policy = FakePolicy()
        self.directory = FakeDirectory({ALICE: b"right", "bob@example.test": b"right too"}, frozenset({ALICE}))
        self.recent = FakeRecentLogins()
        self.clock = Clock()
        self.logins = Logins(lambda: self.policy, self.directory, self.recent, self.clock)
        self.logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def begin(self, credentials: Any, of: Facts | None = None, mechanism: str = "PLAIN") -> Deferred[LoginOutcome]:
        """A check under way."""
        return Deferred.fromCoroutine(self.logins.check(of or facts(), mechanism, credentials))

    def check(self, credentials: Any, of: Facts | None = None) -> LoginOutcome:
        """A check to its end, however long a failure waits."""
        checking = self.begin(credentials, of)
        self.clock.advance(DELAY_MAX_SECONDS)
        return self.successResultOf(checking)

    def test_right_password(self) -> None:
        """The account comes back, and both stages were asked, the second with the account."""
        outcome = self.check(password(b"right"))
        self.assertEqual(outcome.account, self.directory.accounts[ALICE])
        self.assertEqual([stage for stage, _ in self.policy.asked], [Stage.LOGIN, Stage.AUTHENTICATED])
        self.assertIsNone(self.policy.facts(Stage.LOGIN).account)
        self.assertEqual(self.policy.facts(Stage.LOGIN).login, ALICE)
        self.assertEqual(self.policy.facts(Stage.AUTHENTICATED).account, outcome.account)

    def test_login_is_noted_for_pop3_and_imap_only(self) -> None:
        """SMTP AUTH counts in its own session and writes no row."""
        for protocol, rows in ((Protocol.SMTP, 0), (Protocol.POP3, 1), (Protocol.IMAP, 1)):
            self.recent.rows.clear()
            self.check(password(b"right"), facts(protocol))
            self.assertEqual(len(self.recent.rows), rows, protocol)

    def test_failed_login_notes_nothing(self) -> None:
        """A wrong password is no ground for relaying."""
        self.assertIsNone(self.check(password(b"wrong")).account)
        self.assertEqual(self.recent.rows, {})

    def test_row_before_the_answer(self) -> None:
        """When the row cannot be written the login does not succeed."""
        self.recent.failure = TemporaryFailure("disk")
        self.failureResultOf(self.begin(password(b"right")), TemporaryFailure)

    def test_refused_before_the_password(self) -> None:
        """A refusal at LOGIN looks at no password; its verdict comes back."""
        self.policy.says[Stage.LOGIN] = refuse("535 5.7.8 no")
        outcome = self.check(password(b"right"))
        self.assertIsNone(outcome.account)
        self.assertEqual(outcome.verdict, self.policy.says[Stage.LOGIN])
        self.assertEqual(self.directory.checked, [])

    def test_refused_after_the_password(self) -> None:
        """A disabled account with the right password waits like a wrong one."""
        self.policy.says[Stage.AUTHENTICATED] = refuse("535 5.7.8 no")
        checking = self.begin(password(b"right"))
        self.assertNoResult(checking)
        self.clock.advance(1)
        self.assertIsNone(self.successResultOf(checking).account)
        self.assertEqual(self.recent.rows, {})

    def test_failures_wait_longer_each_time(self) -> None:
        """1, 2, 4 ... seconds, whatever the account, up to a bound; a right password does not wait."""
        for seconds in (1, 2, 4, 8, 16, 30, 30):
            checking = self.begin(password(b"wrong", f"user{seconds}@example.test"))
            self.clock.advance(seconds - 0.5)
            self.assertNoResult(checking)
            self.clock.advance(0.5)
            self.successResultOf(checking)
        self.assertIsNotNone(self.successResultOf(self.begin(password(b"right"))).account)

    def test_another_address_does_not_wait_longer(self) -> None:
        """What one address does is not laid on another."""
        for _ in range(5):
            self.check(password(b"wrong"))
        checking = self.begin(password(b"wrong"), facts(client="203.0.113.10"))
        self.clock.advance(1)
        self.successResultOf(checking)

    def test_ipv6_by_its_64(self) -> None:
        """Whoever has a /64 has more addresses than guesses."""
        self.check(password(b"wrong"), facts(client="2001:db8::1"))
        neighbour, stranger = (
            self.begin(password(b"wrong"), facts(client=client)) for client in ("2001:db8::ffff:1", "2001:db8:0:1::1")
        )
        self.clock.advance(1)
        self.successResultOf(stranger)
        self.assertNoResult(neighbour)
        self.clock.advance(1)
        self.successResultOf(neighbour)

    def test_a_deferral_does_not_count(self) -> None:
        """What we could not decide is nobody's guess."""
        self.policy.says[Stage.AUTHENTICATED] = defer("454 4.7.0 later")
        self.successResultOf(self.begin(password(b"right")))

    def test_without_reactor_nobody_waits(self) -> None:
        """For tools that check a login without a peer."""
        self.logins = Logins(lambda: self.policy, self.directory, self.recent)
        self.assertIsNone(self.successResultOf(self.begin(password(b"wrong"))).account)

    def test_acting_as_another(self) -> None:
        """An authorisation identity other than one's own is refused; one's own in any spelling is not."""
        self.assertIsNone(self.check(password(b"right", ALICE, "bob@example.test")).account)
        self.assertIsNone(self.check(password(b"right", ALICE, "not an address")).account)
        self.assertIsNotNone(self.check(password(b"right", ALICE, "ALICE@Example.TEST")).account)
        self.assertIsNotNone(self.check(password(b"right", "alice", "alice")).account)

    def test_cram(self) -> None:
        """The digest under the right password logs in; under another one, or without opting in, it does not."""
        self.assertEqual(self.check(cram(b"right")).account, self.directory.accounts[ALICE])
        self.assertIsNone(self.check(cram(b"wrong")).account)
        self.assertIsNone(self.check(cram(b"right too", "bob@example.test")).account)
        self.assertIsNone(self.check(cram(b"", "nobody@example.test")).account)
        reasons = [event["reason"] for event in self.logged if event.get("event") == "login-failed"]
        self.assertEqual(reasons, ["wrong credentials", "no CRAM-MD5 secret", "no CRAM-MD5 secret"])

    def test_cram_failures_wait_too(self) -> None:
        """Also those of accounts that have no such secret."""
        checking = self.begin(cram(b"x", "bob@example.test"))
        self.assertNoResult(checking)
        self.clock.advance(1)
        self.successResultOf(checking)

    def test_log_lines_hold_no_secret(self) -> None:
        """One line a login, with session, client and account, without password or digest."""
        tls = TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
        self.check(password(b"right"), Facts(make_connection(Protocol.IMAP), now=0.0, tls=tls))
        self.check(password(b"wr0ng"))
        self.check(cram(b"wr0ng"))
        lines = [event for event in self.logged if str(event.get("event", "")).startswith("login")]
        self.assertEqual([line["event"] for line in lines], ["login", "login-failed", "login-failed"])
        self.assertEqual(
            {key: lines[0][key] for key in ("session", "service", "client", "account", "tls", "recent_login")},
            {
                "session": "S1",
                "service": "test",
                "client": "203.0.113.9",
                "account": ALICE,
                "tls": "TLSv1.3",
                "recent_login": True,
            },
        )
        text = repr(lines) + repr(password(b"wr0ng")) + repr(cram(b"wr0ng"))
        self.assertNotIn("wr0ng", text)
        self.assertNotIn(cram(b"wr0ng").digest.decode(), text)


class FailedLoginsTests(SynchronousTestCase):
    """The memory of failures."""

    def test_forgotten_after_a_while(self) -> None:
        """An address without a failure for a quarter of an hour begins anew."""
        failed = FailedLogins()
        last = 1 + FAILURES_KEPT_SECONDS
        counts = [run_now(failed.note_login("192.0.2.1", now, FAILURES_KEPT_SECONDS)) for now in (0, 1, last)]
        self.assertEqual(counts, [1, 2, 1])

    def test_bounded(self) -> None:
        """A flood of addresses pushes the oldest out."""
        failed = FailedLogins()
        for number in range(FAILURES_MAX_ADDRESSES + 10):
            run_now(failed.note_login(f"a{number}", 0, FAILURES_KEPT_SECONDS))
        self.assertEqual(len(failed._failures), FAILURES_MAX_ADDRESSES)
        counts = [run_now(failed.note_login(client, 0, FAILURES_KEPT_SECONDS)) for client in ("a5", "a1000")]
        self.assertEqual(counts, [1, 2])
