"""
The client core, against a server of a few lines.
"""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NOTIFY_NEVER, NULL_PATH, Envelope, ForwardPath, Recipient, ReversePath
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.signals import NEED_DATA
from mailtraq_py.wire.smtp.client import ClientCore
from mailtraq_py.wire.smtp.clientevents import (
    Authenticated,
    Broken,
    Extensions,
    Finished,
    Goodbye,
    Greeted,
    ReadyForData,
    RecipientResult,
    StartTLSAnswered,
    TransactionRefused,
)

ALL = (
    b"250-x.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n"
    b"250-DSN\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
)


def envelope(*recipients: str, **more: object) -> Envelope:
    """From a@b.example."""
    to = tuple(Recipient(ForwardPath(parse_address(recipient))) for recipient in recipients)
    return Envelope(ReversePath(parse_address("a@b.example")), to, **more)  # type: ignore[arg-type]


class Clients(SynchronousTestCase):
    """One operation after the other."""

    def setUp(self) -> None:
        """A fresh connection."""
        self.core = ClientCore("me.example")

    def hear(self, octets: bytes) -> list[object]:
        """What the core makes of octets from the server."""
        self.core.receive_data(octets)
        events: list[object] = []
        while (event := self.core.next_event()) is not NEED_DATA:
            events.append(event)
        return events

    def greeted(self, ehlo: bytes = ALL) -> None:
        """Past EHLO."""
        self.hear(b"220 x.example\r\n")
        self.core.hello()
        self.hear(ehlo)
        self.core.data_to_send()

    def test_greeting_and_extensions(self) -> None:
        """EHLO's lines by keyword."""
        self.assertEqual(self.hear(b"220-hi\r\n220 there\r\n"), [Greeted(Reply(220, "hi\nthere"))])
        self.core.hello()
        self.assertEqual(self.core.data_to_send(), b"EHLO me.example\r\n")
        (event,) = self.hear(ALL)
        assert isinstance(event, Extensions)
        self.assertEqual((event.offered["SIZE"], event.offered["AUTH"], event.offered["DSN"]), ("1000", "PLAIN", ""))
        self.core.quit()
        self.assertEqual(self.hear(b"221 bye\r\n"), [Goodbye(Reply(221, "bye"))])

    def test_helo_where_ehlo_is_unknown(self) -> None:
        """RFC 5321 3.2; a 4xx is no reason to say HELO."""
        self.hear(b"220 x\r\n")
        self.core.hello()
        self.assertEqual(self.hear(b"502 what\r\n"), [])
        self.assertEqual(self.core.data_to_send(), b"EHLO me.example\r\nHELO me.example\r\n")
        self.assertEqual(self.hear(b"250 x\r\n"), [Extensions(Reply(250, "x"), {})])
        self.core.hello()
        self.assertEqual(self.hear(b"451 4.3.0 later\r\n"), [Extensions(Reply(451, "later", "4.3.0"), {})])

    def test_pipelined_message(self) -> None:
        """One group; a result for each recipient; the data stuffed."""
        self.greeted()
        self.core.send_envelope(envelope("x@y.example", "z@y.example", declared_octets=9, body="8BITMIME"))
        self.assertEqual(
            self.core.data_to_send(),
            b"MAIL FROM:<a@b.example> SIZE=9 BODY=8BITMIME\r\n"
            b"RCPT TO:<x@y.example>\r\nRCPT TO:<z@y.example>\r\nDATA\r\n",
        )
        no = Reply(550, "no", "5.1.1")
        self.assertEqual(
            self.hear(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n"),
            [RecipientResult(0, no), RecipientResult(1, Reply(250, "ok")), ReadyForData(Reply(354, "go"))],
        )
        self.core.send_data(b".a\r\n")
        self.core.end_data()
        self.assertEqual(self.core.data_to_send(), b"..a\r\n.\r\n")
        self.assertEqual(self.hear(b"250 2.0.0 kept\r\n"), [Finished(Reply(250, "kept", "2.0.0"))])
        self.core.send_envelope(envelope("x@y.example"))
        self.assertTrue(self.core.data_to_send().startswith(b"MAIL "))

    def test_step_by_step(self) -> None:
        """Without PIPELINING each waits; what is pointless is not said."""
        self.greeted(b"250 x\r\n")
        self.core.send_envelope(envelope("x@y.example", "z@y.example", declared_octets=9))
        self.assertEqual(self.core.data_to_send(), b"MAIL FROM:<a@b.example>\r\n")
        self.hear(b"250 ok\r\n")
        self.assertEqual(self.core.data_to_send(), b"RCPT TO:<x@y.example>\r\n")
        self.hear(b"250 ok\r\n")
        self.assertEqual(self.core.data_to_send(), b"RCPT TO:<z@y.example>\r\n")
        self.hear(b"250 ok\r\n")
        self.assertEqual(self.core.data_to_send(), b"DATA\r\n")
        self.assertEqual(self.hear(b"354 go\r\n"), [ReadyForData(Reply(354, "go"))])

    def test_refused_step_by_step(self) -> None:
        """A refused MAIL, and refused recipients, end the transaction; the next begins with RSET."""
        self.greeted(b"250 x\r\n")
        no = Reply(550, "no")
        self.core.send_envelope(envelope("x@y.example", "z@y.example"))
        self.assertEqual(
            self.hear(b"550 no\r\n"), [RecipientResult(0, no), RecipientResult(1, no), TransactionRefused(no)]
        )
        self.core.data_to_send()
        self.core.send_envelope(envelope("x@y.example"))
        self.assertEqual(self.core.data_to_send(), b"RSET\r\n")
        self.hear(b"250 ok\r\n")
        self.hear(b"250 ok\r\n")
        self.assertEqual(self.hear(b"550 no\r\n"), [RecipientResult(0, no), TransactionRefused(no)])
        self.assertEqual(self.core.data_to_send(), b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\n")
        self.assertTrue(self.core.is_usable)

    def test_refused_pipelined(self) -> None:
        """MAIL's refusal is every recipient's; a 354 to nobody is taken back with a dot."""
        self.greeted()
        no = Reply(553, "no", "5.7.1")
        self.core.send_envelope(envelope("x@y.example"))
        self.assertEqual(
            self.hear(b"553 5.7.1 no\r\n503 mail first\r\n503 mail first\r\n"),
            [RecipientResult(0, no), TransactionRefused(no)],
        )
        self.core.data_to_send()
        self.core.send_envelope(envelope("x@y.example"))
        self.assertEqual(self.hear(b"250 ok\r\n250 ok\r\n553 5.7.1 no\r\n354 go\r\n"), [RecipientResult(0, no)])
        self.assertTrue(self.core.data_to_send().endswith(b"DATA\r\n.\r\n"))
        self.assertEqual(self.hear(b"250 what\r\n"), [TransactionRefused(no)])

    def test_data_refused(self) -> None:
        """The accepted recipients get DATA's reply."""
        self.greeted()
        self.core.send_envelope(envelope("x@y.example"))
        events = self.hear(b"250 ok\r\n250 ok\r\n451 4.3.0 later\r\n")
        self.assertEqual(events[-1], TransactionRefused(Reply(451, "later", "4.3.0")))

    def test_421_ends_everything(self) -> None:
        """Whatever is under way gets it, and the connection is of no use any more."""
        self.greeted()
        bye = Reply(421, "bye", "4.7.0")
        self.core.send_envelope(envelope("x@y.example"))
        self.assertEqual(
            self.hear(b"250 ok\r\n421 4.7.0 bye\r\n"),
            [RecipientResult(0, bye), TransactionRefused(bye), Broken("421 4.7.0 bye")],
        )
        self.assertFalse(self.core.is_usable)
        for begin, event in (
            (lambda core: core.hello(), Extensions(bye, {})),
            (lambda core: core.start_tls(), StartTLSAnswered(bye)),
            (lambda core: core.quit(), Goodbye(bye)),
        ):
            self.core = ClientCore("me.example")
            self.hear(b"220 x\r\n")
            begin(self.core)
            self.assertEqual(self.hear(b"421 4.7.0 bye\r\n"), [event, Broken("421 4.7.0 bye")])
        self.core = ClientCore("me.example")
        self.assertEqual(self.hear(b"421 4.7.0 bye\r\n")[0], Greeted(bye))

    def test_a_word_in_the_middle_of_the_data(self) -> None:
        """A refusal counts as the message's reply; anything else breaks the connection; never is it taken for sent."""
        for words, events in (
            (b"552 5.3.4 too large\r\n", [Finished(Reply(552, "too large", "5.3.4"))]),
            (b"421 bye\r\n", [Finished(Reply(421, "bye"))]),
            (b"250 thanks\r\n", []),
        ):
            self.core = ClientCore("me.example")
            self.greeted()
            self.core.send_envelope(envelope("x@y.example"))
            self.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
            self.core.send_data(b"x")
            heard = self.hear(words)
            self.assertIsInstance(heard.pop(), Broken)
            self.assertEqual(heard, events)

    def test_starttls_injection(self) -> None:
        """S 11: what the server says in clear behind its 220 is not heard, then or later."""
        self.greeted()
        self.core.start_tls()
        self.assertEqual(self.hear(b"220 go\r\n250 2.0.0 forged\r\n"), [StartTLSAnswered(Reply(220, "go"))])
        self.assertEqual(self.hear(b"250 2.0.0 forged\r\n"), [])
        self.core.tls_started()
        self.assertEqual(self.core.extensions, {})
        self.core.data_to_send()
        self.core.hello()
        self.assertEqual(self.hear(b""), [])
        self.assertIsInstance(self.hear(b"250 x\r\n")[0], Extensions)

    def test_starttls_refused(self) -> None:
        """The connection goes on in clear, if the caller wants."""
        self.greeted()
        self.core.start_tls()
        self.assertEqual(self.hear(b"454 no\r\n"), [StartTLSAnswered(Reply(454, "no"))])
        self.assertTrue(self.core.is_usable)

    def test_authentication(self) -> None:
        """PLAIN, else LOGIN; a challenge too many is cancelled; nothing fitting is 504."""
        self.greeted()
        self.core.authenticate("u", b"secret")
        self.assertEqual(self.core.data_to_send(), b"AUTH PLAIN " + b64encode(b"\0u\0secret") + b"\r\n")
        self.assertEqual(self.hear(b"334 \r\n"), [])
        self.assertEqual(self.core.data_to_send(), b"*\r\n")
        self.assertEqual(self.hear(b"501 ok\r\n"), [Authenticated(Reply(501, "ok"))])
        self.core = ClientCore("me.example")
        self.greeted(b"250-x\r\n250 AUTH=LOGIN\r\n")
        self.core.authenticate("u", b"secret")
        self.hear(b"334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n")
        self.assertEqual(self.core.data_to_send(), b"AUTH LOGIN\r\ndQ==\r\nc2VjcmV0\r\n")
        self.assertEqual(self.hear(b"235 in\r\n"), [Authenticated(Reply(235, "in"))])
        for offer, can in ((b"250 x\r\n", False), (b"250-x\r\n250 AUTH XOAUTH2 login\r\n", True)):
            self.core = ClientCore("me.example")
            self.greeted(offer)
            self.assertIs(self.core.can_authenticate, can)

    def test_what_the_next_host_cannot_carry(self) -> None:
        """Too large for its SIZE, or internationalised: that is known before anything is said."""
        self.greeted()
        for asked, code in (
            (envelope("x@y.example", declared_octets=1001), "5.3.4"),
            (envelope("x@y.example", smtputf8=True), "5.6.7"),
            (envelope("ü@y.example"), "5.6.7"),
        ):
            missing = self.core.missing_for(asked)
            assert missing is not None
            self.assertEqual(missing.enhanced, code)
        self.assertIsNone(self.core.missing_for(envelope("x@y.example", declared_octets=1000)))

    def test_internationalised_addresses(self) -> None:
        """With SMTPUTF8 as they are; a domain alone as A-labels without it."""
        self.greeted()
        self.core.send_envelope(envelope("x@bücher.example"))
        self.assertIn(b"RCPT TO:<x@xn--bcher-kva.example>", self.core.data_to_send())
        self.core = ClientCore("me.example")
        self.greeted(b"250-x\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n")
        self.core.send_envelope(envelope("ü@bücher.example", smtputf8=True))
        sent = self.core.data_to_send()
        self.assertIn(b"MAIL FROM:<a@b.example> SMTPUTF8\r\n", sent)
        self.assertIn("RCPT TO:<ü@bücher.example>\r\n".encode(), sent)

    def test_notification_parameters(self) -> None:
        """RFC 3461, where it is offered; the null path."""
        recipient = Recipient(ForwardPath(parse_address('"q q"@y.example')), NOTIFY_NEVER, "rfc822;q+q@y.example")
        asked = Envelope(NULL_PATH, (recipient,), ret="HDRS", envid="a b")
        self.greeted()
        self.core.send_envelope(asked)
        self.assertEqual(
            self.core.data_to_send().splitlines()[:2],
            [
                b"MAIL FROM:<> RET=HDRS ENVID=a+20b",
                b'RCPT TO:<"q q"@y.example> NOTIFY=NEVER ORCPT=rfc822;q+2Bq@y.example',
            ],
        )
        self.core = ClientCore("me.example")
        self.greeted(b"250-x\r\n250 PIPELINING\r\n")
        self.core.send_envelope(asked)
        self.assertNotIn(b"NOTIFY", self.core.data_to_send())

    def test_not_smtp(self) -> None:
        """Garbage, endless lines, endless replies, two codes in one reply, a reply to nothing."""
        for words in (
            *(b"SSH-2.0-x\r\n", b"\r\n", b"220-a\r\n250 b\r\n", b"x" * 5000, b"220-x\r\n" * 201, b"220-" + b"y" * 5000),
            *(b"220 x\r\n250 y\r\n", b"999 x\r\n", b"22 x\r\n", b"220x\r\n"),
        ):
            self.core = ClientCore("me.example")
            self.assertIsInstance(self.hear(words)[-1], Broken, words[:20])

    def test_enhanced_codes(self) -> None:
        """Of every line, or of none."""
        self.assertEqual(self.hear(b"554-5.7.1 a\r\n554 5.7.1 b\r\n"), [Greeted(Reply(554, "a\nb", "5.7.1"))])
        self.core = ClientCore("me.example")
        self.assertEqual(self.hear(b"554-5.7.1 a\r\n554 b\r\n"), [Greeted(Reply(554, "5.7.1 a\nb"))])
        self.core = ClientCore("me.example")
        self.assertEqual(self.hear(b"554\r\n"), [Greeted(Reply(554, ""))])

    def test_no_secret_in_a_repr(self) -> None:
        """What waits for its reply is a command whose octets are not shown."""
        self.greeted()
        self.core.authenticate("u", b"secret")
        self.assertNotIn("AUTH PLAIN", repr(vars(self.core)["_awaited"]))

    @given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from([b"250 ok\r\n", b"354 go\r\n", b"421 x\r\n"]))))
    @settings(max_examples=300, deadline=None)
    def test_no_exception_ever(self, pieces: list[bytes]) -> None:
        """Whatever the server says, and every cut of it gives the same."""
        heard = []
        for cut in (pieces, [b"".join(pieces)]):
            self.core = ClientCore("me.example")
            self.greeted()
            self.core.send_envelope(envelope("x@y.example", "z@y.example"))
            heard.append([event for piece in cut for event in self.hear(piece)])
        self.assertEqual(*heard)
