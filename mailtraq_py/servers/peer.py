"""
The other end's address in the forms in which we compare and count it, and whether a password may come from it in clear.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address


def normal_address(host: str) -> str:
    """
    Give an IP address as the socket names it the form of `Connection.client`.

    Returns:
        dotted decimal for IPv4 and IPv4-mapped IPv6; IPv6 in its shortest form, without zone index; anything else (the
        path of a Unix socket) as it is.

    RFC 4291 2.5.5.2, RFC 5952 4
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or address)


def address_group(client: str) -> str:
    """
    Give the unit in which addresses are counted: an IPv4 address, or the /64 of an IPv6 one, within which one customer
    chooses freely (RFC 6177 2).
    """
    if ":" not in client:
        return client
    return str(IPv6Network((client, 64), strict=False))


def plaintext_allowed(rule: str, client: str, is_lan: Callable[[str], bool]) -> bool:
    """
    Whether a client may send a password as it is, without TLS.

    Args:
        rule: `auth_without_tls`: "never", "loopback", "lan" (loopback too) or "always".
        client: its address.
        is_lan: answers for an address.
    """
    if rule in ("always", "never"):
        return rule == "always"
    return _is_loopback(client) or (rule == "lan" and is_lan(client))


@lru_cache(maxsize=4096)
def _is_loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:  # a Unix socket's peer has no address
        return False
