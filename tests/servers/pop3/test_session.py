"""POP3 dialogues: greeting, logins, the maildrop, the end."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Opinion, Stage, Verdict
from mailtraq_py.mail.changes import AccountRevoked, MailboxChanged
from mailtraq_py.servers.login import Logins
from mailtraq_py.servers.pop3 import transaction
from mailtraq_py.servers.pop3.service import MaildropLocks, POP3Service, POP3ServiceSettings
from mailtraq_py.servers.pop3.session import POP3Session
from tests.fakes import (
    PERMIT,
    FakeDirectory,
    FakePolicy,
    FakeRecentLogins,
    FakeTLSContexts,
    defer,
    make_connection,
    refuse,
)
from tests.play import Play

from .fakes import MAILBOX_ID, UID_VALIDITY, FakeInbox

ALICE = "alice@example.test"
FIRST = b"Subject: one\r\n\r\nbody\r\n.dot\r\nend\r\n"
SECOND = b"Subject: two\r\nTo: b\r\n\r\n"
THIRD = b"Subject: 3\r\n\r\n" + b"0123456789abcdef\r\n" * 5


class POP3Test(SynchronousTestCase):
    """A service over fakes with three messages."""

    def setUp(self) -> None:
        self.policy = FakePolicy()
        self.directory = FakeDirectory({ALICE: b"right", "bob@example.test": b"right"}, frozenset({ALICE}))
        self.recent = FakeRecentLogins()
        self.tls = FakeTLSContexts()
        self.inbox = FakeInbox(FIRST, SECOND, THIRD)
        self.locks = MaildropLocks()
        self.plaintext = True
        self.settings = POP3ServiceSettings("pop", "mx.example.test")

    def make_session(self, clock: Clock, connection: Connection) -> POP3Session:
        """One session."""
        inbox: Any = self.inbox
        return POP3Session(
            POP3Service(
                self.settings,
                lambda: self.policy,
                Logins(lambda: self.policy, self.directory, self.recent, clock),
                lambda client: self.plaintext,
                inbox.of_account,
                inbox,
                inbox,
                self.tls,
                self.locks,
                clock.seconds,
            ),
            connection,
        )

    def connect(self, **facts: Any) -> Play:
        """A connection that has not been greeted yet."""
        return Play(self.make_session, connection=make_connection(Protocol.POP3, **facts))

    def log_in(self, login: str = ALICE) -> Play:
        """A session in TRANSACTION, its replies taken."""
        play = self.connect()
        play >> "+OK mx.example.test"
        play << f"USER {login}" >> "+OK"
        play << "PASS right" >> "+OK 3 messages, "
        return play

    def response(self, play: Play, command: str) -> bytes:
        """All that comes for a command."""
        play << command
        return play.rest()


class GreetingTests(POP3Test):
    """CONNECT."""

    def test_refused(self) -> None:
        """The policy's text, and the end."""
        self.policy.says[Stage.CONNECT] = refuse("554 5.7.1 Access denied, firewall")
        play = self.connect()
        play >> "-ERR Access denied, firewall"
        self.assertTrue(play.closed)

    def test_refused_without_a_word(self) -> None:
        """`refuse = "close"`."""
        self.policy.says[Stage.CONNECT] = Verdict(Opinion.REFUSE, "access", "not in the list", close=True)
        play = self.connect()
        self.assertEqual(play.rest(), b"")
        self.assertTrue(play.aborted)

    def test_deferred(self) -> None:
        """A temporary refusal says that it is one."""
        self.policy.says[Stage.CONNECT] = defer("421 4.7.0 later")
        play = self.connect()
        play >> "-ERR [SYS/TEMP] later"
        self.assertTrue(play.closed)

    def test_late_policy(self) -> None:
        """What a client sends before the greeting is answered after it."""
        self.policy.hold(Stage.CONNECT)
        play = self.connect()
        play << "CAPA"
        self.assertEqual(play.rest(), b"")
        self.policy.release(Stage.CONNECT)
        play.turn()
        play >> "+OK mx.example.test" >> "+OK Cap"

    def test_marks_go_on(self) -> None:
        """What CONNECT marked is known at the login."""
        self.policy.says[Stage.CONNECT] = PERMIT._replace(marks=frozenset({"listed"}))
        self.log_in()
        self.assertEqual(self.policy.facts(Stage.LOGIN).marks, {"listed"})


