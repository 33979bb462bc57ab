"""mailtraq_py/delivery/accept.py: from the first octet to the transaction."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.delivery.accept import Accept, AcceptSettings, Incoming
from mailtraq_py.delivery.reports import Reports
from mailtraq_py.interfaces.connection import TLSInfo
from mailtraq_py.interfaces.delivery import IAccept, IIncoming, MailTransaction
from mailtraq_py.interfaces.directory import Destination, LocalMailbox, Remote, UnknownUser
from mailtraq_py.interfaces.failures import OverQuota, PermanentFailure, TemporaryFailure
from mailtraq_py.interfaces.policy import Opinion, TraceLine
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import Envelope, ForwardPath, Notify, Recipient, ReversePath
from tests.delivery.fakes import FakeAcceptance, FakeContent
from tests.fakes import FakeDirectory, make_account, make_connection

ALICE = make_account("alice@here.example", 1)
BOB = make_account("bob@here.example", 2)
MESSAGE = b"From: s@far.example\r\nSubject: hi\r\n\r\nHello\r\n"
TO_ALICE: tuple[str, Destination] = ("alice@here.example", LocalMailbox(ALICE))
TO_BOB: tuple[str, Destination] = ("bob@here.example", LocalMailbox(BOB))
TO_FAR: tuple[str, Destination] = ("x@far.example", Remote(ForwardPath(parse_address("x@far.example"))))


def transaction(*to: tuple[str, Destination], sender: str = "s@far.example", **facts: Any) -> MailTransaction:
    """A transaction; `notify` goes to every recipient."""
    notify = facts.pop("notify", Notify())
    envelope = Envelope(
        ReversePath(parse_address(sender) if sender else None),
        tuple(Recipient(ForwardPath(parse_address(text)), notify) for text, _ in to),
    )
    destinations = tuple(destination for _, destination in to)
    given: dict[str, Any] = {"helo": "client.example", "extended": True, **facts}
    return MailTransaction(make_connection(), envelope, destinations, ("local",) * len(to), **given)


class AcceptTests(SynchronousTestCase):
    """Messages through the door."""

    def setUp(self) -> None:
        self.content, self.acceptance = FakeContent(), FakeAcceptance()
        self.now = 1_000_000.0
        directory = FakeDirectory({"alice@here.example": b"", "s@here.example": b""})
        reports = Reports("mx.here.example", self.content, directory, 500.0, lambda: self.now)
        self.threads: list[Any] = []
        self.accept = Accept(
            AcceptSettings("mx.here.example", max_octets=200_000, max_hops=50, expire_seconds=500.0),
            self.content,
            self.acceptance,
            reports,
            lambda: self.now,
            self.in_thread,
        )
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    async def in_thread(self, function: Any, *arguments: Any) -> Any:
        """Stands for deferToThread."""
        self.threads.append(function)
        return function(*arguments)

    def bring(self, given: MailTransaction, octets: bytes = MESSAGE, headers: tuple[str, ...] = ()) -> Incoming:
        """Begin, write, commit."""
        incoming = self.accept.begin(given)
        incoming.write(octets)
        self.successResultOf(Deferred.fromCoroutine(incoming.commit(headers, ())))
        return incoming

    def refuse(self, given: MailTransaction, octets: bytes, error: type[Exception]) -> Any:
        """Begin, write, and see the commit fail."""
        incoming = self.accept.begin(given)
        incoming.write(octets)
        failure = self.failureResultOf(Deferred.fromCoroutine(incoming.commit((), ())), error)
        self.assertEqual(self.content.spools[-1].state, "discarded")
        return failure.value

    def test_interfaces(self) -> None:
        """They are what the sessions expect."""
        self.assertTrue(IAccept.providedBy(self.accept))
        self.assertTrue(IIncoming.providedBy(self.accept.begin(transaction(TO_ALICE))))

    def test_received_first(self) -> None:
        """Our Received field stands in front of what the client sent, and is not counted as its octets."""
        tls = TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
        incoming = self.bring(transaction(TO_ALICE, tls=tls, account=ALICE))
        self.assertEqual(incoming.octets, len(MESSAGE))
        whole = self.content.spools[0].whole
        received, rest = whole[: -len(MESSAGE)], whole[-len(MESSAGE) :]
        self.assertEqual(rest, MESSAGE)
        text = re.sub(rb"\s+", b" ", received).decode()
        self.assertTrue(text.startswith("Received: from client.example ([203.0.113.9]) by mx.here.example"))
        self.assertIn(f"with ESMTPSA (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256) id {incoming.id}", text)
        self.assertIn("for <alice@here.example>", text)

    def test_several_recipients_stay_secret(self) -> None:
        """With several recipients none stands in Received."""
        self.bring(transaction(TO_ALICE, TO_BOB))
        self.assertNotIn(b"for <", self.content.spools[0].whole)

    def test_heads(self) -> None:
        """Copies begin with Return-Path, Delivered-To and policy's fields, what leaves with policy's alone."""
        self.bring(transaction(TO_ALICE, TO_BOB, TO_FAR), headers=("Authentication-Results: mx; none",))
        (content,) = self.acceptance.only.contents
        policy = b"Authentication-Results: mx; none\r\n"
        self.assertEqual(
            [local.head for local in content.local],
            [
                b"Return-Path: <s@far.example>\r\nDelivered-To: alice@here.example\r\n" + policy,
                b"Return-Path: <s@far.example>\r\nDelivered-To: bob@here.example\r\n" + policy,
            ],
        )
        self.assertEqual([row.head for row in content.outgoing], [policy])
        self.assertEqual(content.outgoing[0].expires, self.now + 500.0)

    def test_null_reverse_path(self) -> None:
        """The null path is printed as such."""
        self.bring(transaction(TO_ALICE, sender=""))
        self.assertTrue(self.acceptance.only.contents[0].local[0].head.startswith(b"Return-Path: <>\r\n"))

    def test_one_acceptance(self) -> None:
        """Identifier, time, facts and trace travel in one acceptance; the content is kept."""
        incoming = self.accept.begin(transaction(TO_ALICE))
        incoming.write(MESSAGE)
        trace = (TraceLine("relay", Opinion.PERMIT, "our domain"), TraceLine("helo", None, ""))
        self.successResultOf(Deferred.fromCoroutine(incoming.commit((), trace)))
        acceptance = self.acceptance.only
        self.assertEqual((acceptance.id, acceptance.received), (incoming.id, self.now))
        self.assertEqual(acceptance.contents[0].facts.subject, "hi")
        self.assertEqual(acceptance.contents[0].facts.octets, self.content.spools[0].octets)
        self.assertEqual(
            json.loads(acceptance.trace),
            [
                {"check": "relay", "opinion": "permit", "reason": "our domain"},
                {"check": "helo", "opinion": None, "reason": ""},
            ],
        )
        self.assertEqual(self.content.spools[0].state, "kept")

    def test_identifiers_rise(self) -> None:
        """Identifiers are unique and in order of time."""
        identifiers = []
        for _ in range(50):
            self.now += 0.001
            identifiers.append(self.accept.begin(transaction(TO_ALICE)).id)
        self.assertEqual(identifiers, sorted(set(identifiers)))

    def test_loop(self) -> None:
        """Fifty hops of others are a loop: refused for good, nothing kept (RFC 5321 6.3)."""
        hop = b"Received: by x; Sun, 22 Nov 2026 04:00:00 +0000\r\n"
        self.bring(transaction(TO_ALICE), hop * 49 + MESSAGE)
        failure = self.refuse(transaction(TO_ALICE), hop * 50 + MESSAGE, PermanentFailure)
        self.assertEqual((failure.reply.code, failure.reply.enhanced), (554, "5.4.6"))
        # Lines of the body that look like it are no hops.
        self.bring(transaction(TO_BOB), MESSAGE + hop * 60)

    def test_too_large(self) -> None:
        """Beyond the limit is refused for good, our own fields not counted."""
        self.bring(transaction(TO_ALICE), MESSAGE.ljust(200_000, b"x"))
        failure = self.refuse(transaction(TO_ALICE), MESSAGE.ljust(200_001, b"x"), PermanentFailure)
        self.assertEqual((failure.reply.code, failure.reply.enhanced), (552, "5.3.4"))

    def test_large_messages_are_described_in_a_thread(self) -> None:
        """The reactor does not wait for a large one."""
        self.bring(transaction(TO_ALICE))
        self.assertEqual(len(self.threads), 0)
        self.bring(transaction(TO_ALICE), MESSAGE.ljust(200_000, b"x"))
        self.assertEqual(len(self.threads), 1)

    def test_store_fails(self) -> None:
        """What the store says goes to the session, and nothing is kept."""
        for error in (TemporaryFailure("disk"), OverQuota()):
            self.acceptance.failure = error
            self.refuse(transaction(TO_ALICE), MESSAGE, type(error))

    def test_no_room(self) -> None:
        """When too much waits the message is not begun."""
        self.acceptance.room = False
        with self.assertRaises(TemporaryFailure):
            self.accept.begin(transaction(TO_ALICE))

    def test_abort(self) -> None:
        """An aborted message is forgotten, twice does no harm; once its commit runs it is not touched."""
        incoming = self.accept.begin(transaction(TO_ALICE))
        incoming.abort()
        incoming.abort()
        self.assertEqual(self.content.spools[0].state, "discarded")
        incoming = self.accept.begin(transaction(TO_ALICE))
        held: Deferred[None] = Deferred()

        async def late(function: Any, *arguments: Any) -> Any:
            await held
            return function(*arguments)

        self.accept.in_thread = late
        incoming.write(MESSAGE.ljust(200_000, b"x"))
        committing = Deferred.fromCoroutine(incoming.commit((), ()))
        incoming.abort()
        self.assertEqual(self.content.spools[1].state, "open")
        held.callback(None)
        self.successResultOf(committing)
        self.assertEqual(self.content.spools[1].state, "kept")

    def test_success_report(self) -> None:
        """NOTIFY=SUCCESS for a mailbox here produces its report in the same acceptance, with the header only."""
        self.bring(transaction(TO_ALICE, notify=Notify(success=True)))
        message, report = self.acceptance.only.contents
        self.assertEqual(len(message.local), 1)
        self.assertEqual(str(report.outgoing[0].recipient.path), "s@far.example")
        text = self.content.spools[-1].whole
        self.assertIn(b"Action: delivered\r\n", text)
        self.assertIn(b"Subject: hi\r\n", text)
        self.assertNotIn(b"Hello", text)

    def test_no_report_to_the_null_path(self) -> None:
        """Q 25: a report asks for no report, and gets none."""
        self.bring(transaction(TO_ALICE, sender="", notify=Notify(success=True)))
        self.assertEqual(len(self.acceptance.only.contents), 1)

    def test_unknown_user_is_reported(self) -> None:
        """Where policy accepts unknown users the failure report is all that is kept."""
        self.bring(transaction(("nobody@here.example", UnknownUser()), sender="s@here.example"))
        (report,) = self.acceptance.only.contents
        self.assertEqual([local.account_id for local in report.local], [2])
        self.assertIn(b"Status: 5.1.1\r\n", self.content.spools[-1].whole)
        self.assertEqual(self.content.spools[0].state, "discarded")

    def test_log(self) -> None:
        """One line for each copy and each row, with session and message."""
        incoming = self.bring(transaction(TO_ALICE, TO_FAR))
        lines = {event["event"]: event for event in self.events if "event" in event}
        self.assertEqual(set(lines), {"delivered", "queued"})
        self.assertEqual((lines["delivered"]["account"], lines["delivered"]["uid"]), ("alice@here.example", 1))
        self.assertEqual((lines["queued"]["to"], lines["queued"]["by"]), ("x@far.example", "local"))
        for line in lines.values():
            self.assertEqual((line["session"], line["message_id"]), ("S1", incoming.id))

    def test_recipient_parameters(self) -> None:
        """An envelope's body type reaches the queue."""
        given = transaction(TO_FAR)
        self.bring(given._replace(envelope=given.envelope._replace(body="8BITMIME")))
        self.assertEqual(self.acceptance.only.contents[0].outgoing[0].body, "8BITMIME")
