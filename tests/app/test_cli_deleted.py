"""
`mailtraq restore` and `mailtraq purge` on a store.
"""

from __future__ import annotations

import time

from mailtraq_py.interfaces.store import NewMessage
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.now import run_now
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe

from .installation import InstallationTestCase

ALICE = "alice@here.example"
EVERY = UIDSet(((1, 0xFFFFFFFF),))
HOUR = 3600


class DeletedTests(InstallationTestCase):
    """On a store where alice deleted three messages of INBOX and a mailbox with one, an hour ago."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", ALICE, "--password-stdin", stdin="a long secret\n")
        self.now = time.time() - 2 * HOUR
        folder = self.folder / "var"
        kept = DeletedSettings(keep_seconds=86400.0)
        store = Store(f"sqlite:{folder}/mailtraq.db", folder, clock=lambda: self.now, deleted=kept)
        run_now(store.start())
        boxes = store.mailboxes(run_now(store.administration.find(ALICE)).id)
        run_now(boxes.create("Work"))
        for name, count in (("INBOX", 3), ("Work", 1)):
            run_now(boxes.append(name, [self.message(store) for _ in range(count)]))
        self.now += HOUR
        run_now(run_now(boxes.open("INBOX")).remove(EVERY))
        run_now(boxes.delete("Work"))
        run_now(store.close())

    def message(self, store: Store) -> NewMessage:
        """Some message."""
        spool = store.content.spool()
        spool.write(b"Subject: x\r\n\r\n")
        return NewMessage(spool, describe([b"Subject: x\r\n\r\n"]), frozenset(), 1)

    def test_restore(self) -> None:
        """Said, done, and nothing left to do; what came after the time does not count."""
        self.assertIn("0 messages would come", self.mailtraq("restore", ALICE, "--at", "1m", "--dry-run").output)
        said = self.answer("restore", ALICE, "--at", "90m", "--dry-run")
        self.assertEqual(
            [(each["mailbox"], each["new"], each["messages"]) for each in said["mailboxes"]],
            [("INBOX", False, 3), ("Work", True, 1)],
        )
        self.assertEqual((said["fits"], said["purged_until"]), (True, None))
        held = self.answer("account", "list")[0]
        self.assertEqual((held["messages"], held["recoverable_octets"]), (0, 56))
        told = self.mailtraq("restore", ALICE, "--at", "90m", "--mailbox", "Work").output
        self.assertRegex(told, r"Work +1 +14 +new\n1 message came back")
        self.assertIn("3 messages came back", self.mailtraq("restore", ALICE, "--at", "90m").output)
        self.assertEqual(self.answer("restore", ALICE, "--at", "90m")["mailboxes"], [])
        held = self.answer("account", "list")[0]
        self.assertEqual((held["messages"], held["recoverable_octets"]), (4, 0))
        self.assertEqual(self.answer("verify")["left"], 0)

    def test_refused(self) -> None:
        """No such account, no such time, a name that is none, no room in the quota."""
        self.mailtraq("restore", "bob@here.example", "--at", "1h", code=1)
        self.mailtraq("restore", ALICE, "--at", "yesterday", code=2)
        self.mailtraq("restore", ALICE, "--at", "90m", "--mailbox", "a//b", code=2)
        self.mailtraq("account", "set", ALICE, "--quota-messages", "3")
        self.assertIn("no room", self.mailtraq("restore", ALICE, "--at", "90m", "--dry-run").output)
        self.assertIn("quota", self.mailtraq("restore", ALICE, "--at", "90m", code=1).output)
        self.mailtraq("restore", ALICE, "--at", "90m", "--mailbox", "INBOX")

    def test_purge(self) -> None:
        """Said, refused, done; restore says that something is gone."""
        self.assertEqual(self.answer("purge", ALICE, "--dry-run")["messages"], 4)
        self.assertIn("--lose 1 says", self.mailtraq("purge", ALICE, "--mailbox", "Work", code=1).output)
        self.assertIn("1 message is gone", self.mailtraq("purge", ALICE, "--mailbox", "Work", "--lose", "1").output)
        told = self.mailtraq("restore", ALICE, "--at", "90m").output
        self.assertRegex(told, r"(?s)INBOX +3.*Work +0 .*Of what was deleted until 20.*something is gone for good")
        self.assertEqual(self.answer("purge", ALICE)["messages"], 0)
