"""
The fork server: where the writer's process and the workers come from.

    supervisor     starts it while it still is what it was started as: root may be the only one who can read the program
    fork server    loads the program, gives root up, waits; it has no reactor, no thread and no file of the store open
    Forking        with the descriptors that the new process is to have: it forks; the child becomes worker or writer
    End            is told to the supervisor for each child that has ended

So a worker that died is replaced within milliseconds, by a process that is as it was when the server started. When
the supervisor is gone the fork server ends, and its children see for themselves that their channels are closed.

Signals are for the supervisor, which says what they mean: a service manager that sends them to all does no harm.
What these processes do is shown end to end, in tests/e2e/test_workers.py.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from mailtraq_py.store.hashing import load_schemes

from .machine import PROCESS_PREFIX
from .privileges import Identity, become
from .worker import run_worker
from .writer import LogPlace, run_writer_process

_MESSAGE_MAX_OCTETS = 65536
_DESCRIPTORS_MAX = 250  # the kernel passes 253 at once
# prctl(2); /proc/self/comm is closed to who has given root up.
_libc = ctypes.CDLL(None)
_PR_SET_NAME = 15
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forking(msgspec.Struct, frozen=True):
    """
    A process to be made: worker `number`, from 1; 0 is the writer.

    Its descriptors come along: a worker's channel, its end of the writer's socket, counts, maildrop locks, listening
    sockets; the writer's channel and control socket.
    """

    number: int
    log: LogPlace
    store_url: str
    data_dir: str


class End(msgspec.Struct, frozen=True):
    """A child has ended; `status` is its exit code, or the negative number of the signal that killed it."""

    number: int
    status: int


_encode = msgspec.msgpack.Encoder().encode
_forkings = msgspec.msgpack.Decoder(Forking)
_ends = msgspec.msgpack.Decoder(End)


@implementer(IReadDescriptor)
class ForkServer:
    """
    The supervisor's side.

    Args:
        reactor: to hear on.
        ended: called with the number and status of each child that has ended.
        lost: called when the fork server itself is gone.
    """

    def __init__(self, reactor: Any, ended: Callable[[int, int], None], lost: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._lost = lost
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, identity: Identity | None) -> None:
        """Start it, to become somebody; it hears as soon as the reactor runs."""
        number = self._theirs.fileno()
        words = [] if identity is None else [str(identity.uid), str(identity.gid), identity.name]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            # It finds the program where we found it, and nothing in the folder it is started in.
            [sys.executable, "-P", "-m", __name__, str(number), *words],
            pass_fds=[number],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._theirs.close()
        self._reactor.addReader(self)

    def fork(self, request: Forking, descriptors: Sequence[int]) -> None:
        """Have a process made. The descriptors may be closed here then."""
        socket.send_fds(self._control, [_encode(request)], list(descriptors))

    def close(self) -> None:
        """End it; its children live on until their channels are closed."""
        self._reactor.removeReader(self)
        self._control.close()
        if self._process is not None:
            self._process.wait()

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        return self._control.fileno()

    def logPrefix(self) -> str:
        """See `IReadDescriptor`."""
        return "fork-server"

    def doRead(self) -> Failure | None:
        """See `IReadDescriptor`."""
        try:
            octets = self._control.recv(_MESSAGE_MAX_OCTETS)
        except ConnectionError:
            octets = b""
        if not octets:
            return CONNECTION_LOST  # type: ignore[return-value] # reactors take exceptions too
        end = _ends.decode(octets)
        self._ended(end.number, end.status)
        return None

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`."""
        self._lost()


def serve(control: socket.socket) -> None:
    """Fork on request, until the supervisor is gone."""
    children: dict[int, tuple[int, int]] = {}
    while True:
        readable, _, _ = select.select([control.fileno(), *children], [], [])
        for child in set(readable) & set(children):
            number, process = children.pop(child)
            _, status = os.waitpid(process, 0)
            os.close(child)
            with suppress(ConnectionError):  # whoever is gone is not told; the next look at the socket says so
                control.send(_encode(End(number, os.waitstatus_to_exitcode(status))))
        if control.fileno() in readable:
            try:
                octets, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_MAX_OCTETS, _DESCRIPTORS_MAX)
            except ConnectionError:  # the supervisor was killed with something of ours unread
                return
            if not octets:
                return
            request = _forkings.decode(octets)
            try:
                process = os.fork()
            except OSError as error:  # too many processes, no memory: the supervisor tries again later
                control.send(_encode(End(request.number, error.errno or 1)))
            else:
                if process == 0:
                    control.close()
                    for child in children:
                        os.close(child)
                    _become_child(request, descriptors)
                children[os.pidfd_open(process)] = (request.number, process)
            for descriptor in descriptors:
                os.close(descriptor)


def _become_child(request: Forking, descriptors: Sequence[int]) -> None:
    """Live another life and never come back."""
    status = 1
    try:
        _name_process(str(request.number or "writer"))
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if request.number:
            run_worker(request.number, request.log, descriptors)
        else:
            run_writer_process(request.log, request.store_url, request.data_dir, descriptors)
        status = 0
    finally:
        # Whatever happened, the frames below are the fork server's.
        if status:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def _name_process(name: str) -> None:
    """What `ps` and `top` call it, in 15 octets."""
    _libc.prctl(_PR_SET_NAME, (PROCESS_PREFIX + name).encode())


def main(arguments: Sequence[str]) -> None:
    """The process: number of the control socket, then whom to become, if anybody."""
    number, *words = arguments
    for ignored in _IGNORED:
        signal.signal(ignored, signal.SIG_IGN)
    control = socket.socket(fileno=int(number))
    control.set_inheritable(False)
    load_schemes()
    if words:
        uid, gid, name = words
        become(Identity(int(uid), int(gid), name))
    _name_process("forks")
    gc.collect()
    gc.freeze()
    serve(control)


if __name__ == "__main__":
    main(sys.argv[1:])
