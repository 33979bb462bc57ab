"""
Several processes over one PostgreSQL store at the same time: what a reader may rely on, and what is counted at the end.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from mailtraq_py.interfaces.queue import Outgoing
from mailtraq_py.interfaces.store import Acceptance, LocalDelivery, NewContent
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.changes import MessageState
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Recipient
from mailtraq_py.mail.flags import DELETED, FLAGGED, SEEN, StoreOperation
from mailtraq_py.store.mailboxes import Mailbox
from mailtraq_py.store.now import run_now
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe
from tests.postgres import fresh

from .contract import EVERY, NOW, PASSWORD, StoreCase, message, uids

ROOT = Path(__file__).parents[2]


def work(url: str, account: str, name: str, rounds: str) -> None:
    """What one process does: deliver, STORE, expunge, copy and move, at random, all in one INBOX."""
    choose = random.Random(name)
    account_id = int(account)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(url, folder)
        run_now(store.start())
        boxes = store.mailboxes(account_id)
        inbox = run_now(boxes.open("INBOX"))
        for number in range(int(rounds)):
            status = run_now(boxes.status("INBOX"))
            some = uids(*(choose.randint(1, status.uid_next) for _ in range(4)))
            match choose.randint(0, 9):
                case 0 | 1 | 2 | 3:
                    spool = store.content.spool()
                    spool.write(message(f"{name} {number}"))
                    local = (LocalDelivery(account_id, "INBOX"), LocalDelivery(account_id, "Archive", b"X: y\r\n"))
                    content = NewContent(spool, describe(spool.chunks()), local)
                    run_now(store.acceptance.commit(Acceptance(f"{name}{number}", NOW, (content,), "{}")))
                case 4 | 5:
                    flags = frozenset(choose.sample([SEEN, FLAGGED, DELETED, "$Work"], 2))
                    run_now(inbox.store(some, choose.choice(list(StoreOperation)), flags))
                case 6:
                    run_now(inbox.expunge(None))
                case 7:
                    run_now(inbox.remove(some))
                case 8:
                    run_now(inbox.copy(some, "INBOX"))
                case 9:
                    run_now(inbox.copy(some, "Archive", move=True))
        run_now(store.close())


class Reader:
    """A session that knows a mailbox by its changes alone."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.known: dict[int, MessageState] = {}
        self.highest = 0
        self.last_uid = 0
        self.wrong: list[str] = []

    def look(self) -> None:
        """Take what changed, and hold it against all that is there."""
        delta = run_now(self.mailbox.changes(self.highest))
        if delta.mod_seq < self.highest:
            self.wrong.append(f"MODSEQ went back from {self.highest} to {delta.mod_seq}")
        fresh_uids = [state.uid for state in delta.changed if state.uid not in self.known]
        seen = self.last_uid
        for uid in fresh_uids:
            if uid <= seen:
                self.wrong.append(f"UID {uid} came to be seen after {seen}")
            self.last_uid = max(self.last_uid, uid)
        self.known.update((state.uid, state) for state in delta.changed)
        for uid in delta.vanished:
            self.known.pop(uid, None)
            self.last_uid = max(self.last_uid, uid)
        self.highest = delta.mod_seq
        for state in run_now(self.mailbox.states(EVERY)):
            if state.mod_seq <= self.highest and self.known.get(state.uid) != state:
                self.wrong.append(f"{state} was never told; MODSEQ {self.highest} is known")


class SharingTests(StoreCase):
    """Processes beside each other, at once and without a reactor."""

    def make_store(self, data_dir: str) -> Store:
        """The reader's."""
        self.url = fresh()
        return Store(self.url, data_dir, clock=self.clock)

    async def test_what_a_reader_relies_on(self) -> None:
        """UIDs and MODSEQs rise in the order in which they are seen, nothing is passed over, and all counts agree."""
        script = "import sys; from tests.store.test_postgres_sharing import work; work(*sys.argv[1:])"
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", script, self.url, str(self.alice.id), name, "40"],
                cwd=ROOT,
                stderr=subprocess.PIPE,
            )
            for name in ("one", "two")
        ]
        inbox = await self.inbox()
        reader = Reader(inbox)
        while any(worker.poll() is None for worker in workers):
            reader.look()
            time.sleep(0.005)
        for worker in workers:
            self.assertEqual(worker.communicate()[1].decode()[-2000:], "")
        reader.look()
        self.assertEqual(reader.wrong, [])
        states = await inbox.states(EVERY)
        self.assertGreater(reader.highest, 40)
        self.assertEqual(reader.known, {state.uid: state for state in states})
        self.assertEqual([damage.detail for damage in self.store.verification().damages()], [])


