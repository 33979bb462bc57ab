"""
The running server: start, reload, stop.

    prepare                    policy proven, certificates read, ports bound; nothing is running yet
    privilegedStartService     root is given up; the process's files are taken
    startService               the store opens, sessions may come
    SIGHUP                     the file is read again; policy changes, or stays in force when the file is wrong
    stopService                no new connections; running commands end, within the grace; then queue and store

twistd forks, if it does, between the first two, so threads and databases begin after it. Alone this process serves
(serving.py), else it is the supervisor of those that do (supervisor.py).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import apsw
from twisted.application.service import IServiceCollection, Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from mailtraq_py import __version__
from mailtraq_py.net.tls import TLSContexts
from mailtraq_py.store.hashing import load_schemes
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.sqlite import LibraryTooOld

from .binding import BoundSocket, CannotBind, bind_all, close_all
from .certificates import read_certificates
from .commons import Commons
from .config import Configuration, ConfigurationError
from .hosted import hosted
from .indexing import IndexerProcess, forget_indexes, indexer_task
from .judging import judge, nothing_to_serve
from .listfiles import ListFiles
from .location import StoreUnusable
from .logs import LogFile, LogLines
from .pidfile import AlreadyRunning, PidFile, running_process
from .privileges import Identity, acting_as, become, find_identity, is_root, make_private_folder
from .reload import Reloads
from .serving import Serving
from .supervisor import CannotServe, Supervisor

BACKGROUND_LOG_NAME = "mailtraq.log"
LIST_WATCH_SECONDS = 2.0
PREDECESSOR_SECONDS = 5.0


class CannotStart(Exception):
    """Something other than the configuration is in the way; the message says what."""


class MailService(Service):
    """
    The server as Twisted's application framework runs it.

    Args:
        configuration: what to serve.
        reactor: to serve with.
        foreground: whether standard output is there to log to.
        clock: seconds since the epoch.

    `ready` fires when it serves.
    """

    log = Logger()

    def __init__(
        self,
        configuration: Configuration,
        reactor: Any,
        *,
        foreground: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.setName("mailtraq")  # type: ignore[no-untyped-call]
        self.configuration = configuration
        self.warnings: tuple[str, ...] = ()
        self.ready: Deferred[None] = Deferred()
        self._reactor = reactor
        self._foreground = foreground
        self._clock = clock
        self._bound: list[BoundSocket] = []
        self._contexts: TLSContexts | None = None
        self._identity: Identity | None = None
        self._log_file: LogFile | None = None
        self._pid_file: PidFile | None = None
        self._serving: Serving | Supervisor | None = None
        self._lists = ListFiles()
        self._reloads: Reloads | None = None
        self._list_watch = LoopingCall(self._renew_lists)
        self._list_watch.clock = reactor
        self._starting: Deferred[None] | None = None
        self._indexer: IndexerProcess | None = None

    # -- start -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """
        Do all that may fail before anything runs.

        Raises:
            ConfigurationError: the configuration is wrong, or would make an open relay.
            CannotStart: a port is taken, a folder cannot be made.
        """
        configuration, keys = self.configuration, self.configuration.keys
        if nothing := nothing_to_serve(configuration):
            raise ConfigurationError([*nothing, *configuration.problems])
        warnings = []
        if is_root():
            if keys.user:
                try:
                    self._identity = find_identity(keys.user, keys.group)
                except ValueError as error:
                    raise ConfigurationError([configuration.problem(str(error), "user")]) from None
                load_schemes()
            else:
                warnings.append("runs as root: set `user` in the configuration")
        try:
            with acting_as(self._identity), hosted(configuration.location) as (directory, accounts):
                warnings += judge(configuration, directory, accounts, self._lists)
                self._contexts = read_certificates(configuration)
        except StoreUnusable as error:
            raise CannotStart(str(error)) from None
        self.warnings = tuple(warnings)
        try:
            make_private_folder(configuration.data_dir, self._identity)
            self._bound = self._bind()
            self._log_file = self._open_log()
        except CannotBind as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(f"{error.filename}: {error.strerror}") from None

    def _bind(self) -> list[BoundSocket]:
        """Workers of a server that was killed have their sockets for a moment longer."""
        deadline = time.monotonic() + PREDECESSOR_SECONDS
        while True:
            try:
                return bind_all(self.configuration)
            except CannotBind as error:
                is_running = running_process(self.configuration.data_dir) is not None
                if not error.is_leftover or is_running or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def setServiceParent(self, parent: Any) -> None:
        """Become part of an application; its log lines are ours from now on."""
        if hasattr(parent, "setComponent"):
            parent.setComponent(ILogObserver, self.log_lines())
        super().setServiceParent(IServiceCollection(parent, parent))  # type: ignore[no-untyped-call]

    def log_lines(self) -> LogLines:
        """The observer that writes the log as the configuration says."""
        settings = self.configuration.keys.log
        if self._log_file is None:
            self._log_file = self._open_log()
        return LogLines(self._log_file.write, settings.format, settings.level)

    def privilegedStartService(self) -> None:
        """Give up root, and see that nobody else works on data_dir."""
        os.umask(0o077)
        if self.configuration.workers:
            self._serving = self._supervisor()
        if self._identity is not None:
            become(self._identity)
        self._pid_file = PidFile(self.configuration.data_dir)
        try:
            self._pid_file.take()
        except (AlreadyRunning, OSError) as error:
            close_all(self._bound)
            print(f"mailtraq: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    def startService(self) -> None:
        """Open the store and serve; after a crash the store is cleared up first, while the reactor runs."""
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start()).addErrback(self._start_failed)

    async def _start(self) -> None:
        for bound in self._bound:
            self.log.info("listen", event="listen", service=bound.service, address=str(bound.address))
        if self._serving is None:
            assert self._contexts is not None  # noqa: S101 - prepare came before
            self._serving = Serving(
                self.configuration,
                self._lists,
                self._contexts,
                self._bound,
                Commons(),
                self._reactor,
                self._clock,
            )
        await self._serving.start()
        self._reloads = Reloads(self.configuration, self._lists, self._serving)
        self._list_watch.start(LIST_WATCH_SECONDS, now=False)
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self.reload))
        if self.configuration.keys.search.enabled:
            self._indexer = IndexerProcess(indexer_task(self.configuration), self._reactor)
            self._indexer.start()
        else:
            forget_indexes(self.configuration)
        for warning in self.warnings:
            self.log.warn("warning", event="warning", reason=warning)
        self.log.info("ready", event="ready", version=__version__, process=os.getpid())
        if self._log_file is not None:
            self._log_file.gather(self._reactor)
        self.ready.callback(None)

    def _supervisor(self) -> Supervisor:
        """With its fork server, which may read what only whoever started us can read."""
        supervisor = Supervisor(
            self.configuration, self._lists, self._bound, self._log_path, self._reactor, self._workers_lost
        )
        supervisor.launch(self._identity)
        return supervisor

    def _workers_lost(self, reason: str) -> None:
        self.log.critical("workers-lost", event="workers-lost", reason=reason)
        self._end(f"mailtraq: {reason}")

    def _start_failed(self, failure: Failure) -> None:
        """Nothing can be served: say why, end the process."""
        if isinstance(failure.value, (StoreRefused, LibraryTooOld, CannotServe, OSError, apsw.Error)):
            self.log.critical("start-failed", event="start-failed", reason=failure.getErrorMessage())
        else:
            self.log.failure("the server could not start", failure=failure)
        self._end(f"mailtraq: the server could not start: {failure.getErrorMessage()}")

    def _end(self, reason: str) -> None:
        print(reason, file=sys.__stderr__)
        # twistd exits with 0 whenever the reactor was stopped, and nothing that is raised leaves the reactor
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.callWhenRunning(self._reactor.stop)

    @property
    def _log_path(self) -> str | None:
        keys = self.configuration.keys
        if keys.log.file:
            return str(self.configuration.path(keys.log.file))
        return None if self._foreground else str(self.configuration.data_dir / BACKGROUND_LOG_NAME)

    def _open_log(self) -> LogFile:
        owner = self._identity
        return LogFile(self._log_path, (owner.uid, owner.gid) if owner else None)

    # -- reload ----------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the file again; bring its policy into force, or keep the running one and say why."""
        if self._log_file is not None:
            self._log_file.reopen()
        if isinstance(self._serving, Supervisor):
            self._serving.reopen()
        if self._reloads is not None:
            reloading = Deferred.fromCoroutine(self._reload(self._reloads))
            reloading.addErrback(lambda failure: self.log.failure("the reload failed", failure=failure))

    async def _reload(self, reloads: Reloads) -> None:
        outcome = await reloads.reload()
        number = outcome.number
        for problem in outcome.errors:
            self.log.error("reload-refused", event="reload-refused", reason=problem, number=number)
        if not outcome.errors:
            restart, warnings = outcome.restart, outcome.warnings
            self.log.info("reload", event="reload", number=number, restart=restart, warnings=warnings)
        if self._pid_file is not None:
            self._pid_file.tell_reload({"time": self._clock(), **asdict(outcome)})

    def _renew_lists(self) -> Deferred[None]:
        """Look whether list files changed."""
        if self._reloads is None:
            return succeed(None)
        renewing = Deferred.fromCoroutine(self._renewed_lists(self._reloads))
        return renewing.addErrback(lambda failure: self.log.failure("a look at list files failed", failure=failure))

    async def _renewed_lists(self, reloads: Reloads) -> None:
        for renewal in await reloads.renew_lists():
            if renewal.errors:
                for problem in renewal.errors:
                    self.log.error("list-refused", event="list-refused", reason=problem, number=renewal.number)
            else:
                self.log.info("list-renewed", event="list-renewed", file=renewal.file, number=renewal.number)

    # -- stop ------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Stop in order."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.log.info("stopping", event="stopping")
        if self._starting is not None:
            await self._starting
        if self._list_watch.running:
            self._list_watch.stop()
        if self._indexer is not None:
            await self._indexer.stop()
        if self._reloads is not None:
            await self._reloads.stop()
        if self._serving is not None:
            await self._serving.stop(self.configuration.keys.timeouts.stop_seconds)
        if self._pid_file is not None:
            self._pid_file.release()
        self.log.info("stopped", event="stopped")
        if self._log_file is not None:
            self._log_file.gather(None)
