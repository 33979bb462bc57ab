"""
SMTP sessions, played.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.directory import LocalMailbox
from mailtraq_py.interfaces.failures import OverQuota, PermanentFailure, StorageFull, TemporaryFailure
from mailtraq_py.interfaces.policy import Opinion, Stage, TraceLine, Verdict
from mailtraq_py.mail.envelope import NOTIFY_NEVER
from mailtraq_py.mail.reply import Reply
from tests.fakes import PERMIT, FakePolicy, defer, refuse
from tests.play import Play

from .service import Service

GROUP = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@here.example>\r\nDATA\r\n"
MESSAGE = b"Subject: x\r\n\r\n..dot\r\n.\r\n"


class Dialogues(SynchronousTestCase):
    """What a well-behaved client sees."""

    def test_a_message_step_by_step(self) -> None:
        """Each command has its reply; the message arrives without the stuffed dot, with its whole envelope."""
        service = Service()
        play = service.greeted()
        play << "MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=e+2B1" >> "250 2.1.0"
        play << "RCPT TO:<u@here.example> NOTIFY=NEVER ORCPT=rfc822;u@old.example" >> "250 2.1.5"
        play << "DATA" >> 354
        play << MESSAGE >> "250 2.0.0 M1 accepted"
        play << "QUIT" >> "221 2.0.0"
        self.assertTrue(play.closed)
        (message,) = service.accept.accepted
        self.assertEqual(message.content, b"Subject: x\r\n\r\n.dot\r\n")
        envelope = message.transaction.envelope
        self.assertEqual(str(envelope.reverse_path), "a@b.example")
        self.assertEqual((envelope.declared_octets, envelope.body), (100, "8BITMIME"))
        self.assertEqual((envelope.ret, envelope.envid), ("HDRS", "e+1"))
        (recipient,) = envelope.recipients
        self.assertEqual((recipient.notify, recipient.original), (NOTIFY_NEVER, "rfc822;u@old.example"))
        self.assertIsInstance(message.transaction.destinations[0], LocalMailbox)
        self.assertEqual(message.transaction.grants, ("local",))
        self.assertEqual((message.transaction.helo, message.transaction.extended), ("c.example", True))

    def test_a_pipelined_group_is_answered_in_one_write(self) -> None:
        """MAIL, RCPT and DATA together get three replies in order; then the next group."""
        service = Service()
        play = service.greeted()
        for number in (1, 2):
            play << GROUP >> ["250 2.1.0", "250 2.1.5", 354]
            play << MESSAGE >> f"250 2.0.0 M{number}"
        self.assertEqual(len(service.accept.accepted), 2)

    def test_the_next_group_may_follow_the_end_of_a_message(self) -> None:
        """What stands behind the final dot is the next group."""
        service = Service()
        play = service.greeted()
        play << GROUP >> [250, 250, 354]
        play << MESSAGE + GROUP >> ["250 2.0.0 M1", 250, 250, 354]
        play << MESSAGE + b"QUIT\r\n" >> ["250 2.0.0 M2", 221]

    def test_a_slow_policy_does_not_disorder_replies(self) -> None:
        """While a verdict is awaited nothing later is answered."""
        service = Service()
        play = service.greeted()
        service.policy.hold(Stage.SENDER)
        play << GROUP
        self.assertEqual(play.rest(), b"")
        service.policy.release(Stage.SENDER)
        play >> [250, 250, 354]

    def test_ehlo(self) -> None:
        """The list of extensions; AUTH is not offered in clear to a stranger."""
        play = Service().play() >> "220 mx.here.example ESMTP " << "EHLO c.example"
        self.assertEqual(
            play.take().split("\n"),
            [
                "250-mx.here.example greets [203.0.113.9]",
                "250-PIPELINING",
                "250-SIZE 52428800",
                "250-8BITMIME",
                "250-ENHANCEDSTATUSCODES",
                "250-DSN",
                "250-STARTTLS",
                "250-EXPN",
                "250 HELP",
            ],
        )

    def test_helo(self) -> None:
        """One line, and mail goes."""
        play = Service().play() >> 220 << "HELO c.example" >> "250 mx.here.example"
        play << "MAIL FROM:<>" >> 250 << "RCPT TO:<u@here.example>" >> 250 << "DATA" >> 354
        play << MESSAGE >> 250

    def test_small_commands(self) -> None:
        """NOOP, RSET, HELP, VRFY, EXPN."""
        play = Service().greeted()
        play << "NOOP ignored" >> 250 << "RSET" >> 250 << "HELP" >> 214
        play << "VRFY u" >> 252 << "VRFY nobody" >> 252 << "EXPN list" >> 550

    def test_postmaster_without_domain(self) -> None:
        """RFC 5321 4.5.1: the only address without a domain."""
        service = Service(default_domain="here.example", policy=FakePolicy({Stage.RECIPIENT: PERMIT}))
        play = service.greeted() << "MAIL FROM:<>" >> 250 << "RCPT TO:<PostMaster>" >> 250
        self.assertEqual(str(service.policy.facts(Stage.RECIPIENT).forward_path), "postmaster@here.example")
        play << "RCPT TO:<somebody>" >> "501 5.1.3"

    def test_rset_and_ehlo_clear_the_transaction(self) -> None:
        """RFC 5321 4.1.1.5, 4.1.4."""
        play = Service().greeted()
        for line in ("RSET", "EHLO c.example"):
            play << "MAIL FROM:<a@b.example>" >> 250 << "RCPT TO:<u@here.example>" >> 250
            play << line >> 250 << "DATA" >> 503 << "RCPT TO:<u@here.example>" >> 503

    def test_time_out(self) -> None:
        """RFC 5321 4.5.3.2: five minutes of silence, then 421."""
        play = Service().greeted()
        play.clock.advance(299)
        self.assertFalse(play.closed)
        play.clock.advance(2)
        play >> "421 4.4.2"
        self.assertTrue(play.closed)

    def test_the_server_stops(self) -> None:
        """An idle session hears 421."""
        play = Service().greeted()
        play.driver.stop()
        play >> "421 4.3.2"
        self.assertTrue(play.closed)


class Policies(SynchronousTestCase):
    """Verdicts at each stage."""

    def played(self, stage: Stage, verdict: Verdict) -> tuple[Service, Play]:
        """A service with one verdict, and a connection."""
        service = Service(FakePolicy({stage: verdict}))
        return service, service.play()

    def test_refused_at_connect(self) -> None:
        """The reply, and the end."""
        _, play = self.played(Stage.CONNECT, refuse("554 5.7.1 no access"))
        play >> "554 5.7.1 no access"
        self.assertTrue(play.closed)
        self.assertFalse(play.aborted)

    def test_closed_at_connect(self) -> None:
        """refuse = "close": not a word."""
        _, play = self.played(Stage.CONNECT, Verdict(Opinion.REFUSE, "access", "barred", close=True))
        self.assertEqual(play.rest(), b"")
        self.assertTrue(play.aborted)

    def test_refused_hello(self) -> None:
        """The client may try another name."""
        service, play = self.played(Stage.HELLO, refuse("550 5.7.1 that is me"))
        play >> 220 << "EHLO mx.here.example" >> "550 5.7.1" << "MAIL FROM:<a@b.example>" >> 503
        service.policy.says.clear()
        play << "EHLO c.example" >> 250 << "MAIL FROM:<a@b.example>" >> 250

    def test_refused_and_deferred_sender(self) -> None:
        """Policy's own reply; the transaction has not begun."""
        for verdict, reply in ((refuse("554 5.7.1 no"), "554 5.7.1"), (defer("451 4.7.1 later"), "451 4.7.1")):
            _, play = self.played(Stage.SENDER, verdict)
            play >> 220 << "EHLO c.example" >> 250 << GROUP >> [reply, 503, 503]

    def test_verdict_without_a_reply(self) -> None:
        """The protocol's ordinary ones."""
        for opinion, reply in ((Opinion.REFUSE, "550 5.7.1"), (Opinion.DEFER, "451 4.7.1")):
            _, play = self.played(Stage.SENDER, Verdict(opinion, "x", "y"))
            play >> 220 << "EHLO c.example" >> 250 << "MAIL FROM:<a@b.example>" >> reply

    def test_recipients_are_judged_one_by_one(self) -> None:
        """A stranger may not relay, and an unknown user is refused, while the known one is taken."""
        service = Service()
        play = service.greeted() << "MAIL FROM:<a@b.example>" >> 250
        play << "RCPT TO:<x@elsewhere.example>" >> "550 5.7.1"
        play << "RCPT TO:<nobody@here.example>" >> "550 5.1.1"
        play << "DATA" >> "554 5.5.1"
        play << "RCPT TO:<u@here.example>" >> 250
        facts = service.policy.facts(Stage.RECIPIENT)
        self.assertEqual((facts.recipients, facts.failed_recipients), (0, 2))
        play << "DATA" >> 354 << MESSAGE >> 250
        self.assertEqual(len(service.accept.accepted[0].transaction.envelope.recipients), 1)

    def test_refused_message(self) -> None:
        """Nothing is kept; the next message may pass."""
        service, play = self.played(Stage.MESSAGE, refuse("550 5.7.1 spam"))
        play >> 220 << "EHLO c.example" >> 250 << GROUP >> [250, 250, 354] << MESSAGE >> "550 5.7.1 spam"
        self.assertEqual(service.accept.begun[0].state, "aborted")
        service.policy.says.clear()
        play << GROUP >> [250, 250, 354] << MESSAGE >> 250

    def test_discard(self) -> None:
        """250, and nothing is kept, at any stage; a discarded recipient is left out."""
        discard = Verdict(Opinion.DISCARD, "lists", "barred")
        for stage in (Stage.CONNECT, Stage.HELLO, Stage.SENDER, Stage.RECIPIENT, Stage.MESSAGE):
            service, play = self.played(stage, discard)
            play >> 220 << "EHLO c.example" >> 250 << GROUP >> [250, 250, 354] << MESSAGE >> "250 2.0.0"
            self.assertEqual(service.accept.accepted, [], stage)

    def test_delay(self) -> None:
        """A verdict's delay holds the reply back; leaving meanwhile harms nobody."""
        _, play = self.played(Stage.SENDER, refuse("554 5.7.1 no", delay_seconds=5.0))
        play >> 220 << "EHLO c.example" >> 250 << "MAIL FROM:<a@b.example>"
        play.clock.advance(4.9)
        self.assertEqual(play.rest(), b"")
        play.clock.advance(0.2)
        play >> 554 << "MAIL FROM:<a@b.example>"
        play.end()
        play.clock.advance(10)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_close_after_the_reply(self) -> None:
        """`close` ends the connection behind the reply."""
        _, play = self.played(Stage.RECIPIENT, refuse("550 5.7.1 enough", close=True))
        play >> 220 << "EHLO c.example" >> 250 << "MAIL FROM:<a@b.example>" >> 250
        play << "RCPT TO:<u@here.example>" >> 550
        self.assertTrue(play.closed)

    def test_marks_headers_and_trace(self) -> None:
        """Marks are in later facts; header fields and traces of all stages go with the message."""
        line = TraceLine("lists", None, "grey")
        verdict = Verdict(
            Opinion.PERMIT, "lists", "grey", marks=frozenset({"grey"}), headers=("X-Grey: yes",), trace=(line,)
        )
        service, play = self.played(Stage.CONNECT, verdict)
        play >> 220 << "EHLO c.example" >> 250 << GROUP >> [250, 250, 354] << MESSAGE >> 250
        self.assertEqual(service.policy.facts(Stage.MESSAGE).marks, {"grey"})
        self.assertEqual(service.accept.accepted[0].headers, ("X-Grey: yes",))
        self.assertEqual(service.accept.accepted[0].trace, (line,))

    def test_facts_at_message(self) -> None:
        """The size that came, without the dots."""
        service = Service()
        service.greeted() << GROUP >> [250, 250, 354] << MESSAGE >> 250
        facts = service.policy.facts(Stage.MESSAGE)
        self.assertEqual((facts.message_octets, facts.recipients, facts.helo), (20, 1, "c.example"))


