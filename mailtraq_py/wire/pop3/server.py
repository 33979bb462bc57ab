"""
The server's POP3 core.

    receive_data -> next_event: a command -> one of: ok, error                        (one line)
                                                     challenge                        (then an AuthResponse comes)
                                                     begin_lines, add..., end_lines   (a multi-line response)

After a command the core is PAUSED until its reply is complete. Commands out of their state, unknown and malformed
ones are answered in here and counted; past BAD_COMMANDS_MAX, and for a line past its limit, the core says `Close`. So
it does to peers that speak HTTP or TLS: nothing that they send further is looked at.

RFC 1939 3, RFC 2449 4, 6.6, 8, RFC 5034 4
"""

from __future__ import annotations

from base64 import b64encode

from mailtraq_py.wire.lines import LineBuffer, LineTooLong
from mailtraq_py.wire.sasl import RESPONSE_MAX_OCTETS
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close, Signal
from mailtraq_py.wire.stuffing import DotStuffer

from .commands import BadCommand, Command, State, parse_command, read_response

COMMAND_MAX_OCTETS = 255  # RFC 2449 4, with its CRLF
# A password or an initial response may be longer than RFC 2449 allows a command to be.
LOGIN_LINE_MAX_OCTETS = RESPONSE_MAX_OCTETS + 2
REPLY_TEXT_MAX_OCTETS = 480  # RFC 2449 4: 512 with status indicator, response code and CRLF
BAD_COMMANDS_MAX = 10

_TLS_HANDSHAKE = b"\x16\x03"  # RFC 8446 5.1: what a ClientHello begins with


class POP3Server:
    """
    The server's side of one connection.

    `state` is moved by the session: `enter_transaction`. `mid_response`: a multi-line response is begun and not ended,
    so no other line may be sent.
    """

    def __init__(self) -> None:
        self.state = State.AUTHORIZATION
        self.mid_response = False
        self._input = LineBuffer()
        self._output: list[bytes] = []
        self._paused = False
        self._challenged = False
        self._stuffer = DotStuffer()
        self._bad_commands = 0
        self._first = True

    @property
    def buffered_octets(self) -> int:
        """Octets received and not yet handed out."""
        return len(self._input)

    def receive_data(self, octets: bytes) -> None:
        """Take octets from the wire."""
        self._input.add(octets)

    def forget_input(self) -> None:
        """Drop everything received and not yet handed out."""
        self._input.clear()

    def data_to_send(self) -> bytes:
        """Octets to send; empties the core's outgoing buffer."""
        if not self._output:
            return b""
        octets = b"".join(self._output)
        self._output.clear()
        return octets

    def next_event(self) -> Command | Close | Signal:
        """One command, or a Signal, or the end."""
        if self._paused:
            return PAUSED
        while True:
            try:
                line = self._input.take_line(
                    COMMAND_MAX_OCTETS if self.state is State.TRANSACTION else LOGIN_LINE_MAX_OCTETS
                )
            except LineTooLong:
                return self._give_up("Line too long")
            if line is None:
                return NEED_DATA
            if self._first:
                self._first = False
                if line.startswith(_TLS_HANDSHAKE) or b" HTTP/" in line:
                    return self._give_up("This is a POP3 server")
            event = read_response(line) if self._challenged else parse_command(line, self.state)
            self._challenged = False
            if not isinstance(event, BadCommand):
                self._paused = True
                return event
            self._bad_commands += 1
            if self._bad_commands > BAD_COMMANDS_MAX:
                return self._give_up("Too many bad commands")
            self.say(False, event.text)

    # -- what the session calls ------------------------------------------------------------------------

    def enter_transaction(self) -> None:
        """The login succeeded; call it before its reply."""
        self.state = State.TRANSACTION

    def say(self, positive: bool, text: str, code: str = "") -> None:
        """
        Send a line that answers no command: the greeting, a farewell.

        Args:
            positive: "+OK" or "-ERR".
            text: what people read; control characters and other than ASCII are replaced.
            code: an extended response code without its brackets (RFC 2449 8, RFC 3206).
        """
        status = b"+OK " if positive else b"-ERR "
        bracketed = b"[" + code.encode("ascii") + b"] " if code else b""
        self._output.append(status + bracketed + _printable(text, bool(code)) + b"\r\n")

    def ok(self, text: str) -> None:
        """The command is done."""
        self._paused = False
        self.say(True, text)

    def error(self, text: str, code: str = "") -> None:
        """The command failed."""
        self._paused = False
        self.say(False, text, code)

    def challenge(self, octets: bytes) -> None:
        """Ask for the next step of AUTH; the answer comes as an AuthResponse."""
        self._paused = False
        self._challenged = True
        self._output.append(b"+ " + b64encode(octets) + b"\r\n")

    def begin_lines(self, text: str) -> None:
        """Begin a multi-line response."""
        self.say(True, text)
        self._stuffer = DotStuffer()
        self.mid_response = True

    def add_message(self, octets: bytes) -> None:
        """Add a piece of a message, however it is cut, to the multi-line response: dot-stuffed."""
        self._output.append(self._stuffer.feed(octets))

    def add_lines(self, octets: bytes) -> None:
        """Add whole lines of ours, none of which begins with a dot."""
        self._output.append(octets)

    def end_lines(self) -> None:
        """End the multi-line response, and with it the reply to the command."""
        self._output.append(self._stuffer.finish())
        self.mid_response = False
        self._paused = False

    def _give_up(self, text: str) -> Close:
        self.say(False, text)
        return Close(text.lower())


def _printable(text: str, has_code: bool) -> bytes:
    """What may follow the status: one line of ASCII, no "[" in front that could pass for a response code."""
    text = text[:REPLY_TEXT_MAX_OCTETS]
    if not (text.isascii() and text.isprintable()):
        text = "".join(character if " " <= character <= "~" else "?" for character in text)
    return (text if has_code else text.lstrip("[")).encode("ascii")