class LoginTests(POP3Test):
    """USER, PASS, AUTH, STLS."""

    def test_user_pass(self) -> None:
        """The row of the whitelist is there when +OK comes."""
        self.log_in()
        self.assertEqual(list(self.recent.rows), ["203.0.113.9"])
        self.assertEqual(self.policy.facts(Stage.LOGIN).mechanism, "USER")

    def test_no_ok_before_the_row(self) -> None:
        """A whitelist that cannot be written: no login, and no lock."""
        self.recent.failure = TemporaryFailure("disk full")
        play = self.connect()
        play >> "+OK"
        play << f"USER {ALICE}" << "PASS right"
        play >> "+OK" >> "-ERR [SYS/TEMP] Try again later"
        self.recent.failure = None
        play << f"USER {ALICE}" >> "+OK"
        play << "PASS right" >> "+OK 3"

    def test_failures_are_late_alike_and_counted(self) -> None:
        """Missing user and wrong password hear the same words; the third failure ends the connection."""
        play = self.connect()
        play >> "+OK"
        for number, name in enumerate((ALICE, "nobody@example.test", "x")):
            play << f"USER {name}" >> "+OK"
            play << "PASS wrong"
            self.assertEqual(play.rest(), b"")
            play.clock.advance(2**number)
            self.assertEqual(play.take(), "-ERR [AUTH] Login failed")
        self.assertTrue(play.closed)
        self.assertEqual(self.recent.rows, {})

    def test_policy_refuses_the_login(self) -> None:
        """Its text goes to the peer."""
        self.policy.says[Stage.LOGIN] = refuse("535 5.7.8 Not from here")
        play = self.connect()
        play >> "+OK"
        play << f"USER {ALICE}" << "PASS right"
        play >> "+OK" >> "-ERR [AUTH] Not from here"
        self.assertEqual(self.directory.checked, [])

    def test_pass_without_user(self) -> None:
        """PASS only directly after USER; a failed one needs USER again."""
        play = self.connect()
        play >> "+OK"
        play << "PASS right" >> "-ERR USER first"

    def test_no_password_in_clear(self) -> None:
        """Where TLS is asked for, USER is refused before a password is sent, and CAPA does not offer it."""
        self.plaintext = False
        play = self.connect()
        play >> "+OK"
        play << f"USER {ALICE}" >> "-ERR [AUTH] Passwords only after STLS"
        play << "AUTH PLAIN" >> "-ERR [AUTH]"
        capabilities = self.response(play, "CAPA").split(b"\r\n")
        self.assertNotIn(b"USER", capabilities)
        self.assertIn(b"SASL CRAM-MD5", capabilities)
        play << "STLS" >> "+OK"
        play.handshake()
        capabilities = self.response(play, "CAPA").split(b"\r\n")
        self.assertIn(b"USER", capabilities)
        self.assertIn(b"SASL PLAIN LOGIN CRAM-MD5", capabilities)
        self.assertNotIn(b"STLS", capabilities)
        play << "STLS" >> "-ERR TLS is active"
        play << f"USER {ALICE}" >> "+OK"
        play << "PASS right" >> "+OK 3"
        self.assertIsNotNone(self.policy.facts(Stage.LOGIN).tls)

    def test_stls_injection(self) -> None:
        """What stands behind STLS in the same packet is never run, inside TLS neither (attack 9)."""
        play = self.connect()
        play >> "+OK"
        play << f"USER {ALICE}" >> "+OK"
        play << b"STLS\r\nPASS right\r\nSTAT\r\n"
        play >> "+OK Begin TLS"
        play.handshake()
        self.assertEqual(play.rest(), b"")
        play << "PASS right" >> "-ERR USER first"
        self.assertEqual(self.directory.checked, [])

    def test_no_stls_without_certificate(self) -> None:
        """Nor on a service that does not offer it."""
        self.tls.has_certificate = False
        play = self.connect()
        self.assertNotIn(b"STLS", self.response(play, "CAPA"))
        play << "STLS" >> "-ERR No TLS here"

    def test_auth_plain(self) -> None:
        """With and without an initial response."""
        credentials = b64encode(f"\0{ALICE}\0right".encode()).decode()
        play = self.connect()
        play >> "+OK"
        play << f"AUTH PLAIN {credentials}" >> "+OK 3 messages"
        play.end()
        play = self.connect()
        play >> "+OK"
        play << "auth plain" >> "+ "
        play << credentials >> "+OK 3 messages"

    def test_auth_login_and_cram(self) -> None:
        """The other mechanisms."""
        play = self.connect()
        play >> "+OK"
        play << "AUTH LOGIN" >> "+ " + b64encode(b"Username:").decode()
        play << b64encode(ALICE.encode()) + b"\r\n" >> "+ "
        play << b64encode(b"right") + b"\r\n" >> "+OK 3"
        play.end()
        play = self.connect()
        play >> "+OK"
        play << "AUTH CRAM-MD5"
        challenge = b64decode(play.take()[2:])
        self.assertRegex(challenge, rb"<[0-9a-f]{16}\.[0-9]+@mx\.example\.test>\Z")
        digest = hmac.new(b"right", challenge, "md5").hexdigest()
        play << b64encode(f"{ALICE} {digest}".encode()) + b"\r\n" >> "+OK 3"

    def test_auth_malformed(self) -> None:
        """Attack 26: each form is refused, and nothing is checked."""
        for sent in (
            "AUTH",
            "AUTH X",
            "AUTH PLAIN !",
            "AUTH PLAIN =",
            "AUTH PLAIN AGEA",
            "AUTH PLAIN " + b64encode(b"\0\0right").decode(),
            "AUTH PLAIN " + b64encode(b"a\0b\0c\0d").decode(),
            "AUTH PLAIN " + b64encode(b"ab").decode() + " AA==",
            "AUTH CRAM-MD5 AA==",
        ):
            play = self.connect()
            play >> "+OK"
            play << sent >> "-ERR"
            play << "CAPA" >> "+OK"
            play.end()
        for sent in ("*", "A B", "====", "AGEA", "AA" * 4000):
            play = self.connect()
            play >> "+OK"
            play << "AUTH PLAIN" >> "+ "
            play << sent >> "-ERR"
            play << "CAPA" >> "+OK"
            play.end()
        play = self.connect()
        play >> "+OK"
        play << "AUTH PLAIN" >> "+ "
        play.send(b"A" * (1 << 20))
        play >> "-ERR Line too long"
        self.assertTrue(play.closed)
        self.assertEqual(self.directory.checked, [])

    def test_authorisation_identity(self) -> None:
        """Attack 27: acting as another with one's own password."""
        play = self.connect()
        play >> "+OK"
        play << "AUTH PLAIN " + b64encode(f"bob@example.test\0{ALICE}\0right".encode()).decode()
        play.clock.advance(1)
        play >> "-ERR [AUTH] Login failed"

    def test_one_session_a_maildrop(self) -> None:
        """P 46: the second hears [IN-USE], another account does not; QUIT frees it before its +OK, a lost one too."""
        first = self.log_in()
        second = self.connect()
        second >> "+OK"
        second << f"USER {ALICE}" >> "+OK"
        second << "PASS right" >> "-ERR [IN-USE]"
        self.log_in("bob@example.test")
        first << "QUIT" >> "+OK"
        second << f"USER {ALICE}" >> "+OK"
        second << "PASS right" >> "+OK 3"
        second.end()
        self.log_in()

    def test_shared_maildrops(self) -> None:
        """Where the service is told so any number may come."""
        self.settings = POP3ServiceSettings("pop", "mx.example.test", exclusive=False)
        self.log_in()
        self.log_in()

    def test_gone_while_logging_in(self) -> None:
        """A client that goes while its maildrop is opened leaves no lock and no watch behind."""
        self.inbox.holding = Deferred()
        play = self.connect()
        play << f"USER {ALICE}" << "PASS right"
        play.end()
        holding, self.inbox.holding = self.inbox.holding, None
        holding.callback(None)
        self.assertEqual(self.inbox.watchers, {})
        self.log_in()

    def test_store_fails_at_login(self) -> None:
        """A maildrop that cannot be read: temporary, and no lock stays."""
        self.inbox.failure = TemporaryFailure("disk")
        play = self.connect()
        play >> "+OK"
        play << f"USER {ALICE}" << "PASS right"
        play >> "+OK" >> "-ERR [SYS/TEMP]"
        self.inbox.failure = None
        self.log_in()


