"""
Deleted mail: where it is, how it comes back, when it goes. One class, run on each engine.
"""

from __future__ import annotations

from itertools import count as counter

from mailtraq_py.interfaces.failures import MailboxNotAllowed, NoSuchMailbox, OverQuota
from mailtraq_py.interfaces.store import Column, NewMessage
from mailtraq_py.mail.changes import Change, MailboxChanged
from mailtraq_py.mail.flags import DELETED, FLAGGED, SEEN, StoreOperation
from mailtraq_py.mail.search import Contains, TextField
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.content import first_id_after
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.mailboxes import Mailbox
from mailtraq_py.store.undelete import Plan
from mailtraq_py.wire.imap.structure import describe

from .contract import ALICE, EVERY, HEAD, StoreCase, message, uids

DAY = 86400.0
NAME = "Recoverable"


class DeletedCase(StoreCase):
    """A store that keeps what is deleted for a week."""

    async def setUp(self) -> None:
        """Say so."""
        await super().setUp()
        self.settle(keep_seconds=7 * DAY)

    def settle(self, **values: float) -> None:
        """Other settings."""
        self.store.deleted.settings = DeletedSettings(**{"keep_seconds": 7 * DAY, "mailbox": NAME, **values})  # type: ignore[arg-type]

    async def recoverable(self) -> Mailbox:
        """The mailbox of deleted messages."""
        return await self.boxes.open(NAME)

    async def subjects(self, name: str) -> list[str]:
        """Subjects in a mailbox, in the order of UIDs."""
        mailbox = await self.boxes.open(name)
        rows = await mailbox.fetch(EVERY, [Column.CONTENT], 10_000)
        octets = [await self.store.content.read(row[0]) for row in rows]  # type: ignore[arg-type]
        return [each.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() for each in octets]

    async def put(
        self,
        subject: str,
        mailbox: str = "INBOX",
        flags: frozenset[str] = frozenset(),
        *,
        body: str = "",
        count: int = 1,
    ) -> None:
        """Append messages with a subject."""
        octets = message(subject, body)
        spools = [self.store.content.spool() for _ in range(count)]
        for spool in spools:
            spool.write(octets)
        facts = describe([octets])
        await self.boxes.append(mailbox, [NewMessage(spool, facts, flags, int(self.now)) for spool in spools])

    async def take(self, *subjects: str, mailbox: str = "INBOX") -> None:
        """Mark messages of these subjects and expunge them."""
        box = await self.boxes.open(mailbox)
        for subject in subjects:
            found = await box.search(Contains(TextField.SUBJECT, subject), self.now)
            await box.store(found, StoreOperation.ADD, frozenset({DELETED}))
        await box.expunge(None)

    async def usage(self) -> tuple[int, int]:
        """(octets, messages) that the quota counts."""
        octets, messages = self.store.database.read("account_usage", self.alice.id)
        return octets, messages

    async def restore(self, at: float, only: str | None = None) -> Plan:
        """Plan, and do it."""
        undeletion = self.store.undeletion(self.alice.id)
        plan = await undeletion.plan(at, only)
        await undeletion.restore(plan)
        return plan

    def assert_sound(self) -> None:
        """Everything fits."""
        self.assertEqual(list(self.store.verification().damages()), [])


