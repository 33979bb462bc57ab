"""
The sending side of an SMTP connection, sans-I/O: what the outbound queue drives.

The events are in `clientevents.py`. The caller starts one operation, sends `data_to_send()`, feeds what comes with
`receive_data`, and takes events until NEED_DATA. An operation ends with its last event; only then may the next one
start.

    (connected)              -> Greeted
    hello()                  -> Extensions              EHLO, or HELO where EHLO is not known
    start_tls()              -> StartTLSAnswered        if positive: handshake, then tls_started(), then hello() again
    authenticate(...)        -> Authenticated
    send_envelope(...)       -> RecipientResult each, then ReadyForData or TransactionRefused
    send_data(chunk) ...     no event: dot-stuffed as it goes, send data_to_send() after each
    end_data()               -> Finished
    quit()                   -> Goodbye
    any time                 -> Broken                  the other side does not speak SMTP, or said 421: close

With PIPELINING, MAIL, all RCPT and DATA leave together; without it each waits for the reply before. A transaction
that was begun and not finished is cleared by RSET before the next. What the envelope needs and the server does not
offer (SMTPUTF8, the size) is for `missing_for` to say before. A 421 ends the connection and is the reply to everything
that was under way; what else ends it leaves no more than `Broken`.

Nothing received before a TLS handshake is believed after it: what lies behind the 220 to STARTTLS is
dropped (RFC 3207 4.2).

RFC 5321 4.1, 4.2, 4.5.3.2, RFC 2920 3.1, RFC 3207, RFC 4954, RFC 3461 5, RFC 6531 3.2
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from mailtraq_py.mail.address import Address, fold_domain, quote_local_part
from mailtraq_py.mail.envelope import NOTIFY_DEFAULT, Envelope, Recipient
from mailtraq_py.mail.reply import Reply, parse_reply
from mailtraq_py.wire.lines import LineBuffer, LineTooLong
from mailtraq_py.wire.signals import NEED_DATA, Signal

from ..stuffing import DotStuffer
from . import extensions as offered
from .clientevents import (
    Authenticated,
    Broken,
    ClientEvent,
    Extensions,
    Finished,
    Goodbye,
    Greeted,
    ReadyForData,
    RecipientResult,
    StartTLSAnswered,
    TransactionRefused,
)
from .grammar import encode_xtext

REPLY_LINE_MAX_OCTETS = 4096  # RFC 5321 4.5.3.1.5 says 512; some hosts explain themselves at length
REPLY_LINES_MAX = 200
REPLY_MAX_OCTETS = 64 * 1024

_CODE = re.compile(rb"[2-5][0-9][0-9](?=[ -]|\Z)")
_NOT_PRINTABLE = re.compile(r"[^\t\x20-\x7e\u00a0-\U0010ffff]")

# RFC 5321 4.5.3.2: how long to wait for the reply to each, in seconds.
_PATIENCE_SECONDS = {"data": 120.0, "end": 600.0}
_OTHER_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Command:
    """A command, what its reply is for, and the recipient's number for RCPT."""

    kind: str
    octets: bytes = field(default=b"", repr=False)
    index: int = -1


