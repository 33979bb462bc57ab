"""
The server core: cut everywhere, attacked, fuzzed.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close
from mailtraq_py.wire.smtp import commands
from mailtraq_py.wire.smtp.server import ServerCore
from mailtraq_py.wire.smtp.states import ALLOWED, OUT_OF_SEQUENCE, State
from tests.cut import Heard, assert_cutting_law, feed

OK = Reply(250, "ok", "2.0.0")
EHLO = b"EHLO c.example\r\n"
GROUP = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@here.example>\r\nDATA\r\n"


def make_core(**limits: int) -> ServerCore:
    """A core that has greeted."""
    core = ServerCore("here.example", **limits)
    core.greet(Reply(220, "hi"))
    core.data_to_send()
    return core


def answer(core: ServerCore, event: object) -> None:
    """A session that likes everything."""
    match event:
        case commands.Octets():
            pass
        case commands.Data():
            core.reply(Reply(354, "go"))
        case commands.Auth() | commands.AuthResponse():
            core.reply(Reply(334, "") if isinstance(event, commands.Auth) else Reply(235, "in", "2.7.0"))
        case commands.AuthAborted(reply):
            core.reply(reply)
        case commands.EndOfMessage(refusal):
            core.reply(refusal or OK)
        case commands.Quit():
            core.reply(Reply(221, "bye", "2.0.0"))
        case _:
            core.reply(OK)


def codes(output: bytes) -> list[int]:
    """The codes of the replies."""
    return [int(line[:3]) for line in output.splitlines() if line[3:4] == b" "]


class Cutting(SynchronousTestCase):
    """Any way to cut the input gives the same events."""

    def heard(self, *turns: bytes) -> Heard:
        """What every cut gives."""
        return assert_cutting_law(self, make_core, turns, answer)

    def test_a_whole_session(self) -> None:
        """Two transactions, the second group behind the first message's end, and QUIT."""
        events, output = self.heard(
            EHLO, GROUP, b"Subject: x\r\n\r\n..\r\n.\r\n" + GROUP, b"x\r\n.y\r\n.\r\nQUIT\r\nNOOP\r\n"
        )
        self.assertEqual(codes(output), [250, 250, 250, 354, 250, 250, 250, 354, 250, 221])
        pieces = [event.piece for event in events if isinstance(event, commands.Octets)]
        self.assertEqual(pieces, [b"Subject: x\r\n\r\n.\r\n", b"x\r\ny\r\n"])
        self.assertEqual(events[-1], Close("quit"))

    def test_every_command(self) -> None:
        """Each is handed out once, as a value."""
        events, _ = self.heard(
            EHLO,
            b"NOOP x\r\nHELP\r\nVRFY u\r\nEXPN l\r\nRSET\r\nmail from: <a@b.example> size=3 body=8bitmime\r\n",
            b"rcpt to:<u@here.example>\r\nRSET\r\n",
            b"AUTH LOGIN\r\ndQ==\r\nSTARTTLS\r\nNOOP\r\n",
        )
        self.assertEqual(
            " ".join(type(event).__name__ for event in events),
            "Hello Noop Help Verify Expand Reset Mail Rcpt Reset Auth AuthResponse StartTLS Noop",
        )

    def test_smuggling(self) -> None:
        """S 1-3, 5: one message, refused; the command behind its true end is the next command."""
        for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r\r\n", b"\r.\r\n", b"\r\n\x00.\r\n"):
            events, output = self.heard(EHLO, GROUP, b"x" + end + b"MAIL FROM:<c@d>\r\n.\r\nNOOP\r\n")
            self.assertEqual(codes(output), [250, 250, 250, 354, 550, 250], end)
            self.assertIn(b"550 5.6.0 ", output)
            self.assertEqual(sum(isinstance(event, commands.Mail) for event in events), 1)

    def test_refused_lines(self) -> None:
        """Unknown commands, bad syntax and bad sequence are answered by the core, and the session goes on."""
        events, output = self.heard(
            b"MAIL FROM:<a@b.example>\r\n",
            b"EHLO\r\nEHLO c.example\r\n",
            b"FOO\r\n\r\nMAIL\r\nMAIL FROM:\r\nRCPT TO:<u@here.example>\r\nDATA x\r\nNOOP \x07\r\nAUTH\r\nVRFY\r\n",
        )
        self.assertEqual(codes(output), [503, 501, 250, 500, 500, 501, 501, 503, 503, 501, 501, 501])
        self.assertEqual(len(events), 1)

    def test_parameters(self) -> None:
        """S 18: the state is what it was before each."""
        _, output = self.heard(
            EHLO,
            b"MAIL FROM:<a@b.example> SIZE=x\r\nMAIL FROM:<a@b.example> BODY=FOO\r\n"
            b"MAIL FROM:<a@b.example> SIZE=1 SIZE=1\r\nMAIL FROM:<a@b.example> FOO=1\r\n"
            b"RCPT TO:<u@here.example>\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@here.example> SIZE=1\r\n",
            b"DATA\r\n",
        )
        self.assertEqual(codes(output), [250, 501, 501, 501, 555, 503, 250, 555, 554])

    def test_octets_outside_ascii(self) -> None:
        """S 17: 553 in paths, 501 elsewhere, and the connection stays."""
        _, output = self.heard(
            EHLO, b"MAIL FROM:<\xff\xfe@x>\r\nMAIL FROM:<\xc3\xbc@x>\r\nVRFY \xff\r\nNOOP\r\n", b"EHLO \xff\r\n"
        )
        self.assertEqual(codes(output), [250, 553, 553, 501, 250, 501])

    def test_other_protocols(self) -> None:
        """S 14: one 5xx at most, and the end; no header line runs."""
        for octets in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nNOOP\r\n",
            b"POST /x HTTP/1.1\r\nMAIL FROM:<a@b.example>\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"Subject: x\r\nNOOP\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\n\x01\xfc\x03\x03",
            b"\x16\x03",
        ):
            events, output = self.heard(octets)
            self.assertEqual(events, [Close("another protocol")], octets)
            self.assertEqual(codes(output), [500])

    def test_long_lines(self) -> None:
        """S 15: 512 octets, 4096 with a path, 12288 with a SASL response; then 500 and the end."""
        for line in (
            b"NOOP " + b"x" * 508 + b"\r\n",
            b"FOO " + b"x" * 509 + b"\r\n",
            b"RCPT TO:<" + b"x" * 4100 + b">\r\n",
        ):
            events, output = feed(make_core, [line], answer)
            self.assertEqual((events, codes(output)), ([Close("line too long")], [500]), line[:9])
        for size in (13000, 1024 * 1024):
            for pieces in ([b"x" * size], [b"x" * 1000] * (size // 1000)):
                events, output = feed(make_core, pieces, answer)
                self.assertEqual((events, codes(output)), ([Close("line too long")], [500]))
        self.assertEqual(codes(feed(make_core, [b"NOOP " + b"x" * 505 + b"\r\n"], answer)[1]), [250])


class Turns(SynchronousTestCase):
    """Who speaks when."""

    def test_paused_until_the_reply(self) -> None:
        """No second command before the first has its reply, and no reply without a command."""
        core = make_core()
        core.receive_data(b"NOOP\r\nNOOP\r\n")
        self.assertEqual(core.next_event(), commands.Noop())
        self.assertIs(core.next_event(), PAUSED)
        core.reply(OK)
        self.assertRaises(RuntimeError, core.reply, OK)
        self.assertEqual(core.next_event(), commands.Noop())

    def test_nothing_before_the_greeting(self) -> None:
        """Input waits, and is there to be counted."""
        core = ServerCore("here.example")
        core.receive_data(b"NOOP\r\n")
        self.assertIs(core.next_event(), NEED_DATA)
        self.assertEqual(core.buffered_octets, 6)

    def test_out_of_step(self) -> None:
        """S 13: what stands behind EHLO, DATA or, without EHLO, behind MAIL and RCPT ends the connection unread."""
        for turns in (
            (EHLO + GROUP,),
            (b"HELO c.example\r\n", GROUP),
            (b"HELO c.example\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<u@here.example>\r\nDATA\r\n"),
            (EHLO, GROUP + b"Subject: x\r\n\r\nx\r\n.\r\n"),
            (EHLO, b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@here.example>\r\nDATA\r\n" + GROUP),
        ):
            events, output = feed(make_core, turns, answer)
            self.assertEqual(events[-1], Close("out of step"), turns)
            self.assertEqual(codes(output)[-1], 554)
            self.assertFalse(any(isinstance(event, commands.Octets) for event in events))

    def test_a_body_behind_a_refused_data(self) -> None:
        """S 13: it must not be read as commands."""

        def refuse_data(core: ServerCore, event: object) -> None:
            if isinstance(event, commands.Data):
                core.reply(Reply(451, "later", "4.3.0"))
            else:
                answer(core, event)

        events, _ = feed(make_core, [EHLO, GROUP + b"RSET\r\nQUIT\r\n"], refuse_data)
        self.assertEqual(events[-1], Close("out of step"))
        events, output = feed(make_core, [EHLO, GROUP, b"DATA\r\n", b"RSET\r\n"], refuse_data)
        self.assertEqual(codes(output), [250, 250, 250, 451, 451, 250])

    def test_too_many_errors(self) -> None:
        """S 15: 421 and the end, whatever the errors are."""
        events, output = feed(lambda: make_core(max_errors=10), [b"BOGUS\r\n" * 10_000], answer)
        self.assertEqual((events, codes(output)), ([Close("too many errors")], [500] * 9 + [421]))

    def test_many_noops(self) -> None:
        """S 15: well-formed commands have no limit, and nothing gathers."""
        core = make_core()
        core.receive_data(b"NOOP\r\n" * 10_000)
        for _ in range(10_000):
            self.assertEqual(core.next_event(), commands.Noop())
            core.reply(OK)
            core.data_to_send()
        self.assertIs(core.next_event(), NEED_DATA)

    def test_starttls_forgets(self) -> None:
        """S 7: what was behind STARTTLS is gone, and so is the EHLO."""
        core = make_core()
        core.receive_data(EHLO)
        answer(core, core.next_event())
        core.receive_data(b"STARTTLS\r\nNOOP\r\nMAIL FROM:<a@b.example>\r\n")
        self.assertEqual(core.next_event(), commands.StartTLS())
        core.reply(Reply(220, "go"))
        core.receive_data(b"NOOP\r\n")
        self.assertIs(core.next_event(), NEED_DATA)
        core.tls_started()
        self.assertIs(core.next_event(), NEED_DATA)
        core.data_to_send()
        core.receive_data(b"MAIL FROM:<a@b.example>\r\n")
        self.assertIs(core.next_event(), NEED_DATA)
        self.assertEqual(codes(core.data_to_send()), [503])

    def test_starttls_form(self) -> None:
        """Only behind EHLO, without arguments, outside a transaction."""
        for turns, last in (
            ((b"STARTTLS\r\n",), 503),
            ((b"HELO c.example\r\n", b"STARTTLS\r\n"), 503),
            ((EHLO, b"STARTTLS now\r\n"), 501),
            ((EHLO, b"MAIL FROM:<>\r\n", b"STARTTLS\r\n"), 503),
        ):
            self.assertEqual(codes(feed(make_core, turns, answer)[1])[-1], last)

    def test_sasl(self) -> None:
        """A 26: initial responses and responses are base64, exactly; "*" cancels; a cancelled exchange is over."""
        for turns, expected in (
            ((b"AUTH PLAIN\r\n", b"*\r\n", b"NOOP\r\n"), [334, 501, 250]),
            ((b"AUTH PLAIN\r\n", b"a b=\r\n", b"NOOP\r\n"), [334, 501, 250]),
            ((b"AUTH PLAIN\r\n", b"NOOP\r\n", b"NOOP\r\n"), [334, 235, 250]),
            ((b"AUTH PLAIN =\r\n", b"*\r\n"), [334, 501]),
            ((b"AUTH PLAIN !!\r\n",), [501]),
            ((b"AUTH PLAIN YQ\r\n",), [501]),
            ((b"AUTH PLAIN YQ== YQ==\r\n",), [501]),
            ((b"AUTH PLAIN \r\n", b"*\r\n"), [334, 501]),
            ((b"AUTH pl$ain\r\n",), [501]),
        ):
            self.assertEqual(codes(feed(make_core, (EHLO, *turns), answer)[1])[1:], expected, turns)
        core = make_core()
        for line in (EHLO, b"AUTH PLAIN AGEAYg==\r\n"):
            core.receive_data(line)
            event = core.next_event()
            answer(core, event)
        self.assertEqual(event, commands.Auth("PLAIN", b"\0a\0b"))
        self.assertNotIn("a\\x00b", repr(event))

    def test_long_sasl_response(self) -> None:
        """A 26: 1 MiB of base64 ends the connection."""
        events, _ = feed(make_core, [EHLO, b"AUTH PLAIN\r\n", b"A" * 1024 * 1024], answer)
        self.assertEqual(events[-1], Close("line too long"))

    def test_farewells(self) -> None:
        """A greeting that is none, a 421 and an unasked last word end the connection."""
        core = ServerCore("here.example")
        core.greet(Reply(554, "no", "5.7.1"))
        self.assertEqual(core.data_to_send(), b"554 5.7.1 no\r\n")
        self.assertIsInstance(core.next_event(), Close)
        core = make_core()
        core.receive_data(b"NOOP\r\nNOOP\r\n")
        core.next_event()
        core.reply(Reply(421, "enough", "4.7.0"))
        self.assertEqual(core.next_event(), Close("421 said"))
        core = make_core()
        core.close(Reply(421, "stopping"), "server stops")
        self.assertEqual(core.next_event(), Close("server stops"))

    def test_the_table_is_whole(self) -> None:
        """Every command has its word for every state in which it may come and is not allowed."""
        asked = (State.FRESH, State.READY, State.MAIL, State.RCPT)
        for verb, allowed in ALLOWED.items():
            for state in asked:
                self.assertNotEqual(state in allowed, (verb, state) in OUT_OF_SEQUENCE, (verb, state))

    @given(
        st.lists(
            st.one_of(
                st.sampled_from([EHLO, *GROUP.splitlines(True), b".\r\n", b"\r\n", b"\n"]),
                st.sampled_from([b"AUTH PLAIN\r\n", b"RSET\r\n", b"STARTTLS\r\n", b"QUIT\r\n"]),
                st.binary(max_size=20),
            ),
            max_size=20,
        ),
        st.sampled_from([250, 354, 334, 451, 550]),
    )
    @settings(max_examples=400, deadline=None)
    def test_no_exception_ever(self, pieces: list[bytes], code: int) -> None:
        """Whatever comes, and whatever the session says: events, and no exception."""

        def say(core: ServerCore, event: object) -> None:
            if not isinstance(event, commands.Octets):
                core.reply(Reply(code, "x"))

        feed(make_core, pieces, answer)
        feed(make_core, pieces, say)