class DeletedContract(DeletedCase):
    """Where deleted messages are, and what can be done with them."""

    async def test_expunged(self) -> None:
        """They are in the recoverable mailbox with all they had but \\Deleted, and no quota counts them."""
        await self.deliver(message("one"), head=HEAD)
        await self.put("two", flags=frozenset({SEEN, "$Word"}))
        before = await self.usage()
        await self.take("one", "two")
        self.assertEqual(await self.usage(), (0, 0))
        self.assertEqual(await self.subjects(NAME), ["one", "two"])
        box = await self.recoverable()
        states = await box.states(EVERY)
        self.assertEqual([(state.uid, state.flags) for state in states], [(1, set()), (2, {SEEN, "$Word"})])
        self.assertEqual(await self.octets(box, 1), HEAD + message("one"))
        status = await self.boxes.status(NAME)
        self.assertEqual((status.messages, status.octets, status.deleted, status.unseen), (2, before[0], 0, 1))
        self.assertEqual(await box.search(Contains(TextField.SUBJECT, "two"), self.now), uids(2))
        self.assert_sound()

    async def test_removed_by_pop3(self) -> None:
        """What POP3 removes, too."""
        await self.put("one")
        await (await self.inbox()).remove(uids(1))
        self.assertEqual(await self.subjects(NAME), ["one"])

    async def test_moved_and_renamed(self) -> None:
        """MOVE and RENAME, of INBOX as well, leave nothing."""
        await self.put("one")
        await self.put("two", "Drafts")
        await (await self.inbox()).copy(uids(1), "Archive", move=True)
        await self.boxes.rename("Drafts", "Old")
        await self.put("three")
        await self.boxes.rename("INBOX", "Older")
        self.assertEqual(await self.subjects(NAME), [])

    async def test_a_deleted_mailbox(self) -> None:
        """Its messages are there in one order with others, and the mailbox has left nothing else."""
        await self.boxes.create("Work")
        for number in range(3):
            await self.put(f"w{number}", "Work")
        await self.put("one")
        await self.take("one")
        await self.boxes.delete("Work")
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), ["one", "w0", "w1", "w2"])
        self.assertEqual(await self.usage(), (0, 0))
        self.assert_sound()

    async def test_read_only(self) -> None:
        """It is listed, found and opened; nothing is written to it, or made beneath it."""
        await self.put("one")
        await self.put("two")
        await self.take("two")
        (info,) = [info for info in await self.boxes.list_mailboxes() if info.name == NAME]
        self.assertEqual((info.is_recoverable, info.subscribed, info.has_children), (True, False, False))
        box, inbox = await self.recoverable(), await self.inbox()
        self.assertTrue(box.read_only)
        for refused in (
            box.store(EVERY, StoreOperation.ADD, frozenset({SEEN})),
            box.expunge(None),
            box.remove(EVERY),
            inbox.copy(EVERY, NAME),
            self.put("x", NAME),
            self.boxes.create(NAME),
            self.boxes.create(f"{NAME}/inner"),
            self.boxes.delete(NAME),
            self.boxes.rename(NAME, "Other"),
            self.boxes.rename("Drafts", NAME),
        ):
            await self.assert_raises(MailboxNotAllowed, refused)
        self.assertEqual(await self.subjects(NAME), ["two"])
        self.settle(mailbox="")
        self.assertNotIn(NAME, [info.name for info in await self.boxes.list_mailboxes()])
        await self.assert_raises(NoSuchMailbox, self.boxes.open(NAME))

    async def test_a_mailbox_of_that_name(self) -> None:
        """Somebody's own mailbox of the same name is his: it hides the other one."""
        self.settle(mailbox="")
        await self.boxes.create(NAME)
        self.settle()
        await self.put("one", NAME)
        await self.take("one", mailbox=NAME)
        (info,) = [info for info in await self.boxes.list_mailboxes() if info.name == NAME]
        self.assertFalse(info.is_recoverable)
        self.assertEqual(await self.subjects(NAME), [])
        await self.boxes.delete(NAME)
        self.assertEqual(await self.subjects(NAME), ["one"])

    async def test_copied_and_moved_out(self) -> None:
        """A copy stays there, what is moved does not; both need room in the quota."""
        await self.put("one")
        await self.put("two")
        await self.take("one", "two")
        box = await self.recoverable()
        await self.store.administration.set_account(ALICE, quota_messages=1)
        await box.copy(uids(1), "INBOX")
        await self.assert_raises(OverQuota, box.copy(uids(2), "INBOX", move=True))
        await self.store.administration.set_account(ALICE, quota_messages=-1)
        await box.copy(uids(2), "Archive", move=True)
        self.assertEqual(await self.subjects("INBOX"), ["one"])
        self.assertEqual(await self.subjects("Archive"), ["two"])
        self.assertEqual(await self.subjects(NAME), ["one"])
        self.assertEqual((await self.usage())[1], 2)
        self.assert_sound()

    async def test_who_looks_on(self) -> None:
        """A session that has it selected hears of what comes and goes."""
        await self.put("one")
        box, heard = await self.recoverable(), list[Change]()
        self.addCleanup(self.store.hub.watch_mailbox(box.id, heard.append))
        since = (await self.boxes.status(NAME)).highest_mod_seq
        await self.take("one")
        self.assertEqual([type(change) for change in heard], [MailboxChanged])
        delta = await box.changes(since)
        self.assertEqual([state.uid for state in delta.changed], [1])
        self.now += 8 * DAY
        await self.store.keep_up()
        self.assertEqual((await box.changes(delta.mod_seq)).vanished, uids(1))
        self.assertEqual(await box.select(False), (await self.boxes.status(NAME), UIDSet()))

    async def test_nothing_is_kept(self) -> None:
        """Without time to keep it for, it is gone at once; what was kept before goes with the next upkeep."""
        await self.put("before")
        await self.take("before")
        self.now += 1
        self.settle(keep_seconds=0)
        await self.put("one")
        await self.take("one")
        await self.boxes.create("Work")
        await self.put("two", "Work")
        await self.boxes.delete("Work")
        self.assertEqual(await self.subjects(NAME), ["before"])
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), [])
        self.assertEqual(self.store.database.read("count_contents"), 0)
        self.assertEqual((await self.store.undeletion(self.alice.id).plan(self.now - 1)).purged_until, self.now)
        self.assert_sound()

    async def test_a_deleted_account(self) -> None:
        """All its mail is gone for good, what was deleted before included."""
        await self.put("one")
        await self.put("two")
        await self.boxes.create("Work")
        await self.boxes.delete("Work")
        await self.take("one")
        await self.store.administration.delete_account(ALICE)
        self.assertEqual(self.store.database.read("count_contents"), 0)
        self.assert_sound()


