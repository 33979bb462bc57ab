"""
`mailtraq import-imap` on a source in memory: new mail only, nothing lost to what goes wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mailtraq_py.app.imapimport import IMAPImport, ImportMemory
from mailtraq_py.app.imapsource import ConnectionLost, RemoteMailbox, SourceRefused
from mailtraq_py.app.mailfolders import FoundMessage
from mailtraq_py.app.transfer import Importer
from mailtraq_py.interfaces.store import Column
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store
from tests.store.contract import EVERY, StoreCase

INBOX = RemoteMailbox(b"INBOX", "INBOX")
SENT = RemoteMailbox(b"INBOX.Gesendet", "Gesendet", "\\Sent", subscribed=True)
WORK = RemoteMailbox(b"INBOX.Work", "Work/Now", subscribed=True)
ALL = RemoteMailbox(b"[Gmail]/All Mail", "[Gmail]/All Mail", is_all=True)


@dataclass
class Source:
    """
    As `IMAPSource`: messages by mailbox and UID, each an identifier, its text, or None for one that cannot be had.

    `lost_after` cuts the connection after so many messages.
    """

    boxes: dict[RemoteMailbox, dict[int, str | None]] = field(default_factory=dict)
    uid_validity: int = 7
    is_gmail: bool = False
    refused: set[RemoteMailbox] = field(default_factory=set)
    lost_after: int = -1
    connected: int = 0
    asked: list[int] = field(default_factory=list)
    now: dict[int, str | None] = field(default_factory=dict)

    def connect(self) -> None:
        """Count it."""
        self.connected += 1

    def examine(self, mailbox: RemoteMailbox) -> tuple[int, int]:
        """Select, unless it is one that is refused."""
        if mailbox in self.refused:
            raise SourceRefused("[NOPERM] no")
        self.now = self.boxes[mailbox]
        return self.uid_validity, max(self.now, default=0) + 1

    def new_uids(self, first: int, uid_next: int) -> list[int]:
        """From `first` on."""
        return sorted(uid for uid in self.now if uid >= first)

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Their lengths."""
        return {uid: len(self.now[uid] or "") for uid in uids}

    def gmail_ids(self, uids: Sequence[int]) -> dict[int, int]:
        """Equal texts are one message."""
        return {uid: hash(self.now[uid]) for uid in uids}

    def messages(self, uids: Sequence[int], target: str) -> Iterator[tuple[int, FoundMessage | str]]:
        """Those that can be had, until the connection is lost."""
        for uid in uids:
            if self.lost_after == 0:
                self.lost_after = -1
                raise ConnectionLost("reset")
            self.lost_after -= 1
            self.asked.append(uid)
            text = self.now[uid]
            if text is None:
                yield uid, "[SERVERBUG] no"
            else:
                octets = f"Subject: {text}\r\n\r\n{text}\r\n".encode()
                flags = frozenset({"\\Seen", "$Work"})
                yield uid, FoundMessage(target, flags, 1_600_000_000 + uid, partial(iter, [octets]))


