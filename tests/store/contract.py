"""
One class for each contract of the store; `test_sqlite.py` runs them in memory and on disk.

A subclass gives `make_store`. Methods are coroutines: on a store without a reactor they never wait.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import date
from typing import Any, cast

from twisted.internet import defer
from twisted.trial.unittest import TestCase

from mailtraq_py.interfaces.directory import Expansion, LocalMailbox, Remote, UnknownUser
from mailtraq_py.interfaces.failures import (
    MailboxExists,
    MailboxNotAllowed,
    NoSuchMailbox,
    OverQuota,
)
from mailtraq_py.interfaces.queue import Deferred, Failed, Outgoing, Sent
from mailtraq_py.interfaces.store import Acceptance, Column, ContentRef, LocalDelivery, NewContent, NewMessage
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.changes import AccountRevoked, Change, MailboxChanged, MailboxesChanged, MailboxGone, QueueGrew
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Recipient, ReversePath, parse_notify
from mailtraq_py.mail.flags import DELETED, FLAGGED, SEEN, StoreOperation
from mailtraq_py.mail.md5 import md5_block_states
from mailtraq_py.mail.reply import Reply
from mailtraq_py.mail.search import (
    All,
    And,
    Comparison,
    Contains,
    DateField,
    DateIs,
    HasFlag,
    HeaderContains,
    Larger,
    ModSeqSince,
    Not,
    Or,
    SearchKey,
    TextField,
    UIDs,
)
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store import mailboxes
from mailtraq_py.store.administration import AlreadyExists
from mailtraq_py.store.listings import NotFound, Refused
from mailtraq_py.store.mailboxes import Mailbox, Mailboxes
from mailtraq_py.store.spool import INLINE_MAX_OCTETS
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe

NOW = 1_795_320_000.0
ALICE = "alice@example.test"
PASSWORD = b"correct horse"
HEAD = b"Return-Path: <s@world.example>\r\n"
LATER = Reply(451, "later", "4.4.1")


def message(subject: str = "hello", body: str = "a line\r\n", extra: str = "") -> bytes:
    """A message as octets."""
    return (
        "From: Sender <s@world.example>\r\nTo: alice@example.test\r\nDate: Sat, 21 Nov 2026 23:30:00 +0000\r\n"
        f"Subject: {subject}\r\n{extra}\r\n{body}"
    ).encode()


def uids(*numbers: int) -> UIDSet:
    """A set of single UIDs."""
    return UIDSet.from_numbers(numbers)


EVERY = UIDSet(((1, 0xFFFFFFFF),))


class StoreCase(TestCase):
    """A store with the domain example.test and the account alice."""

    store: Store

    def make_store(self, data_dir: str) -> Store:
        """A store that is not started yet."""
        raise NotImplementedError("a subclass says which store")

    async def setUp(self) -> None:
        """Open a fresh store."""
        self.data_dir = tempfile.mkdtemp(prefix="store-")
        self.addCleanup(shutil.rmtree, self.data_dir)
        self.now = NOW
        self.store = self.make_store(self.data_dir)
        # A cleanup, not a tearDown: threads of a store whose test failed in setUp would keep the test run from ending.
        self.addCleanup(lambda: self.store.close())
        await self.store.start()
        await self.store.administration.add_domain("example.test")
        self.alice = await self.store.administration.add_account(ALICE, PASSWORD)
        self.heard: list[Change] = []

    def clock(self) -> float:
        """Time as the test says."""
        return self.now

    @property
    def boxes(self) -> Mailboxes:
        """Alice's mailboxes."""
        return self.store.mailboxes(self.alice.id)

    def content(self, octets: bytes, local: Any = (), outgoing: Any = ()) -> NewContent:
        """A content with what becomes of it."""
        spool = self.store.content.spool()
        for place in range(0, len(octets), 50_000):
            spool.write(octets[place : place + 50_000])
        return NewContent(spool, describe(spool.chunks()), tuple(local), tuple(outgoing))

    async def deliver(self, octets: bytes, mailbox: str = "INBOX", acceptance_id: str = "", head: bytes = b"") -> int:
        """Deliver one message to alice; returns its UID."""
        self.count = getattr(self, "count", 0) + 1
        content = self.content(octets, [LocalDelivery(self.alice.id, mailbox, head)])
        accepted = Acceptance(acceptance_id or f"A{self.count}", self.now, (content,), "{}")
        (delivered,) = await self.store.acceptance.commit(accepted)
        return delivered.uid

    async def inbox(self) -> Mailbox:
        """Alice's INBOX."""
        return await self.boxes.open("INBOX")

    async def octets(self, mailbox: Mailbox, uid: int) -> bytes:
        """A message as stored."""
        ((content,),) = await mailbox.fetch(uids(uid), [Column.CONTENT], 1)
        return await self.store.content.read(content)  # type: ignore[arg-type]

    async def assert_raises(self, kind: type[Exception], awaitable: Any) -> Exception:
        """Await something that must fail."""
        try:
            await awaitable
        except kind as error:
            return error
        raise self.failureException(f"no {kind.__name__}")


