"""
`mailtraq import` and `mailtraq export`: Maildir and mbox there and back, and nothing twice.
"""

from __future__ import annotations

import os
from pathlib import Path

from mailtraq_py.app.mailfolders import find_maildirs, maildir_messages, mbox_messages, with_cr, without_cr
from mailtraq_py.interfaces.store import Column
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store

from .installation import InstallationTestCase

ALICE = "alice@here.example"
BOB = "bob@here.example"
MBOX = b"""\
From a@b.example Sat Jan  3 10:20:30 2026
Subject: one
Status: RO
X-Status: F

text
>From the start

From b@c.example Sun Jan  4 10:20:30 2026
Subject: two

From within, not after a blank line
"""


class TransferTests(InstallationTestCase):
    """Two accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "--from-stdin", stdin=f"{ALICE} a long secret\n{BOB} a long secret\n")
        self.maildir = self.folder / "Maildir"
        for folder in ("", ".Sent", ".Lists.Z&APw-rich"):
            for name in ("tmp", "new", "cur"):
                (self.maildir / folder / name).mkdir(parents=True)
        self.write("new/1", "fresh", 1_000)
        self.write("cur/2:2,FS", "seen", 2_000)
        self.write("cur/3:2,S", "large " + "x" * 300_000, 3_000)
        self.write(".Sent/cur/4:2,S", "sent", 4_000)
        self.write(".Lists.Z&APw-rich/cur/5:2,", "list", 5_000)

    def write(self, name: str, text: str, date: int) -> None:
        """A file of the Maildir."""
        path = self.maildir / name
        path.write_text(f"Subject: {text[:10]}\n\n{text}\n")
        os.utime(path, (date, date))

    def state(self, address: str) -> dict[str, list[tuple[object, ...]]]:
        """Flags, dates and octets of what an account has."""
        store = Store(f"sqlite:{self.folder}/var/mailtraq.db", self.folder / "var")
        run_now(store.start())
        try:
            boxes = store.mailboxes(run_now(store.administration.find(address)).id)
            found = {}
            for info in run_now(boxes.list_mailboxes()):
                if not info.id:
                    continue
                mailbox = run_now(boxes.open(info.name))
                columns = [Column.FLAGS, Column.INTERNAL_DATE, Column.CONTENT]
                rows = run_now(mailbox.fetch(UIDSet(((1, 1000),)), columns, 100))
                if rows:
                    found[info.name] = [(*row[:2], run_now(store.content.read(row[2]))) for row in rows]
            return found
        finally:
            run_now(store.close())

    def test_a_maildir(self) -> None:
        """Folders, flags, dates, line ends; a second time nothing is added."""
        done = self.answer("import", ALICE, "--maildir", str(self.maildir))
        self.assertEqual(done, {"imported": 5, "known_before": 0})
        state = self.state(ALICE)
        self.assertEqual(sorted(state), ["INBOX", "Lists/Zürich", "Sent"])
        self.assertEqual(state["INBOX"][0], (frozenset(), 1000, b"Subject: fresh\r\n\r\nfresh\r\n"))
        self.assertEqual(state["INBOX"][1][:2], (frozenset({"\\Seen", "\\Flagged"}), 2000))
        done = self.answer("import", ALICE, "--maildir", str(self.maildir))
        self.assertEqual(done, {"imported": 0, "known_before": 5})
        self.assertEqual(self.state(ALICE), state)
        self.assertEqual(self.answer("verify")["left"], 0)

    def test_into_a_mailbox(self) -> None:
        """With --mailbox all of it goes beneath that one."""
        self.mailtraq("import", ALICE, "--maildir", str(self.maildir), "--mailbox", "Old")
        self.assertEqual(sorted(self.state(ALICE)), ["Old", "Old/Lists/Zürich", "Old/Sent"])

    def test_there_and_back(self) -> None:
        """What is exported and imported again is the same; run again the export writes nothing."""
        self.mailtraq("import", ALICE, "--maildir", str(self.maildir))
        target = str(self.folder / "out")
        self.assertEqual(self.answer("export", ALICE, target), {"written": 5, "known_before": 0})
        self.assertEqual(self.answer("export", ALICE, target), {"written": 0, "known_before": 5})
        self.mailtraq("import", BOB, "--maildir", target)
        self.assertEqual(self.state(BOB), self.state(ALICE))
        self.assertEqual(self.answer("import", ALICE, "--maildir", target)["imported"], 0)

    def test_mbox(self) -> None:
        """Quoted From lines, states, dates; written and read again it is the same."""
        path = self.folder / "old.mbox"
        path.write_bytes(MBOX)
        self.mailtraq("import", ALICE, "--mbox", str(path))
        state = self.state(ALICE)
        flags, date, octets = state["INBOX"][0]
        self.assertEqual((flags, date), (frozenset({"\\Seen", "\\Flagged"}), 1767435630))
        self.assertTrue(octets.endswith(b"\r\n\r\ntext\r\nFrom the start\r\n"))
        self.assertEqual(len(state["INBOX"]), 2)
        self.assertEqual(self.answer("import", ALICE, "--mbox", str(path))["imported"], 0)
        self.mailtraq("export", ALICE, str(self.folder / "out"), "--mbox", "--mailbox", "INBOX")
        self.mailtraq("import", BOB, "--mbox", str(self.folder / "out" / "INBOX.mbox"))
        self.assertEqual(
            [octets for _, _, octets in self.state(BOB)["INBOX"]], [octets for _, _, octets in state["INBOX"]]
        )

    def test_refusals(self) -> None:
        """No such account, no Maildir, no mbox, no room: said, with the right exit code."""
        self.mailtraq("import", "x@here.example", "--maildir", str(self.maildir), code=1)
        self.mailtraq("import", ALICE, "--maildir", str(self.folder), code=2)
        self.mailtraq("import", ALICE, "--mbox", str(self.file), code=2)
        self.mailtraq("import", ALICE, code=2)
        self.mailtraq("export", ALICE, str(self.folder / "out"), "--mailbox", "Nowhere", code=1)
        self.mailtraq("account", "set", ALICE, "--quota-messages", "2")
        told = self.mailtraq("import", ALICE, "--maildir", str(self.maildir), code=1)
        self.assertIn("quota", told.output)

    def test_line_ends(self) -> None:
        """Wherever octets are cut, line ends come out the same."""
        octets = b"a\nb\r\nc\r\rd\n\n\r\n"
        for cut in range(len(octets)):
            pieces = [octets[:cut], octets[cut:]]
            self.assertEqual(b"".join(with_cr(pieces)), b"a\r\nb\r\nc\r\rd\r\n\r\n\r\n")
            self.assertEqual(b"".join(without_cr(pieces)), b"a\nb\nc\r\rd\n\n\n")

    def test_folders(self) -> None:
        """What is no Maildir has none, what is no mbox says so; an empty file is an empty mbox."""
        self.assertEqual(find_maildirs(self.folder), [])
        self.assertEqual([name for name, _ in find_maildirs(self.maildir)], ["INBOX", "Lists/Zürich", "Sent"])
        self.assertEqual(len(maildir_messages("INBOX", self.maildir)), 3)
        empty = Path(self.folder, "empty")
        empty.touch()
        self.assertEqual(list(mbox_messages("INBOX", empty)), [])
