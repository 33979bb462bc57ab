"""
Addresses as the configuration writes them: "192.0.2.1:25", "[::]:25", "mx.example.org:25".
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\]:([0-9]{1,5})\Z")
_PLAIN = re.compile(r"([A-Za-z0-9_.-]+):([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host (IP address or name) and a port; port 0 lets the system choose (tests)."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by an address of loopback, or by the name for it (RFC 6761 6.3)."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower().rstrip(".") == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """
    Read `host:port`.

    Raises:
        ValueError: what stands there is none; the message says why.
    """
    match = _BRACKETED.match(text) or _PLAIN.match(text)
    if match is None:
        raise ValueError(f'"{text}" is not of the form "address:port" (IPv6 in brackets: "[::]:25")')
    host, port = match[1], int(match[2])
    if port > 65535:
        raise ValueError(f"{port} is no port (at most 65535)")
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        try:
            host = str(ipaddress.ip_address(host))
        except ValueError:
            raise ValueError(f"{host} is no IP address") from None
    return ListenAddress(host, port)


def parse_nameserver(text: str) -> ListenAddress:
    """
    Read an IP address with or without a port, 53 if it has none.

    Raises:
        ValueError: what stands there is neither.
    """
    try:
        return ListenAddress(str(ipaddress.ip_address(text)), 53)
    except ValueError:
        address = parse_listen(text)
        ipaddress.ip_address(address.host)
        return address