class TransactionTests(POP3Test):
    """The maildrop."""

    def test_stat_list_uidl(self) -> None:
        """Counts, sizes and unique-ids, in all and one by one."""
        play = self.log_in()
        total = len(FIRST) + len(SECOND) + len(THIRD)
        play << "STAT" >> f"+OK 3 {total}"
        listing = b"".join(b"%d %d\r\n" % (n, len(m)) for n, m in enumerate((FIRST, SECOND, THIRD), 1))
        self.assertEqual(self.response(play, "LIST"), b"+OK 3 messages, %d octets\r\n%s.\r\n" % (total, listing))
        play << "LIST 2" >> f"+OK 2 {len(SECOND)}"
        uids = "".join(f"{n} {UID_VALIDITY}.{n + 9}\r\n" for n in (1, 2, 3)).encode()
        self.assertEqual(self.response(play, "UIDL"), b"+OK Unique-ids follow\r\n" + uids + b".\r\n")
        play << "UIDL 3" >> f"+OK 3 {UID_VALIDITY}.12"
        play << "NOOP" >> "+OK"

    def test_empty_maildrop(self) -> None:
        """Nothing is listed."""
        self.inbox = FakeInbox()
        play = self.connect()
        play << f"USER {ALICE}" << "PASS right" << "STAT" << "LIST" << "RETR 1"
        play >> "+OK" >> "+OK" >> "+OK 0 messages" >> "+OK 0 0" >> "+OK 0" >> "." >> "-ERR"

    def test_retr(self) -> None:
        """The message as it is, dot-stuffed, in one write."""
        play = self.log_in()
        writes: list[bytes] = []
        play.transport.write = writes.append
        play << "RETR 1"
        self.assertEqual(writes, [b"+OK Message follows\r\n" + FIRST.replace(b"\r\n.", b"\r\n..") + b".\r\n"])
        play << "RETR 2"
        self.assertEqual(writes[1:], [b"+OK Message follows\r\n" + SECOND + b".\r\n"])

    def test_retr_in_pieces(self) -> None:
        """A long message goes piece by piece, each when the one before has left."""
        self.patch(transaction, "PIECE_OCTETS", 40)
        play = self.log_in()
        write = play.transport.write

        def write_and_be_full(octets: bytes) -> None:
            write(octets)
            play.driver.pauseProducing()

        play.transport.write = write_and_be_full
        play << "RETR 3"
        heard = b""
        for pieces in (1, 2, 3):
            self.assertEqual(len(self.inbox.reads), min(pieces + 1, 3))
            heard += play.rest()
            play.driver.resumeProducing()
        self.assertEqual(heard + play.rest(), b"+OK Message follows\r\n" + THIRD + b".\r\n")

    def test_top(self) -> None:
        """The header with its blank line and so many lines of the body, whatever the pieces."""
        for piece_octets in (10, 17, 40, 1000):
            self.patch(transaction, "PIECE_OCTETS", piece_octets)
            self.inbox = FakeInbox(FIRST, SECOND, THIRD)
            play = self.log_in()
            for lines in (0, 1, 2, 5, 6, 9999999999):
                body = b"0123456789abcdef\r\n" * min(lines, 5)
                self.assertEqual(
                    self.response(play, f"TOP 3 {lines}"),
                    b"+OK Message follows\r\nSubject: 3\r\n\r\n" + body + b".\r\n",
                )
            self.assertEqual(self.response(play, "TOP 2 5"), b"+OK Message follows\r\n" + SECOND + b".\r\n")
            play.end()

    def test_top_reads_little(self) -> None:
        """The header of a large message does not cost its body."""
        self.inbox = FakeInbox(FIRST, SECOND, b"Subject: big\r\n\r\n" + b"x" * 1_000_000)
        play = self.log_in()
        play << "TOP 3 0"
        self.assertEqual(self.inbox.reads, [(0, 16)])

    def test_bad_numbers(self) -> None:
        """P 46: whatever is no message here gets -ERR."""
        play = self.log_in()
        for command in (
            "RETR 0",
            "RETR 4",
            "RETR 4294967297",
            "RETR -1",
            "TOP 4 1",
            "TOP 1 999999999999",
            "LIST 0",
            "UIDL 4",
            "UIDL x",
            "DELE 0",
            "DELE 9999999999",
        ):
            play << command >> "-ERR"

    def test_dele_quit(self) -> None:
        """A mark hides the message at once and removes it at QUIT, others keep their numbers; UIDs stay."""
        play = self.log_in()
        play << "DELE 2" >> "+OK"
        play << "DELE 2" >> "-ERR No such message"
        play << "RETR 2" >> "-ERR No such message"
        play << "TOP 2 0" >> "-ERR"
        play << "STAT" >> f"+OK 2 {len(FIRST) + len(THIRD)}"
        self.assertEqual(
            self.response(play, "UIDL"),
            f"+OK Unique-ids follow\r\n1 {UID_VALIDITY}.10\r\n3 {UID_VALIDITY}.12\r\n.\r\n".encode(),
        )
        self.assertEqual(self.inbox.removed, [])
        play << "QUIT" >> "+OK Bye"
        self.assertTrue(play.closed)
        self.assertEqual(self.inbox.removed, [11])
        play.end()
        play = self.connect()
        play << f"USER {ALICE}" << "PASS right" << "UIDL 2"
        play >> "+OK" >> "+OK" >> "+OK 2 messages" >> f"+OK 2 {UID_VALIDITY}.12"

    def test_rset(self) -> None:
        """Marks are undone."""
        play = self.log_in()
        play << "DELE 1" << "DELE 3" << "RSET"
        play >> "+OK" >> "+OK" >> "+OK 3 messages"
        play << "QUIT" >> "+OK"
        self.assertEqual(self.inbox.removed, [])

    def test_ok_of_quit_comes_after_the_commit(self) -> None:
        """Until then there is no word."""
        play = self.log_in()
        play << "DELE 1" >> "+OK"
        self.inbox.holding = Deferred()
        play << "QUIT"
        self.assertEqual(play.rest(), b"")
        self.inbox.holding.callback(None)
        play >> "+OK"

    def test_quit_that_fails(self) -> None:
        """What could not be removed is told, and stays."""
        play = self.log_in()
        play << "DELE 1" >> "+OK"
        self.inbox.failure = TemporaryFailure("disk full")
        play << "QUIT" >> "-ERR [SYS/TEMP] Some messages were not removed"
        self.assertTrue(play.closed)
        self.inbox.failure = None
        self.log_in()

    def test_drop_without_quit(self) -> None:
        """P 46: a lost connection, an idle one and a stop of the server delete nothing."""
        for end in ("end", "idle", "stop"):
            play = self.log_in()
            play << "DELE 1" >> "+OK"
            if end == "idle":
                play.clock.advance(600)
                self.assertEqual(play.rest(), b"", "RFC 1939 3: without sending any response")
            elif end == "stop":
                play.driver.stop()
                play >> "-ERR [SYS/TEMP]"
            if end != "end":
                self.assertTrue(play.closed)
            play.end()
        self.assertEqual(self.inbox.removed, [])

    def test_idle_before_the_login(self) -> None:
        """Who does not log in ends sooner."""
        play = self.connect()
        play.clock.advance(60)
        self.assertTrue(play.closed)

    def test_expunged_elsewhere(self) -> None:
        """P 46: gone is gone, also where it was read ahead; the others keep their numbers, new ones do not appear."""
        play = self.log_in()
        play << "RETR 1" >> "+OK"
        play.rest()
        del self.inbox.messages[11]
        self.inbox.messages[20] = b"new"
        self.inbox.watchers["mailbox", MAILBOX_ID](MailboxChanged(MAILBOX_ID, 9))
        play << "RETR 2" >> "-ERR No such message"
        play << "RETR 4" >> "-ERR No such message"
        self.assertEqual(self.response(play, "RETR 3"), b"+OK Message follows\r\n" + THIRD + b".\r\n")
        play << "DELE 2" >> "+OK"
        play << "QUIT" >> "+OK"
        self.assertEqual(self.inbox.removed, [])

    def test_read_ahead(self) -> None:
        """RETRs that follow one another share one look into the store."""
        play = self.log_in()
        before = self.inbox.fetches
        play << b"RETR 1\r\nDELE 1\r\nRETR 2\r\nDELE 2\r\nRETR 3\r\nDELE 3\r\nQUIT\r\n"
        self.assertEqual(self.inbox.fetches - before, 1)
        self.assertEqual(self.inbox.removed, [10, 11, 12])
        self.assertEqual(len(re.findall(rb"^\+OK", play.rest(), re.MULTILINE)), 7)

    def test_store_fails_before_a_message(self) -> None:
        """Then it can be told."""
        play = self.log_in()
        self.inbox.read_failure_from = 0
        play << "RETR 1" >> "-ERR [SYS/TEMP]"
        self.inbox.read_failure_from = None
        play << "RETR 1" >> "+OK"

    def test_store_fails_inside_a_message(self) -> None:
        """The response must not look whole."""
        self.patch(transaction, "PIECE_OCTETS", 40)
        play = self.log_in()
        self.inbox.read_failure_from = 40
        response = self.response(play, "RETR 3")
        self.assertEqual(response, b"+OK Message follows\r\n" + THIRD[:40])
        self.assertTrue(play.closed)

    def test_content_that_is_too_short(self) -> None:
        """So must one that the store gives in part only."""
        play = self.log_in()
        play << "RETR 1" >> "+OK"
        play.rest()
        self.inbox.messages[12] = THIRD[:40]
        self.assertFalse(self.response(play, "RETR 3").endswith(b".\r\n"))
        self.assertTrue(play.closed)

    def test_revoked(self) -> None:
        """A disabled account's session ends at once and deletes nothing."""
        play = self.log_in()
        play << "DELE 1" >> "+OK"
        self.inbox.watchers["account", 1](AccountRevoked(1))
        self.assertTrue(play.closed)
        play.end()
        self.assertEqual(self.inbox.removed, [])
        self.assertEqual(self.inbox.watchers, {})

    def test_our_bug(self) -> None:
        """The peer hears the session's identifier; in the middle of a message the connection ends."""
        play = self.log_in()
        self.inbox.failure = ZeroDivisionError("secret")
        play << "RETR 1" >> "-ERR [SYS/TEMP] Local error, reference S1"
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_many_messages(self) -> None:
        """P 46: a large maildrop is read in batches and listed in pieces."""
        count = 9000
        self.inbox = FakeInbox(*[b"Subject: x\r\n\r\n"] * count)
        play = self.connect()
        play << f"USER {ALICE}" << "PASS right"
        play >> "+OK" >> "+OK"
        for _ in range(10):
            play.turn()
        play >> f"+OK {count} messages"
        self.assertEqual(self.response(play, "LIST").count(b"\r\n"), count + 2)
        play << f"UIDL {count}" >> f"+OK {count} {UID_VALIDITY}.{count + 9}"
        play << f"RETR {count}" >> "+OK"

    def test_capa_after_the_login(self) -> None:
        """RFC 2449 5: what was announced before is announced in both states."""
        play = self.log_in()
        capabilities = self.response(play, "CAPA").split(b"\r\n")
        for name in (b"TOP", b"UIDL", b"USER", b"STLS", b"PIPELINING", b"RESP-CODES", b"EXPIRE NEVER"):
            self.assertIn(name, capabilities)
