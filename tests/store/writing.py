"""
A writer's process for tests: in a thread of this one, or a real one that can be killed.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from twisted.internet import reactor

from mailtraq_py.store.store import Peers, Store
from mailtraq_py.store.writerprocess import WriterProcess, send_worker

_ROOT = Path(__file__).parents[2]
_PROGRAM = """
import socket, sys
from mailtraq_py.store.writerprocess import run_writer
run_writer(sys.argv[1], sys.argv[2], socket.socket(fileno=int(sys.argv[3])))
"""


class Writing(ABC):
    """
    A writer, and what the supervisor does for it.

    Args:
        data_dir: where mail.db lies too.
        clock: of the writer and its workers.

    `lost` counts the workers that noticed its end.
    """

    def __init__(self, data_dir: str, clock: Callable[[], float]) -> None:
        self.data_dir = data_dir
        self.url = f"sqlite:{data_dir}/mail.db"
        self.clock = clock
        self.lost = 0
        self._control, theirs = socket.socketpair()
        self._start(theirs)

    def connect(self) -> socket.socket:
        """A worker's end of a new socketpair."""
        ours, theirs = socket.socketpair()
        send_worker(self._control, theirs)
        return ours

    def worker(self, keeps_up: bool = True) -> Store:
        """A worker's store, not started yet."""
        peers = Peers(self.connect(), 2, keeps_up, self._note_lost)
        return Store(self.url, self.data_dir, reactor, self.clock, peers=peers)

    def end(self) -> None:
        """Let it end, when its workers have; wait for it."""
        self._control.close()
        self._wait()

    @abstractmethod
    def _start(self, theirs: socket.socket) -> None:
        """Start it; the socket becomes its own."""

    @abstractmethod
    def _wait(self) -> None:
        """Wait for its end."""

    def _note_lost(self) -> None:
        self.lost += 1


class ThreadWriting(Writing):
    """
    In a thread.

    Args:
        kind: of writer.
    """

    def __init__(self, data_dir: str, clock: Callable[[], float], kind: type[WriterProcess] = WriterProcess) -> None:
        self._kind = kind
        super().__init__(data_dir, clock)

    def _start(self, theirs: socket.socket) -> None:
        self._thread = threading.Thread(target=self._write, args=(theirs,), daemon=True)
        self._thread.start()

    def _write(self, theirs: socket.socket) -> None:
        process = self._kind(self.url, self.data_dir, theirs, self.clock)
        with closing(process), suppress(SystemExit):
            process.serve()

    def _wait(self) -> None:
        self._thread.join(10)


class ProcessWriting(Writing):
    """A process; its clock is the machine's."""

    def _start(self, theirs: socket.socket) -> None:
        arguments = [sys.executable, "-c", _PROGRAM, self.url, self.data_dir, str(theirs.fileno())]
        self.process = subprocess.Popen(arguments, cwd=_ROOT, pass_fds=[theirs.fileno()])
        theirs.close()

    def _wait(self) -> None:
        self.process.wait(10)
