"""
The accepting side of an SMTP connection, sans-I/O.

    line -> verb -> allowed in this state? -> grammar -> command handed out -> PAUSED until reply(...)
    354  -> Octets ... EndOfMessage        -> PAUSED until reply(...)

What cannot be a command, or not now, is answered here and never handed out; after `max_errors` such answers comes 421
and the end. The state follows the session's replies: a 250 to MAIL begins the transaction, a 354 to DATA the message,
a 334 an exchange. The session decides everything else.

A client that goes on before it has a reply it must wait for is cut off, since what it sends may be somebody else's
words (a body taken for commands, or commands injected into one): behind HELO, EHLO and DATA nothing may stand, and
behind MAIL and RCPT only when EHLO was said. Whether a command came too early is the one thing here that depends on
how the input is cut into reads. A client that speaks another protocol gets one reply, and the end.

RFC 5321 2.1, 3.1-3.9, 4.1, 4.5.3, RFC 2920, RFC 3207 4, RFC 4954 4
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from mailtraq_py.mail.envelope import NOTIFY_DEFAULT, Recipient
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.lines import LineBuffer, LineTooLong
from mailtraq_py.wire.sasl import RESPONSE_MAX_OCTETS, decode_response
from mailtraq_py.wire.signals import NEED_DATA, PAUSED, Close, Signal

from . import grammar
from .body import MessageBody
from .commands import (
    Auth,
    AuthAborted,
    AuthResponse,
    Command,
    Data,
    EndOfMessage,
    Expand,
    Hello,
    Help,
    Mail,
    Noop,
    Octets,
    Quit,
    Rcpt,
    Reset,
    StartTLS,
    Verify,
)
from .grammar import Refused
from .states import ALLOWED, ALONE, ALONE_IN_EXTENDED, OUT_OF_SEQUENCE, State

LINE_MAX_OCTETS = 512  # RFC 5321 4.5.3.1.4, the CRLF included
PATH_LINE_MAX_OCTETS = 4096  # with the parameters of all our extensions: RFC 5321 4.5.3.1.4
AUTH_LINE_MAX_OCTETS = RESPONSE_MAX_OCTETS + 2
HELLO_NAME_MAX_OCTETS = 255

_LINE_LIMITS = {b"MAIL": PATH_LINE_MAX_OCTETS, b"RCPT": PATH_LINE_MAX_OCTETS, b"AUTH": AUTH_LINE_MAX_OCTETS}
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "RET", "ENVID", "AUTH"})
_RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}\Z")  # RFC 4422 3.1
# An HTTP request, a header field (of HTTP, or of a message sent without DATA), a TLS ClientHello.
_FOREIGN = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) |[!-9;-~]+:|\S+ \S+ HTTP/|\x16", re.IGNORECASE
)
_TLS_RECORD = b"\x16"
_COUNTED = frozenset({500, 501, 502, 503, 504, 555})

_TOO_LONG = Reply(500, "line too long", "5.5.2")
_TOO_MANY_ERRORS = Reply(421, "too many errors", "4.7.0")
_OUT_OF_STEP = Reply(554, "sent before the reply to the command before it", "5.5.0")
_NOT_SMTP = Reply(500, "this is SMTP", "5.5.2")
_NEEDS_UTF8 = Reply(553, "address with octets outside ASCII", "5.6.7")
_NOT_CLEAN = Reply(550, "the message has a bare CR, a bare LF or a NUL", "5.6.0")
_CANCELLED = Reply(501, "authentication cancelled", "5.7.0")
_NOT_BASE64 = Reply(501, "not base64", "5.5.2")


class ServerCore:
    """
    One connection from a client.

    Args:
        default_domain: where `RCPT TO:<postmaster>` leads.
        max_errors: so many commands that cannot be taken end the connection.
        smtputf8: whether internationalised addresses are taken (RFC 6531).
    """

    def __init__(self, default_domain: str, max_errors: int = 15, smtputf8: bool = False) -> None:
        self._default_domain = default_domain
        self._max_errors = max_errors
        self._mail_parameters = _MAIL_PARAMETERS | {"SMTPUTF8"} if smtputf8 else _MAIL_PARAMETERS
        self._smtputf8 = smtputf8
        self._utf8_transaction = False
        self._lines = LineBuffer()
        self._chunks: deque[bytes] = deque()
        self._chunk_octets = 0
        self._body = MessageBody()
        self._output: list[bytes] = []
        self._output_octets = 0
        self._state = State.WAITING
        self._extended = False
        self._waiting: Command | None = None
        self._waiting_verb = b""
        self._errors = 0
        self._close: Close | None = None

    # -- octets ----------------------------------------------------------------------------------------

    @property
    def buffered_octets(self) -> int:
        """Octets received and not yet handed out."""
        return len(self._lines) + self._chunk_octets

    @property
    def output_octets(self) -> int:
        """Octets that `data_to_send` would return."""
        return self._output_octets

    @property
    def awaits_reply(self) -> bool:
        """Whether a command was handed out and has no reply yet."""
        return self._waiting is not None

    @property
    def in_data(self) -> bool:
        """Whether what comes is a message's data."""
        return self._state is State.DATA

    def receive_data(self, octets: bytes) -> None:
        """Take octets from the wire."""
        if self._close is not None or self._state is State.TLS:
            return
        if self._state is State.DATA:
            self._chunks.append(octets)
            self._chunk_octets += len(octets)
        else:
            self._lines.add(octets)

    def next_event(self) -> Command | Octets | Close | Signal:
        """The next command or piece of a message, or a signal."""
        while True:
            if self._close is not None:
                return self._close
            if self._waiting is not None:
                return PAUSED
            if self._state is State.DATA:
                return self._next_piece()
            if self._state is State.WAITING or self._state is State.TLS:
                return NEED_DATA
            try:
                line = self._lines.take_line(AUTH_LINE_MAX_OCTETS)
            except LineTooLong:
                self._end(_TOO_LONG, "line too long")
                continue
            if line is None:
                if self._lines.peek()[:1] != _TLS_RECORD:
                    return NEED_DATA
                self._end(_NOT_SMTP, "another protocol")
            elif self._state is State.SASL:
                self._waiting = _read_response(line)
            else:
                self._waiting = self._read_command(line)
            if self._waiting is not None:
                return self._waiting

    def data_to_send(self) -> bytes:
        """Octets to send; empties the core's outgoing buffer."""
        if not self._output:
            return b""
        octets = b"".join(self._output)
        self._output.clear()
        self._output_octets = 0
        return octets

    def forget_input(self) -> None:
        """Drop everything received and not yet handed out."""
        self._lines.clear()
        self._chunks.clear()
        self._chunk_octets = 0

    # -- the session's words ---------------------------------------------------------------------------

    def greet(self, reply: Reply) -> None:
        """Open the dialogue with a 220; any other reply ends the connection (RFC 5321 3.1)."""
        if reply.code == 220:
            self._state = State.FRESH
            self._say(reply)
        else:
            self._end(reply, "refused at connect")

    def reply(self, reply: Reply) -> None:
        """
        Answer the command handed out last.

        Raises:
            RuntimeError: there is none.
        """
        command = self._waiting
        if command is None:
            raise RuntimeError("no command waits for a reply")
        self._waiting = None
        if self._waiting_verb in (ALONE_IN_EXTENDED if self._extended else ALONE) and len(self._lines):
            self._end(_OUT_OF_STEP, "out of step")
        elif reply.code == 421:
            self._end(reply, "421 said")
        elif reply.code in _COUNTED and type(command) is not EndOfMessage:
            self._refuse(reply)
        else:
            self._say(reply)
        self._follow(command, reply)

    def close(self, reply: Reply, reason: str) -> None:
        """Say a last word unasked (421: time-out, the server stops) and end."""
        self._end(reply, reason)

    def tls_started(self) -> None:
        """The handshake is done: all that was known of the client is forgotten (RFC 3207 4.2)."""
        self.forget_input()
        self._state = State.FRESH
        self._extended = False

    # -- replies and states ----------------------------------------------------------------------------

    def _follow(self, command: Command, reply: Reply) -> None:
        kind = type(command)
        if kind is EndOfMessage:
            self._state = State.READY
        elif kind is Rcpt:
            if reply.is_positive:
                self._state = State.RCPT
        elif kind is Auth or kind is AuthResponse or kind is AuthAborted:
            self._state = State.SASL if reply.code == 334 else State.READY
        elif reply.is_positive:
            if isinstance(command, Mail):
                self._state = State.MAIL
                self._utf8_transaction = command.smtputf8
            elif kind is Data and reply.code == 354:
                self._state = State.DATA
                self._body = MessageBody()
            elif isinstance(command, Hello):
                self._state = State.READY
                self._extended = command.extended
            elif kind is Reset and self._state is not State.FRESH:
                self._state = State.READY
            elif kind is StartTLS and reply.code == 220:
                self.forget_input()
                self._state = State.TLS
            elif kind is Quit and self._close is None:
                self._close = Close("quit")

    def _say(self, reply: Reply) -> None:
        octets = reply.octets()
        self._output.append(octets)
        self._output_octets += len(octets)

    def _refuse(self, reply: Reply) -> None:
        """Answer what cannot be taken; too many of it end the connection."""
        self._errors += 1
        if self._errors >= self._max_errors:
            self._end(_TOO_MANY_ERRORS, "too many errors")
        else:
            self._say(reply)

    def _end(self, reply: Reply, reason: str) -> None:
        self._say(reply)
        self._waiting = None
        self._close = Close(reason)
        self.forget_input()

    # -- the message -----------------------------------------------------------------------------------

    def _next_piece(self) -> Command | Octets | Signal:
        body = self._body
        while self._chunks and not body.ended:
            chunk = self._chunks.popleft()
            self._chunk_octets -= len(chunk)
            piece = body.feed(chunk)
            if piece:
                return Octets(piece)
        if not body.ended:
            return NEED_DATA
        self._lines.add(b"".join((body.rest, *self._chunks)))
        self._chunks.clear()
        self._chunk_octets = 0
        self._waiting = EndOfMessage(None if body.is_clean else _NOT_CLEAN)
        self._waiting_verb = b""
        return self._waiting

    # -- commands --------------------------------------------------------------------------------------

    def _read_command(self, line: bytes) -> Command | None:
        """One command, or None when it was answered here."""
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        allowed = ALLOWED.get(verb)
        if allowed is None:
            if _FOREIGN.match(line):
                self._end(_NOT_SMTP, "another protocol")
            elif len(line) + 2 > LINE_MAX_OCTETS:
                self._end(_TOO_LONG, "line too long")
            else:
                self._refuse(Reply(500, "command not recognised", "5.5.2"))
            return None
        if len(line) + 2 > _LINE_LIMITS.get(verb, LINE_MAX_OCTETS):
            self._end(_TOO_LONG, "line too long")
            return None
        try:
            if _CONTROL.search(line):
                raise Refused(501, "5.5.2", "control character in a command")
            if self._state not in allowed:
                self._refuse(OUT_OF_SEQUENCE[verb, self._state])
                return None
            command = self._readers[verb](self, rest)
        except Refused as refused:
            self._refuse(refused.reply)
            return None
        self._waiting_verb = verb
        return command

    def _read_helo(self, rest: bytes) -> Hello:
        return Hello(_hello_name(rest), False)

    def _read_ehlo(self, rest: bytes) -> Hello:
        return Hello(_hello_name(rest), True)

    def _read_mail(self, rest: bytes) -> Mail:
        text = self._path_text(rest, b"FROM:", self._smtputf8)
        path, parameter_text = grammar.take_reverse_path(text)
        if not parameter_text:
            if not text.isascii():
                raise _utf8_refused()
            return Mail(path)
        parameters = grammar.split_parameters(parameter_text, self._mail_parameters)
        smtputf8 = "SMTPUTF8" in parameters
        if smtputf8 and parameters["SMTPUTF8"] is not None:
            raise Refused(501, "5.5.4", "SMTPUTF8 takes no value")
        if not smtputf8 and not text.isascii():
            raise _utf8_refused()
        return Mail(
            path,
            grammar.read_size(parameters["SIZE"]) if "SIZE" in parameters else None,
            grammar.read_body(parameters["BODY"]) if "BODY" in parameters else "7BIT",
            smtputf8,
            grammar.read_ret(parameters["RET"]) if "RET" in parameters else "",
            grammar.read_envid(parameters["ENVID"]) if "ENVID" in parameters else "",
            grammar.read_auth(parameters["AUTH"]) if "AUTH" in parameters else None,
        )

    def _read_rcpt(self, rest: bytes) -> Rcpt:
        text = self._path_text(rest, b"TO:", self._utf8_transaction)
        path, parameter_text = grammar.take_forward_path(text, self._default_domain)
        if not parameter_text:
            return Rcpt(Recipient(path))
        parameters = grammar.split_parameters(parameter_text, _RCPT_PARAMETERS)
        notify = grammar.read_notify(parameters["NOTIFY"]) if "NOTIFY" in parameters else NOTIFY_DEFAULT
        original = grammar.read_original_recipient(parameters["ORCPT"]) if "ORCPT" in parameters else ""
        return Rcpt(Recipient(path, notify, original))

    def _path_text(self, rest: bytes, word: bytes, utf8: bool) -> str:
        """What stands behind FROM: or TO:. RFC 5321 3.3 allows no space there, but Outlook sends one."""
        if rest[: len(word)].upper() != word:
            raise Refused(501, "5.5.2", f"{word.decode()} must follow")
        octets = rest[len(word) :].strip(b" ")
        if not octets.isascii() and not utf8:
            raise _utf8_refused()
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            raise _utf8_refused() from None

    def _read_data(self, rest: bytes) -> Data:
        _no_arguments(rest)
        return Data()

    def _read_rset(self, rest: bytes) -> Reset:
        _no_arguments(rest)
        return Reset()

    def _read_noop(self, rest: bytes) -> Noop:
        return Noop()

    def _read_quit(self, rest: bytes) -> Quit:
        _no_arguments(rest)
        return Quit()

    def _read_help(self, rest: bytes) -> Help:
        return Help()

    def _read_vrfy(self, rest: bytes) -> Verify:
        return Verify(_argument(rest))

    def _read_expn(self, rest: bytes) -> Expand:
        return Expand(_argument(rest))

    def _read_starttls(self, rest: bytes) -> StartTLS:
        if not self._extended:
            raise Refused(503, "5.5.1", "say EHLO first")
        # RFC 3207 4: "501 Syntax error (no parameters allowed)".
        _no_arguments(rest)
        return StartTLS()

    def _read_auth(self, rest: bytes) -> Auth:
        if not self._extended:
            raise Refused(503, "5.5.1", "say EHLO first")
        name, space, initial = _argument(rest).partition(" ")
        if not _MECHANISM.match(name):
            raise Refused(501, "5.5.4", "bad mechanism name")
        if not space:
            return Auth(name.upper())
        # RFC 4954 4: an empty initial response is sent as "=".
        response = b"" if initial == "=" else decode_response(initial.encode())
        if response is None or not initial:
            raise Refused(501, "5.5.2", "not base64")
        return Auth(name.upper(), response)

    _readers: ClassVar[dict[bytes, Callable[[ServerCore, bytes], Command]]] = {
        b"HELO": _read_helo,
        b"EHLO": _read_ehlo,
        b"MAIL": _read_mail,
        b"RCPT": _read_rcpt,
        b"DATA": _read_data,
        b"RSET": _read_rset,
        b"NOOP": _read_noop,
        b"QUIT": _read_quit,
        b"HELP": _read_help,
        b"VRFY": _read_vrfy,
        b"EXPN": _read_expn,
        b"STARTTLS": _read_starttls,
        b"AUTH": _read_auth,
    }


