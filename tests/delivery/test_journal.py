"""mailtraq_py/delivery/journal.py: copies of all mail, without loops, through the door of `accept.py`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.delivery.accept import Accept, AcceptSettings
from mailtraq_py.delivery.journal import Journal
from mailtraq_py.delivery.reports import Reports
from mailtraq_py.delivery.settings import JournalSettings
from mailtraq_py.interfaces.directory import Expansion, LocalMailbox, Remote, UnknownUser
from mailtraq_py.interfaces.queue import Origin
from mailtraq_py.interfaces.store import NewContent
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.addresspattern import Rewriting, parse_rewriting
from mailtraq_py.mail.envelope import NOTIFY_NEVER, NULL_PATH, ForwardPath, Notify
from tests.delivery.fakes import FakeAcceptance, FakeContent
from tests.fakes import FakeDirectory

from .test_accept import MESSAGE, TO_ALICE, TO_BOB, TO_FAR, transaction

JOURNAL = "journal@here.example"


class JournalTests(SynchronousTestCase):
    """What is committed."""

    def setUp(self) -> None:
        self.content, self.acceptance = FakeContent(), FakeAcceptance()
        accounts = ("alice@here.example", "bob@here.example", JOURNAL, "s@here.example")
        self.directory = FakeDirectory(dict.fromkeys(accounts, b""))
        reports = Reports("mx.here.example", self.content, self.directory, 500.0, lambda: 1000.0)
        self.journal = Journal(JournalSettings(), self.directory, b"key")
        self.accept = Accept(
            AcceptSettings("mx.here.example", expire_seconds=500.0),
            self.content,
            self.acceptance,
            reports,
            lambda: 1000.0,
            journal=self.journal,
        )

    def keep(self, inbound: str = "", outbound: str = "") -> None:
        """Copy to these addresses."""
        self.journal.settings = JournalSettings(
            parse_address(inbound) if inbound else None, parse_address(outbound) if outbound else None
        )

    def send(self, *to: object, message: bytes = MESSAGE, **facts: object) -> NewContent:
        """Accept a message; returns what was stored first."""
        self.acceptance.accepted.clear()
        incoming = self.accept.begin(transaction(*to, **facts))  # type: ignore[arg-type]
        incoming.write(message)
        self.successResultOf(Deferred.fromCoroutine(incoming.commit((), ())))
        return self.acceptance.only.contents[0]

    def journal_heads(self, stored: NewContent) -> list[bytes]:
        """Heads of the copies that no limit counts."""
        return [local.head for local in stored.local if not local.counts]

    def test_inbound(self) -> None:
        """What is delivered here is copied, with its envelope, from the null reverse-path."""
        self.keep(inbound=JOURNAL)
        stored = self.send(TO_ALICE, TO_BOB)
        self.assertEqual([local.counts for local in stored.local], [True, True, False])
        (head,) = self.journal_heads(stored)
        self.assertIn(b"Return-Path: <>\r\nDelivered-To: journal@here.example\r\n", head)
        self.assertIn(b"X-Envelope-From: <s@far.example>\r\n", head)
        self.assertIn(b"X-Envelope-To: <alice@here.example>,\r\n <bob@here.example>\r\n", head)
        self.assertEqual(self.journal_heads(self.send(TO_FAR)), [])

    def test_outbound(self) -> None:
        """What leaves is copied, of members of an alias too; what only comes in is not."""
        self.keep(outbound=JOURNAL)
        self.assertEqual(len(self.journal_heads(self.send(TO_FAR))), 1)
        alias = ("team@here.example", Expansion((TO_ALICE[1], TO_FAR[1]), "team@here.example"))  # type: ignore[arg-type]
        self.assertEqual(len(self.journal_heads(self.send(alias))), 1)
        self.assertEqual(self.journal_heads(self.send(TO_ALICE)), [])

    def test_once(self) -> None:
        """Whoever gets the message anyway, or both copies, gets one."""
        self.keep(JOURNAL, JOURNAL)
        self.assertEqual(len(self.journal_heads(self.send(TO_ALICE, TO_FAR))), 1)
        itself = (JOURNAL, LocalMailbox(self.directory.accounts[JOURNAL]))
        self.assertEqual(self.journal_heads(self.send(itself)), [])
        self.assertEqual(len(self.send(TO_ALICE, itself).local), 2)

    def test_inbound_elsewhere(self) -> None:
        """A copy that leaves causes no report to anybody, and is not copied as mail that leaves."""
        self.keep("archive@far.example", JOURNAL)
        stored = self.send(TO_ALICE, notify=Notify(success=True))
        (row,) = stored.outgoing
        self.assertEqual((row.origin, row.reverse_path), (Origin.JOURNAL, NULL_PATH))
        self.assertEqual((str(row.recipient.path), row.recipient.notify), ("archive@far.example", NOTIFY_NEVER))
        self.assertEqual((row.due, row.expires, row.granted_by), (1000.0, 1500.0, "journal"))
        self.assertEqual(self.journal_heads(stored), [])

    def test_outbound_elsewhere(self) -> None:
        """Copies of what leaves never leave themselves."""
        self.keep(outbound="archive@far.example")
        stored = self.send(TO_FAR)
        self.assertEqual((len(stored.local), len(stored.outgoing)), (0, 1))

    def test_loop(self) -> None:
        """A copy that comes back to us is not copied again; a mark that is made up does not help anybody."""
        self.keep("archive@far.example")
        (row,) = self.send(TO_ALICE).outgoing
        self.assertEqual(self.send(TO_ALICE, message=row.head + MESSAGE, sender="").outgoing, ())
        self.assertEqual(len(self.send(TO_ALICE, message=row.head + MESSAGE).outgoing), 1)
        forged = b"X-Mailtraq-Journal: A1 " + b"0" * 32 + b"\r\n" + b"X-Mailtraq-Journal:\r\n" + MESSAGE
        self.assertEqual(len(self.send(TO_ALICE, message=forged, sender="").outgoing), 1)

    def test_reports(self) -> None:
        """A report that is due at once is not copied."""
        self.keep(JOURNAL, JOURNAL)
        self.send(("nobody@here.example", UnknownUser()), sender="s@here.example")
        (report,) = self.acceptance.only.contents
        self.assertEqual(len(report.local), 1)
        self.assertNotIn(b"X-Envelope-To", report.local[0].head)

    def test_alias(self) -> None:
        """The journal may be an alias; what leads nowhere loses its copy with a word in the log."""
        self.directory.expansions["all@here.example"] = Expansion(
            (TO_BOB[1], Remote(ForwardPath(parse_address("a@far.example")))), "all@here.example"  # type: ignore[arg-type]
        )
        self.keep("all@here.example", "all@here.example")
        stored = self.send(TO_ALICE, TO_FAR)
        self.assertEqual((len(stored.local), len(stored.outgoing)), (2, 2))
        self.keep("gone@here.example")
        self.assertEqual(len(self.send(TO_ALICE).local), 1)

    def test_rewritten_senders(self) -> None:
        """Rules give reverse-paths another form in what is stored and sent; the null path stays."""
        self.accept.rewriting = Rewriting((parse_rewriting("*@far.example -> *@near.example"),))
        stored = self.send(TO_ALICE, TO_FAR)
        self.assertEqual(str(stored.outgoing[0].reverse_path), "s@near.example")
        self.assertIn(b"Return-Path: <s@near.example>\r\n", stored.local[0].head)
        self.assertIn(b"Return-Path: <>\r\n", self.send(TO_ALICE, sender="").local[0].head)
