#!/usr/bin/env python3
"""
What an acceptance costs the store, with the writer in a thread and in a process of its own.

    PYTHONPATH=. python3 benchmarks/writer.py [--workers 0 1 2] [--messages 20000] [--octets 4096] [--concurrency 50]

Workers deliver ready messages through `IAcceptance`, no protocol around it; 0 is one process with the writer's thread.
Prints a line for each number of workers: acceptances a second, and milliseconds of CPU an acceptance, the workers' and
the writer's.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from mailtraq_py.interfaces.store import Acceptance, LocalDelivery, NewContent
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Peers, Store
from mailtraq_py.store.writerprocess import run_writer, send_worker
from mailtraq_py.wire.imap.structure import describe

ACCOUNTS = 10


def message(octets: int) -> bytes:
    """A plain message of about so many octets."""
    head = (
        b"From: Sender <sender@world.example>\r\nTo: User <u0@bench.test>\r\nSubject: a subject of some words\r\n"
        b"Date: Sat, 21 Nov 2026 23:30:00 +0000\r\nMessage-ID: <one@world.example>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    return head + b"words of a line that says little, 64 octets with its line end\r\n" * ((octets - len(head)) // 64)


async def deliver(store: Store, mark: str, count: int, concurrency: int, octets: int) -> None:
    """Deliver `count` messages, so many at a time."""
    from twisted.internet.defer import Deferred, gatherResults

    whole = message(octets)
    numbers = iter(range(count))

    async def one_connection() -> None:
        for number in numbers:
            spool = store.content.spool()
            spool.write(whole)
            local = LocalDelivery(number % ACCOUNTS + 1, "INBOX", b"Return-Path: <sender@world.example>\r\n")
            content = NewContent(spool, describe(spool.chunks()), (local,))
            await store.acceptance.commit(Acceptance(f"{mark}-{number}", time.time(), (content,), "{}"))

    await gatherResults([Deferred.fromCoroutine(one_connection()) for _ in range(concurrency)])


def work(folder: str, mark: str, arguments: argparse.Namespace, count: int, end: socket.socket | None) -> None:
    """One worker's process."""
    from twisted.internet import reactor, task

    peers = None if end is None else Peers(end, max(arguments.workers), False, lambda: None)

    async def main(_reactor: Any) -> None:
        store = Store(f"sqlite:{folder}/mail.db", folder, reactor, peers=peers)
        await store.start()
        await deliver(store, mark, count, arguments.concurrency, arguments.octets)
        if end is None or mark == "w0":
            metrics = store.database.metrics
            print(f"    {metrics.operations / max(1, metrics.batches):.1f} operations a commit", file=sys.stderr)
        await store.close()

    from twisted.internet.defer import Deferred

    task.react(lambda clock: Deferred.fromCoroutine(main(clock)))


def apart(function: Callable[[], None]) -> int:
    """Run in a process of its own; returns its number."""
    number = os.fork()
    if number == 0:
        try:
            function()
        except SystemExit:
            pass
        finally:
            sys.stderr.flush()
            os._exit(0)
    return number


def wait(number: int) -> float:
    """Wait for a process; returns its CPU seconds."""
    _, _, usage = os.wait4(number, 0)
    return float(usage.ru_utime + usage.ru_stime)


def measure(workers: int, arguments: argparse.Namespace) -> None:
    """One line."""
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        store = Store(f"sqlite:{folder}/mail.db", folder)
        run_now(store.start())
        run_now(store.administration.add_domain("bench.test"))
        for number in range(ACCOUNTS):
            run_now(store.administration.add_account(f"u{number}@bench.test", b"benchpass"))
        run_now(store.close())
        writer = 0
        ends: list[socket.socket | None] = [None]
        if workers:
            control, theirs = socket.socketpair()
            writer = apart(lambda: (control.close(), run_writer(f"sqlite:{folder}/mail.db", folder, theirs))[1])
            theirs.close()
            ends = []
            for _ in range(workers):
                ours, other = socket.socketpair()
                send_worker(control, other)
                ends.append(ours)
            control.close()
        began = time.monotonic()
        count = arguments.messages // len(ends)
        numbers = []
        for place, end in enumerate(ends):

            def one(place: int = place, end: socket.socket | None = end) -> None:
                for other in ends:
                    if other is not None and other is not end:
                        other.close()
                work(folder, f"w{place}", arguments, count, end)

            numbers.append(apart(one))
        for end in ends:
            if end is not None:
                end.close()
        workers_cpu = sum(wait(number) for number in numbers)
        seconds = time.monotonic() - began
        writer_cpu = wait(writer) if writer else 0.0
        done = count * len(ends)
        print(
            f"{workers} workers: {done / seconds:.0f}/s; CPU ms an acceptance: workers {workers_cpu / done * 1000:.3f},"
            f" writer {writer_cpu / done * 1000:.3f}",
            flush=True,
        )


def main() -> int:
    """See the file's head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--messages", type=int, default=20000)
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--dir", default=None)
    arguments = parser.parse_args()
    for workers in arguments.workers:
        measure(workers, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