class AcceptanceContract(StoreCase):
    """IAcceptance and IContent."""

    async def test_a_message_is_in_its_mailbox_when_commit_returns(self) -> None:
        """What was accepted can be read back octet by octet, head first."""
        uid = await self.deliver(message(), head=HEAD)
        self.assertEqual(await self.octets(await self.inbox(), uid), HEAD + message())

    async def test_ranges(self) -> None:
        """Octets are read in ranges that may lie across head and content, and end where they end."""
        uid = await self.deliver(message(), head=HEAD)
        ((content,),) = await (await self.inbox()).fetch(uids(uid), [Column.CONTENT], 1)
        whole = HEAD + message()
        for offset, length in ((0, 5), (len(HEAD) - 3, 6), (len(HEAD), 4), (len(whole) - 2, 10), (len(whole), 5)):
            read = await self.store.content.read(content, offset, length)  # type: ignore[arg-type]
            self.assertEqual(read, whole[offset : offset + length])

    def stored_apart(self, content_id: int) -> int:
        """How many octets of a content lie outside the usual rows; 0 where there are none."""
        path = self.store.content.path(content_id)
        return path.stat().st_size if path.exists() else 0

    async def test_a_large_message_lies_apart_and_goes_with_its_last_reference(self) -> None:
        """Above the bound a content lies apart, is read in ranges, and goes with the last message that points at it."""
        large = message(body="0123456789abcdef\r\n" * (INLINE_MAX_OCTETS // 4))
        uid = await self.deliver(large)
        inbox = await self.inbox()
        self.assertEqual(await self.octets(inbox, uid), large)
        ((content,),) = await inbox.fetch(uids(uid), [Column.CONTENT], 1)
        assert isinstance(content, ContentRef)
        for offset, length in ((0, 10), (262_100, 100), (262_144, 262_144), (len(large) - 5, 10)):
            read = await self.store.content.read(content, offset, length)
            self.assertEqual(read, large[offset : offset + length])
        self.assertEqual(self.stored_apart(content.id), len(large))
        self.assertEqual([damage.detail for damage in self.store.verification().damages()], [])
        await inbox.copy(uids(uid), "Archive")
        await inbox.remove(uids(uid))
        self.assertEqual(self.stored_apart(content.id), len(large))
        await (await self.boxes.open("Archive")).remove(EVERY)
        self.assertEqual(self.stored_apart(content.id), 0)

    async def test_the_same_id_again_changes_nothing(self) -> None:
        """Repeating an acceptance after a lost answer gives the answer again and no second copy."""
        first = await self.deliver(message(), acceptance_id="once")
        second = await self.deliver(message(), acceptance_id="once")
        self.assertEqual(first, second)
        self.assertEqual((await self.boxes.status("INBOX")).messages, 1)

    async def test_a_missing_mailbox_is_inbox(self) -> None:
        """A copy for a folder that is not there goes to INBOX; one that is there gets it."""
        await self.deliver(message(), "nowhere")
        await self.deliver(message(), "Archive")
        self.assertEqual((await self.boxes.status("INBOX")).messages, 1)
        self.assertEqual((await self.boxes.status("Archive")).messages, 1)

    async def test_a_mailbox_in_another_case(self) -> None:
        """What senders write behind a delimiter finds its mailbox whatever the case; the exact name comes first."""
        await self.boxes.create("Lists/Python")
        await self.boxes.create("ARCHIVE")
        for name in ("lists/PYTHON", "archive", "ARCHIVE", "inbox"):
            await self.deliver(message(), name)
        counts = [(await self.boxes.status(name)).messages for name in ("Lists/Python", "Archive", "ARCHIVE", "INBOX")]
        self.assertEqual(counts, [1, 1, 1, 1])

    async def test_one_content_for_many(self) -> None:
        """Recipients share the octets, each with a head of its own."""
        bob = await self.store.administration.add_account("bob@example.test", PASSWORD)
        local = [LocalDelivery(self.alice.id, "INBOX", b"X: a\r\n"), LocalDelivery(bob.id, "INBOX", b"X: b\r\n")]
        delivered = await self.store.acceptance.commit(
            Acceptance("many", self.now, (self.content(message(), local),), "{}")
        )
        self.assertEqual([d.account_id for d in delivered], [self.alice.id, bob.id])
        his = await self.store.mailboxes(bob.id).open("INBOX")
        self.assertEqual(await self.octets(his, 1), b"X: b\r\n" + message())
        self.assertEqual(await self.octets(await self.inbox(), 1), b"X: a\r\n" + message())

    async def test_many_at_once(self) -> None:
        """Acceptances that wait together get rising UIDs, and each its own answer."""
        waiting = [defer.Deferred.fromCoroutine(self.deliver(message(str(number)))) for number in range(30)]
        numbers = await defer.gatherResults(waiting)
        self.assertEqual(sorted(numbers), list(range(1, 31)))
        self.assertEqual((await self.boxes.status("INBOX")).messages, 30)

    async def test_over_quota(self) -> None:
        """Nothing is accepted when nobody has room, and all is when somebody has."""
        await self.store.administration.set_account(ALICE, quota_messages=0)
        await self.assert_raises(OverQuota, self.deliver(message()))
        bob = await self.store.administration.add_account("bob@example.test", PASSWORD)
        local = [LocalDelivery(self.alice.id, "INBOX"), LocalDelivery(bob.id, "INBOX")]
        both = self.content(message(), local)
        self.assertEqual(len(await self.store.acceptance.commit(Acceptance("two", self.now, (both,), "{}"))), 2)

    async def test_room(self) -> None:
        """Whoever is at a quota has no room; without one everybody has."""
        directory = self.store.directory
        self.assertTrue(await directory.has_room(self.alice))
        for change in ({"quota_messages": 1}, {"quota_messages": -1, "quota_octets": len(message())}):
            account = await self.store.administration.set_account(ALICE, **change)
            self.assertTrue(await directory.has_room(account))
            uid = await self.deliver(message())
            self.assertFalse(await directory.has_room(account))
            await (await self.inbox()).remove(uids(uid))

    async def test_the_journal_is_not_counted(self) -> None:
        """A copy that does not count needs no room, and does not make up for a recipient who has none."""
        await self.store.administration.set_account(ALICE, quota_messages=0)
        bob = await self.store.administration.add_account("bob@example.test", PASSWORD)
        to_alice = LocalDelivery(self.alice.id, "INBOX", HEAD)
        journal = LocalDelivery(bob.id, "INBOX", HEAD, counts=False)
        refused = Acceptance("A1", self.now, (self.content(message(), [to_alice, journal]),), "{}")
        await self.assert_raises(OverQuota, self.store.acceptance.commit(refused))
        kept = LocalDelivery(self.alice.id, "INBOX", HEAD, counts=False)
        to_bob = LocalDelivery(bob.id, "INBOX", HEAD)
        accepted = Acceptance("A2", self.now, (self.content(message(), [to_bob, kept]),), "{}")
        self.assertEqual(len(await self.store.acceptance.commit(accepted)), 2)

    async def test_a_failing_one_does_not_hurt_others(self) -> None:
        """Of acceptances that share a commit one may fail alone."""
        gone = self.content(message(), [LocalDelivery(9999, "INBOX")])
        failing = self.store.acceptance.commit(Acceptance("gone", self.now, (gone,), "{}"))
        results = await defer.DeferredList(
            [
                defer.Deferred.fromCoroutine(self.deliver(message("a"))),
                defer.Deferred.fromCoroutine(failing),
                defer.Deferred.fromCoroutine(self.deliver(message("b"))),
            ],
            consumeErrors=True,
        )
        self.assertEqual([succeeded for succeeded, _ in results], [True, False, True])
        self.assertEqual((await self.boxes.status("INBOX")).messages, 2)


class MailboxesContract(StoreCase):
    """IMailboxes."""

    async def names(self) -> list[str]:
        """Names as LIST gives them."""
        return [info.name for info in await self.boxes.list_mailboxes()]

    async def test_a_new_account(self) -> None:
        """It has INBOX, first in the list, and the special uses, all subscribed."""
        listed = await self.boxes.list_mailboxes()
        self.assertEqual(
            [(info.name, info.special_use) for info in listed],
            [
                ("INBOX", ""),
                ("Archive", "\\Archive"),
                ("Drafts", "\\Drafts"),
                ("Junk", "\\Junk"),
                ("Sent", "\\Sent"),
                ("Trash", "\\Trash"),
            ],
        )
        self.assertTrue(all(info.subscribed for info in listed))

    async def test_create_makes_the_levels_above(self) -> None:
        """Missing levels are made; a name that is there is refused, INBOX in any case too."""
        await self.boxes.create("a/b/c/")
        self.assertEqual([name for name in await self.names() if name.startswith("a")], ["a", "a/b", "a/b/c"])
        await self.assert_raises(MailboxExists, self.boxes.create("a/b"))
        await self.assert_raises(MailboxExists, self.boxes.create("inbox"))
        await self.assert_raises(MailboxNotAllowed, self.boxes.create("a//b"))

    async def test_delete_keeps_inferiors(self) -> None:
        """What lies beneath a deleted mailbox stays, its name as a level; made anew it has a new UIDVALIDITY."""
        before = await self.boxes.create("a")
        await self.boxes.create("a/b")
        await self.boxes.delete("a")
        level = next(info for info in await self.boxes.list_mailboxes() if info.name == "a")
        self.assertEqual((level.id, level.has_children), (0, True))
        await self.assert_raises(NoSuchMailbox, self.boxes.status("a"))
        await self.assert_raises(MailboxNotAllowed, self.boxes.delete("a"))
        again = await self.boxes.create("a")
        self.assertGreater(again.uid_validity, before.uid_validity)
        self.assertNotEqual(again.id, before.id)
        await self.boxes.delete("a")
        await self.boxes.delete("a/b")
        self.assertFalse([name for name in await self.names() if name.startswith("a")])
        await self.assert_raises(MailboxNotAllowed, self.boxes.delete("INBOX"))
        await self.assert_raises(NoSuchMailbox, self.boxes.delete("a"))

    async def test_delete_frees_the_room(self) -> None:
        """Messages go with their mailbox, and the account's use with them."""
        await self.deliver(message(), "Archive")
        await self.boxes.delete("Archive")
        (entry,) = await self.store.administration.list_accounts()
        self.assertEqual((entry.messages, entry.octets), (0, 0))

    async def test_rename(self) -> None:
        """Inferiors move along; a taken name, a missing one and a ring are refused."""
        await self.boxes.create("a/b")
        before = await self.boxes.status("a/b")
        await self.boxes.rename("a", "x/y")
        self.assertEqual([name for name in await self.names() if name[0] in "ax"], ["x", "x/y", "x/y/b"])
        self.assertEqual((await self.boxes.status("x/y/b")).uid_validity, before.uid_validity)
        await self.assert_raises(MailboxExists, self.boxes.rename("x/y", "Sent"))
        await self.assert_raises(NoSuchMailbox, self.boxes.rename("a", "z"))
        await self.assert_raises(MailboxNotAllowed, self.boxes.rename("x", "x/z/x"))

    async def test_rename_inbox(self) -> None:
        """Its messages move to the new mailbox, INBOX stays and is empty."""
        await self.deliver(message())
        before = await self.boxes.status("INBOX")
        await self.boxes.create("INBOX/below")
        await self.boxes.rename("INBOX", "old")
        self.assertEqual((await self.boxes.status("old")).messages, 1)
        after = await self.boxes.status("INBOX")
        self.assertEqual((after.messages, after.uid_validity), (0, before.uid_validity))
        self.assertIn("INBOX/below", await self.names())

    async def test_subscriptions(self) -> None:
        """A subscription outlives its mailbox."""
        await self.boxes.delete("Archive")
        self.assertIn("Archive", await self.boxes.list_subscriptions())
        await self.boxes.subscribe("Archive", False)
        await self.boxes.subscribe("Archive", False)
        await self.boxes.subscribe("inbox", True)
        self.assertEqual(await self.boxes.list_subscriptions(), ["Drafts", "INBOX", "Junk", "Sent", "Trash"])

    async def test_append(self) -> None:
        """All messages or none, in order, with their flags and dates; a missing mailbox is an error."""
        messages = [self.new(str(number)) for number in range(3)]
        appended = await self.boxes.append("Sent", messages)
        self.assertEqual(str(appended.uids), "1:3")
        self.assertEqual(appended.uid_validity, (await self.boxes.status("Sent")).uid_validity)
        sent = await self.boxes.open("Sent")
        rows = await sent.fetch(EVERY, [Column.FLAGS, Column.INTERNAL_DATE, Column.UID], 10)
        self.assertEqual(rows, [(frozenset({SEEN, "$Work"}), 1000, number) for number in (1, 2, 3)])
        await self.assert_raises(NoSuchMailbox, self.boxes.append("nowhere", [self.new("x")]))
        await self.store.administration.set_account(ALICE, quota_messages=4)
        await self.assert_raises(OverQuota, self.boxes.append("Sent", [self.new("x"), self.new("y")]))
        self.assertEqual((await self.boxes.status("Sent")).messages, 3)

    def new(self, subject: str) -> NewMessage:
        """A message to append."""
        content = self.content(message(subject))
        return NewMessage(content.spool, content.facts, frozenset({SEEN, "$Work"}), 1000)


class MailboxContract(StoreCase):
    """IMailbox."""

    async def fill(self, count: int) -> Mailbox:
        """Deliver messages and open INBOX."""
        for number in range(count):
            await self.deliver(message(f"number {number + 1}"))
        return await self.inbox()

    async def test_select(self) -> None:
        """Status and UIDs are of one instant; \\Recent is claimed once; EXAMINE claims nothing."""
        inbox = await self.fill(3)
        status, numbers = await inbox.select(False)
        self.assertEqual((status.messages, status.unseen, status.first_recent, list(numbers)), (3, 3, 1, [1, 2, 3]))
        self.assertEqual((await inbox.select(True))[0].first_recent, 1)
        self.assertEqual((await inbox.select(True))[0].first_recent, 4)
        await inbox.remove(uids(2))
        self.assertEqual(list((await inbox.select(False))[1]), [1, 3])
        await inbox.remove(EVERY)
        self.assertEqual(list((await inbox.select(False))[1]), [])

    async def test_store_counts(self) -> None:
        """Flags are added, removed and replaced, unseen and deleted are kept, nothing is written for nothing."""
        inbox = await self.fill(3)
        stored = await inbox.store(EVERY, StoreOperation.ADD, frozenset({SEEN, "$Work"}))
        self.assertEqual({state.flags for state in stored.states}, {frozenset({SEEN, "$Work"})})
        again = await inbox.store(EVERY, StoreOperation.ADD, frozenset({SEEN, "$work"}))
        self.assertEqual(again.states, stored.states)
        await inbox.store(uids(2), StoreOperation.REPLACE, frozenset({DELETED}))
        await inbox.store(uids(3), StoreOperation.REMOVE, frozenset({SEEN, "$WORK"}))
        self.assertEqual(
            [state.flags for state in await inbox.states(EVERY)],
            [frozenset({SEEN, "$Work"}), frozenset({DELETED}), frozenset()],
        )
        status = await self.boxes.status("INBOX")
        self.assertEqual((status.unseen, status.deleted), (2, 1))

    async def test_store_in_slices(self) -> None:
        """However many go into a slice, with gaps, alike or not: all are changed once, and told as they are."""
        self.patch(mailboxes, "_STORE_SLICE", 1)
        inbox = await self.fill(14)
        await inbox.remove(uids(3, *range(6, 12)))
        left = [1, 2, 4, 5, 12, 13, 14]
        since = (await self.boxes.status("INBOX")).highest_mod_seq
        for numbers, flag in (((4, 12, 13), SEEN), (range(1, 15), FLAGGED), (range(1, 15), SEEN), ((14,), "$Work")):
            stored = await inbox.store(uids(*numbers), StoreOperation.ADD, frozenset({flag}))
            expected = [uid for uid in left if uid in numbers]
            self.assertEqual([state.uid for state in stored.states], expected)
            self.assertEqual(stored.states, tuple(await inbox.states(uids(*numbers))))
            self.assertTrue(all(flag in state.flags for state in stored.states))
        status = await self.boxes.status("INBOX")
        self.assertEqual((status.unseen, status.messages), (0, 7))
        stored = await inbox.store(EVERY, StoreOperation.REPLACE, frozenset(), since)
        self.assertEqual((list(stored.modified), list(stored.states)), (left, []))
        await inbox.store(EVERY, StoreOperation.REPLACE, frozenset({DELETED, "$Work"}))
        self.assertEqual({state.flags for state in await inbox.states(EVERY)}, {frozenset({DELETED, "$Work"})})
        status = await self.boxes.status("INBOX")
        self.assertEqual((status.unseen, status.deleted), (7, 7))

    async def test_unchanged_since(self) -> None:
        """Messages that changed after UNCHANGEDSINCE stay as they are and are named (RFC 7162 3.1.3)."""
        inbox = await self.fill(3)
        since = (await self.boxes.status("INBOX")).highest_mod_seq
        await inbox.store(uids(2), StoreOperation.ADD, frozenset({FLAGGED}))
        stored = await inbox.store(EVERY, StoreOperation.ADD, frozenset({SEEN}), since)
        self.assertEqual(str(stored.modified), "2")
        self.assertEqual([state.uid for state in stored.states], [1, 3])

    async def test_changes(self) -> None:
        """All that came, changed and went after a MODSEQ is told, whatever it was."""
        inbox = await self.fill(3)
        start = (await inbox.changes(0)).mod_seq
        self.assertEqual(((await inbox.changes(start)).changed, str((await inbox.changes(start)).vanished)), ((), ""))
        await self.deliver(message())
        new = await inbox.changes(start)
        self.assertEqual([state.uid for state in new.changed], [4])
        await inbox.store(uids(2), StoreOperation.ADD, frozenset({FLAGGED}))
        await inbox.store(uids(1, 3), StoreOperation.ADD, frozenset({DELETED}))
        await inbox.expunge(None)
        delta = await inbox.changes(start)
        self.assertEqual([state.uid for state in delta.changed], [2, 4])
        self.assertEqual(str(delta.vanished), "1,3")
        self.assertEqual(delta.mod_seq, (await self.boxes.status("INBOX")).highest_mod_seq)
        later = await inbox.changes(new.mod_seq)
        self.assertEqual(([state.uid for state in later.changed], str(later.vanished)), ([2], "1,3"))

    async def test_changes_of_flags(self) -> None:
        """Between new messages and EXPUNGEs, and from before and after them, the same is told."""
        inbox = await self.fill(5)
        marks = [(await inbox.changes(0)).mod_seq]
        for number in (2, 4):
            await inbox.store(uids(number), StoreOperation.ADD, frozenset({FLAGGED}))
            marks.append((await inbox.changes(0)).mod_seq)
        await self.deliver(message())
        await inbox.store(uids(2, 6), StoreOperation.ADD, frozenset({SEEN, "$Work"}))
        marks.append((await inbox.changes(0)).mod_seq)
        for mark, changed in zip(marks, ([2, 4, 6], [2, 4, 6], [2, 6], []), strict=True):
            self.assertEqual([state.uid for state in (await inbox.changes(mark)).changed], changed)
        await inbox.store(uids(5), StoreOperation.ADD, frozenset({DELETED}))
        await inbox.expunge(None)
        await inbox.store(uids(1), StoreOperation.ADD, frozenset({FLAGGED}))
        for mark, changed in zip(marks, ([1, 2, 4, 6], [1, 2, 4, 6], [1, 2, 6], [1]), strict=True):
            delta = await inbox.changes(mark)
            self.assertEqual(([state.uid for state in delta.changed], str(delta.vanished)), (changed, "5"))
        self.assertEqual((await inbox.changes(marks[0])).changed[1].flags, frozenset({FLAGGED, SEEN, "$Work"}))

    async def test_first_unseen(self) -> None:
        """The first message without \\Seen, if there is one."""
        inbox = await self.fill(3)
        self.assertEqual(await inbox.first_unseen(), 1)
        await inbox.store(uids(1, 3), StoreOperation.ADD, frozenset({SEEN, FLAGGED}))
        self.assertEqual(await inbox.first_unseen(), 2)
        await inbox.store(uids(2), StoreOperation.ADD, frozenset({SEEN}))
        self.assertEqual(await inbox.first_unseen(), 0)

    async def test_small_content_at_hand(self) -> None:
        """Small messages come along with their rows, whole or in part; large ones are read."""
        inbox = await self.fill(1)
        await self.deliver(message(body="x" * 40_000))
        rows = await inbox.fetch(EVERY, [Column.UID, Column.CONTENT], 10)
        (_, small), (_, large) = cast("list[tuple[int, ContentRef]]", rows)
        whole = await self.store.content.read(small)
        self.assertEqual((small.read_at_hand(), small.read_at_hand(3, 4)), (whole, whole[3:7]))
        self.assertEqual(len(whole), small.total_octets)
        self.assertIsNone(large.read_at_hand())
        self.assertEqual(len(await self.store.content.read(large)), large.total_octets)

    async def test_mod_seq_of_a_deleted_mailbox(self) -> None:
        """A mailbox that was deleted says so."""
        archive = await self.boxes.open("Archive")
        await self.boxes.delete("Archive")
        await self.assert_raises(NoSuchMailbox, archive.changes(0))
        await self.assert_raises(NoSuchMailbox, archive.select(False))
        await self.assert_raises(NoSuchMailbox, archive.store(EVERY, StoreOperation.ADD, frozenset({SEEN})))

    async def test_expunge(self) -> None:
        """Only what has \\Deleted goes, of the set if one is given; POP3 removes whatever it names."""
        inbox = await self.fill(4)
        await inbox.store(uids(1, 2), StoreOperation.ADD, frozenset({DELETED}))
        self.assertEqual(str(await inbox.expunge(uids(2, 3))), "2")
        self.assertEqual(str(await inbox.expunge(None)), "1")
        self.assertEqual(str(await inbox.remove(uids(1, 4, 77))), "4")
        status = await self.boxes.status("INBOX")
        self.assertEqual((status.messages, status.deleted, status.uid_next), (1, 0, 5))
        self.assertEqual(status.octets, len(message("number 3")))

    async def test_fetch_in_batches(self) -> None:
        """`limit` bounds a batch, gaps are passed over, single UIDs far apart and close together are found."""
        inbox = await self.fill(30)
        await inbox.remove(uids(2, 3, 17))
        self.assertEqual(await inbox.fetch(EVERY, [Column.UID], 2), [(1,), (4,)])
        self.assertEqual(await inbox.fetch(UIDSet(((5, 0xFFFFFFFF),)), [Column.UID], 2), [(5,), (6,)])
        found = await inbox.fetch(uids(1, 3, 5, 7, 17, 29, 99), [Column.UID], 100)
        self.assertEqual(found, [(1,), (5,), (7,), (29,)])
        self.assertEqual(await inbox.fetch(uids(1, 5, 7, 29), [Column.UID], 3), [(1,), (5,), (7,)])

    async def test_columns(self) -> None:
        """Every column comes in its place and type."""
        await self.deliver(message("é"), head=HEAD)
        inbox = await self.inbox()
        (row,) = await inbox.fetch(EVERY, list(Column), 10)
        found = dict(zip(Column, row, strict=True))
        facts = self.content(message("é")).facts
        self.assertEqual(found[Column.UID], 1)
        self.assertEqual(found[Column.FLAGS], frozenset())
        self.assertEqual(found[Column.OCTETS], len(HEAD) + len(message("é")))
        self.assertEqual(found[Column.INTERNAL_DATE], int(NOW))
        self.assertEqual(found[Column.HEADER_OCTETS], facts.header_octets)
        for column in (Column.ENVELOPE, Column.BODY, Column.BODY_STRUCTURE, Column.FIELDS, Column.PARTS):
            self.assertEqual(found[column], getattr(facts, column.value))
        self.assertEqual(found[Column.CONTENT].head, HEAD)  # type: ignore[attr-defined]
        self.assertRegex(found[Column.EMAIL_ID], r"\AM[0-9a-f]+-1\Z")  # type: ignore[arg-type]
        (swapped,) = await inbox.fetch(EVERY, [Column.OCTETS, Column.UID], 10)
        self.assertEqual(swapped, (found[Column.OCTETS], 1))

    async def test_threads(self) -> None:
        """An answer has its root's THREADID, a stranger another one (RFC 8474 5.2)."""
        await self.deliver(message(extra="Message-ID: <root@x>\r\n"))
        await self.deliver(message(extra="Message-ID: <a@x>\r\nReferences: <root@x>\r\n"))
        await self.deliver(message(extra="Message-ID: <b@x>\r\n"))
        rows = await (await self.inbox()).fetch(EVERY, [Column.THREAD_ID], 10)
        self.assertEqual(rows[0], rows[1])
        self.assertNotEqual(rows[0], rows[2])

    async def test_copy_and_move(self) -> None:
        """Flags and dates are kept, EMAILIDs too; a move leaves tombstones; COPYUID pairs are in order."""
        inbox = await self.fill(4)
        await inbox.store(uids(2), StoreOperation.ADD, frozenset({FLAGGED, "$Work"}))
        since = (await self.boxes.status("INBOX")).highest_mod_seq
        copied = await inbox.copy(uids(2, 4, 9), "Archive")
        self.assertEqual((copied.source, copied.destination), ((2, 4), (1, 2)))
        moved = await inbox.copy(uids(1, 2), "Archive", move=True)
        self.assertEqual((moved.source, moved.destination), ((1, 2), (3, 4)))
        archive = await self.boxes.open("Archive")
        self.assertEqual(moved.uid_validity, archive.uid_validity)
        self.assertEqual(
            [state.flags for state in await archive.states(EVERY)],
            [frozenset({FLAGGED, "$Work"}), frozenset(), frozenset(), frozenset({FLAGGED, "$Work"})],
        )
        self.assertEqual(str((await inbox.changes(since)).vanished), "1:2")
        self.assertEqual(await self.octets(archive, 3), message("number 1"))
        ids = [row[0] for row in await archive.fetch(EVERY, [Column.EMAIL_ID], 10)]
        self.assertEqual(ids[0], ids[3])
        (entry,) = await self.store.administration.list_accounts()
        self.assertEqual(entry.messages, 6)
        await self.assert_raises(NoSuchMailbox, inbox.copy(uids(3), "nowhere"))
        await self.store.administration.set_account(ALICE, quota_messages=6)
        await self.assert_raises(OverQuota, inbox.copy(uids(3), "Archive"))
        self.assertEqual((await inbox.copy(uids(3), "Archive", move=True)).destination, (5,))

    async def test_copy_within_a_mailbox(self) -> None:
        """Copies in the same mailbox share their content until the last one goes."""
        inbox = await self.fill(1)
        await inbox.copy(uids(1), "INBOX")
        await inbox.copy(uids(1, 2), "INBOX")
        self.assertEqual((await self.boxes.status("INBOX")).messages, 4)
        await inbox.remove(UIDSet(((1, 3),)))
        self.assertEqual(await self.octets(inbox, 4), message("number 1"))
        await inbox.copy(uids(4), "INBOX", move=True)
        self.assertEqual(await self.octets(inbox, 5), message("number 1"))
        self.assertEqual((await self.boxes.status("INBOX")).messages, 1)

    async def test_uids_are_never_given_again(self) -> None:
        """A UID stays with its message, also when the last one was removed."""
        inbox = await self.fill(2)
        await inbox.remove(EVERY)
        self.assertEqual(await self.deliver(message()), 3)


class SearchContract(StoreCase):
    """IMailbox.search."""

    async def fill(self) -> Mailbox:
        """Three messages unlike each other."""
        await self.deliver(message("Grüße aus KÖLN", "plain text\r\n", "Bcc: hidden@x.example\r\n"))
        base64 = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n"
        await self.deliver(message("encoded", "ZOlq4CB2dQ==\r\n", base64), head=HEAD)
        parts = "Content-Type: multipart/mixed; boundary=b\r\nX-Mood: fine\r\n"
        body = "--b\r\n\r\nfirst = part\r\n--b\r\nContent-Type: image/png\r\n\r\nneedle\r\n--b--\r\n"
        await self.deliver(message("parts", body, parts))
        inbox = await self.inbox()
        await inbox.store(uids(2), StoreOperation.ADD, frozenset({FLAGGED, "$Work"}))
        return inbox

    async def test_every_key(self) -> None:
        """Each search key alone, and joined by NOT, OR and AND."""
        inbox = await self.fill()
        flagged = HasFlag(FLAGGED)
        deja = Contains(TextField.BODY, "DÉJÀ VU")
        cases: list[tuple[SearchKey, str]] = [
            (All(), "1:3"),
            (And(()), "1:3"),
            (UIDs(uids(1, 3, 9)), "1,3"),
            (UIDs(uids(*range(1, 300, 2))), "1,3"),
            (UIDs(UIDSet()), ""),
            (flagged, "2"),
            (HasFlag("$WORK"), "2"),
            (HasFlag("$Wor"), ""),
            (Not(HasFlag(SEEN)), "1:3"),
            (Larger(len(message("parts"))), "1:3"),
            (ModSeqSince(5), "2"),
            (DateIs(DateField.INTERNAL, Comparison.ON, date(2026, 11, 22)), "1:3"),
            (DateIs(DateField.INTERNAL, Comparison.BEFORE, date(2026, 11, 22)), ""),
            (DateIs(DateField.SENT, Comparison.SINCE, date(2026, 11, 22)), ""),
            (DateIs(DateField.SENT, Comparison.ON, date(2026, 11, 21)), "1:3"),
            (Contains(TextField.SUBJECT, "grüße AUS köln"), "1"),
            (Contains(TextField.SUBJECT, "%"), ""),
            (Contains(TextField.FROM, "SENDER"), "1:3"),
            (Contains(TextField.TO, "alice@"), "1:3"),
            (Contains(TextField.CC, "alice@"), ""),
            (Contains(TextField.BCC, "HIDDEN"), "1"),
            (Contains(TextField.BODY, ""), "1:3"),
            (deja, "2"),
            (Contains(TextField.BODY, "needle"), ""),
            (Contains(TextField.BODY, "first = PART"), "3"),
            (Contains(TextField.TEXT, "return-path"), "2"),
            (Contains(TextField.TEXT, "first = PART"), "3"),
            (HeaderContains("x-mood", "FINE"), "3"),
            (HeaderContains("X-Mood", ""), "3"),
            (HeaderContains("subject", "KÖLN"), "1"),
            (Not(deja), "1,3"),
            (Or(deja, flagged), "2"),
            (Or(deja, HeaderContains("X-Mood", "")), "2:3"),
            (And((deja, Not(flagged))), ""),
            (And((Not(flagged), Not(deja), UIDs(uids(3)))), "3"),
            (And(tuple([Not(HasFlag(DELETED))] * 2000)), "1:3"),
        ]
        for key, expected in cases:
            self.assertEqual(str(await inbox.search(key, self.now)), expected, repr(key)[:200])

    async def test_large_contents(self) -> None:
        """A message in a file is searched piece by piece."""
        await self.deliver(message(body="line of text\r\n" * 20_000 + "the needle\r\n"))
        inbox = await self.inbox()
        self.assertEqual(str(await inbox.search(Contains(TextField.BODY, "NEEDLE"), self.now)), "1")
        self.assertEqual(str(await inbox.search(Contains(TextField.BODY, "haystack"), self.now)), "")


class QueueContract(StoreCase):
    """IQueue."""

    def outgoing(self, address: str, due: float = NOW, **more: Any) -> Outgoing:
        """One recipient that leaves."""
        recipient = Recipient(ForwardPath(parse_address(address)), parse_notify("SUCCESS,DELAY"), "rfc822;x@y")
        path = ReversePath(parse_address(ALICE))
        return Outgoing(path, recipient, due, due + 1000, envid="E1", granted_by="auth", account=ALICE, **more)

    async def queue(self, *outgoing: Outgoing, acceptance_id: str = "Q1") -> None:
        """Accept one message for recipients that leave."""
        content = self.content(message(), [], outgoing)
        await self.store.acceptance.commit(Acceptance(acceptance_id, NOW, (content,), "{}"))

    async def test_what_goes_in_comes_out(self) -> None:
        """A leased row says all that was queued, the null path and quoted local parts too."""
        out = self.outgoing('"a b"@far.example', head=b"X: 1\r\n", smtputf8=True, ret="HDRS", body="8BITMIME")
        null = Outgoing(NULL_PATH, out.recipient, NOW + 1, NOW + 50)
        await self.queue(out, null)
        rows = await self.store.queue.lease("me", NOW + 5, 60, 10)
        self.assertEqual([row.outgoing for row in rows], [out, null])
        self.assertEqual((rows[0].acceptance_id, rows[0].received, rows[0].attempts), ("Q1", NOW, 0))
        self.assertEqual(await self.store.content.read(rows[0].content), b"X: 1\r\n" + message())

    async def test_a_lease_is_exclusive_and_ends(self) -> None:
        """Nobody else gets a held row until its lease ends."""
        await self.queue(self.outgoing("a@far.example"))
        self.assertEqual(await self.store.queue.next_due(), NOW)
        self.assertEqual(len(await self.store.queue.lease("me", NOW, 60, 10)), 1)
        self.assertEqual(await self.store.queue.lease("you", NOW + 59, 60, 10), [])
        self.assertEqual(await self.store.queue.next_due(), NOW + 60)
        self.assertEqual(len(await self.store.queue.lease("you", NOW + 60, 60, 10)), 1)

    async def test_rows_of_a_message_come_together(self) -> None:
        """Due rows of the same message and domain are leased beyond the limit; others and later ones are not."""
        await self.queue(*(self.outgoing(f"{name}@far.example") for name in "abc"), self.outgoing("d@other.example"))
        await self.queue(self.outgoing("late@far.example", NOW + 100), acceptance_id="Q2")
        rows = await self.store.queue.lease("me", NOW, 60, 1)
        self.assertEqual([str(row.outgoing.recipient.path)[0] for row in rows], ["a", "b", "c"])

    async def test_settle(self) -> None:
        """Rows end or are deferred; who lost his lease settles nothing."""
        await self.queue(*(self.outgoing(f"{name}@{name}.example") for name in "abc"))
        a, b, c = await self.store.queue.lease("me", NOW, 60, 10)
        await self.store.queue.settle("you", [Sent(a.id)], [])
        self.assertEqual(await self.store.queue.count(), 3)
        failed = Failed(b.id, Reply(550, "no"))
        await self.store.queue.settle("me", [Sent(a.id), failed, Deferred(c.id, LATER, NOW + 300, True)], [])
        (entry,) = await self.store.queue.list_entries(10)
        self.assertEqual((entry.row.id, entry.due, entry.leased), (c.id, NOW + 300, False))
        self.assertEqual((entry.row.attempts, entry.row.last_reply, entry.row.delay_reported), (1, str(LATER), True))
        self.assertEqual(await self.store.queue.lease("me", NOW + 299, 60, 10), [])
        self.assertEqual(len(await self.store.queue.lease("me", NOW + 300, 60, 10)), 1)

    async def test_a_report_comes_with_the_end_of_its_row(self) -> None:
        """The bounce is in INBOX when the row is gone; without the lease neither happens."""
        await self.queue(self.outgoing("a@far.example"))
        (row,) = await self.store.queue.lease("me", NOW, 60, 10)
        local = LocalDelivery(self.alice.id, "INBOX")

        def report() -> Acceptance:
            return Acceptance("R1", NOW, (self.content(message("bounce"), [local]),), "{}")

        failed = Failed(row.id, Reply(550, "no"))
        await self.store.queue.settle("you", [failed], [report()])
        self.assertEqual((await self.boxes.status("INBOX")).messages, 0)
        await self.store.queue.settle("me", [failed], [report()])
        self.assertEqual((await self.boxes.status("INBOX")).messages, 1)
        self.assertIsNone(await self.store.queue.next_due())

    async def test_release(self) -> None:
        """Rows given back may be leased at once."""
        await self.queue(self.outgoing("a@far.example"))
        await self.store.queue.lease("me", NOW, 60, 10)
        await self.store.queue.release("me")
        self.assertEqual(len(await self.store.queue.lease("you", NOW, 60, 10)), 1)

    async def test_delete_granted_by(self) -> None:
        """What one grant let in since a time can be taken out."""
        await self.queue(self.outgoing("a@far.example"))
        self.assertEqual(await self.store.queue.delete_granted_by("lan", NOW), 0)
        self.assertEqual(await self.store.queue.delete_granted_by("auth", NOW + 1), 0)
        self.assertEqual(await self.store.queue.delete_granted_by("auth", NOW), 1)
        self.assertEqual(await self.store.queue.count(), 0)


class DirectoryContract(StoreCase):
    """IDirectory and Administration."""

    async def resolve(self, address: str) -> Any:
        """What an address leads to."""
        return await self.store.directory.resolve(ForwardPath(parse_address(address)))

    async def test_accounts(self) -> None:
        """An account is found under its address in any case, its domain's aliases and with a folder."""
        await self.store.administration.add_domain("alias.test", "example.test")
        for address in (ALICE, "ALICE@Example.TEST", "alice@alias.test"):
            self.assertEqual(await self.resolve(address), LocalMailbox(self.alice))
        self.assertEqual(await self.resolve("Alice+Lists@example.test"), LocalMailbox(self.alice, "Lists"))
        self.assertEqual(await self.resolve("nobody@example.test"), UnknownUser())
        away = parse_address("alice%example.test@elsewhere.example")
        self.assertEqual(await self.store.directory.resolve(ForwardPath(away)), Remote(ForwardPath(away)))
        self.assertEqual(await self.store.directory.find_account("alice@alias.test"), self.alice)
        self.assertTrue(await self.store.directory.is_local_domain("alias.test"))
        self.assertFalse(await self.store.directory.is_local_domain("elsewhere.example"))

    async def test_disabled(self) -> None:
        """A disabled account takes no mail, but is found."""
        await self.store.administration.set_account(ALICE, enabled=False)
        self.assertEqual(await self.resolve(ALICE), UnknownUser("disabled"))
        found = await self.store.directory.find_account(ALICE)
        self.assertFalse(found is None or found.enabled)

    async def test_aliases(self) -> None:
        """An alias is expanded to the end, here and elsewhere, each member once."""
        admin = self.store.administration
        await admin.add_alias("team@example.test", [ALICE, "list@example.test", "x@far.example"])
        await admin.add_alias("list@example.test", ["alice@example.test", "x@far.example", "nobody@example.test"])
        found = await self.resolve("Team@example.test")
        remote = Remote(ForwardPath(parse_address("x@far.example")))
        self.assertEqual(found, Expansion((LocalMailbox(self.alice), remote), "team@example.test"))
        await admin.add_alias("empty@example.test", ["nobody@example.test"])
        self.assertIsInstance(await self.resolve("empty@example.test"), UnknownUser)

    async def test_rings(self) -> None:
        """A ring of aliases is nobody, however long."""
        admin = self.store.administration
        await admin.add_alias("a@example.test", ["b@example.test", ALICE])
        await admin.add_alias("b@example.test", ["a@example.test"])
        self.assertEqual(await self.resolve("a@example.test"), UnknownUser("ring of aliases"))
        for number in range(30):
            await admin.add_alias(f"n{number}@example.test", [f"n{number + 1}@example.test"])
        self.assertEqual(await self.resolve("n0@example.test"), UnknownUser("ring of aliases"))

    async def test_catch_all(self) -> None:
        """What nobody takes goes to the domain's catch-all, and to no other domain's."""
        await self.store.administration.add_alias("*@example.test", [ALICE])
        found = await self.resolve("anything@example.test")
        self.assertEqual(found, Expansion((LocalMailbox(self.alice),), "*@example.test"))
        self.assertEqual(await self.resolve(ALICE), LocalMailbox(self.alice))

    async def test_passwords(self) -> None:
        """Right and wrong ones, by address, alias domain and bare local part; nobody's too."""
        verify = self.store.directory.verify_password
        await self.store.administration.add_domain("alias.test", "example.test")
        for login in (ALICE, "Alice@EXAMPLE.test", "alice", "alice@alias.test"):
            self.assertEqual(await verify(login, PASSWORD, "192.0.2.1"), self.alice)
        for login, password in ((ALICE, b"wrong"), (ALICE, b""), ("nobody", PASSWORD), ("@@", PASSWORD), ("", b"x")):
            self.assertIsNone(await verify(login, password, "192.0.2.1"))

    async def test_a_new_password_ends_the_old_one_at_once(self) -> None:
        """A remembered password is forgotten with the change."""
        verify = self.store.directory.verify_password
        await verify(ALICE, PASSWORD, "192.0.2.1")
        await self.store.administration.set_password(ALICE, b"another one")
        self.assertIsNone(await verify(ALICE, PASSWORD, "192.0.2.1"))
        changed = await verify(ALICE, b"another one", "192.0.2.1")
        assert changed is not None
        self.assertGreater(changed.credential_number, self.alice.credential_number)

    async def test_cram_md5(self) -> None:
        """Opting in works with the next password that is seen, opting out at once."""
        directory, admin = self.store.directory, self.store.administration
        self.assertFalse(await directory.offers_cram_md5())
        await admin.set_account(ALICE, cram_md5=True)
        self.assertIsNone(await directory.find_cram_secret(ALICE))
        await directory.verify_password(ALICE, PASSWORD, "192.0.2.1")
        secret = await directory.find_cram_secret("alice")
        assert secret is not None
        self.assertEqual((secret.inner, secret.outer), md5_block_states(PASSWORD))
        self.assertTrue(await directory.offers_cram_md5())
        await admin.set_password(ALICE, b"another one")
        secret = await directory.find_cram_secret("alice")
        assert secret is not None
        self.assertEqual(secret.inner, md5_block_states(b"another one")[0])
        await admin.set_account(ALICE, cram_md5=False)
        self.assertIsNone(await directory.find_cram_secret(ALICE))
        self.assertFalse(await directory.offers_cram_md5())

    async def test_administration_refuses(self) -> None:
        """What is taken, missing or malformed is refused with a sentence."""
        admin = self.store.administration
        for kind, refused in (
            (AlreadyExists, admin.add_domain("EXAMPLE.test")),
            (Refused, admin.add_domain("no domain")),
            (NotFound, admin.add_domain("a.test", "missing.test")),
            (AlreadyExists, admin.delete_domain("example.test")),
            (NotFound, admin.delete_domain("missing.test")),
            (AlreadyExists, admin.add_account("Alice@example.test", PASSWORD)),
            (NotFound, admin.add_account("a@missing.test", PASSWORD)),
            (Refused, admin.add_account("a@example.test", b"")),
            (Refused, admin.add_account("a@example.test", b"seven c")),
            (Refused, admin.set_password(ALICE, b"seven c")),
            (Refused, admin.add_account("*@example.test", PASSWORD)),
            (Refused, admin.add_account("nonsense", PASSWORD)),
            (AlreadyExists, admin.add_alias(ALICE, ["x@y.example"])),
            (Refused, admin.add_alias("a@example.test", [])),
            (NotFound, admin.delete_alias("a@example.test")),
            (NotFound, admin.set_account("nobody@example.test", relay=True)),
            (NotFound, admin.set_password("nobody@example.test", PASSWORD)),
            (NotFound, admin.delete_account("nobody@example.test")),
        ):
            self.assertTrue(str(await self.assert_raises(kind, refused)))

    async def test_lists(self) -> None:
        """Domains, accounts and aliases are listed with what they are."""
        admin = self.store.administration
        await admin.add_domain("alias.test", "example.test")
        self.assertEqual(await admin.add_accounts([(f"u{n}@example.test", PASSWORD) for n in range(3)]), 3)
        await admin.add_alias("*@example.test", ["u1@example.test"])
        self.assertEqual(
            [(d.name, d.alias_of, d.accounts) for d in await admin.list_domains()],
            [("alias.test", "example.test", 0), ("example.test", "", 4)],
        )
        self.assertEqual([e.account.address[:2] for e in await admin.list_accounts()], ["al", "u0", "u1", "u2"])
        self.assertEqual(await admin.list_accounts("alias.test"), [])
        await self.assert_raises(NotFound, admin.list_accounts("nowhere.test"))
        ((alias, targets),) = [(entry.address, entry.targets) for entry in await admin.list_aliases()]
        self.assertEqual((alias, targets), ("*@example.test", ("u1@example.test",)))

    async def test_a_deleted_account(self) -> None:
        """Its mail goes; the next one under its address begins above its UIDVALIDITYs."""
        await self.deliver(message())
        before = await self.boxes.status("INBOX")
        await self.store.administration.delete_account(ALICE)
        self.assertEqual(await self.resolve(ALICE), UnknownUser())
        again = await self.store.administration.add_account(ALICE, PASSWORD)
        after = await self.store.mailboxes(again.id).status("INBOX")
        self.assertNotEqual(again.id, self.alice.id)
        self.assertGreater(after.uid_validity, before.uid_validity)


class RecentLoginContract(StoreCase):
    """IRecentLoginRows."""

    async def write(self, address: str = "192.0.2.7", logged_in: float = NOW) -> bool:
        """Alice logged in."""
        return await self.store.recent_rows.write(address, self.alice.id, "imap", True, self.now, logged_in)

    async def addresses(self, since: float = 0.0) -> list[str]:
        """Who is on the list."""
        return [row.address for row in await self.store.recent_rows.list_rows(since)]

    async def test_write_and_find(self) -> None:
        """A row is found from its commit on; a renewal moves its last login alone."""
        self.assertTrue(await self.write())
        self.now += 100
        self.assertTrue(await self.write())
        (row,) = await self.store.recent_rows.find("192.0.2.7", NOW + 100)
        self.assertEqual((row.account, row.first_login, row.last_login, row.tls), (self.alice, NOW, NOW + 100, True))
        self.assertEqual(await self.store.recent_rows.find("192.0.2.7", NOW + 101), [])
        self.assertEqual(await self.store.recent_rows.find("192.0.2.8", 0), [])
        self.assertEqual(len(await self.store.recent_rows.find_near("192.0.2.", 0)), 1)
        self.assertEqual(await self.store.recent_rows.find_near("192.0.3.", 0), [])

    async def test_revoke(self) -> None:
        """A revocation removes rows, and sessions from before it write no new ones; new logins do."""
        await self.write()
        await self.write("192.0.2.8")
        self.assertEqual(await self.store.recent_rows.revoke("192.0.2.7", None, NOW + 10), 1)
        self.assertEqual(await self.addresses(), ["192.0.2.8"])
        self.assertFalse(await self.write())
        self.assertTrue(await self.write(logged_in=NOW + 11))
        self.assertEqual(await self.store.recent_rows.revoke(None, self.alice.id, NOW + 20), 2)
        self.assertFalse(await self.write("192.0.2.9", NOW + 19))

    async def test_what_an_administrator_does_acts_at_once(self) -> None:
        """Disabling, a new password and deletion end grants and renewals; the relay privilege does not."""
        admin = self.store.administration
        await self.write()
        await admin.set_account(ALICE, relay=False)
        (row,) = await self.store.recent_rows.find("192.0.2.7", 0)
        self.assertFalse(row.account.relay)
        self.now += 10
        await admin.set_password(ALICE, b"another one")
        self.assertEqual(await self.addresses(), [])
        self.assertFalse(await self.write(logged_in=NOW))
        self.assertTrue(await self.write(logged_in=NOW + 10))
        await admin.set_account(ALICE, enabled=False)
        self.assertEqual(await self.addresses(), [])
        self.assertFalse(await self.write(logged_in=NOW + 20))
        await admin.delete_account(ALICE)
        self.assertFalse(await self.write(logged_in=NOW + 30))

    async def test_expire(self) -> None:
        """Old rows go, at most so many at once."""
        for number in range(5):
            self.now = NOW + number
            await self.write(f"192.0.2.{number}")
        self.assertEqual(await self.store.recent_rows.expire(NOW + 3, 2), 2)
        self.assertEqual(await self.store.recent_rows.expire(NOW + 3, 10), 1)
        self.assertEqual(await self.addresses(), ["192.0.2.4", "192.0.2.3"])


class FailuresContract(StoreCase):
    """IBans and IFailedLogins."""

    async def logins(self, *times: float) -> list[int]:
        """The counts after failed logins of one client."""
        return [await self.store.failures.note_login("192.0.2.7", NOW + time, 900) for time in times]

    async def fail(self, *times: float) -> float:
        """Refused recipients of one client, three of which are too many; when its ban ends, from NOW on."""
        for time in times:
            await self.store.failures.note_recipient("192.0.2.7", NOW + time, 60, 3)
        return max(0.0, self.store.failures.banned_until("192.0.2.7", NOW + times[-1]) - NOW)

    async def test_logins(self) -> None:
        """Each failure counts on while the last one is not forgotten; another client has its own count."""
        self.assertEqual(await self.logins(0, 800, 1600, 2500), [1, 2, 3, 1])
        self.assertEqual(await self.store.failures.note_login("192.0.2.8", NOW, 900), 1)

    async def test_bans(self) -> None:
        """The third failure of a window bans, for as long as the window is; then all begins anew."""
        self.assertEqual(await self.fail(0, 59), 0)
        self.assertEqual(await self.fail(59.5), 119.5)
        failures = self.store.failures
        self.assertEqual([failures.banned_until("192.0.2.7", NOW + time) for time in (119, 119.5)], [NOW + 119.5, 0])
        self.assertEqual(failures.banned_until("192.0.2.8", NOW), 0)
        self.assertEqual(await self.fail(120, 121), 0)

    async def test_windows(self) -> None:
        """A window begins with its first failure, and one from before the clock was set back counts for nothing."""
        self.assertEqual(await self.fail(0, 30, 60, 61), 0)
        self.assertEqual(await self.fail(-1000, -999), 0)
        await self.fail(-998)
        self.assertEqual(self.store.failures.banned_until("192.0.2.7", NOW - 998), NOW - 938)

    async def test_expiry(self) -> None:
        """What has ended goes."""
        await self.logins(0)
        await self.fail(0, 1, 2)
        self.assertFalse(await self.store.failures.expire(NOW + 61))
        self.assertEqual(await self.fail(61), 62)
        self.assertFalse(await self.store.failures.expire(NOW + 62))
        self.assertEqual(self.store.failures.banned_until("192.0.2.7", NOW), 0)
        self.assertEqual(await self.logins(10), [2])


class HubContract(StoreCase):
    """IChangeHub."""

    async def test_mailbox_changes(self) -> None:
        """Deliveries, flags and expunges are told to who watches, and to nobody after that."""
        inbox = await self.inbox()
        stop = self.store.hub.watch_mailbox(inbox.id, self.heard.append)
        await self.deliver(message())
        self.assertEqual(self.heard, [MailboxChanged(inbox.id, (await self.boxes.status("INBOX")).highest_mod_seq)])
        await inbox.store(EVERY, StoreOperation.ADD, frozenset({DELETED}))
        await inbox.store(EVERY, StoreOperation.ADD, frozenset({DELETED}))
        await inbox.expunge(None)
        self.assertEqual(len(self.heard), 3)
        stop()
        stop()
        await self.deliver(message())
        self.assertEqual(len(self.heard), 3)

    async def test_account_changes(self) -> None:
        """The tree and the end of an account are told."""
        self.store.hub.watch_account(self.alice.id, self.heard.append)
        archive = await self.boxes.open("Archive")
        self.store.hub.watch_mailbox(archive.id, self.heard.append)
        await self.boxes.create("new")
        await self.boxes.delete("Archive")
        tree = MailboxesChanged(self.alice.id)
        self.assertEqual(self.heard, [tree, MailboxGone(archive.id), tree])
        self.heard.clear()
        await self.store.administration.set_account(ALICE, relay=False)
        self.assertEqual(self.heard, [])
        await self.store.administration.set_account(ALICE, enabled=False)
        self.assertEqual(self.heard, [AccountRevoked(self.alice.id)])

    async def test_queue_changes(self) -> None:
        """New rows are told with the time they are due."""
        self.store.hub.watch_queue(self.heard.append)
        recipient = Recipient(ForwardPath(parse_address("a@far.example")))
        out = Outgoing(NULL_PATH, recipient, NOW + 5, NOW + 10)
        content = self.content(message(), [], [out])
        await self.store.acceptance.commit(Acceptance("Q", NOW, (content,), json.dumps([])))
        self.assertEqual(self.heard, [QueueGrew(NOW + 5)])
