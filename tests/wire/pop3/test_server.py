"""The POP3 core: the cutting law, states, replies, limits."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.pop3.commands import Auth, AuthResponse, List, Pass, Plain, Retr, Top, Uidl
from mailtraq_py.wire.pop3.server import BAD_COMMANDS_MAX, COMMAND_MAX_OCTETS, LOGIN_LINE_MAX_OCTETS, POP3Server
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close
from tests.cut import assert_cutting_law, feed

MESSAGE = b"Subject: x\r\n\r\n.\r\n..\r\nbody\r\n"


def answer(core: POP3Server, event: Any) -> None:
    """A session with one message and any password."""
    if isinstance(event, Auth):
        core.challenge(b"")
    elif isinstance(event, AuthResponse) and event.octets is None:
        core.error("No", "AUTH")
    elif isinstance(event, Pass | AuthResponse):
        core.enter_transaction()
        core.ok("In")
    elif isinstance(event, Retr | Top):
        core.begin_lines("Message follows")
        core.add_message(MESSAGE[:13])
        core.add_message(MESSAGE[13:])
        core.end_lines()
    elif isinstance(event, List | Uidl):
        core.begin_lines("List follows")
        core.add_lines(b"1 100\r\n")
        core.end_lines()
    else:
        core.ok("Done")


class ServerTests(SynchronousTestCase):
    """The core by itself."""

    def test_cutting_law(self) -> None:
        """However the octets come, the same commands and replies."""
        events, output = assert_cutting_law(
            self,
            POP3Server,
            b"CAPA\r\nUSER a\r\nbad\r\nPASS b c\r\nSTAT\r\nLIST\nRETR 1\r\nTOP 1 2\r\nUSER b\r\nQUIT\r\n",
            answer,
        )
        self.assertEqual(len(events), 8)
        self.assertIn(b"-ERR Unknown command\r\n", output)
        self.assertTrue(output.endswith(b"-ERR Logged in already\r\n+OK Done\r\n"))

    def test_cutting_law_of_auth(self) -> None:
        """A challenge turns exactly one line into a response."""
        events, output = assert_cutting_law(
            self, POP3Server, [b"AUTH PLAIN\r\n", b"*\r\nAUTH PLAIN\r\n", b"AGEAYg==\r\nSTAT\r\n"], answer
        )
        self.assertEqual(
            events,
            [Auth("PLAIN", None), AuthResponse(None), Auth("PLAIN", None), AuthResponse(b"\0a\0b"), Plain.STAT],
        )
        self.assertEqual(output, b"+ \r\n-ERR [AUTH] No\r\n+ \r\n+OK In\r\n+OK Done\r\n")

    def test_cutting_law_of_long_lines(self) -> None:
        """A line past its limit ends the connection, whether its end has come or not."""
        for octets in (b"PASS b\r\nNOOP " + b"x" * COMMAND_MAX_OCTETS, b"PASS b\r\n" + b"x" * 254 + b"\r\nNOOP\r\n"):
            events, output = assert_cutting_law(self, POP3Server, octets, answer)
            self.assertEqual(events[-1], Close("line too long"))
            self.assertTrue(output.endswith(b"-ERR Line too long\r\n"))

    def test_a_command_of_255_octets(self) -> None:
        """RFC 2449 4 lets commands be that long."""
        events, _ = feed(POP3Server, [b"PASS b\r\n", b"STAT".ljust(COMMAND_MAX_OCTETS - 2) + b"\r\nNOOP\r\n"], answer)
        self.assertEqual(events[-1], Plain.NOOP)

    def test_an_endless_line(self) -> None:
        """1 MiB without an end is not kept, before the login neither."""
        core = POP3Server()
        core.receive_data(b"x" * (LOGIN_LINE_MAX_OCTETS + 1))
        self.assertEqual(core.next_event(), Close("line too long"))

    def test_paused_until_answered(self) -> None:
        """The next command comes when the one before has its whole reply."""
        core = POP3Server()
        core.receive_data(b"PASS b\r\nRETR 1\r\nNOOP\r\n")
        self.assertEqual(core.next_event(), Pass(b"b"))
        self.assertIs(core.next_event(), PAUSED)
        core.enter_transaction()
        core.ok("In")
        self.assertEqual(core.next_event(), Retr(1))
        core.begin_lines("Message follows")
        core.add_message(MESSAGE)
        self.assertIs(core.next_event(), PAUSED)
        self.assertTrue(core.mid_response)
        core.end_lines()
        self.assertFalse(core.mid_response)
        self.assertEqual(core.next_event(), Plain.NOOP)

    def test_message_is_stuffed_however_cut(self) -> None:
        """A line that begins with a dot gets another one; the end stands on a line of its own."""
        for content, expected in (
            (MESSAGE, b"Subject: x\r\n\r\n..\r\n...\r\nbody\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b"", b".\r\n"),
            (b"a\r\n.\r", b"a\r\n..\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        ):
            for cut in range(len(content) + 1):
                core = POP3Server()
                core.begin_lines("x")
                core.add_message(content[:cut])
                core.add_message(content[cut:])
                core.end_lines()
                self.assertEqual(core.data_to_send(), b"+OK x\r\n" + expected)

    def test_bad_commands_end_the_connection(self) -> None:
        """Some are answered, then it is enough."""
        events, output = feed(POP3Server, [b"x\r\n" * 1000], answer)
        self.assertEqual(events, [Close("too many bad commands")])
        self.assertEqual(output.count(b"-ERR"), BAD_COMMANDS_MAX + 1)

    def test_other_protocols(self) -> None:
        """HTTP and TLS get one line at most, and nothing of theirs is a command."""
        for octets in (
            b"GET / HTTP/1.1\r\nHost: x\r\nUSER a\r\nPASS b\r\n",
            b"\x16\x03\x01\x00\x05hello\nUSER a\r\n",
        ):
            events, output = feed(POP3Server, [octets], answer)
            self.assertEqual(len(events), 1)
            self.assertIsInstance(events[0], Close)
            self.assertEqual(output.count(b"\r\n"), 1)

    def test_forget_input(self) -> None:
        """What came behind STLS is gone."""
        core = POP3Server()
        core.receive_data(b"STLS\r\nUSER a\r\nPASS b\r\n")
        self.assertEqual(core.next_event(), Plain.STLS)
        core.ok("Begin TLS")
        core.forget_input()
        self.assertIs(core.next_event(), NEED_DATA)

    def test_reply_text_cannot_break_out(self) -> None:
        """Line ends, brackets and length of a text that others wrote."""
        core = POP3Server()
        core.say(False, "a\r\n+OK b\x00é")
        core.say(False, "[IN-USE] x")
        core.say(False, "x" * 1000, "SYS/TEMP")
        first, second, third = core.data_to_send().splitlines(keepends=True)
        self.assertEqual(first, b"-ERR a??+OK b??\r\n")
        self.assertEqual(second, b"-ERR IN-USE] x\r\n")
        self.assertLessEqual(len(third), 512)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from(
                    [b"USER a", b"PASS b", b"AUTH PLAIN", b"STAT", b"RETR 1", b"TOP 1 1", b"LIST", b"\r\n", b"\n"]
                ),
            ),
            max_size=30,
        )
    )
    def test_anything_at_all(self, pieces: list[bytes]) -> None:
        """No input raises, and every line of the output is a reply or inside one."""
        _, output = feed(POP3Server, pieces, answer)
        self.assertTrue(output == b"" or output.endswith(b"\r\n"))
