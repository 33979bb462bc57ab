"""
Who starts the indexer and begins with another one when it ends: the process that holds data_dir.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from mailtraq_py.store.attachments import AttachmentLimits
from mailtraq_py.store.searchindex import SearchIndexes

from .config import Configuration
from .indexer import IndexerTask

# The server's first clients come first.
START_SECONDS = 3.0
AGAIN_SECONDS = (1.0, 5.0, 30.0, 120.0)
HEALTHY_SECONDS = 600.0
STOP_SECONDS = 5.0
_LINE_OCTETS = 64 * 1024


class IndexerProcess:
    """
    The indexer's process, for as long as it is wanted.

    Args:
        task: what it does.
        reactor: to start it with.
    """

    log = Logger()

    def __init__(self, task: IndexerTask, reactor: Any) -> None:
        self._task = task
        self._reactor = reactor
        self._process: IProcessTransport | None = None
        self._started = 0.0
        self._deaths = 0
        self._again: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Begin, in a moment."""
        self._again = self._reactor.callLater(START_SECONDS, self._begin)

    def _begin(self) -> None:
        self._again = None
        self._started = self._reactor.seconds()
        # -P: whatever lies in the working directory is no module of ours.
        command = [sys.executable, "-P", "-m", "mailtraq_py.app.indexer"]
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
        protocol = _Talk(self.log, self._ended)
        try:
            self._process = self._reactor.spawnProcess(
                protocol, sys.executable, command, env={**os.environ, "PYTHONPATH": path}
            )
        except OSError:  # such as a Python that only root can read, after root was given up
            self._ended(Failure())  # type: ignore[no-untyped-call]
            return
        self._process.writeToChild(0, msgspec.json.encode(self._task) + b"\n")

    def stop(self) -> Deferred[None]:
        """End it; fires when it is gone."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._process is None:
            return succeed(None)
        self._stopped = Deferred()
        self._process.closeStdin()
        deadline = self._reactor.callLater(STOP_SECONDS, self._process.signalProcess, "KILL")
        return self._stopped.addCallback(lambda _: deadline.cancel() if deadline.active() else None)

    def _ended(self, reason: Failure) -> None:
        self._process = None
        if self._stopped is not None:
            self._stopped.callback(None)
            return
        lived = self._reactor.seconds() - self._started
        self._deaths = 0 if lived > HEALTHY_SECONDS else self._deaths + 1
        seconds = AGAIN_SECONDS[min(max(self._deaths - 1, 0), len(AGAIN_SECONDS) - 1)]
        self.log.error("indexer-ended", event="indexer-ended", reason=reason.getErrorMessage(), again_seconds=seconds)
        self._again = self._reactor.callLater(seconds, self._begin)


class _Talk(ProcessProtocol):
    """What the process says becomes lines of the log; what it writes to standard error, such as a traceback, too."""

    def __init__(self, log: Logger, ended: Callable[[Failure], None]) -> None:
        self._log = log
        self._ended = ended
        self._said = b""

    def outReceived(self, data: bytes) -> None:
        """Lines of JSON."""
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            said = msgspec.json.decode(line)
            values = said["values"]
            level = LogLevel.lookupByName(said["level"])
            self._log.emit(level, str(values.get("event", "indexer")), **values)
        self._said = self._said[-_LINE_OCTETS:]

    def errReceived(self, data: bytes) -> None:
        """Nothing is written there but by an interpreter that ends."""
        text = data.decode("utf-8", "replace")
        self._log.error("indexer-failed", event="indexer-failed", reason=text)

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self._ended(reason)


def indexer_task(configuration: Configuration) -> IndexerTask:
    """What an installation's indexer does."""
    settings, location = configuration.keys.search, configuration.location
    limits = AttachmentLimits(
        settings.attachments,
        settings.max_attachment_octets,
        settings.max_attachment_text_octets,
        settings.attachment_seconds,
    )
    return IndexerTask(location.store_url, str(location.data_dir), limits)


def forget_indexes(configuration: Configuration) -> None:
    """Remove all indexes of an installation that wants none, because nobody would take out of them what is deleted."""
    indexes = SearchIndexes(configuration.data_dir / "search")
    if indexes.folder.exists() and indexes.take():
        for account_id in set.union(*indexes.present()):
            indexes.remove(account_id)
        indexes.release()
