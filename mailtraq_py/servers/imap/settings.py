"""
What an IMAP service is told by the configuration, and what its sessions find around them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.net import ITLSContexts
from mailtraq_py.interfaces.policy import IPolicy, IRecentLogins
from mailtraq_py.interfaces.store import IChangeHub, IContent, IMailboxes

from ..login import Logins
from .turns import Turns


def _nowhere(client: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class IMAPServiceSettings:
    """
    One `[[imap]]` table.

    `tls` is "none", "starttls" or "implicit"; `plaintext_from` is policy's answer whether a client's address may send a
    password without TLS.
    `max_literal_octets` is the largest message that APPEND may bring. `renew_seconds` is how often a living session
    moves its row of the recent-login whitelist (a third of relay_seconds), and how often IDLE looks whether the peer is
    still there.
    """

    name: str
    hostname: str
    tls: str = "starttls"
    plaintext_from: Callable[[str], bool] = _nowhere
    software: str = "mailtraq_py"
    max_literal_octets: int = 50 * 1024 * 1024
    max_failed_logins: int = 3
    login_seconds: float = 60.0
    idle_seconds: float = 1800.0  # RFC 3501 5.4
    renew_seconds: float = 100.0

    def allows_plaintext(self, client: str, encrypted: bool) -> bool:
        """Whether a password may be sent as it is (RFC 3501 6.2.3, RFC 8314 3)."""
        return encrypted or self.plaintext_from(client)


@dataclass(frozen=True, slots=True)
class IMAPSurroundings:
    """
    What a session asks. `mailboxes` gives an account's; `policy` the one in force; `now` is seconds since the epoch;
    `in_thread` calls a function off the reactor thread; `turns` lets many sessions do something one after the other.
    """

    mailboxes: Callable[[int], IMailboxes]
    content: IContent
    hub: IChangeHub
    policy: Callable[[], IPolicy]
    directory: IDirectory
    logins: Logins
    recent: IRecentLogins
    tls: ITLSContexts
    reactor: IReactorTime
    now: Callable[[], float]
    in_thread: Callable[..., Awaitable[Any]] = deferToThread
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", Turns(self.reactor))
