"""
The whole store over its life: other processes beside it, restarts, what a crash leaves, memory.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

from twisted.internet import defer, reactor, task

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import Acceptance, LocalDelivery, NewContent
from mailtraq_py.mail.changes import AccountRevoked, MailboxChanged
from mailtraq_py.mail.flags import DELETED, StoreOperation
from mailtraq_py.store import database
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.spool import INLINE_MAX_OCTETS
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe

from .contract import ALICE, EVERY, PASSWORD, StoreCase, message

_CRASH = """
import os, sys
sys.path[:0] = sys.argv[3:]
from mailtraq_py.store.store import Store
from mailtraq_py.store.immediate import run_now
from tests.store.contract import message
from mailtraq_py.interfaces.store import Acceptance, LocalDelivery, NewContent
from mailtraq_py.wire.imap.structure import describe
folder, account_id = sys.argv[1], int(sys.argv[2])
store = Store(f"sqlite:{folder}/mail.db", folder)
run_now(store.start())
for number in range(3):
    spool = store.content.spool()
    spool.write(message(body="a line" * 50_000 * (number % 2) + "end"))
    content = NewContent(spool, describe(spool.chunks()), (LocalDelivery(account_id, "INBOX"),))
    run_now(store.acceptance.commit(Acceptance(f"crash{number}", 1000.0, (content,), "{}")))
