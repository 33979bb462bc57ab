"""
What other processes committed: their notices, read when the bell rings, and now and then in any case.

Notices are committed with what they tell, in no order that a number could follow. So each carries its transaction, and
a reader goes on from the oldest transaction that was under way when it looked last; what it has told already it knows
by its key.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure

from ..database import Database
from ..hub import ChangeHub
from ..rounds import Rounds

POLL_SECONDS = 0.25


class News:
    """
    Hears what other processes committed.

    Args:
        origin: this process's own name, whose notices are passed over.
    """

    log = Logger()

    def __init__(self, database: Database, hub: ChangeHub, origin: str) -> None:
        self._database = database
        self._hub = hub
        self._origin = origin
        self._horizon, self._told = database.read("shared_notices", None, origin)
        self._rounds = Rounds(self.poll)

    def start(self, reactor: Any) -> None:
        """Begin to ask every `POLL_SECONDS`."""
        self._rounds.start(reactor, POLL_SECONDS)

    def stop(self) -> None:
        """Ask no more."""
        self._rounds.stop()

    def poll(self) -> None:
        """Ask once and publish what is new. A database that cannot be read now is asked again the next time."""
        try:
            self._horizon, found = self._database.read("shared_notices", self._horizon, self._origin)
        except TemporaryFailure as failure:
            self.log.debug("notices-unread", event="notices-unread", reason=failure.reason)
            return
        fresh = [change for key, change in found.items() if key not in self._told]
        self._told = found
        self._hub.publish(fresh)
