"""POP3 over the real store, at once and without a reactor: what is there after a restart, what IMAP took away."""

from __future__ import annotations

import itertools
import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.store import Acceptance, LocalDelivery, NewContent
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.servers.login import Logins
from mailtraq_py.servers.pop3.service import MaildropLocks, POP3Service, POP3ServiceSettings
from mailtraq_py.servers.pop3.session import POP3Session
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe
from tests.fakes import FakePolicy, FakeRecentLogins, FakeTLSContexts, make_connection
from tests.play import Play

ALICE = "alice@example.test"
HEAD = b"Return-Path: <>\r\n"


def message(number: int, lines: int = 3) -> bytes:
    """A message with its number in it."""
    return b"Subject: %d\r\n\r\n" % number + b".body %d\r\n" % number * lines


class StoreTests(SynchronousTestCase):
    """A maildrop on disk."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        self.ids = itertools.count()
        self.store = self.open_store()
        self.addCleanup(lambda: run_now(self.store.close()))
        run_now(self.store.administration.add_domain("example.test"))
        self.account = run_now(self.store.administration.add_account(ALICE, b"right password"))

    def open_store(self) -> Store:
        """A store over the test's folder."""
        store = Store(f"sqlite:{self.folder}/mail.db", self.folder)
        run_now(store.start())
        return store

    def restart(self) -> None:
        """Close the store and open it again."""
        run_now(self.store.close())
        self.store = self.open_store()

    def deliver(self, *messages: bytes) -> None:
        """Each message into INBOX, with a head of its own."""
        for octets in messages:
            spool = self.store.content.spool()
            spool.write(octets)
            content = NewContent(spool, describe([octets]), (LocalDelivery(self.account.id, "INBOX", HEAD),))
            run_now(self.store.acceptance.commit(Acceptance(f"M{next(self.ids)}", 1_000_000.0, (content,))))

    def log_in(self) -> Play:
        """A session in TRANSACTION."""
        policy = FakePolicy()

        def make_session(clock: Clock, connection: Connection) -> POP3Session:
            return POP3Session(
                POP3Service(
                    POP3ServiceSettings("pop", "mx.example.test"),
                    lambda: policy,
                    Logins(lambda: policy, self.store.directory, FakeRecentLogins(), clock),
                    lambda client: True,
                    self.store.mailboxes,
                    self.store.content,
                    self.store.hub,
                    FakeTLSContexts(),
                    MaildropLocks(),
                    clock.seconds,
                ),
                connection,
            )

        play = Play(make_session, connection=make_connection(Protocol.POP3))
        play << f"USER {ALICE}" << "PASS right password"
        play >> "+OK" >> "+OK" >> "+OK"
        return play

    def response(self, play: Play, command: str) -> bytes:
        """All that comes for a command."""
        play << command
        return play.rest()

    def test_messages_come_back_whole(self) -> None:
        """Small, compressed, and large ones in files; sizes are what RETR sends."""
        messages = [message(1), message(2, 1000), message(3, 100_000), b"\r\n", b"Subject: no body\r\n"]
        self.deliver(*messages)
        play = self.log_in()
        for number, octets in enumerate(messages, 1):
            play << f"LIST {number}" >> f"+OK {number} {len(HEAD + octets)}"
            stuffed = (HEAD + octets).replace(b"\r\n.", b"\r\n..")
            self.assertEqual(self.response(play, f"RETR {number}"), b"+OK Message follows\r\n" + stuffed + b".\r\n")
        self.assertEqual(
            self.response(play, "TOP 3 1"),
            b"+OK Message follows\r\n" + HEAD + b"Subject: 3\r\n\r\n..body 3\r\n.\r\n",
        )

    def test_unique_ids_outlive_a_restart_and_an_expunge(self) -> None:
        """Attack 46: they name the same messages in every session."""
        self.deliver(message(1), message(2), message(3))
        play = self.log_in()
        before = self.response(play, "UIDL").split(b"\r\n")[1:4]
        play << "QUIT" >> "+OK"
        self.restart()
        inbox = run_now(self.store.mailboxes(self.account.id).open("INBOX"))
        _, uids = run_now(inbox.select(False))
        run_now(inbox.remove(UIDSet.from_numbers([list(uids)[1]])))
        after = self.response(self.log_in(), "UIDL").split(b"\r\n")[1:3]
        self.assertEqual([line.split()[1] for line in after], [before[0].split()[1], before[2].split()[1]])

    def test_expunged_by_imap_in_the_middle(self) -> None:
        """-ERR for that one, the same numbers for the others, no new ones; a DELE of it harms nothing."""
        self.deliver(message(1), message(2), message(3))
        play = self.log_in()
        play << "RETR 1" >> "+OK"
        play.rest()
        inbox = run_now(self.store.mailboxes(self.account.id).open("INBOX"))
        _, uids = run_now(inbox.select(False))
        run_now(inbox.remove(UIDSet.from_numbers([list(uids)[1]])))
        self.deliver(message(4))
        play << "RETR 2" >> "-ERR No such message any more"
        self.assertIn(b"..body 3", self.response(play, "RETR 3"))
        play << "RETR 4" >> "-ERR No such message"
        play << "DELE 2" >> "+OK"
        play << "DELE 1" >> "+OK"
        play << "QUIT" >> "+OK"
        _, uids = run_now(inbox.select(False))
        self.assertEqual(len(uids), 2)

    def test_deleted_at_quit_only(self) -> None:
        """A lost connection leaves all; after QUIT they are gone, for a store that is opened anew too."""
        self.deliver(*(message(number) for number in range(5)))
        play = self.log_in()
        play << "DELE 1" >> "+OK"
        play.end()
        play = self.log_in()
        play << "STAT" >> "+OK 5 "
        play << "DELE 1" << "DELE 5" << "QUIT"
        play >> "+OK" >> "+OK" >> "+OK"
        self.restart()
        self.log_in() << "STAT" >> "+OK 3 "

    def test_revoked(self) -> None:
        """A changed password ends the open session."""
        play = self.log_in()
        run_now(self.store.administration.set_password(ALICE, b"another one"))
        self.assertTrue(play.closed)
