"""Greeting, login, the end of a session."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Opinion, Stage, Verdict
from mailtraq_py.store.immediate import run_now
from tests.fakes import defer, make_account, refuse

from .house import ALICE, MESSAGE, House, ask, heard, send


class SessionCase(SynchronousTestCase):
    """With a house."""

    settings: ClassVar[dict[str, Any]] = {}

    def setUp(self) -> None:
        self.house = House(**self.settings)
        self.addCleanup(self.house.close)


class GreetingTests(SessionCase):
    """CONNECT and what is offered."""

    def test_greeting(self) -> None:
        """Capabilities at once, so that clients need not ask."""
        self.house.connect() >> re.compile(r"\A\* OK \[CAPABILITY IMAP4rev1 [^]]*LITERAL\+ [^]]*AUTH=PLAIN[^]]*\] mx")

    def test_refused(self) -> None:
        """With a reply, or without a word."""
        self.house.policy.says[Stage.CONNECT] = refuse("554 5.7.1 go away")
        play = self.house.connect()
        play >> "* BYE go away"
        self.assertTrue(play.closed)
        self.house.policy.says[Stage.CONNECT] = Verdict(Opinion.REFUSE, "access", "not admitted", close=True)
        play = self.house.connect()
        self.assertTrue(play.aborted)
        self.assertEqual(play.rest(), b"")

    def test_commands_of_any_state(self) -> None:
        """CAPABILITY, ID, NOOP, LOGOUT."""
        play = self.house.connect()
        play >> "* OK "
        self.assertRegex(ask(play, "CAPABILITY")[0], r"\A\* CAPABILITY IMAP4rev1 .*STARTTLS")
        self.assertEqual(ask(play, 'ID ("name" "x")'), ['* ID ("name" "mailtraq_py")', "OK done"])
        self.assertEqual(ask(play, "NOOP"), ["OK done"])
        self.assertEqual(ask(play, "LOGOUT"), ["* BYE goodbye", "OK done"])
        self.assertTrue(play.closed)

    def test_too_many_commands(self) -> None:
        """Attack 15: a stranger does not talk for ever."""
        play = self.house.connect()
        play << b"t NOOP\r\n" * 101
        lines = heard(play)
        self.assertEqual(lines[-3:], ["t OK done", "t BAD log in first", "* BYE too many commands before login"])
        self.assertTrue(play.closed)

    def test_nothing_later_is_advertised(self) -> None:
        """Only what is there."""
        self.assertNotRegex(self.house.connect().take(), r"COMPRESS|NOTIFY")


class LoginTests(SessionCase):
    """LOGIN and AUTHENTICATE."""

    def test_login(self) -> None:
        """The login counts in the whitelist before OK is said; the capabilities lose what is no longer offered."""
        play = self.house.connect()
        play >> "* OK "
        self.assertRegex(ask(play, f"LOGIN {ALICE} right")[0], r"\AOK \[CAPABILITY (?!.*AUTH=)[^]]*\] logged in")
        self.assertIn(ALICE, self.house.recent.rows["203.0.113.9"])
        self.assertEqual(send(play, f"LOGIN {ALICE} right"), ["t BAD not allowed while authenticated"])

    def test_authenticate(self) -> None:
        """With and without initial response, by LOGIN, cancelled (RFC 3501 6.2.2, RFC 4959)."""
        plain = b64encode(f"\0{ALICE}\0right".encode()).decode()
        play = self.house.connect()
        play >> "* OK "
        self.assertEqual(send(play, "AUTHENTICATE PLAIN"), ["+ "])
        play << "*" >> "t BAD cancelled"
        self.assertEqual(send(play, "AUTHENTICATE PLAIN not+base64"), ["t BAD bad initial response"])
        self.assertEqual(send(play, "AUTHENTICATE PLAIN ="), ["t BAD malformed response"])
        self.assertEqual(send(play, "AUTHENTICATE FOO"), ["t NO [CANNOT] mechanism not offered"])
        self.assertEqual(send(play, "AUTHENTICATE CRAM-MD5"), ["t NO [CANNOT] mechanism not offered"])
        ask(play, f"AUTHENTICATE PLAIN {plain}")
        play = self.house.connect()
        play >> "* OK "
        self.assertEqual(send(play, "AUTHENTICATE LOGIN"), ["+ VXNlcm5hbWU6"])
        play << b64encode(ALICE.encode()) + b"\r\n" >> "+ UGFzc3dvcmQ6"
        play << b64encode(b"right") + b"\r\n" >> "t OK"

    def test_failures_end(self) -> None:
        """The same text whatever failed; after the third BYE. Nothing is granted."""
        play = self.house.connect()
        play >> "* OK "
        failed = "t NO [AUTHENTICATIONFAILED] authentication failed"
        self.assertEqual(send(play, f"LOGIN {ALICE} wrong"), [failed])
        self.assertEqual(send(play, "LOGIN nobody@example.test right"), [failed])
        self.assertEqual(send(play, b'LOGIN {1+}\r\n\xff ""'), [failed, "* BYE too many failed logins"])
        self.assertTrue(play.closed)
        self.assertEqual(self.house.recent.rows, {})

    def test_later(self) -> None:
        """A store that cannot be asked, and a policy that defers, are no wrong password."""
        play = self.house.connect()
        play >> "* OK "
        self.house.directory.failure = TemporaryFailure("disk")
        self.assertEqual(send(play, f"LOGIN {ALICE} right"), ["t NO [UNAVAILABLE] try again later"])
        self.house.directory.failure = None
        self.house.policy.says[Stage.LOGIN] = defer("451 4.7.0 later")
        self.assertEqual(send(play, f"LOGIN {ALICE} right"), ["t NO [UNAVAILABLE] try again later"])
        del self.house.policy.says[Stage.LOGIN]
        ask(play, f"LOGIN {ALICE} right")

    def test_revoked_meanwhile(self) -> None:
        """An account that changed while its password was checked is not let in."""
        play = self.house.connect()
        play >> "* OK "
        self.house.directory.accounts[ALICE] = make_account(ALICE, self.house.account.id, enabled=False)
        self.assertEqual(send(play, f"LOGIN {ALICE} right"), ["t NO [AUTHENTICATIONFAILED] authentication failed"])

    def test_another_identity(self) -> None:
        """Attack 27: nobody acts as another."""
        play = self.house.connect()
        play >> "* OK "
        plain = b64encode(f"bob@example.test\0{ALICE}\0right".encode()).decode()
        self.assertIn("AUTHENTICATIONFAILED", send(play, f"AUTHENTICATE PLAIN {plain}")[0])

    def test_no_secret_in_the_log(self) -> None:
        """Neither passwords nor SASL octets."""
        events: list[object] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        play = self.house.connect()
        send(play, f"LOGIN {ALICE} wrong-sesame")
        send(play, f"AUTHENTICATE PLAIN {b64encode(f'{chr(0)}{ALICE}{chr(0)}right'.encode()).decode()}")
        self.assertTrue(events)
        self.assertNotRegex(str(events), "sesame|AGFsaWNl")


class PlaintextTests(SessionCase):
    """Where no password may be sent as it is."""

    settings: ClassVar[dict[str, Any]] = {"plaintext_from": lambda client: False}

    def test_disabled(self) -> None:
        """LOGINDISABLED, and a password that is sent all the same is not looked at (RFC 3501 6.2.3)."""
        play = self.house.connect()
        play >> re.compile(r"STARTTLS LOGINDISABLED\]")
        self.assertIn("PRIVACYREQUIRED", send(play, f"LOGIN {ALICE} right")[0])
        self.assertIn("PRIVACYREQUIRED", send(play, "AUTHENTICATE PLAIN AGEAYg==")[0])
        self.assertEqual(self.house.directory.checked, [])

    def test_starttls(self) -> None:
        """Attack 7: what was sent behind STARTTLS is forgotten; in TLS the password may come."""
        play = self.house.connect()
        play >> "* OK "
        play << b"t STARTTLS\r\nx LOGIN a b\r\n" >> "t OK begin TLS now"
        self.assertEqual(play.transport.tls_context, "server context")
        play.handshake()
        self.assertEqual(play.rest(), b"")
        self.assertRegex(ask(play, "CAPABILITY")[0], "AUTH=PLAIN")
        self.assertEqual(send(play, "STARTTLS"), ["t BAD TLS is up already"])
        ask(play, f"LOGIN {ALICE} right")


class EndTests(SessionCase):
    """Time-outs, the server's end, the account's end."""

    def test_timed_out(self) -> None:
        """A minute before login, thirty after it (RFC 3501 5.4)."""
        play = self.house.connect()
        play >> "* OK "
        play.clock.advance(61)
        play >> "* BYE idle for too long"
        play = self.house.log_in()
        play.clock.advance(1700)
        self.assertFalse(play.closed)
        play.clock.advance(200)
        play >> "* BYE"

    def test_server_stops(self) -> None:
        """RFC 3501 7.1.5."""
        play = self.house.log_in("INBOX")
        play.driver.stop()
        play >> "* BYE [UNAVAILABLE] the server stops"

    def test_account_revoked(self) -> None:
        """A changed password ends the account's sessions at once, idling or not."""
        plays = [self.house.log_in(), self.house.log_in("INBOX")]
        send(plays[1], "IDLE")
        run_now(self.house.store.administration.set_password(ALICE, b"another one"))
        for play in plays:
            play >> "* BYE [UNAVAILABLE] your account was changed"
            self.assertTrue(play.closed)

    def test_nothing_is_left(self) -> None:
        """After its end a session hears of nothing and holds no spool."""
        play = self.house.log_in("INBOX")
        send(play, "IDLE")
        play.end()
        other = self.house.log_in("INBOX")
        play_spool = b"t APPEND INBOX {70000+}\r\nabc"
        other << play_spool
        other.end()
        self.assertEqual(self.house.store.hub._listeners, {})
        self.assertIsNone(other.session.appending)
        self.house.deliver(MESSAGE)

    def test_gone_while_it_waits(self) -> None:
        """A client that leaves while the store works for it is no error of ours, whatever the command does after."""
        self.house.deliver(MESSAGE)
        for command, operation in (
            ("EXPUNGE", "expunge"),
            ("UID EXPUNGE 1", "expunge"),
            ("CLOSE", "expunge"),
            ("STORE 1 FLAGS (a)", "store"),
            ("COPY 1 Archive", "copy"),
            ("MOVE 1 Archive", "copy"),
            ("FETCH 1 FLAGS", "fetch"),
            ("SEARCH BODY x", "search"),
        ):
            play = self.house.log_in("INBOX")
            held: Deferred[None] = Deferred()
            kind = type(play.session.selected.mailbox)
            original = getattr(kind, operation)

            async def later(
                *arguments: Any, held: Deferred[None] = held, original: Any = original, **keywords: Any
            ) -> Any:
                await held
                return await original(*arguments, **keywords)

            patched = self.patch(kind, operation, later)
            send(play, command)
            play.end()
            held.callback(None)
            play.turn()
            patched.restore()
            self.assertEqual(self.flushLoggedErrors(), [], command)

    def test_renewed(self) -> None:
        """A session that speaks moves its row of the whitelist, but not at every command."""
        play = self.house.log_in("INBOX")
        for _ in range(5):
            ask(play, "NOOP")
        self.assertEqual(self.house.recent.renewed, [])
        play.clock.advance(101)
        ask(play, "NOOP")
        ask(play, "NOOP")
        self.assertEqual(self.house.recent.renewed, [ALICE])

    def test_local_error(self) -> None:
        """A bug of ours: the client hears a reference, and goes on."""
        play = self.house.log_in()
        self.house.store.mailboxes = None  # type: ignore[assignment]
        play.session.own_mailboxes = object()
        self.assertEqual(send(play, "SELECT INBOX"), ["t NO [SERVERBUG] local error, reference S1"])
        self.flushLoggedErrors()
        self.assertEqual(heard(play), [""])
        ask(play, "NOOP")
