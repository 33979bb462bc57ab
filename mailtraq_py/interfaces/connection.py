"""
What is known of a connection: who is at the other end, on which of our services, under which TLS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Protocol(Enum):
    """A service's protocol."""

    SMTP = "smtp"
    LMTP = "lmtp"
    POP3 = "pop3"
    IMAP = "imap"


class Role(Enum):
    """An SMTP service's role: from the world, from our users, or both (Ability: incoming, outgoing)."""

    MX = "mx"
    SUBMISSION = "submission"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """The session's TLS: protocol version as "TLSv1.3", cipher suite by its name, bits of the secret."""

    version: str
    cipher: str
    bits: int


@dataclass(frozen=True, slots=True)
class Connection:
    """
    One accepted connection. Addresses are text without zone index; IPv4-mapped IPv6 is reduced to
    IPv4. `session_id` is in every log line of the session; `accepted` is seconds since the epoch.
    """

    session_id: str
    service: str
    protocol: Protocol
    client: str
    client_port: int
    local: str
    local_port: int
    accepted: float
    role: Role = Role.BOTH
