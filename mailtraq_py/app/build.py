"""
The wiring: from a configuration to everything that serves it. The one place that names concrete classes together.

    Store      database, contents, queue, directory, recent-login rows, hub
    Policy     over directory, resolver and recent logins; replaced as one by a reload
    Accept     the door into the store, and the reports that come of it
    Runner     what leaves: a relay, or the capturing mailbox
    Listener   one for each service: see listeners.py
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mailtraq_py.delivery.accept import Accept, AcceptSettings
from mailtraq_py.delivery.journal import Journal
from mailtraq_py.delivery.reports import Reports
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.net.resolver import Resolver
from mailtraq_py.net.tls import TLSContexts
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.chain import Policy
from mailtraq_py.policy.history import DecisionHistory
from mailtraq_py.policy.patience import Patience
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import FixedLogin, PolicySettings
from mailtraq_py.queue.attempt import Carrier
from mailtraq_py.queue.capture import Capture
from mailtraq_py.queue.connections import Connections
from mailtraq_py.queue.nexthop import NextHops
from mailtraq_py.queue.relay import Relay
from mailtraq_py.queue.runner import Runner
from mailtraq_py.queue.settings import OutboundSettings
from mailtraq_py.servers.login import Logins
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.store import Store
from mailtraq_py.wire.sasl import PasswordCredentials

from .commons import Commons
from .config import Configuration
from .judging import judge
from .listeners import Surroundings
from .listfiles import ListFiles
from .recipients import RecipientSettings, recipient_settings
from .recorder import Recorder
from .settings import nameservers, outbound_settings, policy_settings

EXPIRY_SECONDS = 60.0
EXPIRY_ROWS = 1000


def deleted_settings(configuration: Configuration) -> DeletedSettings:
    """How long deleted mail stays."""
    deleted = configuration.keys.deleted
    return DeletedSettings(
        float(deleted.keep_seconds),
        deleted.max_octets,
        deleted.max_account_octets,
        deleted.min_free_octets,
        deleted.mailbox,
    )


@dataclass(frozen=True, slots=True)
class InForce:
    """What a reload puts in place of the old, as one."""

    policy: Policy
    recipients: RecipientSettings

    @property
    def number(self) -> int:
        """The configuration's."""
        return self.policy.number