class PurgeContract(DeletedCase):
    """When deleted messages go for good: the oldest first."""

    async def deleted_one_by_one(self, *subjects: str) -> None:
        """Messages, each deleted an hour after the one before."""
        for subject in subjects:
            await self.put(subject)
        for subject in subjects:
            self.now += 3600
            await self.take(subject)

    async def test_after_their_time(self) -> None:
        """Each goes when its time is over; UIDs go on."""
        await self.deleted_one_by_one("one", "two", "three")
        self.now += 7 * DAY - 3600 - 1800
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), ["two", "three"])
        self.now += DAY
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), [])
        self.assertEqual(self.store.database.read("count_contents"), 0)
        await self.deleted_one_by_one("four")
        self.assertEqual([state.uid for state in await (await self.recoverable()).states(EVERY)], [4])
        self.assert_sound()

    async def test_shared(self) -> None:
        """A content goes with its last message, wherever that is."""
        await self.put("one")
        await (await self.inbox()).copy(uids(1), "Archive")
        await self.take("one")
        self.now += 8 * DAY
        await self.store.keep_up()
        self.assertEqual(await self.subjects("Archive"), ["one"])
        self.assert_sound()

    async def test_of_an_account(self) -> None:
        """At most as much as the key says, without it as the quota."""
        size = len(message("one", ""))
        await self.deleted_one_by_one("one", "two", "six")
        await self.store.keep_up()
        self.assertEqual(len(await self.subjects(NAME)), 3)
        self.settle(max_account_octets=2 * size)
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), ["two", "six"])
        self.settle()
        await self.store.administration.set_account(ALICE, quota_octets=size + 1)
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), ["six"])
        self.assert_sound()

    async def test_of_the_server(self) -> None:
        """At most so much of all accounts."""
        await self.deleted_one_by_one("one", "two", "six")
        self.settle(max_octets=len(message("one", "")))
        await self.store.keep_up()
        self.assertEqual(await self.subjects(NAME), ["six"])

    async def test_many(self) -> None:
        """Runs longer than a slice, and the tombstones of it all are one."""
        await self.put("many", count=250)
        await self.take("many")
        self.now += 8 * DAY
        await self.store.keep_up()
        box = await self.recoverable()
        self.assertEqual(self.store.database.read("vanished_between", box.id, 0, 1 << 40), [(1, 250)])
        self.assert_sound()

    async def test_by_hand(self) -> None:
        """What is chosen goes now."""
        await self.deleted_one_by_one("one", "two")
        await self.put("three", "Drafts")
        await self.take("three", mailbox="Drafts")
        undeletion = self.store.undeletion(self.alice.id)
        runs = await undeletion.runs("Drafts")
        self.assertEqual([(run.mailbox, run.messages) for run in runs], [("Drafts", 1)])
        gone = await self.store.deleted.purge((run.recoverable_id, run.low) for run in runs)
        self.assertEqual(gone, len(message("three", "")))
        self.assertEqual(await self.subjects(NAME), ["one", "two"])
        self.assertEqual([run.messages for run in await undeletion.runs()], [1, 1])
        self.assert_sound()


