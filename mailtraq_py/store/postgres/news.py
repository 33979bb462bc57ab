"""
What other processes committed: their notices, read when the bell rings, and now and then in any case.

Notices are committed with what they tell, in no order that a number could follow. So each carries its transaction, and
a reader goes on from the oldest transaction that was under way when it looked last; what it has told already it knows
by its key.
"""

from __future__ import annotations

from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure

from ..database import Database
from ..hub import ChangeHub, Notices

POLL_SECONDS = 0.25


class News(Notices):
    """
    Hears what other processes committed.

    Args:
        origin: this process's own name, whose notices are passed over.
    """

    log = Logger()

    def __init__(self, database: Database, hub: ChangeHub, origin: str) -> None:
        super().__init__(POLL_SECONDS)
        self._database = database
        self._hub = hub
        self._origin = origin
        self._horizon, self._told = database.read("shared_notices", None, origin)

    def poll(self) -> None:
        """See `Notices`."""
        try:
            self._horizon, found = self._database.read("shared_notices", self._horizon, self._origin)
        except TemporaryFailure as failure:
            self.log.debug("notices-unread", event="notices-unread", reason=failure.reason)
            return
        fresh = [change for key, change in found.items() if key not in self._told]
        self._told = found
        self._hub.publish(fresh)
