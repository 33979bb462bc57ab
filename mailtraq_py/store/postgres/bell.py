"""
LISTEN and NOTIFY: who committed something rings, who hears it looks for news.

Only a hint: a ring that is lost costs the wait until the next look. It is rung after the commit and apart from it,
because commits that carry a NOTIFY wait for each other; and several commits are rung for at once.

One connection in the reactor, through libpq's own calls that never wait.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .link import Link

_LISTEN = b"LISTEN mailtraq"
# Nobody waits for the disk because of a ring.
_RING = b"BEGIN; SET LOCAL synchronous_commit TO off; NOTIFY mailtraq; COMMIT"


@implementer(IReadDescriptor)
class Bell:
    """
    Args:
        reactor: reads for us.
        link: a fresh connection, ours from now on.
        heard: called when another process rang.
        lost: called once when the connection is gone.
    """

    log = Logger()

    def __init__(self, reactor: Any, link: Link, heard: Callable[[], None], lost: Callable[[], None]) -> None:
        self._reactor = reactor
        self._link = link
        self._pgconn = link.pgconn
        # One of our own, because libpq closes its when the connection is lost, and the reactor would not know.
        self._descriptor = os.dup(link.fileno())
        self._heard = heard
        self._lost = lost
        self._busy = False
        self._wanted = False
        self._pgconn.nonblocking = 1
        self._send(_LISTEN)
        reactor.addReader(self)

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        return self._descriptor

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "Bell"

    def ring(self) -> None:
        """Tell the others that there is news; rings that come close together are one."""
        if self._busy:
            self._wanted = True
        else:
            self._send(_RING)

    def close(self) -> None:
        """Let go of the connection."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
        self._link.close()

    def doRead(self) -> Failure | None:
        """See `IReadDescriptor`."""
        try:
            self._pgconn.consume_input()
            while self._busy and not self._pgconn.is_busy():
                self._busy = self._pgconn.get_result() is not None
            rung = False
            while (notice := self._pgconn.notifies()) is not None:
                rung = rung or notice.be_pid != self._pgconn.backend_pid
        except psycopg.Error:
            return Failure()  # type: ignore[no-untyped-call]
        if self._wanted and not self._busy:
            self._wanted = False
            self._send(_RING)
        if rung:
            self._heard()
        return None

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`."""
        self.log.warn("bell-lost", event="bell-lost", reason=reason.getErrorMessage())
        self.close()
        self._lost()

    def _send(self, statement: bytes) -> None:
        """A connection that is gone is noticed when it is read."""
        with suppress(psycopg.Error):
            self._pgconn.send_query(statement)
            self._pgconn.flush()
            self._busy = True
