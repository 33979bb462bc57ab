"""
What the workers of a host share besides the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from mailtraq_py.servers.admission import ConnectionCounts, IConnectionCounts
from mailtraq_py.servers.pop3.service import MaildropLocks
from mailtraq_py.store.store import Peers

SECRET_OCTETS = 32


def _nobody_else(service: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Commons:
    """
    As it is for one process alone.

    `secret` is known to all workers, and to nobody after them. `keeps_house` says whether this process works on the
    outbound queue and forgets what is old, which one does for all. `is_our_turn` says of a service whether this process
    may accept a connection before others have had the chance. `peers` are the store's. `process` is its name.
    """

    counts: IConnectionCounts = field(default_factory=ConnectionCounts)
    maildrops: MaildropLocks = field(default_factory=MaildropLocks)
    secret: bytes = field(default_factory=lambda: os.urandom(SECRET_OCTETS), repr=False)
    keeps_house: bool = True
    is_our_turn: Callable[[str], bool] = _nobody_else
    peers: Peers | None = None
    process: str = "server"
