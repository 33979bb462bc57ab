"""
COPY, MOVE and RENAME of more messages than a slice holds.
"""

from __future__ import annotations

from mailtraq_py.interfaces.failures import NoSuchMailbox, OverQuota
from mailtraq_py.mail.changes import MailboxChanged
from mailtraq_py.mail.flags import DELETED, FLAGGED, SEEN, StoreOperation
from mailtraq_py.store import mailboxes
from mailtraq_py.store.mailboxes import Mailbox
from mailtraq_py.store.store import Store

from .contract import ALICE, EVERY, StoreCase, message, uids


class StagingTests(StoreCase):
    """Slices of three messages; ten are in INBOX."""

    def make_store(self, data_dir: str) -> Store:
        """At once, on disk."""
        return Store(f"sqlite:{data_dir}/mail.db", data_dir, clock=self.clock)

    async def setUp(self) -> None:
        """Deliver ten, with different flags."""
        await super().setUp()
        self.addCleanup(self.look)
        self.patch(mailboxes, "_COPY_SLICE", 3)
        for number in range(10):
            await self.deliver(message(f"m{number}"))
        self.inbox_box = await self.inbox()
        await self.inbox_box.store(uids(1, 4, 7), StoreOperation.ADD, frozenset({SEEN, "$Work"}))
        await self.inbox_box.store(uids(4, 5), StoreOperation.ADD, frozenset({DELETED, FLAGGED}))
        self.archive = await self.boxes.open("Archive")
        self.store.hub.watch_mailbox(self.archive.id, self.heard.append)

    def look(self) -> None:
        """Whatever was done, the store is sound."""
        self.assertEqual(list(self.store.verification().damages()), [])

    async def subjects(self, mailbox: Mailbox) -> list[bytes]:
        """The messages of a mailbox by their subjects."""
        lines = [await self.octets(mailbox, state.uid) for state in await mailbox.states(EVERY)]
        return [octets.partition(b"Subject: ")[2].partition(b"\r\n")[0] for octets in lines]

    async def test_a_copy_is_shown_at_once(self) -> None:
        """All copies appear in one change, in order, with their flags; the source stays as it was."""
        copied = await self.inbox_box.copy(EVERY, "Archive")
        self.assertEqual((list(copied.source), list(copied.destination)), (list(range(1, 11)), list(range(1, 11))))
        self.assertEqual([type(change) for change in self.heard], [MailboxChanged])
        self.assertEqual(await self.subjects(self.archive), await self.subjects(self.inbox_box))
        flags = [[state.flags for state in await box.states(EVERY)] for box in (self.inbox_box, self.archive)]
        self.assertEqual(flags[0], flags[1])
        status = await self.boxes.status("Archive")
        self.assertEqual((status.messages, status.unseen, status.deleted, status.uid_next), (10, 7, 2, 11))
        copied = await self.inbox_box.copy(uids(2, 4, 6, 8), "Archive")
        self.assertEqual((list(copied.source), list(copied.destination)), ([2, 4, 6, 8], [11, 12, 13, 14]))

    async def test_a_copy_that_fits_not(self) -> None:
        """Nothing of it is there, and what was staged goes."""
        usage = self.store.database.read("account_usage", self.alice.id)
        await self.store.administration.set_account(ALICE, quota_messages=15)
        await self.assert_raises(OverQuota, self.inbox_box.copy(EVERY, "Archive"))
        self.assertEqual((await self.boxes.status("Archive")).messages, 0)
        self.assertEqual(self.store.database.read("account_usage", self.alice.id), usage)
        self.assertEqual(await self.store.database.run("purge_condemned"), False)

    async def test_the_destination_goes_meanwhile(self) -> None:
        """The same."""
        database = self.store.database
        stage, some, after = await database.run("stage_copies", self.inbox_box.id, EVERY.ranges, 0, self.now, 3)
        self.assertEqual((list(some), after), ([1, 2, 3], 3))
        await self.boxes.delete("Archive")
        await self.assert_raises(NoSuchMailbox, database.run("show_copies", stage, "Archive", 0))
        await self.assert_raises(NoSuchMailbox, self.inbox_box.copy(EVERY, "Archive"))
        await database.run("condemn_staged", stage, self.now + 1)
        await self.assert_raises(NoSuchMailbox, database.run("show_copies", stage, "Sent", 0))

    async def test_who_stages_dies(self) -> None:
        """Nobody sees what was staged; an hour later it is purged, and contents that only it held go with it."""
        before = await self.boxes.list_mailboxes()
        await self.store.database.run("stage_copies", self.inbox_box.id, EVERY.ranges, 0, self.now, 100)
        self.assertEqual(await self.boxes.list_mailboxes(), before)
        await self.inbox_box.remove(uids(1, 2, 3))
        self.now += 3601
        await self.store.keep_up()
        self.assertEqual(await self.store.database.run("condemn_staged", 0, self.now), 0)

    async def test_an_account_goes_meanwhile(self) -> None:
        """What is staged goes with it."""
        await self.store.database.run("stage_copies", self.inbox_box.id, EVERY.ranges, 0, self.now, 100)
        await self.store.administration.delete_account(ALICE)
        await self.store.keep_up()
        self.assertEqual(self.store.database.read("count_contents"), 0)

    async def test_a_move_goes_in_slices(self) -> None:
        """Each slice is one change; at the end all are there and none is here."""
        copied = await self.inbox_box.copy(EVERY, "Archive", move=True)
        self.assertEqual((list(copied.source), list(copied.destination)), (list(range(1, 11)), list(range(1, 11))))
        self.assertEqual(len(self.heard), 4)
        self.assertEqual(await self.subjects(self.inbox_box), [])
        self.assertEqual(len(await self.subjects(self.archive)), 10)

    async def test_a_move_to_where_it_is(self) -> None:
        """It ends: what was moved is not moved again."""
        copied = await self.inbox_box.copy(EVERY, "INBOX", move=True)
        self.assertEqual(list(copied.destination), list(range(11, 21)))

    async def test_inbox_is_renamed(self) -> None:
        """Its messages are in the new mailbox, and it is there, empty (RFC 9051 6.3.6)."""
        await self.boxes.rename("inbox", "Old/Mail")
        self.assertEqual((await self.boxes.status("INBOX")).messages, 0)
        self.assertEqual(len(await self.subjects(await self.boxes.open("Old/Mail"))), 10)

    async def test_flags_by_row(self) -> None:
        """Keywords, and sets with many gaps, are stored in smaller slices."""
        self.patch(mailboxes, "_STORE_SLICE_BY_ROW", 2)
        stored = await self.inbox_box.store(EVERY, StoreOperation.ADD, frozenset({"$Label1"}))
        self.assertEqual(len(stored.states), 10)
        stored = await self.inbox_box.store(uids(1, 3, 5, 7, 9), StoreOperation.ADD, frozenset({FLAGGED}))
        self.assertEqual([state.uid for state in stored.states if FLAGGED in state.flags], [1, 3, 5, 7, 9])
