"""
What the supervisor and its processes say to each other, each over a socketpair of its own.

    supervisor -> worker    Begin, then Orders when other policy is to come into force, Reopen, Stop
    worker -> supervisor    Tidings: it serves, has taken orders, cannot serve
    either end is closed    the other side is gone: a worker ends at once, the supervisor starts another one

Downwards go objects as Python pickles them, configurations and lists above all: a worker has by that exactly what was
judged, whatever the files hold by now. Upwards goes what cannot run code, since a worker talks to the world.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from mailtraq_py.store.frames import Incoming, frame

from .config import Configuration
from .listfiles import ListFiles


@dataclass(frozen=True, slots=True)
class Orders:
    """A judged configuration with its lists, to be brought into force. `number` counts configurations from 1."""

    number: int
    configuration: Configuration
    lists: ListFiles


@dataclass(frozen=True, slots=True)
class Begin:
    """
    What a worker needs to know before it serves.

    `workers` is how many there are; `services` names the service of each listening socket, in the order in which
    they were handed over; `secret` is shared by all workers.
    """

    workers: int
    services: tuple[str, ...]
    secret: bytes = field(repr=False)
    orders: Orders


@dataclass(frozen=True, slots=True)
class Reopen:
    """The log file was moved away."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End in order, within the grace."""

    grace_seconds: float


class Tidings(msgspec.Struct, frozen=True):
    """
    What a process has come to: `process` is its identifier; `number` that of the configuration it serves by, 0 before
    it serves; `failure` why it cannot.
    """

    process: int
    number: int = 0
    failure: str = ""


Message = Begin | Orders | Reopen | Stop

encode_tidings = msgspec.msgpack.Encoder().encode
decode_tidings = msgspec.msgpack.Decoder(Tidings).decode


def decode_message(octets: bytes) -> Message:
    """A message of the supervisor's, the only one who holds the other end."""
    message: Message = pickle.loads(octets)  # noqa: S301
    return message


class Channel(Protocol):
    """
    One end, on the reactor.

    Args:
        heard: called with each message.
        lost: called when the other side is gone.
    """

    def __init__(self, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._incoming = Incoming()

    def tell(self, message: Message) -> None:
        """Send something downwards."""
        self.send(pickle.dumps(message))

    def send(self, octets: bytes) -> None:
        """Send a message."""
        self._transport.write(frame(octets))

    def dataReceived(self, data: bytes) -> None:
        """Octets, however they are cut."""
        for message in self._incoming.receive(data):
            self._heard(message)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The other side is gone."""
        self._lost()

    @property
    def _transport(self) -> Any:
        return self.transport
