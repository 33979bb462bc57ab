"""
The outside world: names and TLS.
"""

from __future__ import annotations

from typing import Any

from zope.interface import Interface


class NoSuchName(Exception):
    """NXDOMAIN, or no record of any type that could answer: the name is not there for good."""


class IResolver(Interface):
    """
    DNS. Answers are cached for their TTL, equal questions under way are asked once.

    Every method raises TemporaryFailure when no answer came (SERVFAIL, time-out) and NoSuchName on NXDOMAIN.
    Names may be A-labels with or without trailing dot.
    """

    async def mx(domain: str) -> list[tuple[int, str]]:
        """
        (preference, host) pairs, lowest preference first; [] where the name has no MX.

        A null MX is [(0, "")] (RFC 7505).
        """

    async def addresses(host: str) -> list[str]:
        """IPv6 and IPv4 addresses as text; [] where the name has none."""

    async def txt(name: str) -> list[bytes]:
        """TXT records, the strings of each joined."""

    async def pointers(address: str) -> list[str]:
        """PTR names of an IP address."""


class ITLSContexts(Interface):
    """TLS contexts, reloaded when their files change."""

    def for_server() -> Any | None:
        """
        A context factory for `transport.startTLS` on the accepting side, choosing the certificate by SNI.

        None without a certificate.
        """

    def for_client(host: str, verify: bool) -> Any:
        """A connection creator for `transport.startTLS` towards `host`."""
