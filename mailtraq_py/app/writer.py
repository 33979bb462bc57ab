"""
The writer's process as the fork server makes it: the store's writer, with a log and a way to say why it cannot begin.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import apsw
import msgspec
from twisted.logger import globalLogBeginner

from mailtraq_py.store.frames import frame
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.sqlite import LibraryTooOld
from mailtraq_py.store.writerprocess import run_writer

from .channel import Tidings, encode_tidings
from .logs import LogFile, LogLines


class LogPlace(msgspec.Struct, frozen=True):
    """Where and how a process logs; `path` is None for standard output."""

    path: str | None
    format: str
    level: str


def run_writer_process(log: LogPlace, store_url: str, data_dir: str, descriptors: Sequence[int]) -> None:
    """
    Write for all workers until the supervisor closes the control socket and the last worker is gone.

    Args:
        descriptors: of the channel and the control socket.
    """
    channel, control = (socket.socket(fileno=descriptor) for descriptor in descriptors)

    log_file = LogFile(log.path)

    def write(line: bytes) -> None:
        # It has seldom anything to say, so it looks each time where the log is now.
        log_file.reopen()
        log_file.write(line)

    observer = LogLines(write, log.format, log.level, "writer")
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    channel.sendall(frame(encode_tidings(Tidings(os.getpid()))))
    try:
        run_writer(store_url, data_dir, control)
    except (StoreRefused, LibraryTooOld, OSError, apsw.Error) as error:
        channel.sendall(frame(encode_tidings(Tidings(os.getpid(), failure=str(error)))))
