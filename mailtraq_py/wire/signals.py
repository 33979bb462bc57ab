"""
What a core says when it has no event to hand out.

Every core in this room has the same four methods. `receive_data(octets)` takes what came from the wire.
`next_event()` hands out one event at a time: a command, a piece of message data, or a signal. After a command the
core is PAUSED until `reply(...)` has been given for it, so that replies cannot get out of order however late
policy answers. `data_to_send()` returns, once, the octets to send. A core never raises for what the
peer did: bad input becomes a reply inside the core and perhaps the end of the connection (`Close`).

Beside them the driver reads `buffered_octets` (what came and was not yet handed out), and calls `forget_input()`
when TLS starts (RFC 3207 6: nothing sent before the handshake may be believed).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Signal(Enum):
    """NEED_DATA: feed me. PAUSED: the command handed out last has no reply yet."""

    NEED_DATA = "need data"
    PAUSED = "paused"


NEED_DATA = Signal.NEED_DATA
PAUSED = Signal.PAUSED


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is to be sent and close; `reason` is for the log."""

    reason: str


class Core(Protocol):
    """What the driver asks of a core."""

    @property
    def buffered_octets(self) -> int:
        """Octets received and not yet handed out."""
        ...

    def receive_data(self, octets: bytes) -> None:
        """Take octets from the wire."""
        ...

    def next_event(self) -> object:
        """One event, or a Signal."""
        ...

    def data_to_send(self) -> bytes:
        """Octets to send; empties the core's outgoing buffer."""
        ...

    def forget_input(self) -> None:
        """Drop everything received and not yet handed out."""
        ...
