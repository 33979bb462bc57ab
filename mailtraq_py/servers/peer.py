"""
The other end's address in the forms in which we compare and count it.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network


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
