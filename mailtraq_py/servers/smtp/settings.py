"""
What an SMTP service is told by the configuration, and what its sessions find around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from mailtraq_py.interfaces.connection import Role
from mailtraq_py.interfaces.delivery import IAccept
from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.net import ITLSContexts
from mailtraq_py.interfaces.policy import IPolicy
from mailtraq_py.mail.changes import Change

from ..login import Logins


def _nowhere(client: str) -> bool:
    return False


def _watch_nobody(account_id: int, listener: Callable[[Change], None]) -> Callable[[], None]:
    return lambda: None


@dataclass(frozen=True, slots=True)
class SMTPServiceSettings:
    """
    One `[[smtp]]` table.

    `tls` is "none", "starttls" or "implicit"; `plaintext_from` is policy's answer whether a client's address may send a
    password without TLS. `default_domain` is where `RCPT TO:<postmaster>` leads, the hostname when empty.
    `max_message_octets` 0 is no limit. `max_recipients` bounds what a transaction may hold; the administrator's limit
    is policy's. `max_refused_recipients` in one session end it; from `slow_refused_recipients` on each waits a second.
    The greeting waits `greeting_delay_seconds`; who speaks before it is cut off.
    """

    name: str
    hostname: str
    role: Role = Role.BOTH
    tls: str = "starttls"
    plaintext_from: Callable[[str], bool] = _nowhere
    default_domain: str = ""
    software: str = "mailtraq_py"
    max_message_octets: int = 50 * 1024 * 1024
    max_recipients: int = 10_000
    max_errors: int = 15
    max_refused_recipients: int = 100
    slow_refused_recipients: int = 20
    max_failed_logins: int = 3
    greeting_delay_seconds: float = 0.0
    command_seconds: float = 300.0  # RFC 5321 4.5.3.2.7
    data_seconds: float = 300.0

    def allows_plaintext(self, client: str, encrypted: bool) -> bool:
        """Whether a password may be sent as it is (RFC 4954 4, RFC 8314 3)."""
        return encrypted or self.plaintext_from(client)


@dataclass(frozen=True, slots=True)
class SMTPSurroundings:
    """
    What a session asks. `policy` gives the one in force; `now` is seconds since the epoch; `watch_account` is that of
    `IChangeHub`, which tells when an account is revoked.
    """

    policy: Callable[[], IPolicy]
    directory: IDirectory
    accept: IAccept
    logins: Logins
    tls: ITLSContexts
    reactor: IReactorTime
    now: Callable[[], float]
    watch_account: Callable[[int, Callable[[Change], None]], Callable[[], None]] = _watch_nobody
