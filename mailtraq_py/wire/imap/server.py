"""
The server's side of an IMAP connection, without I/O.

    core.receive_data(octets)
    core.next_event() -> a value of commands.py, Close, NEED_DATA or PAUSED
    core.send(untagged) ... core.ok(words) / core.no(words) / core.bad(words)     the reply to that command
    core.data_to_send() -> octets

After a command the core is PAUSED until it has its tagged reply. Two commands wait inside themselves for the client:
`continue_with` sends a continuation request and makes the next line an event (AUTHENTICATE, IDLE), after which the
command still wants its reply, or another continuation. An APPEND is announced before its message has come;
`accept_message` lets the message pass in pieces, a tagged reply refuses it. So it is with each further message.

What is malformed, out of state or above a limit is answered here and never becomes an event. The session tells the
core two things: `state`, which decides what is allowed and how much may be buffered, and `view`, in whose numbers
SEARCH speaks.

RFC 3501 2.2, 3, 7; RFC 3502; RFC 7888; RFC 2177; RFC 4959
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailtraq_py.wire.lines import LineTooLong
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close, Signal

from . import commands, responses
from .framing import Framing, LiteralAhead, Piece, TooLong, Whole
from .grammar import check_allowed, command_word, parse_append, parse_append_next, parse_command
from .states import State
from .tokens import BadCommand, Refusal, Tokens
from .view import View

BAD_MAX = 10
CONTINUATION_MAX_OCTETS = 12288 + 2
_SPEAKS_IMAP = re.compile(rb'[^(){ \x00-\x1f\x7f-\xff%*"\\+]+(?: +[A-Za-z][A-Za-z0-9-]*(?: .*)?)?\Z', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much of one command is held: octets of a line, of all its literals together, and how large a literal that
    nobody wants may be before the connection ends rather than read it.
    """

    line_octets: int
    literal_octets: int
    dropped_octets: int


BEFORE_LOGIN = Limits(16_384, 4096, 65_536)


