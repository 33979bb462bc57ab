"""
The writer's process between its workers: who is told what, whose turn it is, and what becomes of everybody at a death.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.failures import NoSuchMailbox, TemporaryFailure
from mailtraq_py.interfaces.store import Acceptance, LocalDelivery
from mailtraq_py.mail.changes import MailboxChanged
from mailtraq_py.mail.flags import SEEN, StoreOperation
from mailtraq_py.store import frames, passwords, writerprocess
from mailtraq_py.store.content import ContentIds
from mailtraq_py.store.frames import Incoming, OperationFailed, Report, decode_report, encode_call, prepare_socket
from mailtraq_py.store.operations import WRITES
from mailtraq_py.store.sql.notices import parse_change
from mailtraq_py.store.sql.rows import Written
from mailtraq_py.store.store import Store
from mailtraq_py.store.writer import SLICE_SECONDS
from mailtraq_py.store.writerprocess import NEWS_SECONDS, WriterProcess, send_worker

from .contract import ALICE, EVERY, StoreCase, message
from .writing import ProcessWriting, ThreadWriting, Writing


async def until(condition: Any) -> None:
    """Wait for something to become true."""
    for _ in range(500):
        if condition():
            return
        await task.deferLater(reactor, 0.01)
    raise AssertionError("it did not come about")


class _Workers(StoreCase):
    """Two workers' stores; `store` is the first one's."""

    def make_writing(self, data_dir: str) -> Writing:
        """The writer."""
        return ThreadWriting(data_dir, self.clock)

    def make_store(self, data_dir: str) -> Store:
        """The first worker's."""
        self.writing = self.make_writing(data_dir)
        self.addCleanup(lambda: self.writing.end())
        return self.writing.worker()

    async def setUp(self) -> None:
        """Start the second one too."""
        await super().setUp()
        self.other = self.writing.worker(keeps_up=False)
        self.addCleanup(lambda: self.other.close())
        await self.other.start()


