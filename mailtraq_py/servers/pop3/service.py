"""
What all sessions of one POP3 service share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf

from mailtraq_py.interfaces.net import ITLSContexts
from mailtraq_py.interfaces.policy import IPolicy
from mailtraq_py.interfaces.store import IChangeHub, IContent, IMailboxes
from mailtraq_py.servers.login import Logins

FAILED_LOGINS_MAX = 3


@dataclass(frozen=True, slots=True)
class POP3ServiceSettings:
    """
    One POP3 service's settings.

    `hostname` is in the greeting; `starttls` offers STLS where there is a certificate (an implicit-TLS service says
    False). Idle connections end after `login_seconds` before the login and `idle_seconds` after it (RFC 1939 3: at
    least 600). With `exclusive` a maildrop has one session at a time (RFC 1939 4), else any number.
    """

    name: str
    hostname: str
    starttls: bool = True
    login_seconds: float = 60.0
    idle_seconds: float = 600.0
    exclusive: bool = True


class MaildropLocks:
    """
    Which accounts' maildrops are open. Shared by all POP3 services; with several workers by all of them, as locks on a
    file, one octet an account, which the system lets go when a process ends. A lock lives as long as its
    connection, so an idle or broken session keeps it for `idle_seconds` at most.

    Args:
        descriptor: the workers' file; None where this process is the only one. Each process opens it once: closing one
            descriptor of it would let go of all locks.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._held: set[int] = set()
        self._descriptor = descriptor

    def take(self, account_id: int) -> bool:
        """Take the lock; False when another session has it."""
        if account_id in self._held:
            return False
        if self._descriptor is not None:
            try:
                lockf(self._descriptor, LOCK_EX | LOCK_NB, 1, account_id)
            except BlockingIOError:
                return False
        self._held.add(account_id)
        return True

    def release(self, account_id: int) -> None:
        """Give it back."""
        self._held.discard(account_id)
        if self._descriptor is not None:
            lockf(self._descriptor, LOCK_UN, 1, account_id)


@dataclass(frozen=True, slots=True)
class POP3Service:
    """
    One service.

    Args:
        settings: this service's.
        policy: gives the policy in force.
        logins: where all protocols log in.
        allows_plaintext: whether a client address may send a password without TLS.
        mailboxes: an account's mailboxes by its id.
        content: the octets of messages.
        hub: tells when an account is revoked and when INBOX changes under a session.
        tls: the server's certificates.
        locks: shared by all POP3 services.
        clock: seconds since the epoch.
    """

    settings: POP3ServiceSettings
    policy: Callable[[], IPolicy]
    logins: Logins
    allows_plaintext: Callable[[str], bool]
    mailboxes: Callable[[int], IMailboxes]
    content: IContent
    hub: IChangeHub
    tls: ITLSContexts
    locks: MaildropLocks
    clock: Callable[[], float]