class Server:
    """
    Everything that serves one configuration.

    Args:
        configuration: judged already.
        lists: its list files, read.
        tls: the certificates, read before root was given up.
        store: open.
        commons: what is shared with other workers.
        reactor: to work on.
        clock: seconds since the epoch.
        number: the configuration's.
    """

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        lists: ListFiles,
        tls: TLSContexts,
        store: Store,
        commons: Commons,
        reactor: Any,
        clock: Callable[[], float],
        number: int = 1,
    ) -> None:
        keys = configuration.keys
        self._commons = commons
        self._tls = tls
        self._store = store
        self._reactor = reactor
        self._clock = clock
        self._resolver = Resolver(reactor, nameservers(configuration))
        settings = policy_settings(configuration, lists)
        recipients = recipient_settings(configuration, lists)
        self._next_hops: NextHops | None = None
        self._recent = RecentLogins(store.recent_rows, RecentLoginRules(settings.recent_login), clock)
        self._history = DecisionHistory() if keys.history.keep_seconds else None
        reports = Reports(keys.hostname, store.content, store.directory, keys.outbound.expire_seconds, clock)
        accept_settings = AcceptSettings(
            keys.hostname, keys.limits.max_message_octets, keys.limits.max_hops, keys.outbound.expire_seconds
        )
        journal = Journal(recipients.journal, store.directory, commons.secret)
        self._accept = Accept(accept_settings, store.content, store.acceptance, reports, clock, journal=journal)
        outbound = outbound_settings(configuration)
        self._runner = Runner(
            reactor,
            store.queue,
            self._carrier(outbound),
            reports,
            store.content,
            store.hub,
            outbound,
            keys.hostname,
            random.SystemRandom().random,
        )
        self.take(InForce(self._build_policy(settings, number), recipients))
        surroundings = Surroundings(
            keys,
            lambda: self._policy,
            store,
            self._accept,
            Logins(
                lambda: self._policy, store.directory, self._recent, reactor, self._fixed_login, store.failures
            ),
            self._recent,
            tls,
            reactor,
            clock,
            commons,
        )
        self._listeners = {
            service.name: (surroundings.listener(path, service), service.tls == "implicit")
            for path, service in configuration.services()
        }
        self._recorder = Recorder(
            self._history or DecisionHistory(),
            store.decisions,
            lambda client: self._recent.rules.row_address(client),
            keys.history.keep_seconds,
            keys.history.max_octets,
            reactor,
            clock,
        )
        self._expiry = LoopingCall(lambda: Deferred.fromCoroutine(self._expire()))
        self._expiry.clock = reactor

    def factory(self, service: str) -> IProtocolFactory:
        """What listens for a service."""
        listener, implicit = self._listeners[service]
        factory: IProtocolFactory = listener.with_tls(self._tls.for_server()) if implicit else listener
        return factory

    def start(self) -> None:
        """Begin to write down what is decided; where it is ours, to work on the queue and to forget what is old."""
        self._recorder.start(expire=self._commons.keeps_house)
        if self._commons.keeps_house:
            self._runner.start()
            self._expiry.start(EXPIRY_SECONDS, now=False)

    def judged(
        self, configuration: Configuration, lists: ListFiles, number: int
    ) -> tuple[InForce, tuple[str, ...]]:
        """
        Judge a configuration and build its policy, which takes seconds where lists are long: any thread may do it.

        Returns:
            what is for `take`, and warnings.

        Raises:
            ConfigurationError: it has errors, or would relay for strangers.
        """
        warnings = judge(configuration, self._store.directory, lists=lists)
        return self.prepared(configuration, lists, number), warnings

    def prepared(self, configuration: Configuration, lists: ListFiles, number: int) -> InForce:
        """As `judged`, of a configuration that was judged already."""
        policy = self._build_policy(policy_settings(configuration, lists), number)
        return InForce(policy, recipient_settings(configuration, lists))

    def take(self, fresh: InForce) -> None:
        """Bring it into force, from the next decision on."""
        self._policy = fresh.policy
        self._recent.rules = fresh.policy.recent_rules
        self._store.directory.rules = fresh.recipients.rules
        self._accept.rewriting = fresh.recipients.senders
        if self._accept.journal is not None:
            self._accept.journal.settings = fresh.recipients.journal
        if self._next_hops is not None:
            self._next_hops.routes = fresh.recipients.routes

    def _build_policy(self, settings: PolicySettings, number: int) -> Policy:
        return build_policy(
            settings,
            self._store.directory,
            self._resolver,
            self._recent,
            number,
            bans=self._store.failures,
            waiting=partial(Patience, self._reactor),
            note=None if self._history is None else self._history.note,
        )

    async def stop(self, grace_seconds: float) -> None:
        """End sessions and deliveries, each with this grace, then close the store."""
        if self._expiry.running:
            self._expiry.stop()
        ending = [listener.stop_sessions(grace_seconds) for listener, _ in self._listeners.values()]
        if self._commons.keeps_house:
            ending.append(Deferred.fromCoroutine(self._runner.stop(grace_seconds)))
        await gatherResults(ending)
        await self._recorder.stop()
        await self._store.close()

    def _fixed_login(
        self, service: str, credentials: PasswordCredentials, client: str
    ) -> Awaitable[Account | None] | None:
        fixed = self._policy.fixed_login(service)
        return None if fixed is None else self._check_fixed(fixed, credentials, client)

    async def _check_fixed(
        self, fixed: FixedLogin, credentials: PasswordCredentials, client: str
    ) -> Account | None:
        """The password is hashed for a wrong name too, which must take as long."""
        right = await self._store.directory.verify_hash(fixed.password_hash, credentials.password, client)
        name = fixed.login.lower()
        return Account(0, name, "") if right and credentials.login.lower() == name else None

    def _carrier(self, settings: OutboundSettings) -> Carrier:
        store = self._store
        if settings.capture:
            return Capture(settings.capture, store.directory, store.content, store.acceptance, self._clock)
        self._next_hops = NextHops(settings, self._resolver, random.SystemRandom().shuffle)
        connections = Connections(self._reactor, settings, self._tls)
        return Relay(settings, self._next_hops, connections, store.content, self._clock)

    async def _expire(self) -> None:
        """Forget recent logins, failures and bans that are worth nothing any more, a few at a time."""
        now = self._clock()
        before = now - self._recent.rules.horizon_seconds
        try:
            while await self._store.recent_rows.expire(before, EXPIRY_ROWS) == EXPIRY_ROWS:
                pass
            while await self._store.failures.expire(now):
                pass
        except TemporaryFailure as failure:
            self.log.warn("expiry-failed", event="expiry-failed", reason=failure.reason)