class WorkersTests(_Workers):
    """What workers see of each other."""

    async def test_a_change_is_told_to_every_worker(self) -> None:
        """A delivery through one worker is heard in the other one's hub by the writer's word, and so is a flag."""
        inbox = await self.inbox()
        self.other.hub.watch_mailbox(inbox.id, self.heard.append)
        uid = await self.deliver(message())
        await until(lambda: self.heard)
        there = await self.other.mailboxes(self.alice.id).open("INBOX")
        self.assertEqual([state.uid for state in await there.states(EVERY)], [uid])
        await inbox.store(EVERY, StoreOperation.ADD, frozenset({SEEN}))
        await until(lambda: len(self.heard) == 2)
        self.assertEqual([type(change) for change in self.heard], [MailboxChanged] * 2)

    async def test_both_deliver_at_once(self) -> None:
        """Each is told its own UIDs, all of them different."""

        async def one(store: Store, mark: str) -> int:
            content = self.content(message(), [LocalDelivery(self.alice.id, "INBOX")])
            (delivered,) = await store.acceptance.commit(Acceptance(mark, self.now, (content,), "{}"))
            return delivered.uid

        waiting = [
            defer.Deferred.fromCoroutine(one(store, f"{number} {place}"))
            for number in range(50)
            for place, store in enumerate((self.store, self.other))
        ]
        self.assertEqual(sorted(await defer.gatherResults(waiting)), list(range(1, 101)))

    async def test_what_is_refused_has_its_type(self) -> None:
        """A failure comes back as what it was, a bug as one whose traceback is in the writer's log."""
        await self.assert_raises(NoSuchMailbox, self.boxes.delete("missing"))
        main = self.store.database
        await self.assert_raises(OperationFailed, main.run("add_domain", "too", "few"))
        await self.assert_raises(OperationFailed, main.run("add_domain", "of.test", 7, 0.0))
        await self.assert_raises(OperationFailed, main.run("no_such_operation"))
        await self.assert_raises(TypeError, main.run("add_domain", object(), "", 0.0))
        await self.assert_raises(OperationFailed, main.run("add_accounts", [("example.test", "a row too short")], 0.0))
        await main.run("add_domain", "works.test", "", 0.0)
        self.assertEqual(len(self.flushLoggedErrors()), 4)

    async def test_distrust_is_everybodys(self) -> None:
        """A failed sync of one worker's content file stops the writing of all, until a restart."""
        self.store.database.distrust("sync of a content file")
        self.assertFalse(self.store.is_healthy)
        await until(lambda: not self.other.is_healthy)
        self.assertRaises(TemporaryFailure, self.other.acceptance.check_room)
        fresh = self.writing.worker()
        await fresh.start()
        self.assertFalse(fresh.is_healthy)
        await fresh.close()

    async def test_metrics(self) -> None:
        """A worker knows what the writer did for all."""
        await self.deliver(message())
        await until(lambda: self.other.database.metrics.operations >= 3)
        self.assertEqual(self.other.database.metrics, self.store.database.metrics)

    async def test_cores_are_shared(self) -> None:
        """Each of two workers on four cores runs two password checks at once."""
        self.patch(os, "cpu_count", lambda: 4)
        fresh = self.writing.worker()
        await fresh.start()
        begun: list[bytes] = []
        ends = threading.Event()

        def check(password: bytes, hashed: str) -> tuple[bool, None]:
            begun.append(password)
            ends.wait(10)
            return True, None

        self.patch(passwords, "check_hash", check)
        waiting = [
            defer.Deferred.fromCoroutine(fresh.directory.verify_password(ALICE, b"%d" % number, f"192.0.2.{number}"))
            for number in range(4)
        ]
        await until(lambda: len(begun) == 2)
        await task.deferLater(reactor, 0.05)
        self.assertEqual(len(begun), 2)
        ends.set()
        self.assertEqual(await defer.gatherResults(waiting), [self.alice] * 4)
        await fresh.close()

    async def test_files_without_a_row(self) -> None:
        """
        They stay while workers come and go, since what a dead one asked may be under way; the next writer removes those
        that are older than itself.
        """
        old, young = (self.store.content.path(number) for number in (0x1234, ContentIds().next() + (1 << 40)))
        for file in (old, young):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"left")
        fresh = self.writing.worker()
        await fresh.start()
        await fresh.close()
        self.assertTrue(old.exists())
        await self.other.close()
        await self.store.close()
        self.writing.end()
        self.writing = self.make_writing(self.data_dir)
        self.store, self.other = self.writing.worker(), self.writing.worker(keeps_up=False)
        await self.store.start()
        await self.other.start()
        self.assertEqual((old.exists(), young.exists()), (False, True))

    async def test_a_worker_ends(self) -> None:
        """The writer goes on for the others."""
        gone = self.writing.worker()
        await gone.start()
        await gone.close()
        self.assertEqual(await self.deliver(message()), 1)
        self.assertEqual(self.writing.lost, 0)


class _DyingWriter(WriterProcess):
    """Commits, and dies before it says so, once it is told to."""

    dies = False

    def _settle(self, desk: Any, settled: Any) -> None:
        if self.dies:
            for worker in self._workers:
                worker.socket.close()
            raise SystemExit
        super()._settle(desk, settled)


class LostAnswerTests(_Workers):
    """The writer is gone, and with it the answers."""

    def make_writing(self, data_dir: str) -> Writing:
        """One that dies."""
        self.patch(_DyingWriter, "dies", False)
        return ThreadWriting(data_dir, self.clock, _DyingWriter)

    async def test_an_acceptance_is_looked_up(self) -> None:
        """What was committed is acknowledged though the answer is lost, by the acceptance's id."""
        _DyingWriter.dies = True
        self.assertEqual(await self.deliver(message()), 1)
        self.assertFalse(self.store.is_healthy)
        await self.assert_raises(TemporaryFailure, self.deliver(message()))

    async def test_the_rest_is_not_acknowledged(self) -> None:
        """What has no id has an unknown fate; every worker hears of the end."""
        _DyingWriter.dies = True
        await self.assert_raises(TemporaryFailure, self.boxes.create("perhaps"))
        await until(lambda: self.writing.lost == 2)
        self.assertFalse(self.other.is_healthy)