class PoolTests(StoreCase):
    """Two servers' pools of writers, all busy at once."""

    def make_store(self, data_dir: str) -> Store:
        """The first server's."""
        self.url = fresh()
        return Store(self.url, data_dir, reactor, self.clock)

    async def setUp(self) -> None:
        """Open the second server's, too."""
        await super().setUp()
        other = tempfile.TemporaryDirectory()
        self.addCleanup(other.cleanup)
        self.other = Store(self.url, other.name, reactor, self.clock)
        self.addCleanup(lambda: self.other.close())
        await self.other.start()

    async def test_contents_go_with_the_last_of_many(self) -> None:
        """However shared contents come and go at once, and in whatever order: none is lost and none is left."""
        names = ("bob@example.test", "carol@example.test")
        accounts = [self.alice, *[await self.store.administration.add_account(name, PASSWORD) for name in names]]
        accepting = []
        for number in range(24):
            order = random.Random(number).sample(accounts, 3)
            content = self.content(message(str(number)), [LocalDelivery(each.id, "INBOX") for each in order])
            accepted = (self.store, self.other)[number % 2].acceptance.commit(
                Acceptance(f"P{number}", NOW, (content,), "{}")
            )
            accepting.append(Deferred.fromCoroutine(accepted))
        await gatherResults(accepting)
        self.assertEqual([damage.detail for damage in self.store.verification().damages()], [])
        shelves = [store.mailboxes(each.id) for store in (self.store, self.other) for each in accounts]
        boxes = [await shelf.open("INBOX") for shelf in shelves]
        removing = [Deferred.fromCoroutine(box.remove(uids(*range(first, 25, 2)))) for box in boxes for first in (1, 2)]
        await gatherResults(removing)
        self.assertEqual(self.store.database.read("count_contents"), 0)
        self.assertEqual([damage.detail for damage in self.store.verification().damages()], [])

    async def test_who_purges_is_done_when_nothing_is_left(self) -> None:
        """Whoever is told that there is no more to purge may rely on it, however many purge at once."""

        async def purge(store: Store) -> int:
            while await store.database.run("purge_condemned"):
                pass
            left: int = store.database.read("count_contents")
            return left

        for turn in range(3):
            for number in range(8):
                await self.boxes.create(f"b{number}")
                await self.deliver(message(), f"b{number}", f"D{turn} {number}")
            deleting = [Deferred.fromCoroutine(self.boxes.delete(f"b{number}")) for number in range(8)]
            await gatherResults(deleting)
            purging = [Deferred.fromCoroutine(purge(store)) for store in (self.store, self.other) * 3]
            self.assertEqual(await gatherResults(purging), [0] * 6)

    async def test_a_row_is_leased_once(self) -> None:
        """Runners that ask at the same moment never get the same row, and get all of them together."""
        recipients = [Recipient(ForwardPath(parse_address(f"a{number}@far{number}.example"))) for number in range(40)]
        outgoing = [Outgoing(NULL_PATH, recipient, NOW, NOW + 1000) for recipient in recipients]
        await self.store.acceptance.commit(Acceptance("L", NOW, (self.content(message(), [], outgoing),), "{}"))
        leased: list[int] = []
        for turn in range(20):
            asking = [
                Deferred.fromCoroutine(store.queue.lease(f"{place} {turn}", NOW, 60, 5))
                for place, store in enumerate((self.store, self.other) * 2)
            ]
            for rows in await gatherResults(asking):
                leased += [row.id for row in rows]
        self.assertEqual(len(leased), len(set(leased)))
        self.assertEqual(len(leased), 40)

    async def test_names_are_given_once(self) -> None:
        """Of two who add the same account at the same moment one is told that it exists."""
        adding = [
            Deferred.fromCoroutine(store.administration.add_account("dan@example.test", PASSWORD)).addErrback(
                lambda failure: failure.type.__name__
            )
            for store in (self.store, self.other)
        ]
        results = await gatherResults(adding)
        self.assertEqual(sum(result == "AlreadyExists" for result in results), 1)

    async def test_a_revocation_wins(self) -> None:
        """A login that is written while its address is revoked is not there afterwards."""
        for number in range(10):
            address = f"192.0.2.{number}"
            await gatherResults(
                [
                    Deferred.fromCoroutine(asked)
                    for asked in (
                        self.store.recent_rows.write(address, self.alice.id, "imap", True, NOW, NOW),
                        self.other.recent_rows.revoke(address, None, NOW + 1),
                    )
                ]
            )
            self.assertEqual(await self.store.recent_rows.find(address, 0), [])
