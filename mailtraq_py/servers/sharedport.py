"""
A listening socket from which several workers accept.

A connection that waits wakes every worker that has nothing to do. Each takes one at a time, and who has more
connections of the service than another lets him go first, and looks again a little later: so a burst is spread evenly
however it comes, while nobody waits long for a worker that is busy, hangs or dies.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
from twisted.internet.tcp import Port

AFTER_YOU_SECONDS = 0.001
# So often in a row; it is then nobody's turn any more.
AFTER_YOU_MAX = 20


class SharedPort(Port):
    """See `listen_shared`, which makes it."""

    reactor: Any
    is_our_turn: Callable[[], bool]
    _courtesy: IDelayedCall | None = None
    _courtesies = 0

    def doRead(self) -> None:
        """Somebody wants to be accepted."""
        if self._courtesies == AFTER_YOU_MAX or self.is_our_turn():
            self._courtesies = 0
            self.numberAccepts = 1
            super().doRead()  # type: ignore[no-untyped-call]
        else:
            self._courtesies += 1
            self.stopReading()  # type: ignore[no-untyped-call]
            self._courtesy = self.reactor.callLater(AFTER_YOU_SECONDS, self._look_again)

    def loseConnection(self, connDone: Any = None) -> Any:
        """Accept no more."""
        if self._courtesy is not None:
            self._courtesy.cancel()
            self._courtesy = None
        return super().loseConnection()  # type: ignore[no-untyped-call]

    stopListening = loseConnection

    def _look_again(self) -> None:
        self._courtesy = None
        self.startReading()  # type: ignore[no-untyped-call]


def listen_shared(
    reactor: Any, listening: socket.socket, factory: IProtocolFactory, is_our_turn: Callable[[], bool]
) -> SharedPort:
    """
    Accept from a listening socket together with other processes. The socket is duplicated.

    Args:
        is_our_turn: whether this process may accept another one before the others have had a chance.
    """
    port: SharedPort = SharedPort._fromListeningDescriptor(  # type: ignore[no-untyped-call]
        reactor, listening.fileno(), listening.family, factory
    )
    port.is_our_turn = is_our_turn
    port.startListening()
    return port