class ProcessTests(_Workers):
    """A real process."""

    def make_writing(self, data_dir: str) -> Writing:
        """One that can be killed."""
        return ProcessWriting(data_dir, self.clock)

    async def test_killed_in_the_middle(self) -> None:
        """
        Whatever was acknowledged is there for the next writer, once; nothing is acknowledged after the end; every
        worker hears of it.
        """
        acknowledged: list[int] = []

        async def deliver_on(store: Store, mark: str) -> None:
            for number in range(10_000):
                content = self.content(message(), [LocalDelivery(self.alice.id, "INBOX")])
                try:
                    (delivered,) = await store.acceptance.commit(
                        Acceptance(f"{mark}{number}", self.now, (content,), "{}")
                    )
                except TemporaryFailure:
                    return
                acknowledged.append(delivered.uid)

        stores = (self.store, self.other)
        busy = [
            defer.Deferred.fromCoroutine(deliver_on(store, f"{n} {id(store)} ")) for store in stores for n in range(10)
        ]
        await until(lambda: len(acknowledged) > 100)
        self.writing.process.send_signal(signal.SIGTERM)
        before = len(acknowledged)
        await until(lambda: len(acknowledged) > before + 100)
        self.writing.process.kill()
        await defer.gatherResults(busy)
        await until(lambda: self.writing.lost == 2)
        for store in stores:
            await store.close()
        self.writing = ProcessWriting(self.data_dir, self.clock)
        self.store, self.other = self.writing.worker(), self.writing.worker(keeps_up=False)
        await self.store.start()
        await self.other.start()
        uids = [state.uid for state in await (await self.inbox()).states(EVERY)]
        self.assertEqual(len(set(acknowledged)), len(acknowledged))
        self.assertEqual(set(acknowledged).difference(uids), set())
        self.assertLessEqual(len(uids) - len(acknowledged), 20)
        self.assertEqual(list(self.store.verification().damages()), [])


class _Peer:
    """A worker of which nothing is there but its socket."""

    def __init__(self, control: socket.socket) -> None:
        self.socket, theirs = socket.socketpair()
        prepare_socket(self.socket)
        self._incoming = Incoming()
        send_worker(control, theirs)

    def call(self, number: int, name: str, *arguments: object, database: str = "main") -> None:
        """Ask the writer."""
        self.socket.sendall(encode_call(number, database, name, arguments))

    def heard(self) -> list[Report]:
        """What the writer said."""
        try:
            return [decode_report(octets) for octets in self._incoming.receive(self.socket.recv(1 << 20))]
        except BlockingIOError:
            return []

    def answered(self) -> list[int]:
        """The numbers of the calls it answered."""
        return [answer.number for report in self.heard() for answer in report.answers]


