"""
What a worker and the writer's process say to each other, as octets on a stream.

    worker -> writer   Request   a call by name and plain values; a withdrawal; distrust
    writer -> worker   Report    what a batch came to: changes for everybody, answers for who asked

Each message has its length before it. Values are msgpack: the annotations of a function in sql/ say of what types its
arguments are, so they arrive as what they were, or are refused at the door. What comes back in an answer has no such
types: its tuples arrive as lists.

The stream is between processes of one server, over a socketpair they inherit. Nothing in it can run code all the same.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any, NamedTuple, get_type_hints

import msgspec

from mailtraq_py.interfaces.failures import (
    MailboxExists,
    MailboxNotAllowed,
    NoSuchMailbox,
    OverQuota,
    StorageFull,
    TemporaryFailure,
)

from .operations import WRITES
from .sql.accounts import Missing, Taken
from .sql.notices import PrintedChange
from .sql.rows import Written
from .writer import Outcome
from .writermetrics import WriterMetrics

FAILURES: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        TemporaryFailure,
        StorageFull,
        OverQuota,
        NoSuchMailbox,
        MailboxExists,
        MailboxNotAllowed,
        Missing,
        Taken,
    )
}
"""What an operation may come to besides a value; they cross as name and texts."""

_SOCKET_OCTETS = 4 * 1024 * 1024
_LENGTH_OCTETS = 4
_MESSAGE_MAX_OCTETS = 1 << 30

_encode = msgspec.msgpack.Encoder().encode


class OperationFailed(Exception):
    """An operation raised what none should: a bug, whose traceback is in the writer's log."""


class Request(NamedTuple):
    """
    What a worker asks: "call" a function of sql/; "withdraw" the call of this number, if it is not begun;
    "distrust" the database, because of what `name` says.
    """

    kind: str
    number: int
    database: str
    name: str
    arguments: msgspec.Raw


class Answer(NamedTuple):
    """What a call came to: its value, or, where `failure` names one, that exception's texts."""

    number: int
    failure: str
    value: Any

    @property
    def outcome(self) -> Outcome:
        """The value or exception again."""
        if not self.failure:
            return Written(self.value)
        return FAILURES.get(self.failure, OperationFailed)(*self.value)


class Report(NamedTuple):
    """
    What a batch of a database came to.

    `changes` are as `sql/notices.print_change` prints them; `purged` contents were deleted by this worker's calls.
    """

    database: str
    is_healthy: bool
    metrics: WriterMetrics
    changes: Sequence[PrintedChange] = ()
    purged: Sequence[int] = ()
    answers: Sequence[Answer] = ()


_requests = msgspec.msgpack.Decoder(Request)
_reports = msgspec.msgpack.Decoder(Report)


def prepare_socket(connection: socket.socket) -> None:
    """
    Make one end of a socketpair ready for messages. It holds as much as it may, so that what comes up during a commit
    is there for the next one.
    """
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_OCTETS)


def frame(message: bytes) -> bytes:
    """A message with its length before it."""
    return len(message).to_bytes(_LENGTH_OCTETS) + message


def encode_call(number: int, database: str, name: str, arguments: tuple[object, ...]) -> bytes:
    """
    A framed call.

    Raises:
        TypeError, ValueError, OverflowError: an argument is no plain value.
    """
    return frame(_encode(("call", number, database, name, arguments)))


def encode_withdrawal(number: int, database: str) -> bytes:
    """A framed withdrawal of a call."""
    return frame(_encode(("withdraw", number, database, "", ())))


def encode_distrust(database: str, what: str) -> bytes:
    """A framed word that a database is not to be written any more."""
    return frame(_encode(("distrust", 0, database, what, ())))


def encode_report(report: Report) -> bytes:
    """A framed report."""
    return frame(_encode(report))


def decode_request(message: bytes) -> Request:
    """A request; raises msgspec.DecodeError."""
    return _requests.decode(message)


def decode_arguments(name: str, arguments: msgspec.Raw) -> tuple[Any, ...]:
    """
    The arguments of a call.

    Raises:
        KeyError: there is no such function.
        msgspec.ValidationError: it takes others.
    """
    return msgspec.structs.astuple(_parameters(name).decode(arguments))


def decode_report(message: bytes) -> Report:
    """A report; raises msgspec.DecodeError."""
    return _reports.decode(message)


def answer(number: int, outcome: Outcome) -> Answer:
    """An outcome as a message carries it."""
    if isinstance(outcome, Written):
        return Answer(number, "", outcome.value)
    name = type(outcome).__name__
    if name not in FAILURES:
        return Answer(number, name, [f"{name}: {outcome}"])
    return Answer(number, name, [str(text) for text in outcome.args])


class Incoming:
    """Messages out of a stream however it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, octets: bytes) -> list[bytes]:
        """
        The messages that are whole with these octets.

        Raises:
            ValueError: this is not our stream.
        """
        self._buffer += octets
        messages = []
        place = 0
        with memoryview(self._buffer) as view:
            while (start := place + _LENGTH_OCTETS) <= len(view):
                end = start + int.from_bytes(view[place:start])
                if end - start > _MESSAGE_MAX_OCTETS:
                    raise ValueError("a message too long to be one")
                if end > len(view):
                    break
                messages.append(bytes(view[start:end]))
                place = end
        del self._buffer[:place]
        return messages


@lru_cache(maxsize=1024)
def _parameters(name: str) -> msgspec.msgpack.Decoder[Any]:
    """What decodes the arguments of a function of sql/, its first one, the cursor, apart."""
    function = WRITES[name]
    hints = get_type_hints(function)
    fields: list[Any] = []
    for parameter in list(signature(function).parameters.values())[1:]:
        default = () if parameter.default is Parameter.empty else (parameter.default,)
        fields.append((parameter.name, hints[parameter.name], *default))
    return msgspec.msgpack.Decoder(msgspec.defstruct(name, fields, array_like=True, forbid_unknown_fields=True))