class ClientCore:
    """
    One connection to another SMTP server.

    Args:
        hello_name: what we call ourselves in EHLO: a domain or an address literal.
    """

    def __init__(self, hello_name: str) -> None:
        self._hello_name = hello_name
        self._lines = LineBuffer()
        self._reply_lines: list[str] = []
        self._reply_code = 0
        self._reply_octets = 0
        self._output: list[bytes] = []
        self._awaited: deque[_Command] = deque([_Command("greeting")])
        self._unsent: deque[_Command] = deque()
        self._events: deque[ClientEvent] = deque()
        self._deaf = False
        self._broken = False
        self._sasl_steps: deque[bytes] = deque()
        self._accepted = 0
        self._mail_refusal: Reply | None = None
        self._last_refusal: Reply | None = None
        self._open_transaction = False
        self._in_data = False
        self._stuffer = DotStuffer()
        self.extensions: Mapping[str, str] = {}

    # -- octets ----------------------------------------------------------------------------------------

    @property
    def buffered_octets(self) -> int:
        """Octets received and not yet looked at."""
        return len(self._lines)

    @property
    def patience_seconds(self) -> float:
        """How long to wait for the reply that is awaited now (RFC 5321 4.5.3.2)."""
        kind = self._awaited[0].kind if self._awaited else ""
        return _PATIENCE_SECONDS.get(kind, _OTHER_PATIENCE_SECONDS)

    @property
    def is_usable(self) -> bool:
        """Whether another operation may be started."""
        return not (self._broken or self._deaf or self._awaited or self._unsent)

    def receive_data(self, octets: bytes) -> None:
        """Take octets from the wire; between the 220 to STARTTLS and `tls_started` they are dropped."""
        if not self._deaf and not self._broken:
            self._lines.add(octets)

    def next_event(self) -> ClientEvent | Signal:
        """The next event, or NEED_DATA."""
        while not self._events:
            if self._broken or self._deaf:
                return NEED_DATA
            try:
                line = self._lines.take_line(REPLY_LINE_MAX_OCTETS)
            except LineTooLong:
                self._break("reply line too long")
                continue
            if line is None:
                return NEED_DATA
            reply = self._read_line(line)
            if reply is not None:
                self._take_reply(reply)
        return self._events.popleft()

    def data_to_send(self) -> bytes:
        """Octets to send; empties the core's outgoing buffer."""
        octets = b"".join(self._output)
        self._output.clear()
        return octets

    def forget_input(self) -> None:
        """Drop everything received and not yet looked at."""
        self._lines.clear()
        self._reply_lines.clear()
        self._reply_octets = 0

    # -- operations ------------------------------------------------------------------------------------

    def hello(self) -> None:
        """Say EHLO, and HELO if that is not understood. Ends with Extensions."""
        self.extensions = {}
        self._send(_command("ehlo", f"EHLO {self._hello_name}"))

    def start_tls(self) -> None:
        """Say STARTTLS; the caller has seen that it is offered. Ends with StartTLSAnswered."""
        self._send(_command("starttls", "STARTTLS"))

    def tls_started(self) -> None:
        """The handshake is done: what the server said in clear no longer counts (RFC 3207 4.2)."""
        self.forget_input()
        self._deaf = False
        self.extensions = {}

    @property
    def can_authenticate(self) -> bool:
        """Whether a mechanism is offered that `authenticate` has."""
        return not self._mechanisms.isdisjoint(("PLAIN", "LOGIN"))

    @property
    def _mechanisms(self) -> frozenset[str]:
        return frozenset(self.extensions.get(offered.AUTH, "").upper().split())

    def authenticate(self, login: str, password: bytes) -> None:
        """
        Log in with PLAIN, else LOGIN; the caller has seen that it can. Ends with Authenticated.

        The caller sees to it that the connection is encrypted, or that its owner wants it so.
        """
        name = login.encode()
        if "PLAIN" in self._mechanisms:
            response = base64.b64encode(b"\0" + name + b"\0" + password)
            self._send(_Command("auth", b"AUTH PLAIN " + response + b"\r\n"))
        else:
            self._sasl_steps = deque([base64.b64encode(name), base64.b64encode(password)])
            self._send(_Command("auth", b"AUTH LOGIN\r\n"))

    def missing_for(self, envelope: Envelope) -> Reply | None:
        """Our refusal of an envelope that this server cannot carry, None where it can."""
        if _needs_utf8(envelope) and not (envelope.smtputf8 and offered.SMTPUTF8 in self.extensions):
            # RFC 6531 3.2, 3.7.4.2
            return Reply(550, "the next host does not take internationalised mail", "5.6.7")
        limit = self.extensions.get(offered.SIZE, "")
        octets = envelope.declared_octets
        if octets is not None and limit.isdecimal() and 0 < int(limit) < octets:
            return Reply(552, f"the next host takes messages of at most {int(limit)} octets", "5.3.4")
        return None

    def send_envelope(self, envelope: Envelope) -> None:
        """
        Begin a transaction: MAIL, RCPT for each recipient, DATA. The caller has seen that nothing is `missing_for` it.

        Ends with ReadyForData or TransactionRefused, after one RecipientResult for each recipient.

        Args:
            envelope: at least one recipient; `declared_octets` is what SIZE says (the message with its head), or
                None; `smtputf8` says that the message or an address needs it.
        """
        self._accepted = 0
        self._mail_refusal = self._last_refusal = None
        commands = [_command("rset", "RSET")] if self._open_transaction else []
        commands.append(_command("mail", self._mail_line(envelope)))
        for index, recipient in enumerate(envelope.recipients):
            commands.append(_command("rcpt", self._rcpt_line(recipient, envelope.smtputf8), index))
        commands.append(_command("data", "DATA"))
        self._open_transaction = True
        self._stuffer = DotStuffer()
        if offered.PIPELINING in self.extensions:
            for command in commands:
                self._send(command)
        else:
            self._unsent.extend(commands)
            self._send(self._unsent.popleft())

    def send_data(self, chunk: bytes) -> None:
        """Send message octets; any cut will do."""
        self._output.append(self._stuffer.feed(chunk))

    def end_data(self) -> None:
        """End the message. Ends with Finished."""
        self._in_data = False
        self._send(_Command("end", self._stuffer.finish()))

    def quit(self) -> None:
        """Say QUIT. Ends with Goodbye."""
        self._send(_command("quit", "QUIT"))

    # -- replies ---------------------------------------------------------------------------------------

    def _read_line(self, line: bytes) -> Reply | None:
        """One line of a reply; the whole reply with its last line."""
        match = _CODE.match(line)
        self._reply_octets += len(line)
        if match is None:
            self._break("reply without a code")
            return None
        code = int(match[0])
        if self._reply_lines and code != self._reply_code:
            self._break("reply whose lines differ in their code")
            return None
        self._reply_code = code
        self._reply_lines.append(_NOT_PRINTABLE.sub("?", line[4:].decode("utf-8", "replace")))
        if line[3:4] == b"-":
            if len(self._reply_lines) >= REPLY_LINES_MAX or self._reply_octets > REPLY_MAX_OCTETS:
                self._break("reply too long")
            return None
        lines, self._reply_lines = self._reply_lines, []
        self._reply_octets = 0
        return _reply_of(code, lines)

    def _take_reply(self, reply: Reply) -> None:
        if reply.code == 421:
            self._end_all(reply)
        elif self._awaited:
            command = self._awaited.popleft()
            self._answered[command.kind](self, command, reply)
            if self._unsent and not self._awaited:
                self._send(self._unsent.popleft())
        else:
            if self._in_data and not reply.is_positive:
                self._events.append(Finished(reply))
            self._break(f"unexpected reply: {reply}")

    def _answered_greeting(self, command: _Command, reply: Reply) -> None:
        self._events.append(Greeted(reply))

    def _answered_ehlo(self, command: _Command, reply: Reply) -> None:
        if reply.is_permanent:
            # RFC 5321 3.2: a server that does not know EHLO says so with a 5xx.
            self._send(_command("helo", f"HELO {self._hello_name}"))
            return
        if reply.is_positive:
            self.extensions = offered.read_extensions(reply.text.split("\n")[1:])
        self._events.append(Extensions(reply, self.extensions))

    def _answered_helo(self, command: _Command, reply: Reply) -> None:
        self._events.append(Extensions(reply, {}))

    def _answered_starttls(self, command: _Command, reply: Reply) -> None:
        if reply.code == 220:
            self.forget_input()
            self._deaf = True
        self._events.append(StartTLSAnswered(reply))

    def _answered_auth(self, command: _Command, reply: Reply) -> None:
        if reply.code == 334:
            # A challenge that neither mechanism knows is answered with "*": RFC 4954 4.
            step = self._sasl_steps.popleft() if self._sasl_steps else b"*"
            self._send(_Command("auth", step + b"\r\n"))
        else:
            self._sasl_steps.clear()
            self._events.append(Authenticated(reply))

    def _answered_rset(self, command: _Command, reply: Reply) -> None:
        if not reply.is_positive:
            self._break(f"RSET refused: {reply}")

    def _answered_mail(self, command: _Command, reply: Reply) -> None:
        if not reply.is_positive:
            self._mail_refusal = self._last_refusal = reply
            if self._unsent:
                self._drop_unsent(reply)

    def _answered_rcpt(self, command: _Command, reply: Reply) -> None:
        if self._mail_refusal is not None:
            reply = self._mail_refusal
        if reply.is_positive:
            self._accepted += 1
        else:
            self._last_refusal = reply
        self._events.append(RecipientResult(command.index, reply))
        if not self._accepted and len(self._unsent) == 1:
            self._drop_unsent(reply)

    def _answered_data(self, command: _Command, reply: Reply) -> None:
        if reply.code == 354 and self._accepted:
            self._in_data = True
            self._events.append(ReadyForData(reply))
        elif reply.code == 354:
            # RFC 2920 3.1: without a valid recipient the client takes back what DATA began with a single dot.
            self._send(_Command("dot", b".\r\n"))
        else:
            refusal = reply if self._accepted else self._last_refusal
            self._events.append(TransactionRefused(_negative(refusal or reply)))

    def _answered_dot(self, command: _Command, reply: Reply) -> None:
        self._open_transaction = False
        self._events.append(TransactionRefused(_negative(self._last_refusal or reply)))

    def _answered_end(self, command: _Command, reply: Reply) -> None:
        self._open_transaction = False
        self._events.append(Finished(reply))

    def _answered_quit(self, command: _Command, reply: Reply) -> None:
        self._broken = True
        self._events.append(Goodbye(reply))

    _answered: ClassVar[dict[str, Callable[[ClientCore, _Command, Reply], None]]] = {
        "greeting": _answered_greeting,
        "ehlo": _answered_ehlo,
        "helo": _answered_helo,
        "starttls": _answered_starttls,
        "auth": _answered_auth,
        "rset": _answered_rset,
        "mail": _answered_mail,
        "rcpt": _answered_rcpt,
        "data": _answered_data,
        "dot": _answered_dot,
        "end": _answered_end,
        "quit": _answered_quit,
    }

    # -- ends ------------------------------------------------------------------------------------------

    def _drop_unsent(self, reply: Reply) -> None:
        """The rest of the group is pointless now; a MAIL that was accepted stays open on the other side."""
        unsent, self._unsent = self._unsent, deque()
        self._events.extend(RecipientResult(command.index, reply) for command in unsent if command.kind == "rcpt")
        self._events.append(TransactionRefused(_negative(reply)))

    def _end_all(self, reply: Reply) -> None:
        """421: "the service is closing its transmission channel", whatever it was a reply to (RFC 5321 3.8)."""
        under_way = [*self._awaited, *self._unsent]
        self._awaited.clear()
        self._unsent.clear()
        kinds = {command.kind for command in under_way}
        self._events.extend(RecipientResult(command.index, reply) for command in under_way if command.kind == "rcpt")
        if kinds & {"mail", "rcpt", "data", "dot"}:
            self._events.append(TransactionRefused(reply))
        elif kinds & {"ehlo", "helo"}:
            self._events.append(Extensions(reply, {}))
        elif "end" in kinds or self._in_data:
            self._events.append(Finished(reply))
        for kind, event in (
            ("greeting", Greeted),
            ("starttls", StartTLSAnswered),
            ("auth", Authenticated),
            ("quit", Goodbye),
        ):
            if kind in kinds:
                self._events.append(event(reply))
        self._break(str(reply))

    def _break(self, reason: str) -> None:
        self._broken = True
        self._awaited.clear()
        self._unsent.clear()
        self._events.append(Broken(reason))

    # -- commands --------------------------------------------------------------------------------------

    def _send(self, command: _Command) -> None:
        self._output.append(command.octets)
        self._awaited.append(command)

    def _mail_line(self, envelope: Envelope) -> str:
        sender = envelope.reverse_path.address
        words = [f"MAIL FROM:<{_path(sender, envelope.smtputf8) if sender else ''}>"]
        if envelope.declared_octets is not None and offered.SIZE in self.extensions:
            words.append(f"SIZE={envelope.declared_octets}")
        if envelope.body != "7BIT" and offered.EIGHT_BIT_MIME in self.extensions:
            words.append("BODY=8BITMIME")
        if envelope.smtputf8:
            words.append("SMTPUTF8")
        if offered.DSN in self.extensions:
            if envelope.ret:
                words.append(f"RET={envelope.ret}")
            if envelope.envid:
                words.append(f"ENVID={encode_xtext(envelope.envid)}")
        return " ".join(words)

    def _rcpt_line(self, recipient: Recipient, smtputf8: bool) -> str:
        words = [f"RCPT TO:<{_path(recipient.path.address, smtputf8)}>"]
        if offered.DSN in self.extensions:
            if recipient.notify != NOTIFY_DEFAULT:
                words.append(f"NOTIFY={recipient.notify}")
            kind, _, original = recipient.original.partition(";")
            if original and original.isascii():
                words.append(f"ORCPT={kind};{encode_xtext(original)}")
        return " ".join(words)


