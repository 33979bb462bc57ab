"""
The contracts on PostgreSQL: with the pool of writers and the real reactor, and at once as the command line does.
"""

from __future__ import annotations

import time
import tracemalloc

from twisted.internet import reactor

from mailtraq_py.interfaces.store import Acceptance, Column, ContentRef, LocalDelivery
from mailtraq_py.mail.search import And, Contains, Not, TextField
from mailtraq_py.store.content import ContentIds
from mailtraq_py.store.store import Store
from tests.postgres import NAME, cluster, fresh

from . import contract, deletedcontract, test_decisions, test_indexing, test_resolution, test_staging


class _InRows:
    def stored_apart(self, content_id: int) -> int:
        (row,) = cluster().execute(
            f"SELECT coalesce(sum(length(octets)), 0)::bigint FROM content_chunks WHERE content_id = {content_id}", NAME
        )
        return int(str(row[0]))


class _Served(contract.StoreCase):
    def make_store(self, data_dir: str) -> Store:
        return Store(fresh(), data_dir, reactor, self.clock)


class _AtOnce(contract.StoreCase):
    def make_store(self, data_dir: str) -> Store:
        return Store(fresh(), data_dir, clock=self.clock)


class AcceptanceServed(_InRows, _Served, contract.AcceptanceContract):
    """IAcceptance and IContent."""


class AcceptanceAtOnce(_InRows, _AtOnce, contract.AcceptanceContract):
    """The same without a reactor."""


class MailboxesServed(_Served, contract.MailboxesContract):
    """IMailboxes."""


class MailboxServed(_Served, contract.MailboxContract):
    """IMailbox."""


class DeletedServed(_Served, deletedcontract.DeletedContract):
    """Deleted mail."""


class PurgeServed(_Served, deletedcontract.PurgeContract):
    """Its end."""


class RestoreServed(_Served, deletedcontract.RestoreContract):
    """Its coming back."""


class SearchServed(_Served, contract.SearchContract):
    """Search."""


class IndexAtOnce(test_indexing.SameTests):
    """Search with the index, which is files of each host beside the shared database."""

    examples = 15

    def url(self) -> str:
        """Of the store."""
        return fresh()


class QueueServed(_Served, contract.QueueContract):
    """IQueue."""


class DirectoryServed(_Served, contract.DirectoryContract):
    """IDirectory and Administration."""


class RecentLoginsServed(_Served, contract.RecentLoginContract):
    """IRecentLoginRows."""


class HubServed(_Served, contract.HubContract):
    """IChangeHub."""


class FailuresServed(_Served, contract.FailuresContract):
    """IBans and IFailedLogins."""


class ListsAtOnce(_AtOnce, test_resolution.ListTests):
    """Distribution lists."""


class MailboxListsAtOnce(_AtOnce, test_resolution.MailboxListsTests):
    """Black and white lists."""


class StagingAtOnce(_AtOnce, test_staging.StagingTests):
    """COPY, MOVE and RENAME of many."""


class Decisions(test_decisions.DecisionTests):
    """What policy decided."""

    def url(self) -> str:
        """Where it is kept."""
        return fresh()


class UpkeepAtOnce(_AtOnce):
    """What looks at everything, and mends it."""

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Do it behind the store's back."""
        return cluster().execute(statement, NAME)

    async def test_verify(self) -> None:
        """Each damage is found, and mended where that can be."""
        await self.deliver(contract.message(), head=contract.HEAD)
        await self.deliver(contract.message(body="x" * 600_000))
        inbox = await self.inbox()
        await inbox.copy(contract.EVERY, "Archive")
        for statement, kind in (
            ("UPDATE mailboxes SET unseen = unseen + 1 WHERE name = 'INBOX'", "mailbox"),
            ("UPDATE mailboxes SET uid_next = 2 WHERE name = 'INBOX'", "mailbox"),
            ("UPDATE account_counters SET octets = octets - 1", "account"),
            ("UPDATE counters SET next = 1 WHERE name = 'mailbox'", "counter"),
            ("UPDATE content_shares SET further = further + 1", "references"),
            ("DELETE FROM content_shares", "references"),
            ("INSERT INTO heads (content_id, number, head) VALUES (1, 1, 'x')", "stray"),
            ("UPDATE contents SET parts = 'x' WHERE place = 0", "parts"),
            ("UPDATE messages SET octets = octets + 1 WHERE uid = 1", "message"),
            ("DELETE FROM heads", "message"),
            (f"UPDATE messages SET mailbox_id = 99999 WHERE uid = 1 AND mailbox_id = {inbox.id}", "mailbox"),
            ("DELETE FROM recoverable", "account"),
        ):
            self.sql(statement)
            found = list(self.store.verification().damages())
            self.assertIn(kind, [damage.kind for damage in found], statement)
            for damage in found:
                await self.store.verification().repair(damage)
            self.assertEqual(list(self.store.verification().damages()), [], statement)
        self.sql("DELETE FROM content_chunks WHERE number = 1")
        (lost,) = self.store.verification().damages()
        self.assertEqual((lost.kind, lost.is_repairable), ("content", False))

    async def test_a_large_message_is_never_whole_in_memory(self) -> None:
        """6 MB in and out raise memory by less than 4 MB."""
        piece = b"0123456789abcdef" * 4094 + b"\r\n"
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        content = self.content(contract.message(), [LocalDelivery(self.alice.id, "INBOX")])
        for _ in range(6_000_000 // len(piece)):
            content.spool.write(piece)
        await self.store.acceptance.commit(Acceptance("L", self.now, (content,), "{}"))
        ((found,),) = await (await self.inbox()).fetch(contract.EVERY, [Column.CONTENT], 1)
        assert isinstance(found, ContentRef)
        for place in range(0, found.total_octets, 1 << 20):
            await self.store.content.read(found, place, 1 << 20)
        self.assertLess(tracemalloc.get_traced_memory()[1], 4_000_000)

    async def test_chunks_without_a_content(self) -> None:
        """They go when they are an hour old, and not before: their acceptance may be under way."""
        written = ContentIds().next()
        await self.store.database.run("write_chunk", written, 0, b"x")
        await self.store.content.sweep_rows(time.time())
        self.assertEqual(self.sql("SELECT content_id FROM content_chunks"), [(written,)])
        await self.store.content.sweep_rows(time.time() + 3700)
        self.assertEqual(self.sql("SELECT content_id FROM content_chunks"), [])

    async def test_what_others_ask(self) -> None:
        """The index, the import and the writer's clients ask questions of their own; each is understood here."""
        await self.deliver(contract.message(), acceptance_id="A")
        inbox = await self.inbox()
        key = And((Contains(TextField.SUBJECT, "hello"), Not(Contains(TextField.BODY, "nothing"))))
        read = self.store.database.read
        self.assertIn(inbox.id, [row[1] for row in read("indexable_mailboxes")])
        self.assertEqual(len(read("messages_to_index", inbox.id, 0, 10)), 1)
        self.assertEqual(len(read("message_digests", inbox.id, 0, 10)), 1)
        self.assertEqual(read("list_uids", inbox.id), [1])
        self.assertEqual(read("matches_among", inbox.id, Contains(TextField.SUBJECT, "hello"), [1, 2]), [1])
        self.assertEqual(len(read("candidates_among", inbox.id, key, [1, 2])), 1)
        self.assertEqual(read("acceptance_trace", "A"), "{}")
        self.assertEqual(read("acceptance_places", "A")[0][1:3], (inbox.id, 1))
        self.assertEqual(read("file_contents"), [])
