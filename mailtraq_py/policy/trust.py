"""
Who the client is to us: in the LAN, white-listed, one of our own addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailtraq_py.interfaces.connection import Connection

from .firewall import EMPTY_LIST, ClientAddress, FirewallList, is_loopback, parse_client


@dataclass(frozen=True, slots=True)
class Trust:
    """`own` holds the machine's and the services' addresses; a connection's own local address counts beside them."""

    lan: FirewallList = EMPTY_LIST
    white: FirewallList = EMPTY_LIST
    own: frozenset[ClientAddress] = frozenset()

    def in_lan(self, client: str) -> bool:
        """The LAN list admits it."""
        return self.lan.admits(client)

    def is_trusted(self, client: str) -> bool:
        """In the LAN or white-listed: spared black lists, DNS lists, HELO and sender tests."""
        return self.lan.admits(client) or self.white.admits(client)

    def is_own(self, connection: Connection) -> bool:
        """The client is this machine: one of its interfaces, listen addresses, or the connection's local address."""
        address = parse_client(connection.client)
        return address is not None and (address in self.own or address == parse_client(connection.local))

    def may_use_plaintext(self, client: str, rule: str) -> bool:
        """Whether `auth_without_tls` (never, loopback, lan, always) lets this client send a password in the clear."""
        if rule == "always":
            return True
        if rule == "lan":
            return is_loopback(client) or self.lan.admits(client)
        return rule == "loopback" and is_loopback(client)


def own_addresses(texts: tuple[str, ...]) -> frozenset[ClientAddress]:
    """The machine's addresses as lists compare them; what is no address, as "0.0.0.0" in a listen key, is left out."""
    found = (parse_client(text) for text in texts)
    return frozenset(address for address in found if address is not None and address.value != 0)