class TurnTests(SynchronousTestCase):
    """Whose turn it is, in batches and slices of time that are counted."""

    def setUp(self) -> None:
        """A writer that does a turn when told to, and two workers; "slow" takes a slice of time, "fast" nothing."""
        folder = tempfile.mkdtemp(prefix="writer-")
        self.addCleanup(shutil.rmtree, folder)
        self.now = 0.0
        self.patch(time, "monotonic", lambda: self.now)
        self.patch(writerprocess, "MAX_BATCH", 10)
        self.done: list[str] = []
        for name, slices in (("slow", 1.0), ("fast", 0.0)):
            WRITES[name] = self.operation(name, slices)
            self.addCleanup(WRITES.pop, name)
        self.addCleanup(frames._parameters.cache_clear)
        self.control, theirs = socket.socketpair()
        self.addCleanup(self.control.close)
        self.process = WriterProcess(f"sqlite:{folder}/mail.db", folder, theirs)
        self.addCleanup(self.process.close)
        self.one, self.two = self.worker(), self.worker()

    def worker(self) -> _Peer:
        """A worker that the writer knows."""
        peer = _Peer(self.control)
        self.addCleanup(peer.socket.close)
        self.process.turn()
        self.assertEqual([report.database for report in peer.heard()], ["main", "recent"])
        return peer

    def operation(self, name: str, slices: float) -> Any:
        """One that takes time."""

        def run(cursor: Any) -> Written:
            self.now += slices * SLICE_SECONDS
            self.done.append(name)
            return Written(name)

        return run

    def test_many_of_one_worker(self) -> None:
        """Who asks for one thing is answered with the first batch, however much another one asks for."""
        for number in range(1000):
            self.one.call(number, "fast")
        self.two.call(1, "fast")
        self.process.turn()
        self.assertEqual(self.two.answered(), [1])
        self.assertEqual(len(self.one.answered()), 9)

    def test_many_of_one_kind(self) -> None:
        """The same between kinds of operation of one worker."""
        for number in range(1000):
            self.one.call(number, "slow")
        self.one.call(5000, "fast")
        self.process.turn()
        self.process.turn()
        self.assertIn(5000, self.one.answered())

    def test_slow_ones_wait_for_each_other(self) -> None:
        """A hundred long slices hold nobody back for more than the one under way and the one that is next."""
        for number in range(100):
            self.one.call(number, "slow")
        self.process.turn()
        self.two.call(1, "fast")
        began = self.now
        answered: list[int] = []
        while not answered:
            self.process.turn()
            answered = self.two.answered()
        self.assertLessEqual(self.now - began, 2 * SLICE_SECONDS)
        self.assertLessEqual(self.done.index("fast"), 3)

    def test_news(self) -> None:
        """Who asked for nothing hears of changes at once, but not again before a moment has passed; then of all."""
        changes = [MailboxChanged(1, mod_seq) for mod_seq in range(3)]
        waiting = iter(changes)
        WRITES["change"] = lambda _cursor: Written(None, (next(waiting),))
        self.addCleanup(WRITES.pop, "change")
        self.now += NEWS_SECONDS
        heard: list[list[Any]] = []
        for number in range(3):
            self.one.call(number, "change")
            self.process.turn()
            self.assertEqual(self.one.answered(), [number])
            heard.append([change for report in self.two.heard() for change in report.changes])
        self.assertEqual([len(changes) for changes in heard], [1, 0, 0])
        self.now += NEWS_SECONDS
        self.process.turn(waits=True)
        (report,) = self.two.heard()
        self.assertEqual([parse_change(*change) for change in report.changes], changes[1:])

    def test_news_beside_answers(self) -> None:
        """Who is answered all the time about recent logins hears of mailboxes no later for that."""
        WRITES["change"] = lambda _cursor: Written(None, (MailboxChanged(1, 1),))
        self.addCleanup(WRITES.pop, "change")
        for number in range(2):
            self.one.call(number, "change")
            self.process.turn()
        self.two.heard()
        changes: list[Any] = []
        for number in range(4):
            self.now += NEWS_SECONDS / 2
            self.two.call(number, "fast", database="recent")
            self.process.turn()
            changes += [change for report in self.two.heard() for change in report.changes]
        self.assertEqual(len(changes), 2)

    def test_a_dead_workers_calls(self) -> None:
        """What a worker that died was waiting for is not begun any more."""
        for number in range(100):
            self.one.call(number, "slow")
        self.process.turn()
        self.one.socket.close()
        self.two.call(1, "fast")
        for _ in range(3):
            self.process.turn()
        self.assertEqual(self.two.answered(), [1])
        self.assertLessEqual(self.done.count("slow"), 2)

    def test_a_worker_that_hears_nothing(self) -> None:
        """It is let go before it fills the writer's memory."""
        self.patch(writerprocess, "_UNREAD_MAX_OCTETS", 10_000_000)
        WRITES["large"] = lambda _cursor: Written(bytes(1_000_000))
        self.addCleanup(WRITES.pop, "large")
        for number in range(30):
            self.two.call(number, "large")
        self.one.call(1, "fast")
        for _ in range(4):
            self.process.turn()
        self.assertEqual(len(self.process._workers), 1)
        self.assertEqual(self.one.answered(), [1])

    def test_an_answer_without_words(self) -> None:
        """An operation whose value is none that can cross costs the worker that asked for it, and nobody else."""
        WRITES["strange"] = lambda _cursor: Written(object())
        self.addCleanup(WRITES.pop, "strange")
        self.one.call(1, "strange")
        self.two.call(1, "fast")
        self.process.turn()
        self.assertEqual(len(self.process._workers), 1)
        self.assertEqual(self.two.answered(), [1])
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_another_language(self) -> None:
        """A worker that speaks another language is let go; the others stay."""
        self.one.socket.sendall(frames.frame(b"EHLO"))
        self.process.turn()
        self.assertEqual(len(self.process._workers), 1)
        self.two.call(1, "fast")
        self.process.turn()
        self.assertEqual(self.two.answered(), [1])
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_the_end(self) -> None:
        """It ends with the last worker, when the supervisor is gone."""
        self.control.close()
        self.process.turn()
        self.one.socket.close()
        self.two.call(1, "fast")
        self.two.socket.close()
        self.process.serve()
        self.assertEqual(self.process._workers, [])