class IMAPServer:
    """
    One connection.

    Args:
        append_max_octets: the largest message that APPEND may bring.
    """

    __slots__ = (
        "_after_login",
        "_append_max_octets",
        "_bad",
        "_close_reason",
        "_continuing",
        "_framing",
        "_literal_offered",
        "_out",
        "_streaming",
        "_tag",
        "state",
        "view",
    )

    def __init__(self, append_max_octets: int) -> None:
        self.state = State.NOT_AUTHENTICATED
        self.view: View | None = None
        self._append_max_octets = append_max_octets
        self._after_login = Limits(65_536, 65_536, 4 * append_max_octets)
        self._framing = Framing()
        self._out: list[bytes] = []
        self._tag: bytes | None = None
        self._continuing = False
        self._literal_offered = False
        self._streaming = False
        self._bad = 0
        self._close_reason = ""

    # -- the driver's four -----------------------------------------------------------------------------

    @property
    def buffered_octets(self) -> int:
        """Octets received and not yet handed out."""
        return self._framing.buffered_octets

    def receive_data(self, octets: bytes) -> None:
        """Take octets from the wire."""
        self._framing.add(octets)

    def data_to_send(self) -> bytes:
        """Octets to send; empties the outgoing buffer."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def forget_input(self) -> None:
        """Drop everything received and not yet handed out (RFC 3501 6.2.1)."""
        self._framing.clear()
        self._streaming = self._literal_offered = False

    def next_event(self) -> object:
        """One event, or a Signal."""
        while True:
            if self._close_reason:
                return Close(self._close_reason)
            event: object
            if self._continuing:
                event = self._next_continuation()
            elif self._tag is not None and not self._streaming:
                return PAUSED
            else:
                event = self._next_framed()
            if event is not None:
                return event

    # -- replies ---------------------------------------------------------------------------------------

    def send(self, octets: bytes) -> None:
        """Untagged responses, whole, or pieces of one in their order."""
        self._out.append(octets)

    def ok(self, words: str, code: str = "") -> None:
        """The command that was handed out last is done; `code` is a response code without brackets."""
        self._reply(responses.condition("OK", words, code))

    def no(self, words: str, code: str = "") -> None:
        """It failed."""
        self._reply(responses.condition("NO", words, code))

    def bad(self, words: str) -> None:
        """It made no sense; too many of these in a row end the connection."""
        self._reply(responses.condition("BAD", words))
        self._count_bad()

    def continue_with(self, octets: bytes) -> None:
        """`+ octets`, and the next line is an event of its own."""
        self._out.append(b"+ " + octets + responses.CRLF)
        self._continuing = True

    def accept_message(self) -> None:
        """Let the announced APPEND's message come."""
        self._literal_offered = False
        self._go_ahead(self._framing.is_synchronising)
        self._framing.stream()
        self._streaming = True

    def bye(self, words: str, code: str = "", reason: str = "") -> None:
        """Say goodbye; the next event is Close. `reason` is for the log."""
        self._out.append(responses.untagged("BYE", words, code))
        self._continuing = False
        self.state = State.LOGOUT
        self._close_reason = reason or words

    @property
    def tag(self) -> bytes:
        """The tag of the command under way, which ESEARCH names (RFC 4466 2.6.2)."""
        return self._tag or b""

    @property
    def is_answering(self) -> bool:
        """Whether a command is out that has no tagged reply yet."""
        return self._tag is not None

    # -- inside ----------------------------------------------------------------------------------------

    def _next_continuation(self) -> object:
        try:
            line = self._framing.take_line(CONTINUATION_MAX_OCTETS)
        except LineTooLong:
            self._tag = None
            self.bye("line too long")
            return None
        if line is None:
            return NEED_DATA
        self._continuing = False
        return commands.Continuation(line)

    def _next_framed(self) -> object:
        """The next event of the input; None when it was answered here."""
        limits = self._limits
        framed = self._framing.next(limits.line_octets)
        if isinstance(framed, Signal):
            return framed
        if isinstance(framed, Piece):
            return commands.AppendOctets(framed.octets)
        try:
            if self._streaming:
                return self._append_end(framed)
            if isinstance(framed, TooLong):
                self._tag = _tag_of(framed.beginning)
                raise BadCommand("line too long")
            return self._command(framed, limits)
        except BadCommand as problem:
            self.bad(str(problem))
            return None
        except Refusal as refusal:
            self.no(str(refusal), refusal.code)
            return None

    def _command(self, framed: Whole | LiteralAhead, limits: Limits) -> object:
        self._tag = b"*"
        self._literal_offered = isinstance(framed, LiteralAhead)
        tokens = Tokens(framed.segments, framed.literals)
        if self.state is State.NOT_AUTHENTICATED and framed.segments[0] and not _SPEAKS_IMAP.match(framed.segments[0]):
            # HTTP, TLS, SMTP: nothing further down may be taken for a command.
            self._tag = None
            self.bye("this is an IMAP server", reason="another protocol")
            return None
        self._tag = tokens.tag()
        tokens.space()
        word = command_word(tokens)
        check_allowed(word, self.state)
        if isinstance(framed, Whole):
            command = parse_command(word, tokens, self.view)
            self._bad = 0
            return command
        if word == "APPEND":
            append = parse_append(tokens, framed.octets)
            if append is not None:
                self._check_size(append.octets)
                self._bad = 0
                return append
        if framed.octets + sum(map(len, framed.literals)) > limits.literal_octets:
            raise BadCommand("literal too large")
        self._literal_offered = False
        self._tag = None
        self._go_ahead(framed.synchronising)
        self._framing.collect()
        return None

    def _append_end(self, framed: Whole | LiteralAhead | TooLong) -> object:
        """What stands behind the message: nothing, the next message, or the command is malformed."""
        self._streaming = False
        if isinstance(framed, Whole) and framed.segments == [b""]:
            return commands.AppendEnd()
        self._literal_offered = isinstance(framed, LiteralAhead)
        try:
            if not isinstance(framed, LiteralAhead):
                raise BadCommand("unexpected argument behind the message")
            further = parse_append_next(Tokens(framed.segments, framed.literals), framed.octets)
            self._check_size(further.octets)
            return further
        except BadCommand as problem:
            self.bad(str(problem))
        except Refusal as refusal:
            self.no(str(refusal), refusal.code)
        return commands.AppendBroken()

    def _check_size(self, octets: int) -> None:
        if octets > self._append_max_octets:
            raise Refusal("message too large", "TOOBIG")

    @property
    def _limits(self) -> Limits:
        return BEFORE_LOGIN if self.state is State.NOT_AUTHENTICATED else self._after_login

    def _go_ahead(self, synchronising: bool) -> None:
        if synchronising:
            self._out.append(b"+ go ahead\r\n")

    def _reply(self, condition: bytes) -> None:
        tag = self._tag
        if tag is None:
            raise RuntimeError("no command wants a reply")
        self._tag = None
        self._continuing = False
        self._out.append(tag + b" " + condition + responses.CRLF)
        if self._literal_offered:
            self._literal_offered = False
            octets = self._framing.refuse()
            if octets > self._limits.dropped_octets:
                self.bye("literal too large", "TOOBIG")

    def _count_bad(self) -> None:
        self._bad += 1
        if self._bad >= BAD_MAX and not self._close_reason:
            self.bye("too many bad commands")


def _tag_of(beginning: bytes) -> bytes:
    """The tag of a command that was not read, `*` where there is none."""
    try:
        return Tokens([beginning], []).tag()
    except BadCommand:
        return b"*"
