"""POP3's grammar: what is a command, in which state, and what is none."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.pop3.commands import (
    Auth,
    AuthResponse,
    BadCommand,
    Dele,
    List,
    Pass,
    Plain,
    Retr,
    State,
    Top,
    Uidl,
    User,
    parse_command,
    read_response,
)

BEFORE, AFTER = State.AUTHORIZATION, State.TRANSACTION


class CommandTests(SynchronousTestCase):
    """Lines and what they are read as."""

    def test_commands(self) -> None:
        """Keywords in any case; a password keeps its spaces."""
        for line, state, command in (
            (b"USER alice@example.test", BEFORE, User("alice@example.test")),
            (b"user b\xc3\xa9a", BEFORE, User("béa")),
            (b"PASS  two  words ", BEFORE, Pass(b" two  words ")),
            (b"PASS \xff\xfe", BEFORE, Pass(b"\xff\xfe")),
            (b"AUTH plain", BEFORE, Auth("PLAIN", None)),
            (b"AUTH PLAIN =", BEFORE, Auth("PLAIN", b"")),
            (b"AUTH PLAIN AGEAYg==", BEFORE, Auth("PLAIN", b"\0a\0b")),
            (b"stls", BEFORE, Plain.STLS),
            (b"CAPA", BEFORE, Plain.CAPA),
            (b"CAPA", AFTER, Plain.CAPA),
            (b"QUIT", BEFORE, Plain.QUIT),
            (b"Quit ", AFTER, Plain.QUIT),
            (b"STAT", AFTER, Plain.STAT),
            (b"LIST", AFTER, List(None)),
            (b"LIST ", AFTER, List(None)),
            (b"LIST 3", AFTER, List(3)),
            (b"UIDL", AFTER, Uidl(None)),
            (b"UIDL 12", AFTER, Uidl(12)),
            (b"RETR 1", AFTER, Retr(1)),
            (b"RETR 0", AFTER, Retr(0)),
            (b"TOP 1 0", AFTER, Top(1, 0)),
            (b"DELE 4294967296", AFTER, Dele(4294967296)),
            (b"RSET", AFTER, Plain.RSET),
            (b"NOOP", AFTER, Plain.NOOP),
        ):
            self.assertEqual(parse_command(line, state), command, line)

    def test_malformed(self) -> None:
        """Numbers are digits only and short; names and passwords are not empty; nothing stands behind a bare word."""
        for line in (
            b"RETR -1",
            b"RETR +1",
            b"RETR 1x",
            b"RETR 1 2",
            b"RETR  1",
            b"RETR",
            b"RETR \xb2",
            b"RETR 99999999999999999999",
            b"TOP 1",
            b"TOP 1 -1",
            b"TOP 1 999999999999",
            b"TOP 1 2 3",
            b"UIDL x",
            b"LIST 1,2",
            b"DELE",
            b"STAT 1",
            b"",
            b" STAT",
            b"STAT\tx",
            b"XTND",
            b"APOP a b",
        ):
            self.assertIsInstance(parse_command(line, AFTER), BadCommand, line)
        for line in (
            b"USER",
            b"USER ",
            b"USER  ",
            b"USER \xff",
            b"USER a\x00b",
            b"PASS",
            b"PASS ",
            b"AUTH",
            b"AUTH ",
            b"AUTH PLAIN ",
            b"AUTH PLAIN A",
            b"AUTH PLAIN AG EA",
            b"AUTH \xff",
            b"STLS now",
        ):
            self.assertIsInstance(parse_command(line, BEFORE), BadCommand, line)

    def test_states(self) -> None:
        """The maildrop is out of reach before the login, the login after it."""
        for line in (b"STAT", b"LIST", b"RETR 1", b"TOP 1 1", b"DELE 1", b"RSET", b"NOOP", b"UIDL"):
            self.assertEqual(parse_command(line, BEFORE), BadCommand("Log in first"), line)
        for line in (b"USER a", b"PASS b", b"AUTH PLAIN", b"STLS"):
            self.assertEqual(parse_command(line, AFTER), BadCommand("Logged in already"), line)

    def test_responses(self) -> None:
        """Base64, empty, cancelled, garbage, too long."""
        self.assertEqual(read_response(b"AGEAYg=="), AuthResponse(b"\0a\0b"))
        self.assertEqual(read_response(b""), AuthResponse(b""))
        self.assertEqual(read_response(b"*"), AuthResponse(None))
        self.assertEqual(read_response(b"A G"), AuthResponse(None))
        self.assertEqual(read_response(b"QQ==" * 4000), AuthResponse(None))

    def test_secrets_stay_out_of_reprs(self) -> None:
        """What is logged of a command holds no password."""
        for command in (Pass(b"s3cret"), Auth("PLAIN", b"s3cret"), AuthResponse(b"s3cret")):
            self.assertNotIn("s3cret", repr(command))