def _command(kind: str, line: str, index: int = -1) -> _Command:
    octets = line.encode()
    if b"\r" in octets or b"\n" in octets:
        raise ValueError("line end inside a command")
    return _Command(kind, octets + b"\r\n", index)


def _path(address: Address, smtputf8: bool) -> str:
    """An address for a command; without SMTPUTF8 an internationalised domain goes as A-labels (RFC 5891 4.4)."""
    domain = address.domain if smtputf8 or address.domain.isascii() else fold_domain(address.domain)
    return f"{quote_local_part(address.local_part)}@{domain}"


def _needs_utf8(envelope: Envelope) -> bool:
    """Whether its message or a local part of its addresses is internationalised."""
    addresses = [envelope.reverse_path.address, *(recipient.path.address for recipient in envelope.recipients)]
    return envelope.smtputf8 or not all(address is None or address.local_part.isascii() for address in addresses)


def _reply_of(code: int, lines: Sequence[str]) -> Reply:
    """A reply whose lines begin with the same enhanced code gets it as its own (RFC 2034 4)."""
    replies = [parse_reply(f"{code} {line}") for line in lines]
    enhanced = replies[0].enhanced
    if enhanced and enhanced[0] == str(code)[0] and all(reply.enhanced == enhanced for reply in replies):
        return Reply(code, "\n".join(reply.text for reply in replies), enhanced)
    return Reply(code, "\n".join(lines))


def _negative(reply: Reply) -> Reply:
    """A refusal that is none (a 250 to DATA) is a temporary failure of a server that is out of step."""
    return reply if not reply.is_positive else Reply(451, f"unexpected reply: {reply}", "4.5.0")
