"""The core as a whole: what comes out, what is answered inside, however the input is cut."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.flags import StoreOperation
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.wire.imap import commands
from mailtraq_py.wire.imap.server import BAD_MAX, IMAPServer
from mailtraq_py.wire.imap.states import State
from mailtraq_py.wire.imap.view import View
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close
from tests.cut import assert_cutting_law, feed

NO_REPLY = (commands.AppendOctets, commands.AppendBroken)


def make_core(state: State = State.SELECTED) -> IMAPServer:
    """A core in a state; selected is a mailbox of the UIDs 1, 2, 3, 5, 9."""
    core = IMAPServer(1_000_000)
    core.state = state
    if state is State.SELECTED:
        core.view = View(UIDSet.from_numbers((1, 2, 3, 5, 9)), 10, 5)
    return core


def answer(core: IMAPServer, event: Any) -> None:
    """Says OK to everything; lets messages come, asks for the lines of AUTHENTICATE and IDLE."""
    if isinstance(event, commands.Append | commands.AppendNext):
        core.accept_message()
    elif isinstance(event, commands.Idle | commands.Authenticate):
        core.continue_with(b"")
    elif isinstance(event, commands.Logout):
        core.bye("goodbye")
        core.ok("done")
    elif not isinstance(event, NO_REPLY):
        core.ok("done")


class CoreTests(SynchronousTestCase):
    """Commands in, events and answers out."""

    def hear(self, octets: bytes, state: State = State.SELECTED) -> tuple[list[Any], bytes]:
        """Events and output, the same for every way to cut."""
        return assert_cutting_law(self, lambda: make_core(state), octets, answer)

    def test_command_by_command(self) -> None:
        """A command that has no reply yet holds the next one back."""
        core = make_core()
        core.receive_data(b"a NOOP\r\nb CHECK\r\n")
        self.assertEqual(core.next_event(), commands.Noop())
        self.assertIs(core.next_event(), PAUSED)
        core.ok("done")
        self.assertEqual(core.next_event(), commands.Check())
        core.no("not now", "INUSE")
        self.assertIs(core.next_event(), NEED_DATA)
        self.assertEqual(core.data_to_send(), b"a OK done\r\nb NO [INUSE] not now\r\n")

    def test_examples_before_login(self) -> None:
        """RFC 3501 6.1, 6.2."""
        events, output = self.hear(
            b'abcd CAPABILITY\r\na023 ID ("name" "sodr" "version" NIL)\r\na004 AUTHENTICATE PLAIN AGE=\r\n'
            b"ZWNobw==\r\na001 LOGIN SMITH SESAME\r\n",
            State.NOT_AUTHENTICATED,
        )
        self.assertEqual(
            events,
            [
                commands.Capability(),
                commands.Identify((("name", "sodr"), ("version", ""))),
                commands.Authenticate("PLAIN", b"AGE="),
                commands.Continuation(b"ZWNobw=="),
                commands.Login(b"SMITH", b"SESAME"),
            ],
        )
        self.assertEqual(output, b"abcd OK done\r\na023 OK done\r\n+ \r\na004 OK done\r\na001 OK done\r\n")

    def test_literals(self) -> None:
        """RFC 7888 3: synchronising ones are asked for, the others just come."""
        events, output = self.hear(
            b"a LOGIN {11+}\r\nFRED FOOBAR {7}\r\nfat man\r\nb LOGIN {0+}\r\n \"\"\r\n", State.NOT_AUTHENTICATED
        )
        self.assertEqual(events, [commands.Login(b"FRED FOOBAR", b"fat man"), commands.Login(b"", b"")])
        self.assertEqual(output, b"+ go ahead\r\na OK done\r\nb OK done\r\n")

    def test_append_streams(self) -> None:
        """RFC 3501 6.3.11: the command comes before its message, the message in pieces."""
        events, output = self.hear(
            b'A003 APPEND {5}\r\nSaved (\\Seen) " 7-Feb-1994 22:43:04 -0800" {12}\r\nDate: x\r\n\r\ny\r\nb NOOP\r\n'
        )
        self.assertEqual(
            events,
            [
                commands.Append("Saved", frozenset(("\\Seen",)), 760689784, 12),
                commands.AppendOctets(b"Date: x\r\n\r\ny"),
                commands.AppendEnd(),
                commands.Noop(),
            ],
        )
        self.assertEqual(output, b"+ go ahead\r\n+ go ahead\r\nA003 OK done\r\nb OK done\r\n")

    def test_append_refused(self) -> None:
        """A message that nobody wants is passed over when it comes all the same, with all of its command."""

        def refuse(core: IMAPServer, event: Any) -> None:
            if isinstance(event, commands.Append):
                core.no("no such mailbox", "TRYCREATE")
            else:
                core.ok("done")

        events, output = assert_cutting_law(
            self, make_core, b"a APPEND x {9}\r\nb APPEND x {9+}\r\nc NOOP\r\n {3+}\r\n\r\n\r\nd NOOP\r\n", refuse
        )
        self.assertEqual([type(event) for event in events], [commands.Append, commands.Append, commands.Noop])
        refusal = b" NO [TRYCREATE] no such mailbox\r\n"
        self.assertEqual(output, b"a" + refusal + b"b" + refusal + b"d OK done\r\n")

    def test_append_broken(self) -> None:
        """Something behind the message makes the command malformed."""
        events, output = self.hear(b"a APPEND x {3+}\r\nabc (\\Seen)\r\nb APPEND x (\\Seen)\r\nc NOOP\r\n")
        self.assertEqual(
            [type(event) for event in events],
            [commands.Append, commands.AppendOctets, commands.AppendBroken, commands.Noop],
        )
        self.assertIn(b"a BAD unexpected argument behind the message\r\n", output)
        self.assertIn(b"b BAD", output)

    def test_append_of_several(self) -> None:
        """RFC 3502: each further message is announced like the first."""
        events, output = self.hear(
            b'A003 APPEND Saved (\\Seen) {3+}\r\nabc (\\Draft) " 7-Feb-1994 22:43:04 -0800" {5}\r\ndefgh {1+}\r\ni\r\n'
        )
        self.assertEqual(
            events,
            [
                commands.Append("Saved", frozenset(("\\Seen",)), None, 3),
                commands.AppendOctets(b"abc"),
                commands.AppendNext(frozenset(("\\Draft",)), 760689784, 5),
                commands.AppendOctets(b"defgh"),
                commands.AppendNext(frozenset(), None, 1),
                commands.AppendOctets(b"i"),
                commands.AppendEnd(),
            ],
        )
        self.assertEqual(output, b"+ go ahead\r\nA003 OK done\r\n")

    def test_append_of_several_broken(self) -> None:
        """What is wrong with a further message ends the command, whatever still comes of it."""
        for further, reply in (
            (b" {2000000+}\r\n" + b"x" * 2_000_000, b"a NO [TOOBIG]"),
            (b"{1+}\r\nx", b"a BAD "),
            (b" (\\Seen {1+}\r\nx {1+}\r\n\r", b"a BAD "),
            (b' "yesterday" {1+}\r\nx', b"a BAD "),
        ):
            events, output = feed(make_core, [b"a APPEND x {3+}\r\nabc" + further + b"\r\nb NOOP\r\n"], answer)
            self.assertEqual(
                [type(event) for event in events],
                [commands.Append, commands.AppendOctets, commands.AppendBroken, commands.Noop],
            )
            self.assertTrue(output.startswith(reply) and output.endswith(b"b OK done\r\n"), output)

    def test_append_too_large(self) -> None:
        """A message above the limit is refused before it comes."""
        _, output = self.hear(b"a APPEND x {1000001}\r\nb NOOP\r\n")
        self.assertEqual(output, b"a NO [TOOBIG] message too large\r\nb OK done\r\n")

    def test_idle(self) -> None:
        """RFC 2177 3: IDLE waits for its line, whatever is told meanwhile."""
        events, output = self.hear(b"A002 IDLE\r\nDONE\r\na NOOP\r\n")
        self.assertEqual(events, [commands.Idle(), commands.Continuation(b"DONE"), commands.Noop()])
        self.assertEqual(output, b"+ \r\nA002 OK done\r\na OK done\r\n")

    def test_logout_closes(self) -> None:
        """BYE before OK, and nothing after it (RFC 3501 6.1.3)."""
        events, output = self.hear(b"A023 LOGOUT\r\nb NOOP\r\n")
        self.assertEqual(events, [commands.Logout(), Close("goodbye")])
        self.assertEqual(output, b"* BYE goodbye\r\nA023 OK done\r\n")

    def test_states(self) -> None:
        """Out of state is BAD, and no event."""
        _, output = self.hear(b"a SELECT x\r\nb FETCH 1 FLAGS\r\n", State.NOT_AUTHENTICATED)
        self.assertEqual(
            output, b"a BAD not allowed while not authenticated\r\nb BAD not allowed while not authenticated\r\n"
        )
        _, output = self.hear(b"a LOGIN x y\r\nb EXPUNGE\r\n", State.AUTHENTICATED)
        self.assertEqual(output, b"a BAD not allowed while authenticated\r\nb BAD not allowed while authenticated\r\n")

    def test_commands_of_the_selected_state(self) -> None:
        """RFC 3501 6.4."""
        events, _ = self.hear(
            b"A STORE 2:4 +FLAGS (\\Deleted)\r\nB uid store 2 -flags.silent \\seen foo\r\nC COPY 2:4 \"MEETING\"\r\n"
            b"D UID MOVE 42:69 foo\r\nE UID EXPUNGE 3:*\r\nF CLOSE\r\nG UNSELECT\r\nH ENABLE CONDSTORE X\r\n"
        )
        self.assertEqual(
            [(str(event.numbers.numbers), event.operation, event.silent, event.by_uid) for event in events[:2]],
            [("2:4", StoreOperation.ADD, False, False), ("2", StoreOperation.REMOVE, True, True)],
        )
        self.assertEqual([event.flags for event in events[:2]], [{"\\Deleted"}, {"\\Seen", "foo"}])
        self.assertEqual((events[2].mailbox, events[2].by_uid, events[2].move), ("MEETING", False, False))
        self.assertEqual((events[3].mailbox, events[3].by_uid, events[3].move), ("foo", True, True))
        self.assertEqual(events[5:], [commands.Close(True), commands.Close(False), commands.Enable(("CONDSTORE", "X"))])

    def test_forget_input(self) -> None:
        """Attack 7: what was sent behind STARTTLS is never run."""
        core = make_core(State.NOT_AUTHENTICATED)
        core.receive_data(b"a STARTTLS\r\nb LOGIN x y\r\n")
        self.assertEqual(core.next_event(), commands.StartTLS())
        core.ok("begin TLS now")
        core.forget_input()
        self.assertIs(core.next_event(), NEED_DATA)
        core.receive_data(b"c NOOP\r\n")
        self.assertEqual(core.next_event(), commands.Noop())


class LimitTests(SynchronousTestCase):
    """What nobody may do to us."""

    def test_literals_before_login(self) -> None:
        """Attack 36: a stranger cannot make us hold much, and what he sends all the same is passed over."""
        octets = b"a LOGIN {4097}\r\nb LOGIN {4097+}\r\n" + b"c NOOP\r\n" * 700
        core = make_core(State.NOT_AUTHENTICATED)
        core.receive_data(octets[: octets.index(b"c NOOP") + 4097] + b" x\r\nd NOOP\r\n")
        self.assertEqual(core.next_event(), commands.Noop())
        self.assertEqual(core.data_to_send(), b"a BAD literal too large\r\nb BAD literal too large\r\n")

    def test_many_literals(self) -> None:
        """It is the sum that counts."""
        core = make_core(State.NOT_AUTHENTICATED)
        core.receive_data(b"a LOGIN {4000+}\r\n" + b"x" * 4000 + b" {97+}\r\n" + b"y" * 97 + b"\r\n")
        self.assertIs(core.next_event(), NEED_DATA)
        self.assertEqual(core.data_to_send(), b"a BAD literal too large\r\n")

    def test_huge_literals(self) -> None:
        """One that is far too large to be passed over ends the connection."""
        for announced in (b"{99999999999999999999+}", b"{4294967295+}"):
            events, output = feed(
                lambda: make_core(State.NOT_AUTHENTICATED), [b"a LOGIN " + announced + b"\r\nx"], answer
            )
            self.assertEqual(events, [Close("literal too large")])
            self.assertEqual(output, b"a BAD literal too large\r\n* BYE [TOOBIG] literal too large\r\n")

    def test_long_lines(self) -> None:
        """A line above the limit is BAD; neither it nor the literal it announces is run."""
        line = b"a NOOP " + b"x" * 70_000
        for ending in (b"\r\n", b" {9+}\r\nz NOOP\r\n\r\n"):
            for size in (len(line), 1000, 4096, 65536):
                octets = line + ending + b"b NOOP\r\n"
                pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
                events, output = feed(make_core, pieces, answer)
                self.assertEqual(events, [commands.Noop()])
                self.assertEqual(output, b"a BAD line too long\r\nb OK done\r\n")

    def test_long_continuation(self) -> None:
        """Attack 26: a megabyte of base64."""
        core = make_core(State.NOT_AUTHENTICATED)
        core.receive_data(b"a AUTHENTICATE PLAIN\r\n")
        answer(core, core.next_event())
        core.receive_data(b"A" * 20_000)
        self.assertEqual(core.next_event(), Close("line too long"))

    def test_other_protocols(self) -> None:
        """Attack 14: not one line of HTTP, TLS or SMTP is taken for a command."""
        for octets in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\na NOOP\r\n",
            b"OPTIONS * HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\r\na NOOP\r\n",
            b"EHLO client.example\r\n",
        ):
            events, output = feed(lambda: make_core(State.NOT_AUTHENTICATED), [octets], answer)
            self.assertEqual(events, [Close("another protocol")])
            self.assertEqual(output, b"* BYE this is an IMAP server\r\n")

    def test_bad_in_a_row(self) -> None:
        """Nonsense is not listened to for ever; one good command makes up for it."""
        events, output = feed(make_core, [(b"a X\r\n" * (BAD_MAX - 1) + b"b NOOP\r\n") * 2 + b"c X\r\n" * 20], answer)
        self.assertEqual(events[-1], Close("too many bad commands"))
        self.assertEqual(output.count(b"c BAD"), BAD_MAX)

    def test_bad_syntax(self) -> None:
        """Each is BAD, each with its own tag."""
        for line in (
            b"a", b"a ", b"a  NOOP", b"a NOOP x", b"a NOOP ", b"a LOGIN x", b"a UID", b"a UID NOOP", b"a FETCH 1",
            b"a FETCH 0 FLAGS", b"a FETCH 1 ()", b"a FETCH 1 (FLAGS", b"a FETCH 1:2:3 FLAGS", b"a FETCH , FLAGS",
            b"a FETCH 1 BODY[", b"a FETCH 1 BODY[0]", b"a FETCH 1 BODY[1.]", b"a FETCH 1 BODY[MIME]",
            b"a FETCH 1 BODY[HEADER.FIELDS]", b"a FETCH 1 BODY[HEADER.FIELDS ()]", b"a FETCH 1 BODY[]<0.0>",
            b"a FETCH 1 BODY[]<1>", b"a FETCH 4294967296 FLAGS", b"a STORE 1 FLAGS (\\Recent)",
            b"a STORE 1 FLAGS (\\Foo)", b"a STORE 1 XFLAGS ()", b"a SEARCH", b"a SEARCH ()", b"a SEARCH (SEEN",
            b"a SEARCH OR SEEN", b"a SEARCH NOT", b"a SEARCH ON 30-Feb-2020", b"a SEARCH FOO",
            b"a SEARCH CHARSET UTF-8", b'a SEARCH SUBJECT "x', b"a STATUS x ()", b"a STATUS x (FOO)", b"a STATUS x",
            b"a LIST x", b"a LIST (FOO) x y", b"a CREATE", b'a SELECT "\\x"', b"a ENABLE", b"a ID (x y)",
            b"a APPEND x", b'a APPEND x " 1-Foo-2020 00:00:00 +0000" {1}', b"a\x00 NOOP", b"\xff\xfe NOOP",
        ):  # fmt: skip
            _, output = feed(make_core, [line + b"\r\n"], answer)
            self.assertRegex(output, rb"\A[a*] BAD [ -~]+\r\n\Z", line)

    def test_mailbox_names(self) -> None:
        """Attack 42: NO for what can be no name, and INBOX is one however it is written."""
        for name in (
            b'"a/../b"', b'"../../etc/passwd"', b".", b'"a//b"', b'"/a"', b'""', b'"&AAA"', b'"&"', b'"&AGE-"',
            b'"\xc0\xaf"', b"{2+}\r\n\r\n", b'"&2AA-"', b"/".join([b"a"] * 10_000), b"a" * 10_000, b'"a*"',
        ):  # fmt: skip
            _, output = feed(make_core, [b"a SELECT " + name + b"\r\n"], answer)
            self.assertEqual(output, b"a NO [CANNOT] no such name can be a mailbox\r\n", name)
        _, output = feed(make_core, [b"a SELECT {1+}\r\n\0\r\n"], answer)
        self.assertEqual(output, b"a BAD NUL in a literal\r\n")
        events, _ = feed(make_core, [b'a SELECT inbox\r\nb SELECT "InBoX"\r\nc SELECT iNbOx/x\r\n'], answer)
        self.assertEqual([event.mailbox for event in events], ["INBOX", "INBOX", "INBOX/x"])

    def test_nesting(self) -> None:
        """Attack 37: depth is refused at its limit, without depth of ours."""
        for line in (
            b"a SEARCH " + b"(" * 60_000,
            b"a SEARCH " + b"NOT " * 15_000 + b"SEEN",
            b"a SEARCH " + b"OR " * 15_000,
            b"a LIST " + b"(" * 60_000,
            b"a FETCH 1 BODY[" + b"1." * 30_000 + b"1]",
        ):
            _, output = feed(make_core, [line + b"\r\n"], answer)
            self.assertRegex(output, rb"\Aa BAD [ -~]+\r\n\Z")

    def test_sequence_sets(self) -> None:
        """Attack 38: work follows what is there, not what is written."""
        _, output = feed(make_core, [b"a FETCH " + b",".join([b"1:*"] * 10_001) + b" FLAGS\r\n"], answer)
        self.assertEqual(output, b"a BAD message set too long\r\n")
        numbers = b",".join(b"%d" % number for number in range(1, 100_000))
        _, output = feed(make_core, [b"a STORE " + numbers + b" FLAGS ()\r\n"], answer)
        self.assertEqual(output, b"a BAD line too long\r\n")
        events, _ = feed(make_core, [b"a UID FETCH 4294967295:1,7,*:3 FLAGS\r\n"], answer)
        self.assertEqual(str(make_core().view.uids_of_uids(events[0].numbers)), "1:9")  # type: ignore[union-attr]


class FuzzTests(SynchronousTestCase):
    """Nothing that a peer sends makes the core raise."""

    words = st.sampled_from(
        (
            b"a", b" ", b"(", b")", b'"', b"\\", b"{3}", b"{3+}", b"\r\n", b"\n", b"*", b":", b",", b"[", b"]",
            b"<0.1>", b"FETCH", b"UID", b"SEARCH", b"OR", b"NOT", b"BODY[", b"HEADER.FIELDS", b"STORE", b"FLAGS",
            b"APPEND", b"LIST", b"x", b"1:*", b"LOGIN", b"AUTHENTICATE", b"IDLE", b"DONE", b"STATUS", b"CREATE", b"USE",
            b"ID", b"NIL", b"&-", b"\\Seen", b"COPY", b"\0", b"\xc3\xa9",
        )
    )  # fmt: skip

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.one_of(words, st.binary(max_size=8)), max_size=60).map(b"".join),
        st.sampled_from([State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED]),
        st.integers(1, 40),
    )
    def test_any_octets(self, octets: bytes, state: State, size: int) -> None:
        """Words of the protocol and any octets, cut anyhow: the same answers as whole."""
        pieces = [octets[start : start + size] for start in range(0, len(octets), size)]
        self.assertEqual(
            feed(lambda: make_core(state), pieces or [b""], answer), feed(lambda: make_core(state), [octets], answer)
        )
