"""
The indexer beside a running server: mail is in the index within seconds, and the process comes and goes as it should.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.searchindex import IndexUnavailable, SearchIndexes

from .server import PASSWORD, Server, wait_for

ALICE = "alice@example.test"

# At idle priority it waits for whatever else this machine does.
INDEX_SECONDS = 120.0


class IndexerTests(SynchronousTestCase):
    """One server."""

    def setUp(self) -> None:
        """Start it."""
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.start()
        self.mail = imaplib.IMAP4("127.0.0.1", self.server.imap)
        self.addCleanup(self.leave)
        self.mail.login(ALICE, PASSWORD)
        self.mail.select("INBOX")

    def leave(self) -> None:
        """Close the connection, if it is there."""
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            self.mail.shutdown()

    def append(self, word: str) -> None:
        """A message with a word in it."""
        self.mail.append("INBOX", None, None, f"Subject: x\r\n\r\n{word}\r\n".encode())

    def found(self, word: str) -> list[bytes]:
        """SEARCH TEXT."""
        self.mail.noop()
        return self.mail.search(None, "TEXT", word)[1][0].split()

    def indexed(self) -> int:
        """How many messages are in the index."""
        indexes = SearchIndexes(self.server.folder / "data" / "search")
        with contextlib.suppress(IndexUnavailable), indexes.reading(1) as index:
            return 0 if index is None else index.counts().messages
        return 0

    def indexers(self) -> list[int]:
        """Processes that index this server's store: those that hold the lock."""
        lock = self.server.folder / "data" / "search" / "lock"
        return [
            int(process.name)
            for process in Path("/proc").glob("[0-9]*")
            if process.name.isdecimal() and lock in _open_files(process)
        ]

    def test_keeps_up(self) -> None:
        """New mail is found before and after it is indexed; the process is there again when it was killed."""
        self.append("lorem")
        self.assertEqual(self.found("lorem"), [b"1"])
        wait_for(lambda: self.indexed() == 1, "the first message in the index", INDEX_SECONDS)
        (process,) = self.indexers()
        self.assertEqual(os.sched_getscheduler(process), os.SCHED_IDLE)
        os.kill(process, signal.SIGKILL)
        self.append("ipsum")
        self.assertEqual(self.found("ipsum"), [b"2"])
        wait_for(lambda: self.indexed() == 2, "the second message in the index", INDEX_SECONDS)
        self.assertNotEqual(self.indexers(), [process])
        self.assertIn("indexer-ended", self.server.log.read_text())
        told = self.server.mailtraq("index", "rebuild", ALICE).stdout
        self.assertIn("2 messages are in the index", told)
        self.assertEqual((self.found("lorem"), self.found("ipsum"), self.found("dolor")), ([b"1"], [b"2"], []))
        # Whoever started it is gone without a word: so is it.
        self.server.kill()
        wait_for(lambda: not self.indexers(), "the end of the indexer", INDEX_SECONDS)


def _open_files(process: Path) -> set[Path]:
    try:
        return {link.readlink() for link in (process / "fd").iterdir()}
    except OSError:
        return set()
