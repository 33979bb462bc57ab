"""
What the server core hands out: one value a command, and the pieces of a message.

Every one of them but `Octets` waits for a reply.

RFC 5321 4.1.1, RFC 3207 4, RFC 4954 4
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mailtraq_py.mail.envelope import Recipient, ReversePath
from mailtraq_py.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO (`extended`) or HELO. `name` is printable ASCII without spaces, at most 255 octets, else unchecked."""

    name: str
    extended: bool


class Mail(NamedTuple):
    """
    MAIL. `declared_octets` is SIZE or None; `ret` is "FULL", "HDRS" or ""; `envid` is decoded; `auth` is the decoded
    AUTH parameter, "" for `<>`, None where nothing was said.
    """

    reverse_path: ReversePath
    declared_octets: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    auth: str | None = None


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT."""

    recipient: Recipient


@dataclass(frozen=True, slots=True)
class Data:
    """DATA, after at least one accepted RCPT. A 354 makes the core give out the message."""


@dataclass(frozen=True, slots=True)
class Octets:
    """A piece of the message, dots removed. Any length; no reply."""

    piece: bytes


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The message is whole. With `refusal` it is not acceptable as it stands, and that must be the reply."""

    refusal: Reply | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT. Behind its reply comes `Close`."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP, whatever it was about."""


@dataclass(frozen=True, slots=True)
class Verify:
    """VRFY."""

    text: str


@dataclass(frozen=True, slots=True)
class Expand:
    """EXPN."""

    text: str


@dataclass(frozen=True, slots=True)
class StartTLS:
    """STARTTLS, offered and in place. Behind a 220 the core takes nothing until `tls_started`."""


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH. `mechanism` in upper case; `initial` is the decoded initial response or None. A 334 goes on with it."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """The client's decoded response to a 334."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthAborted:
    """The exchange is over without a response: cancelled with "*", or not base64. `reply` is to be given."""

    reply: Reply


Command = (
    Hello
    | Mail
    | Rcpt
    | Data
    | EndOfMessage
    | Reset
    | Noop
    | Quit
    | Help
    | Verify
    | Expand
    | StartTLS
    | Auth
    | AuthResponse
    | AuthAborted
)
