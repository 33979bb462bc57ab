"""
A server at work in this process: the store open, sessions on the sockets, policy that can be replaced.

The whole server where one process does everything; a worker's part of it where there are several.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.net.tls import TLSContexts
from mailtraq_py.servers.sharedport import listen_shared
from mailtraq_py.store.store import Store

from .binding import BoundSocket, close_all
from .build import InForce, Server, deleted_settings
from .commons import Commons
from .config import Configuration
from .listen import parse_listen
from .listfiles import ListFiles
from .metrics import MetricsServer
from .pulse import Pulse
from .reload import IGoverned

# Allocations less releases before the youngest are looked through; Python's own is 700, 10, 10.
COLLECTOR_THRESHOLDS = (20_000, 20, 50)


@implementer(IGoverned)
class Serving:
    """
    Args:
        configuration: judged already.
        lists: its list files, read.
        tls: the certificates.
        bound: listening sockets, which belong to this from now on.
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
        bound: Sequence[BoundSocket],
        commons: Commons,
        reactor: Any,
        clock: Callable[[], float],
        number: int = 1,
    ) -> None:
        self._configuration = configuration
        self._lists = lists
        self._tls = tls
        self._bound = list(bound)
        self._commons = commons
        self._reactor = reactor
        self._clock = clock
        self._number = number
        self._ports: list[IListeningPort] = []
        self._server: Server | None = None
        self._pulse: Pulse | None = None
        self._metrics: MetricsServer | None = None

    @property
    def server(self) -> Server:
        """What serves; from `start` on."""
        assert self._server is not None  # noqa: S101 - nobody asks before
        return self._server

    async def start(self) -> None:
        """
        Open the store and serve; after a crash the store is cleared up first.

        Raises:
            StoreRefused, LibraryTooOld, OSError, apsw.Error: the store cannot be opened.
        """
        location = self._configuration.location
        store = Store(
            location.store_url,
            location.data_dir,
            self._reactor,
            self._clock,
            location.default_domain,
            peers=self._commons.peers,
            deleted=deleted_settings(self._configuration),
        )
        try:
            await store.start()
            self._serve(store)
        except BaseException:
            await store.close()
            raise

    def _serve(self, store: Store) -> None:
        server = self._server = Server(
            self._configuration,
            self._lists,
            self._tls,
            store,
            self._commons,
            self._reactor,
            store.clock,
            self._number,
        )
        server.start()
        for bound in self._bound:
            factory = server.factory(bound.service)
            if self._commons.peers is None:
                port = self._reactor.adoptStreamPort(bound.socket.fileno(), bound.socket.family, factory)
            else:
                port = listen_shared(
                    self._reactor,
                    bound.socket,
                    factory,
                    partial(self._commons.is_our_turn, bound.service),
                )
            self._ports.append(port)
        close_all(self._bound)
        self._bound = []
        self._take_pulse(store)
        _spare_the_collector()

    def _take_pulse(self, store: Store) -> None:
        location, listen = self._configuration.location, self._configuration.keys.metrics.listen
        # A writer that is shared is told of once.
        speaks = self._commons.keeps_house or not location.store_url.startswith("sqlite:")
        pulse = self._pulse = Pulse(
            self._commons.process, store, location.data_dir, self._reactor, self._clock, speaks
        )
        pulse.start()
        if listen and self._commons.keeps_house:
            try:
                self._metrics = MetricsServer(parse_listen(listen), location.data_dir)
            except ImportError:
                self._log_no_metrics(listen, "pip install mailtraq_py[metrics]")
            except OSError as error:
                self._log_no_metrics(listen, error.strerror or str(error))

    def _log_no_metrics(self, listen: str, reason: str) -> None:
        self.log.error("metrics-failed", event="metrics-failed", address=listen, reason=reason)

    def judged(
        self, configuration: Configuration, lists: ListFiles, number: int
    ) -> tuple[InForce, tuple[str, ...]]:
        """See `reload.IGoverned`."""
        return self.server.judged(configuration, lists, number)

    async def take(self, fresh: InForce) -> None:
        """See `reload.IGoverned`."""
        self.server.take(fresh)

    async def stop(self, grace_seconds: float) -> None:
        """Accept nothing more; sessions and deliveries may end within the grace; then close the store."""
        close_all(self._bound)
        if self._metrics is not None:
            await deferToThread(self._metrics.close)
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        if self._pulse is not None:
            self._pulse.stop()
        if self._server is not None:
            await self._server.stop(grace_seconds)


def _spare_the_collector() -> None:
    """
    Have the garbage collector leave alone what lives as long as the process, and look through the rest less often.

    A message makes and drops some hundred objects, hardly any of them in rings. With Python's own thresholds the
    collector went through the whole program again and again, for about a tenth of an acceptance's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
