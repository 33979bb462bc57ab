"""
`mailtraq index` on a store.
"""

from __future__ import annotations

import mailbox

from mailtraq_py.app.config import load
from mailtraq_py.app.indexing import forget_indexes
from mailtraq_py.store.searchindex import SearchIndexes

from .installation import InstallationTestCase


class IndexTests(InstallationTestCase):
    """On a store with one account and two messages."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="a long secret\n")
        folder = mailbox.Maildir(str(self.folder / "Maildir"))
        for word in ("lorem", "ipsum"):
            folder.add(f"Subject: {word}\n\n{word}\n".encode())
        self.mailtraq("import", "alice@here.example", "--maildir", str(self.folder / "Maildir"))

    def test_rebuild(self) -> None:
        """Without a server the command makes it, and says how much is in it."""
        (shown,) = self.answer("index", "status")
        self.assertEqual((shown["account"], shown["messages"], shown["indexed"]), ("alice@here.example", 2, 0))
        self.assertIn("2 messages are in the index", self.mailtraq("index", "rebuild", "alice@here.example").output)
        (shown,) = self.answer("index", "status", "alice@here.example")
        self.assertEqual((shown["messages"], shown["indexed"], shown["texts"]), (2, 2, 2))
        self.assertIn("alice@here.example", self.mailtraq("index", "status").output)
        self.assertEqual(self.answer("verify")["looked_at"]["indexes"], 1)

    def test_left_to_the_server(self) -> None:
        """It is ordered, and made when a server runs."""
        self.mailtraq("index", "rebuild", "alice@here.example")
        self.mailtraq("index", "rebuild", "alice@here.example", "--no-wait")
        self.assertEqual(self.answer("index", "status")[0]["indexed"], 0)

    def test_nobody(self) -> None:
        """An account that is not there."""
        self.mailtraq("index", "rebuild", "bob@here.example", code=1)
        self.mailtraq("index", "status", "bob@here.example", code=1)

    def test_not_wanted(self) -> None:
        """A server that keeps no index removes what there is."""
        self.mailtraq("index", "rebuild", "alice@here.example")
        forget_indexes(load(self.file))
        self.assertEqual(SearchIndexes(self.folder / "var" / "search").present(), (set(), set()))

    def test_gone_with_a_restore(self) -> None:
        """A backup has no index, and a restored store none of the mail that was there before."""
        backups = str(self.folder / "backups")
        self.mailtraq("backup", backups)
        self.mailtraq("index", "rebuild", "alice@here.example")
        self.assertFalse(list((self.folder / "backups").rglob("search")))
        self.mailtraq("restore-backup", backups)
        self.assertEqual(SearchIndexes(self.folder / "var" / "search").present(), (set(), set()))

    def test_gone_with_a_purge(self) -> None:
        """What is purged on demand is not in an index any more."""
        self.mailtraq("index", "rebuild", "alice@here.example")
        self.mailtraq("purge", "alice@here.example")
        self.assertEqual(SearchIndexes(self.folder / "var" / "search").present(), (set(), set()))
