"""
The indexer: a process of its own, at idle priority, that keeps the full-text indexes up with the mail.

    standard input    one line, what to do (`IndexerTask`); at its end, when whoever started us is gone, so are we
    standard output   a line of JSON for each thing the log should have

It asks the database every second whether anybody committed, which costs microseconds, and looks at all mailboxes when
somebody did. One process on a host does it, whoever is first (`SearchIndexes.take`); others wait until it ends.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogBeginner
from zope.interface import provider

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.store.attachments import AttachmentLimits, AttachmentText
from mailtraq_py.store.database import FileDatabase
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.indexing import Indexing
from mailtraq_py.store.store import Store

NICENESS = 19
PAUSE_SECONDS = 1.0
# Where nothing tells whether anybody committed, and for what nobody commits: a lost file, texts to be forgotten.
LOOK_SECONDS = 10.0
# A look at very many mailboxes takes so small a part of the time.
LOOK_PART = 0.05

_log = Logger(namespace="mailtraq_py.app.indexer")


class IndexerTask(msgspec.Struct, frozen=True):
    """Which store to index, and what to read of attachments."""

    store_url: str
    data_dir: str
    attachments: AttachmentLimits


def main() -> None:
    """The process. Its standard input stays open for as long as it is wanted."""
    lower_priority()
    # They are meant for the server, which tells us in its own time.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=IndexerTask)
    globalLogBeginner.beginLoggingTo([_write_event], redirectStandardIO=False)
    parent = select.poll()
    parent.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    store = Store(task.store_url, task.data_dir, announce=False)
    run_now(store.start())
    try:
        # Nothing is ever written to us again: whatever there is to read is the end.
        keep_up(store, task, lambda seconds: bool(parent.poll(seconds * 1000)))
    finally:
        run_now(store.close())


def lower_priority() -> None:
    """Run when nobody else wants to, in the processor's and the disk's eyes."""
    os.nice(NICENESS)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def keep_up(store: Store, task: IndexerTask, is_over: Callable[[float], bool]) -> None:
    """
    Index what comes until it is over.

    Args:
        is_over: asked whether to end, waiting at most so many seconds for that.
    """
    pause = 0.0
    while is_over(pause) or not store.indexes.take():
        if is_over(0.0):
            return
        pause = PAUSE_SECONDS
    indexing = Indexing(
        store.database,
        store.content,
        store.indexes,
        AttachmentText(task.attachments),
        time.monotonic,
        lambda: is_over(0.0),
    )
    version, looked = -1, float("-inf")
    is_more = False
    while not is_over(pause):
        try:
            newest = _version_of(store)
            if is_more or newest != version or time.monotonic() > looked + LOOK_SECONDS:
                is_more = indexing.look()
                version, looked = newest, time.monotonic()
                pause = 0.0 if is_more else max(PAUSE_SECONDS, indexing.look_seconds / LOOK_PART)
                _report(indexing)
            else:
                pause = 0.0 if indexing.tidy() else PAUSE_SECONDS
        except TemporaryFailure as failure:
            _log.warn("indexing-put-off", event="indexing-put-off", reason=failure.reason)
            pause = LOOK_SECONDS


def _version_of(store: Store) -> int:
    """A number that changes when anybody commits, where the database has one."""
    return store.database.data_version() if isinstance(store.database, FileDatabase) else 0


def _report(indexing: Indexing) -> None:
    done = indexing.metrics.take()
    if done.messages or done.forgotten:
        _log.debug(
            "indexed",
            event="indexed",
            messages=done.messages,
            texts=done.documents,
            octets=done.text_octets,
            forgotten=done.forgotten,
            cpu=round(time.process_time(), 2),
        )


@provider(ILogObserver)
def _write_event(event: LogEvent) -> None:
    level: LogLevel = event.get("log_level", LogLevel.info)
    values: dict[str, Any] = {
        key: value
        for key, value in event.items()
        if not key.startswith("log_") and isinstance(value, (str, int, float))
    }
    failure = event.get("log_failure")
    if failure is not None:
        values["reason"] = failure.getTraceback()
    line = msgspec.json.encode({"level": level.name, "values": values}) + b"\n"
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
