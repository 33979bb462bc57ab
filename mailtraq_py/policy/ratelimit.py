"""
Bans: an address whose recipients fail too often is not served for a while (Ability's blocking, Mailtraq's barring).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from zope.interface import Interface, implementer

from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Stage, Verdict
from mailtraq_py.mail.reply import Reply

from .settings import TarpitSettings
from .trust import Trust

BLOCKED = Reply(421, "Too many failed recipients from your address, try again later", "4.7.0")


class IBans(Interface):
    """
    Failed recipients and bans by client address, counted over all sessions of a host.

    Kept across reloads. The methods are plain calls, so an implementation keeps its state in memory (shared by the
    workers of a host, or private), and bounds it.
    """

    def note_failure(client: str, now: float, seconds: float) -> int:
        """Count one failed recipient; returns how many there were within the last `seconds`, this one included."""

    def ban(client: str, until: float) -> None:
        """Serve this address no more until then (seconds since the epoch)."""

    def banned_until(client: str, now: float) -> float:
        """When the ban of this address ends, 0.0 where there is none."""


@implementer(IBans)
class Bans:
    """Bans in private memory: at most `most` addresses, the longest unheard of are forgotten first."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._until: OrderedDict[str, float] = OrderedDict()

    def note_failure(self, client: str, now: float, seconds: float) -> int:
        """Count in windows that begin with the first failure."""
        began, count = self._failures.get(client, (now, 0))
        if not 0 <= now - began < seconds:
            began, count = now, 0
        self._failures[client] = (began, count + 1)
        self._failures.move_to_end(client)
        _trim(self._failures, self._most)
        return count + 1

    def ban(self, client: str, until: float) -> None:
        """Ban, or move a ban's end."""
        self._until[client] = until
        self._until.move_to_end(client)
        self._failures.pop(client, None)
        _trim(self._until, self._most)

    def banned_until(self, client: str, now: float) -> float:
        """The end of a running ban."""
        until = self._until.get(client, 0.0)
        if until and until <= now:
            del self._until[client]
            return 0.0
        return until


def _trim(table: OrderedDict[str, float] | OrderedDict[str, tuple[float, int]], most: int) -> None:
    while len(table) > most:
        table.popitem(last=False)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class BanCheck:
    """CONNECT and RECIPIENT: a banned address is turned away; the LAN and white-listed addresses are spared."""

    trust: Trust
    settings: TarpitSettings
    bans: IBans
    name = "ban"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Turn away a banned client; one who is authenticated may go on."""
        client = facts.connection.client
        until = self.bans.banned_until(client, facts.now)
        if not until or facts.account is not None or self.trust.is_trusted(client):
            return None
        return Verdict(Opinion.REFUSE, self.name, f"banned for {int(until - facts.now)} s more", BLOCKED, close=True)

    def note(self, stage: Stage, facts: Facts, verdict: Verdict) -> None:
        """Count a refused recipient; the one that is too many bans its sender's address."""
        if stage is not Stage.RECIPIENT or verdict.opinion is not Opinion.REFUSE or facts.account is not None:
            return
        client = facts.connection.client
        if self.trust.is_trusted(client) or verdict.check == self.name:
            return
        span = float(self.settings.block_seconds)
        if self.bans.note_failure(client, facts.now, span) >= self.settings.block_after_failed_recipients:
            self.bans.ban(client, facts.now + span)
