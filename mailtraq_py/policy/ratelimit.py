"""
Bans: an address whose recipients fail too often is not served for a while (Ability's blocking, Mailtraq's barring).
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, IBans, ICheck, Opinion, Stage, Verdict
from mailtraq_py.mail.reply import Reply

from .settings import TarpitSettings
from .trust import Trust

BLOCKED = Reply(421, "Too many failed recipients from your address, try again later", "4.7.0")


@implementer(IBans)
class Bans:
    """Bans in private memory, where no store is: at most `most` addresses, the longest unheard of forgotten first."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._until: OrderedDict[str, float] = OrderedDict()

    async def note_recipient(self, client: str, now: float, seconds: float, most: int) -> None:
        """See `IBans`."""
        began, count = self._failures.pop(client, (now, 0))
        if not 0 <= now - began < seconds:
            began, count = now, 0
        if count + 1 >= most:
            self._until[client] = now + seconds
            self._until.move_to_end(client)
        else:
            self._failures[client] = (began, count + 1)
        for table in (self._failures, self._until):
            while len(table) > self._most:
                table.popitem(last=False)

    def banned_until(self, client: str, now: float) -> float:
        """See `IBans`."""
        until = self._until.get(client, 0.0)
        if until and until <= now:
            del self._until[client]
            return 0.0
        return until


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

    async def note(self, stage: Stage, facts: Facts, verdict: Verdict) -> None:
        """Count a refused recipient; the one that is too many bans its sender's address."""
        if stage is not Stage.RECIPIENT or verdict.opinion is not Opinion.REFUSE or facts.account is not None:
            return
        client = facts.connection.client
        if self.trust.is_trusted(client) or verdict.check == self.name:
            return
        settings = self.settings
        # The verdict stands, whether its failure could be counted or not.
        with suppress(TemporaryFailure):
            await self.bans.note_recipient(
                client, facts.now, float(settings.block_seconds), settings.block_after_failed_recipients
            )
