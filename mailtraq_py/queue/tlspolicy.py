"""
How safely a host must be spoken to, as a list of ways to try one after the other.

Between mail servers TLS is opportunistic unless somebody asks for more (RFC 7435): used where it is offered,
without a look at the certificate, and when the handshake fails once more in clear, since the message would have gone in
clear without STARTTLS too. Where a password is sent, or TLS is required, nothing falls back.

RFC 3207 4.1, RFC 7435 3, RFC 8314 3
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum


class TLSUse(Enum):
    """The setting: where it is offered, always, never."""

    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to speak to a host: STARTTLS if offered (`starttls`), or nothing without it (`must`)."""

    starttls: bool
    must: bool = False
    verify: bool = False


IN_CLEAR = Way(starttls=False)


def plan_ways(use: TLSUse, *, is_smarthost: bool, has_login: bool, address: str) -> tuple[Way, ...]:
    """
    The ways to try, each only after the handshake of the one before failed.

    Args:
        use: the setting; a password needs TLS whatever it says.
        is_smarthost: its name comes from the configuration, so its certificate can be verified; the name of an MX
            host comes from the DNS and proves nothing (RFC 8461 1).
        has_login: a password will be sent.
        address: the host's IP address; to loopback a password may go in clear.
    """
    if use is TLSUse.REQUIRED or (has_login and not ipaddress.ip_address(address).is_loopback):
        return (Way(starttls=True, must=True, verify=is_smarthost),)
    if use is TLSUse.NONE:
        return (IN_CLEAR,)
    return (Way(starttls=True), IN_CLEAR)