class Limits(SynchronousTestCase):
    """Sizes, counts, and failures of the outside."""

    def test_declared_size(self) -> None:
        """RFC 1870 6.1; attack S 18's size of 20 digits."""
        play = Service(max_message_octets=1000).greeted()
        play << "MAIL FROM:<a@b.example> SIZE=1001" >> "552 5.3.4"
        play << "MAIL FROM:<a@b.example> SIZE=99999999999999999999" >> "552 5.3.4"
        play << "MAIL FROM:<a@b.example> SIZE=1000" >> 250

    def test_real_size(self) -> None:
        """A message that grows too large is read to its end, kept nowhere, and refused; the session goes on."""
        service = Service(max_message_octets=1000)
        play = service.greeted() << GROUP >> [250, 250, 354]
        play << b"x" * 998 + b"\r\n" << b"y\r\n.\r\n" >> "552 5.3.4"
        self.assertEqual(service.accept.begun[0].state, "aborted")
        play << GROUP >> [250, 250, 354] << b"x" * 998 + b"\r\n.\r\n" >> 250

    def test_recipients(self) -> None:
        """Past the limit 452; the earlier ones stand, and naming one again costs nothing."""
        service = Service(max_recipients=1)
        play = service.greeted() << "MAIL FROM:<a@b.example>" >> 250 << "RCPT TO:<u@here.example>" >> 250
        play << "RCPT TO:<v@here.example>" >> "452 4.5.3"
        play << "RCPT TO:<U@HERE.example>" >> 250
        play << "DATA" >> 354 << MESSAGE >> 250
        self.assertEqual(len(service.accept.accepted[0].transaction.envelope.recipients), 1)

    def test_a_dictionary_gets_slow_then_ends(self) -> None:
        """S 22: the same words for each, later and later, then 421."""
        play = Service(slow_refused_recipients=2, max_refused_recipients=4).greeted()
        play << "MAIL FROM:<a@b.example>" >> 250
        for name in ("a", "b"):
            play << f"RCPT TO:<{name}@here.example>" >> "550 5.1.1"
        play << "RCPT TO:<c@here.example>"
        self.assertEqual(play.rest(), b"")
        play.clock.advance(1)
        play >> "550 5.1.1" << "RCPT TO:<d@here.example>" >> 421
        self.assertTrue(play.closed)

    def test_directory_fails(self) -> None:
        """451 for the recipient; the transaction stands."""
        service = Service()
        play = service.greeted() << "MAIL FROM:<a@b.example>" >> 250
        service.directory.failure = TemporaryFailure("database gone")
        play << "RCPT TO:<u@here.example>" >> "451 4.3.0"
        service.directory.failure = None
        play << "RCPT TO:<u@here.example>" >> 250

    def test_the_door_is_closed_for_now(self) -> None:
        """A full writer is 451 before DATA; RCPT state stands."""
        service = Service()
        service.accept.begin_failure = TemporaryFailure("too much waiting")
        play = service.greeted() << GROUP >> [250, 250, "451 4.3.0"]
        service.accept.begin_failure = None
        play << "DATA" >> 354 << MESSAGE >> 250

    def test_failures_of_the_commit(self) -> None:
        """Each kind has its reply; none leaves anything, and none ends the session."""
        service = Service()
        play = service.greeted()
        for failure, reply in (
            (TemporaryFailure("sync failed"), "451 4.3.0"),
            (StorageFull("disk"), "452 4.3.1"),
            (OverQuota(), "552 5.2.2"),
            (PermanentFailure(Reply(554, "loop", "5.4.6")), "554 5.4.6 loop"),
        ):
            service.accept.commit_failure = failure
            play << GROUP >> [250, 250, 354] << MESSAGE >> reply
        self.assertEqual({message.state for message in service.accept.begun}, {"aborted"})

    def test_disk_full_while_it_arrives(self) -> None:
        """452 at the end of the message, not in its middle."""
        service = Service()
        play = service.greeted() << GROUP >> [250, 250, 354]
        service.accept.write_failure = StorageFull("disk")
        play << b"x\r\ny\r\n"
        self.assertEqual(play.rest(), b"")
        play << b".\r\n" >> "452 4.3.1"

    def test_the_peer_leaves(self) -> None:
        """In the middle of a message it is forgotten; during the commit it is not."""
        service = Service()
        play = service.greeted() << GROUP >> [250, 250, 354] << b"half"
        play.end()
        self.assertEqual(service.accept.begun[0].state, "aborted")
        service.accept.committing = Deferred()
        play = service.greeted() << GROUP >> [250, 250, 354] << MESSAGE
        play.end()
        service.accept.committing.callback(None)
        self.assertEqual(service.accept.begun[1].state, "committed")

    def test_the_peer_leaves_before_the_verdict(self) -> None:
        """A message whose sender left while policy thought about it is nowhere."""
        service = Service()
        play = service.greeted() << GROUP >> [250, 250, 354]
        service.policy.hold(Stage.MESSAGE)
        play << MESSAGE
        play.end()
        service.policy.release(Stage.MESSAGE)
        self.assertEqual((service.accept.accepted, service.accept.begun[0].state), ([], "aborted"))

    def test_our_bug(self) -> None:
        """The peer hears 451 with the session's identifier and nothing of the exception."""
        service = Service()
        play = service.greeted()
        service.directory.failure = KeyError("secret detail")
        play << "MAIL FROM:<a@b.example>" >> 250 << "RCPT TO:<u@here.example>" >> "451 4.3.0 local error, reference S1"
        service.directory.failure = None
        play << "RCPT TO:<u@here.example>" >> 250 << "DATA" >> 354
        service.accept.write_failure = KeyError("detail")
        play << b"x\r\n"
        service.accept.write_failure = None
        play << b".\r\n" >> "451 4.3.0 local error" << GROUP >> [250, 250, 354]
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_a_large_message_is_not_gathered(self) -> None:
        """Pieces go on as they come: nothing of 8 MiB stays in the session."""
        service = Service()
        service.accept.keep = False
        play = service.greeted() << GROUP >> [250, 250, 354]
        chunk = b"x" * 1022 + b"\r\n"
        for _ in range(128):
            play.driver.dataReceived(chunk * 64)
            self.assertLess(service.session.core.buffered_octets, 8)
        play << b".\r\n" >> 250
        self.assertEqual(service.accept.begun[0].octets, 8 * 1024 * 1024)
