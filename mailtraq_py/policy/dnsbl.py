"""
DNS lists: is the client's address listed in enough black zones, and in no white one?

RFC 5782
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address

from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict

from .firewall import parse_client
from .senders import BLACKLISTED
from .settings import ListsSettings
from .trust import Trust
from .waiting import Waiting


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class DNSListCheck:
    """
    SENDER: all zones are asked at once; a zone that has not answered in the session's time lists nobody.

    The check can only mark, so a dead DNS server costs time and nothing else.
    """

    trust: Trust
    settings: ListsSettings
    resolver: IResolver
    patience: Waiting
    name = "dns_lists"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Mark a client that is listed often enough."""
        client = facts.connection.client
        if facts.account is not None or self.trust.is_trusted(client):
            return None
        reversed_address = reverse_labels(client)
        if not reversed_address:
            return None
        zones = (*self.settings.dns_white, *self.settings.dns_black)
        listed: dict[str, bool] = {}
        askings = [self._look(zone, reversed_address, listed) for zone in zones]
        with suppress(TemporaryFailure):  # what has been answered until then counts
            await self.patience.wait_for_all(facts.connection.session_id, askings)
        if any(listed.get(zone) for zone in self.settings.dns_white):
            return None
        black = [zone for zone in self.settings.dns_black if listed.get(zone)]
        if not black or len(black) < self.settings.dns_trigger:
            return None
        ground = f"{client} in {', '.join(black)}"
        marks = frozenset({f"{BLACKLISTED} {ground}"})
        return Verdict(Opinion.PERMIT, self.name, f"marked {BLACKLISTED}: {ground}", marks=marks)

    async def _look(self, zone: str, reversed_address: str, listed: dict[str, bool]) -> None:
        """Put the zone's answer into `listed` when it comes."""
        listed[zone] = await self._is_listed(f"{reversed_address}.{zone}")

    async def _is_listed(self, name: str) -> bool:
        try:
            answers = await self.resolver.addresses(name)
        except (NoSuchName, TemporaryFailure):
            return False
        # 127.255.255.0/24 is how zones answer a question they refuse; anything outside 127/8 is a parked domain.
        return any(answer.startswith("127.") and not answer.startswith("127.255.255.") for answer in answers)


def reverse_labels(client: str) -> str:
    """An address as DNS lists are asked for it: octets or nibbles, last first (RFC 5782 2.1, 2.4)."""
    address = parse_client(client)
    if address is None:
        return ""
    if address.ipv6:
        nibbles = IPv6Address(address.value).exploded.replace(":", "")
        return ".".join(reversed(nibbles))
    return ".".join(str(octet) for octet in reversed(address.value.to_bytes(4, "big")))
