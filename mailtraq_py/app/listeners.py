"""
A listener for each service: its limits, and how a session is made for a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.delivery import IAccept
from mailtraq_py.interfaces.policy import IRecentLogins
from mailtraq_py.net.tls import TLSContexts
from mailtraq_py.policy.chain import Policy
from mailtraq_py.policy.settings import ROLES
from mailtraq_py.servers.admission import Admission
from mailtraq_py.servers.imap.session import IMAPSession
from mailtraq_py.servers.imap.settings import IMAPServiceSettings, IMAPSurroundings
from mailtraq_py.servers.listener import Listener
from mailtraq_py.servers.login import Logins
from mailtraq_py.servers.pop3.service import POP3Service, POP3ServiceSettings
from mailtraq_py.servers.pop3.session import POP3Session
from mailtraq_py.servers.smtp.session import SMTPSession
from mailtraq_py.servers.smtp.settings import SMTPServiceSettings, SMTPSurroundings
from mailtraq_py.store.store import Store

from . import sections
from .commons import Commons
from .settings import PROTOCOLS
from .tomllines import KeyPath


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What the sessions of all services share. `policy` gives the one in force; `clock` seconds since the epoch.

    What a session is told of policy's own keys is read out of the policy in force when the connection comes.
    """

    keys: sections.Keys
    policy: Callable[[], Policy]
    store: Store
    accept: IAccept
    logins: Logins
    recent: IRecentLogins
    tls: TLSContexts
    reactor: Any
    clock: Callable[[], float]
    commons: Commons

    def listener(self, path: KeyPath, service: sections.Service) -> Listener:
        """The factory of one service. `path` is its table's, which says its protocol."""
        role = {}
        if isinstance(service, sections.SMTPService):
            make_session: Callable[[Connection], Any] = self._smtp(service)
            role = {"role": ROLES[service.role]}
        elif isinstance(service, sections.POP3Service):
            make_session = self._pop3(service)
        else:
            make_session = self._imap(service)
        admission = Admission(
            service.name, self.commons.counts, service.max_connections, service.max_connections_per_address
        )
        protocol = PROTOCOLS[str(path[0])]
        return Listener(service.name, protocol, make_session, admission, self.reactor, self.clock, **role)

    def _smtp(self, service: sections.SMTPService) -> Callable[[Connection], SMTPSession]:
        settings = SMTPServiceSettings(
            name=service.name,
            hostname=self.keys.hostname,
            role=ROLES[service.role],
            tls=service.tls,
            plaintext_from=self._plaintext_from(service.name),
            default_domain=self.keys.default_domain,
            max_message_octets=self.keys.limits.max_message_octets,
            command_seconds=self.keys.timeouts.smtp_seconds,
            data_seconds=self.keys.timeouts.smtp_seconds,
        )
        around = SMTPSurroundings(
            policy=self.policy,
            directory=self.store.directory,
            accept=self.accept,
            logins=self.logins,
            tls=self.tls,
            reactor=self.reactor,
            now=self.clock,
            watch_account=self.store.hub.watch_account,
        )
        return lambda connection: SMTPSession(settings, around, connection)

    def _pop3(self, service: sections.POP3Service) -> Callable[[Connection], POP3Session]:
        shared = POP3Service(
            settings=POP3ServiceSettings(
                name=service.name,
                hostname=self.keys.hostname,
                starttls=service.tls == "starttls",
                login_seconds=self.keys.timeouts.login_seconds,
                idle_seconds=self.keys.timeouts.pop3_seconds,
            ),
            policy=self.policy,
            logins=self.logins,
            allows_plaintext=self._plaintext_from(service.name),
            mailboxes=self.store.mailboxes,
            content=self.store.content,
            hub=self.store.hub,
            tls=self.tls,
            locks=self.commons.maildrops,
            clock=self.clock,
        )
        return lambda connection: POP3Session(shared, connection)

    def _imap(self, service: sections.Service) -> Callable[[Connection], IMAPSession]:
        settings = IMAPServiceSettings(
            name=service.name,
            hostname=self.keys.hostname,
            tls=service.tls,
            plaintext_from=self._plaintext_from(service.name),
            max_literal_octets=self.keys.limits.max_message_octets,
            login_seconds=self.keys.timeouts.login_seconds,
            idle_seconds=self.keys.timeouts.imap_seconds,
        )
        around = IMAPSurroundings(
            mailboxes=self.store.mailboxes,
            content=self.store.content,
            hub=self.store.hub,
            policy=self.policy,
            directory=self.store.directory,
            logins=self.logins,
            recent=self.recent,
            tls=self.tls,
            reactor=self.reactor,
            now=self.clock,
        )
        in_force = self._in_force(settings)
        return lambda connection: IMAPSession(in_force(), around, connection)

    def _in_force(self, settings: IMAPServiceSettings) -> Callable[[], IMAPServiceSettings]:
        """The settings with what the policy in force says; made anew when another policy comes into force."""
        made: list[tuple[Policy, IMAPServiceSettings]] = []

        def current() -> IMAPServiceSettings:
            policy = self.policy()
            if not made or made[0][0] is not policy:
                renew_seconds = max(1.0, policy.recent_rules.renewal_seconds)
                made[:] = [(policy, replace(settings, renew_seconds=renew_seconds))]
            return made[0][1]

        return current

    def _plaintext_from(self, service: str) -> Callable[[str], bool]:
        """Asks the policy in force whether a client may send a password without TLS."""
        return lambda client: self.policy().allows_plaintext(service, client)