spool = store.content.spool()
spool.write(bytes(300_000))
os._exit(9)
"""


class StoreTests(StoreCase):
    """A server's store on disk."""

    def make_store(self, data_dir: str) -> Store:
        """On disk with threads."""
        return Store(f"sqlite:{data_dir}/mail.db", data_dir, reactor, self.clock)

    def beside(self) -> Store:
        """A command's store on the same files."""
        store = Store(f"sqlite:{self.data_dir}/mail.db", self.data_dir, clock=self.clock)
        run_now(store.start())
        return store

    async def until(self, condition: object) -> None:
        """Wait for something to become true."""
        for _ in range(200):
            if condition():  # type: ignore[operator]
                return
            await task.deferLater(reactor, 0.02)
        self.fail("it did not come about")

    async def test_another_process_changes_what_we_serve(self) -> None:
        """What a command commits is seen by the next look-up, and its changes are told to the running server."""
        self.store.hub.watch_account(self.alice.id, self.heard.append)
        inbox = await self.inbox()
        self.store.hub.watch_mailbox(inbox.id, self.heard.append)
        command = self.beside()
        bob = run_now(command.administration.add_account("bob@example.test", PASSWORD))
        self.assertEqual(await self.store.directory.find_account("bob@example.test"), bob)
        run_now(command.administration.set_account(ALICE, enabled=False))
        spool = command.content.spool()
        spool.write(message())
        content = NewContent(spool, describe(spool.chunks()), (LocalDelivery(self.alice.id, "INBOX"),))
        run_now(command.acceptance.commit(Acceptance("X", self.now, (content,), "{}")))
        await self.until(lambda: len(self.heard) == 2)
        self.assertEqual(self.heard, [AccountRevoked(self.alice.id), MailboxChanged(inbox.id, 2)])
        run_now(command.close())

    async def test_both_write_at_once(self) -> None:
        """A command gets its turn while the server commits all the time."""
        command = self.beside()
        ends = False

        async def deliver_on() -> int:
            count = 0
            while not ends:
                await self.deliver(message())
                count += 1
            return count

        busy = [defer.Deferred.fromCoroutine(deliver_on()) for _ in range(5)]
        for number in range(10):
            run_now(command.administration.add_domain(f"d{number}.test"))
            await task.deferLater(reactor, 0)
        ends = True
        delivered = sum(await defer.gatherResults(busy))
        self.assertEqual((await self.boxes.status("INBOX")).messages, delivered)
        self.assertEqual(len(await self.store.administration.list_domains()), 11)
        run_now(command.close())

    async def test_after_a_crash(self) -> None:
        """What was acknowledged is there whole; spools and files without a row are gone after the next start."""
        root = str(Path(__file__).parents[2])
        arguments = [sys.executable, "-c", _CRASH, self.data_dir, str(self.alice.id), root]
        ended = subprocess.run(arguments, check=False, capture_output=True)
        self.assertEqual(ended.returncode, 9, ended.stderr.decode())
        orphan = self.store.content.path(0x1234)
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_bytes(b"left")
        await self.store.close()
        self.store = self.make_store(self.data_dir)
        await self.store.start()
        self.assertFalse(orphan.exists())
        self.assertEqual(len([path for path in Path(self.data_dir, "spool").iterdir() if path.is_dir()]), 1)
        inbox = await self.inbox()
        for uid, large in ((1, 0), (2, 1), (3, 0)):
            self.assertEqual(await self.octets(inbox, uid), message(body="a line" * 50_000 * large + "end"))

    async def test_restart(self) -> None:
        """Mail, flags, counters and passwords are there after a restart."""
        await self.deliver(message())
        inbox = await self.inbox()
        await inbox.store(EVERY, StoreOperation.ADD, frozenset({DELETED, "$Work"}))
        before = await inbox.select(True)
        await self.store.close()
        self.store = self.make_store(self.data_dir)
        await self.store.start()
        inbox = await self.inbox()
        after = await inbox.select(False)
        self.assertEqual(list(after[1]), list(before[1]))
        self.assertEqual((after[0].uid_validity, after[0].first_recent), (before[0].uid_validity, 2))
        self.assertEqual([state.flags for state in await inbox.states(EVERY)], [frozenset({DELETED, "$Work"})])
        self.assertIsNotNone(await self.store.directory.verify_password(ALICE, PASSWORD, "192.0.2.1"))

    async def test_a_large_message_is_never_whole_in_memory(self) -> None:
        """50 MB in raise memory by less than 4 MB."""
        piece = b"0123456789abcdef" * 4094 + b"\r\n"
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        spool = self.store.content.spool()
        spool.write(message())
        for _ in range(50_000_000 // len(piece)):
            spool.write(piece)
        content = NewContent(spool, describe(spool.chunks()), (LocalDelivery(self.alice.id, "INBOX"),))
        await self.store.acceptance.commit(Acceptance("L", self.now, (content,), "{}"))
        self.assertLess(tracemalloc.get_traced_memory()[1], 4_000_000)
        self.assertGreater((await self.boxes.status("INBOX")).octets, 49_000_000)

    async def test_too_much_waits(self) -> None:
        """Beyond the bound nothing more is taken, and what waits is withdrawn when nobody wants it any more."""
        self.patch(database, "MAX_WAITING_OPERATIONS", 3)
        boxes = [defer.Deferred.fromCoroutine(self.boxes.create(f"box{number}")) for number in range(3)]
        self.assertRaises(TemporaryFailure, self.store.acceptance.check_room)
        await self.assert_raises(TemporaryFailure, self.boxes.create("one more"))
        await defer.gatherResults(boxes)
        self.store.acceptance.check_room()

    async def test_what_waits_may_be_withdrawn(self) -> None:
        """A cancelled operation that was not taken yet does not happen."""
        main = self.store.database
        first = main.run("add_domain", "first.test", "", 0.0)
        withdrawn = main.run("add_domain", "withdrawn.test", "", 0.0)
        withdrawn.addErrback(lambda failure: failure.trap(defer.CancelledError) and None)
        withdrawn.cancel()
        await first
        await main.run("add_domain", "last.test", "", 0.0)
        names = [entry.name for entry in await self.store.administration.list_domains()]
        self.assertIn("last.test", names)

    async def test_long_sets_are_worked_in_slices(self) -> None:
        """More messages than a slice holds are stored, read, changed, copied and expunged."""
        local = [LocalDelivery(self.alice.id, "INBOX")]
        contents = [self.content(message(), local) for _ in range(1200)]
        await self.store.acceptance.commit(Acceptance("many", self.now, tuple(contents), "{}"))
        inbox = await self.inbox()
        since = (await self.boxes.status("INBOX")).highest_mod_seq
        stored = await inbox.store(EVERY, StoreOperation.ADD, frozenset({DELETED}))
        self.assertEqual(len(stored.states), 1200)
        self.assertEqual(len(await inbox.states(EVERY)), 1200)
        self.assertEqual(len((await inbox.changes(since)).changed), 1200)
        self.assertEqual(len((await inbox.copy(EVERY, "Archive")).source), 1200)
        self.assertEqual(len(await inbox.expunge(None)), 1200)
        status = await self.boxes.status("INBOX")
        self.assertEqual((status.messages, status.octets, status.deleted, status.unseen), (0, 0, 0, 0))

    async def test_upkeep(self) -> None:
        """Traces are forgotten after their time, condemned mailboxes purged."""
        await self.deliver(message())
        self.now += 15 * 86400
        await self.store.keep_up()
        self.assertIsNone(self.store.database.read("acceptance_trace", "A1"))
        self.assertEqual((await self.boxes.status("INBOX")).messages, 1)

    async def test_many_large_at_once(self) -> None:
        """Large messages are synced beside each other."""
        large = message(body="x" * (INLINE_MAX_OCTETS + 1))
        waiting = [defer.Deferred.fromCoroutine(self.deliver(large)) for _ in range(20)]
        self.assertEqual(sorted(await defer.gatherResults(waiting)), list(range(1, 21)))


