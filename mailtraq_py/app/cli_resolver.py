"""
DNS for `mailtraq explain`: asks here and waits, for there is no reactor. Most scenarios ask nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver, NoSuchName

LIFETIME_SECONDS = 5.0


@implementer(IResolver)
class BlockingResolver:
    """
    Args:
        nameservers: (address, port) pairs; None for those of the system.
    """

    def __init__(self, nameservers: Sequence[tuple[str, int]] | None) -> None:
        self._nameservers = nameservers

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """See IResolver."""
        return sorted(
            (record.preference, record.exchange.to_text(omit_final_dot=True).rstrip("."))
            for record in self._ask(domain, "MX")
        )

    async def addresses(self, host: str) -> list[str]:
        """See IResolver."""
        return [record.address for kind in ("AAAA", "A") for record in self._ask(host, kind)]

    async def txt(self, name: str) -> list[bytes]:
        """See IResolver."""
        return [b"".join(record.strings) for record in self._ask(name, "TXT")]

    async def pointers(self, address: str) -> list[str]:
        """See IResolver."""
        import dns.reversename

        name = dns.reversename.from_address(address).to_text()
        return [record.target.to_text(omit_final_dot=True) for record in self._ask(name, "PTR")]

    def _ask(self, name: str, kind: str) -> list[Any]:
        import dns.exception
        import dns.nameserver
        import dns.resolver

        resolver = dns.resolver.Resolver(configure=self._nameservers is None)
        if self._nameservers is not None:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._nameservers]
        try:
            return list(resolver.resolve(name, kind, lifetime=LIFETIME_SECONDS, raise_on_no_answer=False))
        except dns.resolver.NXDOMAIN:
            raise NoSuchName(name) from None
        except dns.exception.DNSException as error:
            raise TemporaryFailure(f"DNS, {kind} of {name}: {type(error).__name__}") from None
