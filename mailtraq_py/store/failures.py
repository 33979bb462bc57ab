"""
What clients failed at lately, and who is banned for it: rows of the second database, so that all workers go by the
same counts and a restart forgets none.
"""

from __future__ import annotations

from zope.interface import implementer

from mailtraq_py.interfaces.policy import IBans, IFailedLogins

from .database import Database

_CLIENTS_MAX = 100_000
_EXPIRE_ROWS = 1000


@implementer(IBans, IFailedLogins)
class Failures:
    """
    See `IBans` and `IFailedLogins`. A failure costs a write, a ban is looked up inline.

    Args:
        recent: the second database.
    """

    def __init__(self, recent: Database) -> None:
        self._recent = recent

    async def note_login(self, client: str, now: float, seconds: float) -> int:
        """See `IFailedLogins`."""
        times: int = await self._recent.run("note_failed_login", client, now, seconds)
        return times

    async def note_recipient(self, client: str, now: float, seconds: float, most: int) -> None:
        """See `IBans`."""
        await self._recent.run("note_failed_recipient", client, now, seconds, most)

    def banned_until(self, client: str, now: float) -> float:
        """See `IBans`."""
        ends: float = self._recent.read("banned_until", client, now)
        return ends

    async def expire(self, now: float) -> bool:
        """Forget what has ended, and what is too much; returns whether there may be more to forget."""
        more: bool = await self._recent.run("expire_failures", now, _CLIENTS_MAX, _EXPIRE_ROWS)
        return more