def _read_response(line: bytes) -> AuthResponse | AuthAborted:
    """RFC 4954 4: a response in base64, or "*"."""
    if line == b"*":
        return AuthAborted(_CANCELLED)
    response = decode_response(line)
    return AuthAborted(_NOT_BASE64) if response is None else AuthResponse(response)


def _hello_name(rest: bytes) -> str:
    """
    The client's name. Only its form is looked at: RFC 5321 4.1.4 "MUST NOT refuse to accept a message for this reason".
    """
    name = rest.strip(b" ").partition(b" ")[0]
    if not name or not name.isascii() or len(name) > HELLO_NAME_MAX_OCTETS:
        raise Refused(501, "5.5.4", "a domain or an address literal must follow")
    return name.decode("ascii")


def _argument(rest: bytes) -> str:
    argument = rest.strip(b" ")
    if not argument or not argument.isascii():
        raise Refused(501, "5.5.4", "an argument in ASCII must follow")
    return argument.decode("ascii")


def _no_arguments(rest: bytes) -> None:
    if rest.strip(b" "):
        raise Refused(501, "5.5.4", "no argument may follow")


def _utf8_refused() -> Refused:
    return Refused(_NEEDS_UTF8.code, _NEEDS_UTF8.enhanced, _NEEDS_UTF8.text)