class ImportTests(StoreCase):
    """Into an account that is empty."""

    def make_store(self, data_dir: str) -> Store:
        """On disk, at once."""
        return Store(f"sqlite:{data_dir}/mailtraq.db", data_dir, clock=self.clock)

    async def setUp(self) -> None:
        """Three messages in INBOX, one sent."""
        await super().setUp()
        self.source = Source({INBOX: {1: "one", 2: "two", 5: "five"}, SENT: {9: "sent"}, WORK: {3: "work"}})
        self.slept: list[float] = []

    def bring(self, *mailboxes: RemoteMailbox, beneath: str = "") -> tuple[IMAPImport, Importer]:
        """One run of the command."""
        importer = Importer(self.store, self.alice.id)
        memory = ImportMemory(Path(self.data_dir, "imports"), self.alice.id, "alice@there")
        work = IMAPImport(
            self.source,  # type: ignore[arg-type]
            importer,
            self.boxes,
            memory,
            run_now,
            lambda *_: None,
            beneath,
            self.slept.append,
        )
        for mailbox in mailboxes:
            work.bring(mailbox)
        return work, importer

    def subjects(self, name: str) -> list[str]:
        """What a mailbox here holds, in its order."""
        mailbox = run_now(self.boxes.open(name))
        rows = run_now(mailbox.fetch(EVERY, [Column.CONTENT], 100))
        return [run_now(self.store.content.read(row[0])).split(b"\r\n")[0][9:].decode() for row in rows]  # type: ignore[arg-type]

    def test_everything_comes_along(self) -> None:
        """Octets, flags, keywords and dates; the mailbox of a use goes to the one of that use here."""
        work, importer = self.bring(INBOX, SENT, WORK)
        self.assertEqual((importer.imported, work.failures), (5, []))
        self.assertEqual(self.subjects("INBOX"), ["one", "two", "five"])
        self.assertEqual((self.subjects("Sent"), self.subjects("Work/Now")), (["sent"], ["work"]))
        mailbox = run_now(self.boxes.open("INBOX"))
        rows = run_now(mailbox.fetch(EVERY, [Column.FLAGS, Column.INTERNAL_DATE], 100))
        self.assertEqual(rows[1], (frozenset({"\\Seen", "$Work"}), 1_600_000_002))
        self.assertIn("Work/Now", run_now(self.boxes.list_subscriptions()))

    def test_again(self) -> None:
        """A second run asks for what is new alone; what was deleted here does not come back."""
        self.bring(INBOX)
        run_now(run_now(self.boxes.open("INBOX")).remove(EVERY))
        self.source.boxes[INBOX][6] = "six"
        self.source.asked.clear()
        _, importer = self.bring(INBOX)
        self.assertEqual((self.source.asked, importer.imported), ([6], 1))
        self.assertEqual(self.subjects("INBOX"), ["six"])

    def test_other_uids(self) -> None:
        """Another UIDVALIDITY begins anew, and brings nothing twice."""
        self.bring(INBOX)
        self.source.uid_validity = 8
        _, importer = self.bring(INBOX)
        self.assertEqual((importer.imported, importer.known_before), (0, 3))

    def test_lost_connections(self) -> None:
        """It connects again and goes on; when the server stays away, what was committed is remembered."""
        self.source.boxes[INBOX] = {uid: f"m{uid}" for uid in range(1, 121)}
        self.source.lost_after = 110
        work, importer = self.bring(INBOX)
        self.assertEqual((importer.imported, work.failures, self.source.connected), (120, [], 1))
        self.assertEqual(self.source.asked.count(99), 1)
        self.assertEqual(len(set(self.subjects("INBOX"))), 100)
        self.source.boxes[INBOX][121] = "last"

        def always_lost(uids: Sequence[int], target: str) -> Iterator[tuple[int, FoundMessage | str]]:
            raise ConnectionLost("gone")

        self.source.messages = always_lost  # type: ignore[method-assign]
        self.assertRaises(ConnectionLost, self.bring, INBOX)
        self.assertEqual(len(self.slept), 4)

    def test_what_cannot_be_had(self) -> None:
        """A mailbox or message that the server does not give is told, and asked for the next time."""
        self.source.boxes[INBOX][2] = None
        self.source.refused.add(SENT)
        work, importer = self.bring(SENT, INBOX)
        self.assertEqual(work.failures, [("Gesendet", "[NOPERM] no"), ("INBOX", "UID 2: [SERVERBUG] no")])
        self.assertEqual(importer.imported, 2)
        self.source.boxes[INBOX][2] = "two"
        self.source.refused.clear()
        self.source.asked.clear()
        work, importer = self.bring(SENT, INBOX)
        self.assertEqual((work.failures, importer.imported, self.source.asked), ([], 2, [9, 2]))

    def test_all_mail(self) -> None:
        """Of Gmail's "All Mail" comes what no other mailbox has."""
        self.source.is_gmail = True
        self.source.boxes[ALL] = {11: "one", 12: "put away", 13: "sent"}
        self.bring(INBOX, SENT, ALL)
        self.assertEqual(self.subjects("Archive"), ["put away"])

    def test_beneath(self) -> None:
        """All goes below one mailbox where that is wanted; names that none may have here are failures."""
        bad = RemoteMailbox(b"x", "x" * 2000)
        self.source.boxes[bad] = {1: "x"}
        work, _ = self.bring(INBOX, SENT, bad, beneath="Old")
        self.assertEqual(self.subjects("Old"), ["one", "two", "five"])
        self.assertEqual(self.subjects("Old/Gesendet"), ["sent"])
        self.assertEqual([name for name, _ in work.failures], [bad.name])

    def test_plan(self) -> None:
        """What would be brought is counted, and nothing is brought or remembered."""
        work, importer = self.bring()
        plan = work.plan(INBOX)
        assert plan is not None
        self.assertEqual((plan.target, plan.messages, plan.octets), ("INBOX", 3, 10))
        self.assertEqual((importer.imported, Path(self.data_dir, "imports").exists()), (0, False))

    def test_a_memory_that_is_damaged(self) -> None:
        """It is begun anew, and nothing comes twice."""
        self.bring(INBOX)
        [file] = Path(self.data_dir, "imports").iterdir()
        self.assertEqual(json.loads(file.read_text())["source"], "alice@there")
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        file.write_text("{")
        _, importer = self.bring(INBOX)
        self.assertEqual((importer.imported, importer.known_before), (0, 3))