class RestoreContract(DeletedCase):
    """What was there at a time and is gone since comes back."""

    async def setUp(self) -> None:
        """Contents come by the test's clock, too."""
        await super().setUp()
        numbers = counter(1)
        self.patch(self.store.content._ids, "next", lambda: first_id_after(self.now) - (1 << 22) + next(numbers))

    async def test_messages(self) -> None:
        """With their flags, under new UIDs, where they were; once; and nothing that was gone already then."""
        await self.put("early")
        await self.put("one", flags=frozenset({FLAGGED, "$Word"}))
        await self.put("two", "Drafts")
        await self.put("stays")
        self.now += 60
        await self.take("early")
        self.now += 60
        at = self.now
        self.now += 60
        await self.put("late")
        await self.take("one", "late")
        await self.take("two", mailbox="Drafts")
        plan = await self.restore(at)
        self.assertEqual([(each.mailbox, len(each.uids), each.is_new) for each in plan.mailboxes],
                         [("Drafts", 1, False), ("INBOX", 1, False)])  # fmt: skip
        self.assertEqual(await self.subjects("INBOX"), ["stays", "one"])
        self.assertEqual(await self.subjects("Drafts"), ["two"])
        states = {state.uid: state.flags for state in await (await self.inbox()).states(EVERY)}
        self.assertEqual(states, {3: set(), 5: {FLAGGED, "$Word"}})
        self.assertEqual((await self.restore(at)).mailboxes, ())
        self.assertEqual(await self.subjects(NAME), ["early", "late"])
        self.assert_sound()

    async def test_one_mailbox(self) -> None:
        """Only what was in it."""
        await self.put("one")
        await self.put("two", "Drafts")
        at = self.now
        self.now += 60
        await self.take("one")
        await self.take("two", mailbox="Drafts")
        await self.restore(at, "Drafts")
        self.assertEqual((await self.subjects("INBOX"), await self.subjects("Drafts")), ([], ["two"]))

    async def test_mailboxes(self) -> None:
        """One that is gone is made anew, empty ones too, with their special use where it is free."""
        await self.boxes.create("Work/Old")
        await self.put("one", "Work/Old")
        await self.put("two", "Sent")
        at = self.now
        self.now += 60
        for name in ("Work/Old", "Work", "Sent", "Junk"):
            await self.boxes.delete(name)
        await self.boxes.create("Spam", "\\Junk")
        await self.restore(at)
        uses = {info.name: info.special_use for info in await self.boxes.list_mailboxes() if info.id}
        self.assertEqual([uses.get(name) for name in ("Work", "Work/Old", "Sent", "Junk")], ["", "", "\\Sent", ""])
        self.assertEqual((await self.subjects("Work/Old"), await self.subjects("Sent")), (["one"], ["two"]))
        self.assertEqual((await self.restore(at)).mailboxes, ())
        self.assert_sound()

    async def test_a_renamed_mailbox(self) -> None:
        """Messages come back into their mailbox under the name it has now."""
        await self.boxes.create("Work")
        await self.put("one", "Work")
        at = self.now
        self.now += 60
        await self.take("one", mailbox="Work")
        await self.boxes.rename("Work", "Play")
        await self.restore(at)
        self.assertEqual(await self.subjects("Play"), ["one"])

    async def test_moved_before(self) -> None:
        """What was moved to the trash since and deleted there comes back once, out of there."""
        await self.put("one")
        at = self.now
        self.now += 60
        await self.put("late")
        inbox, trash = await self.inbox(), await self.boxes.open("Trash")
        await inbox.copy(uids(1), "Archive", move=True)
        await (await self.boxes.open("Archive")).copy(uids(1), "Trash")
        await trash.remove(EVERY)
        self.assertEqual((await self.restore(at)).mailboxes, ())
        await (await self.boxes.open("Archive")).copy(uids(1), "Trash", move=True)
        await trash.remove(EVERY)
        await self.restore(at)
        self.assertEqual(await self.subjects("Trash"), ["one"])
        self.assertEqual((await self.restore(at)).mailboxes, ())

    async def test_copied_back_before(self) -> None:
        """What its owner has copied back already does not come twice."""
        await self.put("one")
        at = self.now
        self.now += 60
        await self.take("one")
        await (await self.recoverable()).copy(uids(1), "INBOX")
        self.assertEqual((await self.restore(at)).mailboxes, ())

    async def test_what_does_not_come(self) -> None:
        """The plan says from when on all is there, and whether the quota has room."""
        await self.put("one")
        await self.put("two")
        self.now += 60
        await self.take("one")
        self.now += 5 * DAY
        await self.take("two")
        self.now += 3 * DAY
        await self.store.keep_up()
        await self.store.administration.set_account(ALICE, quota_octets=10)
        plan = await self.store.undeletion(self.alice.id).plan(self.now - 8 * DAY - 30)
        self.assertEqual((plan.purged_until, plan.fits), (self.now - 8 * DAY, False))
        plan = await self.store.undeletion(self.alice.id).plan(self.now - 8 * DAY)
        self.assertEqual([len(each.uids) for each in plan.mailboxes], [1])
