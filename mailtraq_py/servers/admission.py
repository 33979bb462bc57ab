"""
How many connections a service takes, in all and from one address.

Asked before anything is made for a connection, so that refusing a flood costs next to nothing. In one process the
counts are a dictionary, with several workers memory that they share (sharedcounts.py).
"""

from __future__ import annotations

from zope.interface import Interface, implementer

from .peer import address_group


class IConnectionCounts(Interface):
    """Open connections by key, of all processes that share them."""

    def add(key: str) -> int:
        """Count one more; returns how many there are with this key, at least."""

    def remove(key: str) -> None:
        """Count one less."""


@implementer(IConnectionCounts)
class ConnectionCounts:
    """Open connections of this process alone."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, key: str) -> int:
        """See `IConnectionCounts`."""
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        return count

    def remove(self, key: str) -> None:
        """See `IConnectionCounts`. A key without connections is forgotten."""
        count = self._counts[key] - 1
        if count:
            self._counts[key] = count
        else:
            del self._counts[key]


class Admission:
    """
    One service's limits.

    Args:
        service: its name; counts of different services are apart.
        counts: shared by all services.
        max_connections: at once, in all.
        max_connections_per_address: at once, of one IPv4 address or one IPv6 /64.
    """

    def __init__(
        self, service: str, counts: IConnectionCounts, max_connections: int, max_connections_per_address: int
    ) -> None:
        self._service = service
        self._counts = counts
        self._max_connections = max_connections
        self._max_connections_per_address = max_connections_per_address

    def admit(self, client: str) -> str:
        """
        Count a connection in.

        Returns:
            "" when it may come; call `release` when it ends. Else the reason for the log, and nothing was counted.
        """
        if self._counts.add(self._service) > self._max_connections:
            self._counts.remove(self._service)
            return "too many connections to the service"
        key = self._address_key(client)
        if self._counts.add(key) > self._max_connections_per_address:
            self._counts.remove(key)
            self._counts.remove(self._service)
            return "too many connections from the address"
        return ""

    def release(self, client: str) -> None:
        """An admitted connection ended."""
        self._counts.remove(self._service)
        self._counts.remove(self._address_key(client))

    def _address_key(self, client: str) -> str:
        return f"{self._service} {address_group(client)}"
