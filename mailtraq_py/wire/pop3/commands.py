"""
POP3's commands as values, and the grammar that reads them.

One row of `_COMMANDS` a command: in which states it may come, and what becomes of its arguments. Whatever does not fit
is a `BadCommand` with a text for the peer; message numbers are checked against the maildrop by the session.

RFC 1939, RFC 2449 3, 4, 5, RFC 2595 4, RFC 5034 4
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from mailtraq_py.wire.sasl import decode_response

NUMBER_MAX_DIGITS = 10


class State(Enum):
    """Where a session is (RFC 1939 3). UPDATE has no commands: it begins with QUIT and ends with the connection."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"


@dataclass(frozen=True, slots=True)
class User:
    """USER: the login name."""

    name: str


@dataclass(frozen=True, slots=True)
class Pass:
    """PASS: the password, which may hold spaces."""

    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH: mechanism in capitals and the decoded initial response, None where there is none."""

    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """The decoded answer to a challenge; None when it was no base64 or the client cancelled. Either way: -ERR."""

    octets: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class List:
    """LIST: one message's size, or all sizes."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Uidl:
    """UIDL: one message's unique-id, or all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Retr:
    """RETR: a whole message."""

    number: int


@dataclass(frozen=True, slots=True)
class Top:
    """TOP: a message's header and this many lines of its body."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Dele:
    """DELE: mark a message as deleted."""

    number: int


class Plain(Enum):
    """The commands that are only a word."""

    STAT = "STAT"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    CAPA = "CAPA"
    STLS = "STLS"


Command = User | Pass | Auth | AuthResponse | List | Uidl | Retr | Top | Dele | Plain


@dataclass(frozen=True, slots=True)
class BadCommand:
    """What came is no command here; `text` says why, to the peer."""

    text: str


_NO_ARGUMENT = BadCommand("This command takes no argument")
_BAD_NUMBER = BadCommand("A message number is needed")


def parse_command(line: bytes, state: State) -> Command | BadCommand:
    """
    Read one line.

    Args:
        line: as it came, without its CRLF.
        state: of the session.

    RFC 2449 3 (command = keyword *(SP param) CRLF); keywords in any case: RFC 1939 3
    """
    keyword, space, argument = line.partition(b" ")
    row = _COMMANDS.get(keyword.upper())
    if row is None:
        return BadCommand("Unknown command")
    states, read = row
    if state not in states:
        return BadCommand("Log in first" if state is State.AUTHORIZATION else "Logged in already")
    return read(argument if space else None)


def _read_user(argument: bytes | None) -> Command | BadCommand:
    # USER name
    try:
        name = argument.decode("utf-8") if argument else ""
    except UnicodeDecodeError:
        return BadCommand("A name in UTF-8 is needed")
    return User(name) if name.strip() and name.isprintable() else BadCommand("A name is needed")


def _read_pass(argument: bytes | None) -> Command | BadCommand:
    # RFC 1939 7: "a server may treat spaces in the argument as part of the password"
    return Pass(argument) if argument else BadCommand("A password is needed")


def _read_auth(argument: bytes | None) -> Command | BadCommand:
    # "AUTH" SP mechanism [SP initial-response]; initial-response = base64 / "="
    mechanism, space, initial = (argument or b"").partition(b" ")
    if not mechanism or not mechanism.isascii():
        return BadCommand("A mechanism is needed")
    name = mechanism.decode("ascii").upper()
    if not space:
        return Auth(name, None)
    octets = b"" if initial == b"=" else decode_response(initial)
    if octets is None or not initial:
        return BadCommand("The initial response is no base64")
    return Auth(name, octets)


def read_response(line: bytes) -> AuthResponse:
    """
    Read a line that answers a challenge.

    RFC 5034 4 ("*" cancels)
    """
    return AuthResponse(None if line == b"*" else decode_response(line))


def _read_number(octets: bytes | None) -> int | None:
    """1*DIGIT, at most NUMBER_MAX_DIGITS; None for anything else."""
    if not octets or not octets.isdigit() or len(octets) > NUMBER_MAX_DIGITS:
        return None
    return int(octets)


def _reads_number(make: Callable[[int], Command]) -> _Reader:
    def read(argument: bytes | None) -> Command | BadCommand:
        number = _read_number(argument)
        return _BAD_NUMBER if number is None else make(number)

    return read


def _reads_optional_number(make: Callable[[int | None], Command]) -> _Reader:
    def read(argument: bytes | None) -> Command | BadCommand:
        # RFC 1939 5, but clients send "LIST " with nothing behind the space.
        if not argument:
            return make(None)
        number = _read_number(argument)
        return _BAD_NUMBER if number is None else make(number)

    return read


def _read_top(argument: bytes | None) -> Command | BadCommand:
    # TOP msg n
    first, _, second = (argument or b"").partition(b" ")
    number, lines = _read_number(first), _read_number(second)
    if number is None or lines is None:
        return BadCommand("A message number and a number of lines are needed")
    return Top(number, lines)


def _reads_nothing(command: Plain) -> _Reader:
    return lambda argument: _NO_ARGUMENT if argument else command


_Reader = Callable[[bytes | None], Command | BadCommand]
_BEFORE = frozenset({State.AUTHORIZATION})
_AFTER = frozenset({State.TRANSACTION})

# RFC 1939 3 to 7; RFC 2449 5 (CAPA in both states), RFC 2595 4 (STLS before login only), RFC 5034 4
_COMMANDS: dict[bytes, tuple[frozenset[State], _Reader]] = {
    b"USER": (_BEFORE, _read_user),
    b"PASS": (_BEFORE, _read_pass),
    b"AUTH": (_BEFORE, _read_auth),
    b"STLS": (_BEFORE, _reads_nothing(Plain.STLS)),
    b"CAPA": (_BEFORE | _AFTER, _reads_nothing(Plain.CAPA)),
    b"QUIT": (_BEFORE | _AFTER, _reads_nothing(Plain.QUIT)),
    b"STAT": (_AFTER, _reads_nothing(Plain.STAT)),
    b"LIST": (_AFTER, _reads_optional_number(List)),
    b"UIDL": (_AFTER, _reads_optional_number(Uidl)),
    b"RETR": (_AFTER, _reads_number(Retr)),
    b"TOP": (_AFTER, _read_top),
    b"DELE": (_AFTER, _reads_number(Dele)),
    b"RSET": (_AFTER, _reads_nothing(Plain.RSET)),
    b"NOOP": (_AFTER, _reads_nothing(Plain.NOOP)),
}
