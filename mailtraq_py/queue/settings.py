"""
The outbound settings as one value.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .tlspolicy import TLSUse


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """
    `hostname` is what we call ourselves in EHLO. `smarthost` is "host:port", "[IPv6]:port" or "" for MX look-up, with
    its login and password, "" for none; where they are sent `tls` is as good as required. `port` is where MX hosts
    listen. `own_names` (folded) and `own_addresses` are this server's: mail is never sent there. `allow_private` lets
    MX hosts have loopback and private addresses. `capture` is the mailbox address that gets all mail instead of the
    world, "" for none. `retry_seconds` are the delays between attempts, the last one repeated; `delay_report_seconds` 0
    for no such reports.
    """

    hostname: str
    smarthost: str = ""
    smarthost_login: str = ""
    smarthost_password: bytes = field(default=b"", repr=False)
    port: int = 25
    tls: TLSUse = TLSUse.OPPORTUNISTIC
    own_names: frozenset[str] = frozenset()
    own_addresses: frozenset[str] = frozenset()
    allow_private: bool = False
    capture: str = ""
    retry_seconds: tuple[float, ...] = (300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14400.0)
    delay_report_seconds: float = 14400.0
    max_connections: int = 20
    max_connections_per_destination: int = 5
