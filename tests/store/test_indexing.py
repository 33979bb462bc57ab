"""
The full-text index: what is found with it and without it is the same, and nothing that happens to it changes that.
"""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import tempfile
import unittest.mock
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.store import Acceptance, LocalDelivery, NewContent, NewMessage
from mailtraq_py.mail.flags import FLAGGED, SEEN, StoreOperation
from mailtraq_py.mail.search import And, Contains, HasFlag, HeaderContains, Not, Or, SearchKey, TextField
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store import indexing as indexing_module
from mailtraq_py.store import searchindex as searchindex_module
from mailtraq_py.store import searching as searching_module
from mailtraq_py.store.attachments import AttachmentLimits, AttachmentText
from mailtraq_py.store.content import Content
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.indexing import FORGET_SECONDS, PUT_OFF_SECONDS, Indexing
from mailtraq_py.store.narrowing import IndexedMailbox
from mailtraq_py.store.searchindex import Document, SearchIndex, SearchIndexes, index_files
from mailtraq_py.store.searching import MailboxSearch
from mailtraq_py.store.store import Store
from mailtraq_py.store.workers import AtOnce
from mailtraq_py.wire.imap.structure import describe

EVERY = UIDSet(((1, 0xFFFFFFFF),))

# What case folding, composition and tokenizers trip over.
_SYLLABLES = (
    "ab", "BA", "straße", "STRASSE", "İ", "ı", "é", "e\u0301", "\u0301", "K", "σΣς", "ﬁ", "日本語", "語", "Ω", "\u2126",
    " ", "\r\n ",
    '"', "''", "*", "\x01", "\ufffe", "\u037e", ";", "😀", "x-", "=?", "<b>", "&eacute;", "</p>", "0", "12",
)  # fmt: skip


def _text(chance: random.Random, most: int) -> str:
    return "".join(chance.choice(_SYLLABLES) for _ in range(chance.randrange(most)))


def _messages(chance: random.Random) -> Iterator[bytes]:
    """Messages of all kinds, in charsets and encodings of all kinds."""
    for number in range(40):
        word = base64.b64encode(_text(chance, 12).encode()).decode()
        header = f"Subject: {_text(chance, 6)} =?utf-8?b?{word}?=\r\nMessage-ID: <{number}@x.example>\r\n"
        header += f"X-{chance.choice('ABC')}bc: {_text(chance, 8)}\r\nTo: {_text(chance, 3)} <Anna@X.example>\r\n"
        charset = chance.choice(("utf-8", "iso-8859-1", "utf-16", "utf-7", "gb18030", "x-none"))
        kind = chance.choice(("plain", "html", "html"))
        body = _text(chance, 60).encode(charset if charset not in ("x-none", "utf-7") else "utf-8", "replace")
        encoding = chance.choice(("8bit", "base64"))
        part = f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        part += base64.encodebytes(body) if encoding == "base64" else body
        if number % 3 == 0:
            part = b"--q\r\n" + part + b"\r\n--q\r\n\r\nabbaab\r\n--q--\r\n"
            part = b"Content-Type: multipart/mixed; boundary=q\r\n\r\n" + part
        yield header.encode() + part


class IndexCase(SynchronousTestCase):
    """A store with an account, and the process that indexes it."""

    def setUp(self) -> None:
        """Open both."""
        self.data_dir = tempfile.mkdtemp(prefix="index-")
        self.addCleanup(shutil.rmtree, self.data_dir)
        kept = DeletedSettings(keep_seconds=86400.0)
        self.store = Store(self.url(), self.data_dir, deleted=kept)
        run_now(self.store.start())
        self.addCleanup(lambda: run_now(self.store.close()))
        run_now(self.store.administration.add_domain("x.example"))
        self.account = run_now(self.store.administration.add_account("anna@x.example", b"correct horse"))
        self.now = 0.0
        self.patch(searchindex_module, "GRACE_SECONDS", 0.0)
        self.assertTrue(self.store.indexes.take())
        self.addCleanup(self.store.indexes.release)
        self.indexing = self.new_indexing()

    def url(self) -> str:
        """Of the store."""
        return f"sqlite:{self.data_dir}/mail.db"

    def new_indexing(self) -> Indexing:
        """As a process that has just begun."""
        reader = AttachmentText(AttachmentLimits())
        return Indexing(self.store.database, self.store.content, self.store.indexes, reader, lambda: self.now)

    def index(self) -> None:
        """Bring the index up to date."""
        while self.indexing.look():
            pass
        while self.indexing.tidy():
            pass

    def append(self, *messages: bytes, mailbox: str = "INBOX") -> None:
        """Append messages."""
        new = []
        for octets in messages:
            spool = self.store.content.spool()
            spool.write(octets)
            new.append(NewMessage(spool, describe(spool.chunks()), frozenset(), 1))
        run_now(self.store.mailboxes(self.account.id).append(mailbox, new))

    def search(self, key: SearchKey, mailbox: str = "INBOX") -> list[int]:
        """As IMAP does."""
        return list(run_now(run_now(self.store.mailboxes(self.account.id).open(mailbox)).search(key, 0.0)))

    def search_directly(self, key: SearchKey, mailbox: str = "INBOX") -> list[int]:
        """The same by reading all messages."""
        box = run_now(self.store.mailboxes(self.account.id).open(mailbox))
        where = IndexedMailbox(self.account.id, box.id, box.uid_validity)
        nothing = SearchIndexes(Path(self.data_dir, "none"))
        return list(
            run_now(MailboxSearch(self.store.database, self.store.content, AtOnce(), nothing, where).find(key))
        )

    def text(self, wanted: str) -> list[int]:
        """SEARCH TEXT."""
        return self.search(Contains(TextField.TEXT, wanted))

    def counts(self) -> tuple[int, int]:
        """Documents and messages in the index."""
        with self.store.indexes.reading(self.account.id) as index:
            assert index is not None
            self.assertEqual("", index.check())
            return index.counts().documents, index.counts().messages


_needles = st.builds(
    lambda pieces, start, length: "".join(pieces)[start : start + length],
    st.lists(st.sampled_from(_SYLLABLES), min_size=1, max_size=6),
    st.integers(0, 3),
    st.integers(1, 12),
).filter(bool)
_leaves = st.one_of(
    st.builds(Contains, st.sampled_from(TextField), _needles),
    st.builds(HeaderContains, st.sampled_from(("x-abc", "X-BBC", "Message-ID")), st.one_of(_needles, st.just(""))),
    st.builds(HasFlag, st.sampled_from((SEEN, FLAGGED))),
)
_keys = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(Or, inner, inner), st.builds(And, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


class SameTests(IndexCase):
    """With the index or without it."""

    examples = 150

    def test_same(self) -> None:
        """Whatever is asked of whatever mail, also where a part of it is not indexed yet."""
        chance = random.Random(4)
        messages = list(_messages(chance))
        self.append(*messages[:32])
        box = run_now(self.store.mailboxes(self.account.id).open("INBOX"))
        run_now(box.store(UIDSet(((3, 30),)), StoreOperation.ADD, frozenset((SEEN,))))
        self.index()
        self.append(*messages[32:])
        self.assertEqual((32, 32), self.counts())

        @settings(max_examples=self.examples, deadline=None)
        @given(_keys)
        def same(key: SearchKey) -> None:
            self.assertEqual(self.search_directly(key), self.search(key), key)

        same()



class SliceTests(IndexCase):
    """Pieces of what is there."""

    def test_slices_of_subjects(self) -> None:
        """What stands in a subject is found by any piece of it."""
        messages = list(_messages(random.Random(5)))[:20]
        self.append(*messages)
        self.index()
        hits = 0
        for octets in messages:
            subject = describe([octets]).subject
            for place in range(0, len(subject) - 3, 4):
                key = Contains(TextField.TEXT, subject[place : place + 4])
                found = self.search(key)
                self.assertEqual(self.search_directly(key), found)
                hits += len(found)
        self.assertGreater(hits, 50)


class KeepingUpTests(IndexCase):
    """What is in the index, and what is not."""

    def test_copies(self) -> None:
        """A copied or moved message is not read again; one in two mailboxes is found in each."""
        self.append(b"Subject: one\r\n\r\nlorem ipsum\r\n", b"Subject: two\r\n\r\ndolor\r\n")
        boxes = self.store.mailboxes(self.account.id)
        run_now(boxes.create("Other"))
        self.index()
        run_now(run_now(boxes.open("INBOX")).copy(EVERY, "Other"))
        self.patch(indexing_module, "read_document", lambda *_: self.fail("read again"))
        self.index()
        self.assertEqual((2, 4), self.counts())
        self.assertEqual([1], self.search(Contains(TextField.BODY, "ipsum"), "Other"))
        self.assertEqual([1], self.search(Contains(TextField.BODY, "ipsum")))

    def test_heads(self) -> None:
        """What stands before a content for one recipient is his text, and nobody else's."""
        spool = self.store.content.spool()
        spool.write(b"Subject: x\r\n\r\nbody\r\n")
        local = [
            LocalDelivery(self.account.id, "INBOX", f"Delivered-To: {name}@x.example\r\n".encode())
            for name in ("sales", "support")
        ]
        content = NewContent(spool, describe(spool.chunks()), tuple(local))
        run_now(self.store.acceptance.commit(Acceptance("a", 1.0, (content,))))
        self.index()
        self.assertEqual((2, 2), self.counts())
        self.assertEqual([1], self.text("sales@"))
        self.assertEqual([2], self.text("support@x"))
        self.assertEqual([1, 2], self.text("body"))

    def test_nothing_is_read(self) -> None:
        """What the index rules out is not read, and neither is what rows can answer then."""
        self.append(*(f"Subject: number {number}\r\n\r\nlorem\r\n".encode() for number in range(300)))
        self.index()
        self.patch(Content, "readers", lambda *_: self.fail("a message was read"))
        self.assertEqual([], self.text("ipsum"))
        self.assertEqual([], self.search(And((Contains(TextField.TEXT, "ipsum"), HasFlag(SEEN)))))
        fields = (TextField.BODY, "lorem"), (TextField.SUBJECT, "ipsum")
        self.assertEqual([], self.search(And(tuple(Contains(*each) for each in fields))))
        self.assertEqual([38], self.search(Contains(TextField.SUBJECT, "number 37")))

    def test_not(self) -> None:
        """NOT reads only what may hold the string."""
        self.append(*(f"Subject: x\r\n\r\n{word}\r\n".encode() for word in ("lorem", "ipsum", "dolor")))
        self.index()
        asked = []
        look = searching_module._Message._look

        def looked(message: searching_module._Message, key: SearchKey) -> bool:
            asked.append(message._uid)
            return look(message, key)

        self.patch(searching_module._Message, "_look", looked)
        self.assertEqual([1, 3], self.search(Not(Contains(TextField.TEXT, "ipsum"))))
        self.assertEqual([2], asked)

    def test_short(self) -> None:
        """A string of one or two signs is looked for in the messages themselves."""
        self.append("Subject: 語\r\n\r\nab\r\n".encode())
        self.index()
        self.assertEqual([1], self.text("語"))
        self.assertEqual([1], self.text("AB"))
        self.assertEqual([], self.text("x"))

    def test_too_long(self) -> None:
        """A message whose text is too long for the index is a candidate for everything."""
        self.patch(indexing_module, "TEXT_MAX_OCTETS", 100)
        self.append(b"Subject: x\r\n\r\n" + b"lorem " * 100, b"Subject: y\r\n\r\nipsum\r\n")
        self.index()
        self.assertEqual([1], self.text("lorem"))
        self.assertEqual([2], self.text("ipsum"))
        self.assertEqual([], self.text("dolor"))

    def test_expunged(self) -> None:
        """What is gone for good leaves the index with its trigrams; what can be restored stays in it."""
        self.append(b"Subject: x\r\n\r\nkeepthis\r\n", b"Subject: y\r\n\r\nforgetthat\r\n")
        self.index()
        run_now(run_now(self.store.mailboxes(self.account.id).open("INBOX")).remove(UIDSet(((2, 2),))))
        self.now += FORGET_SECONDS + 1
        self.index()
        self.assertEqual((2, 2), self.counts())
        runs = run_now(self.store.undeletion(self.account.id).runs(None))
        run_now(self.store.deleted.purge((run.recoverable_id, run.low) for run in runs))
        self.now += FORGET_SECONDS + 1
        self.index()
        self.assertEqual((1, 1), self.counts())
        octets = b"".join(path.read_bytes() for path in Path(self.data_dir, "search").iterdir())
        self.assertNotIn(b"gett", octets)
        self.assertNotIn("get", self.terms())
        self.assertIn("eep", self.terms())
        self.assertEqual([1], self.text("keepthis"))

    def terms(self) -> set[str]:
        """The trigrams in the index file."""
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab (main, texts, row)")
            return {row[0] for row in connection.execute("SELECT term FROM temp.terms")}

    @property
    def path(self) -> Path:
        """The index file."""
        return self.store.indexes.path(self.account.id)

    def test_account_gone(self) -> None:
        """The index goes with its account."""
        self.append(b"Subject: x\r\n\r\nbody\r\n")
        self.index()
        self.assertTrue(self.path.exists())
        run_now(self.store.administration.delete_account("anna@x.example"))
        self.index()
        self.assertEqual(["lock"], os.listdir(self.path.parent))

    def test_another_uidvalidity(self) -> None:
        """After a restore UIDs are given again: nothing that was indexed under the old ones counts."""
        self.append(b"Subject: x\r\n\r\nlorem\r\n", b"Subject: y\r\n\r\nipsum\r\n")
        self.index()
        with closing(apsw.Connection(f"{self.data_dir}/mail.db")) as connection:
            connection.execute("UPDATE mailboxes SET uid_validity = uid_validity + 1000")
            connection.execute("UPDATE messages SET uid = 3 - uid + 10")
            connection.execute("UPDATE messages SET uid = uid - 10")
        self.assertEqual([2], self.text("lorem"))
        self.index()
        self.assertEqual([2], self.text("lorem"))
        self.assertEqual((2, 2), self.counts())

    def test_private(self) -> None:
        """All its files are for their owner alone."""
        self.append(b"Subject: x\r\n\r\nbody\r\n")
        self.index()
        for path in index_files(self.path):
            self.assertEqual(0o600, path.stat().st_mode & 0o777, path)

    def test_one_writes(self) -> None:
        """A second process waits until the first one ends."""
        other = SearchIndexes(self.store.indexes.folder)
        self.assertFalse(other.take())
        self.store.indexes.release()
        self.assertTrue(other.take())
        other.release()


class DamageTests(IndexCase):
    """Whatever happens to the file, mail is found, and the index is made anew."""

    def setUp(self) -> None:
        """Some mail, indexed."""
        super().setUp()
        self.append(*(f"Subject: n{number}\r\n\r\nlorem {number:03}\r\n".encode() for number in range(60)))
        self.index()
        self.path = self.store.indexes.path(self.account.id)

    def is_whole_again(self) -> None:
        """Found now, and found after the next look, with an index that is right."""
        self.assertEqual([38], self.text("lorem 037"))
        self.indexing = self.new_indexing()
        self.index()
        self.assertEqual([38], self.text("lorem 037"))
        self.assertEqual((60, 60), self.counts())
        self.assertFalse(self.store.indexes.is_condemned(self.account.id))
        self.assertEqual([], list(self.store.verification().damages()))

    def test_lost(self) -> None:
        """The file was removed, with its log or without; or the log alone, where all of it was."""
        for lost in index_files(self.path):
            lost.unlink()
            self.is_whole_again()
        for path in index_files(self.path):
            path.unlink(missing_ok=True)
        self.is_whole_again()

    def test_torn(self) -> None:
        """The file was cut, emptied, or overwritten."""
        whole = self.path.read_bytes()
        chance = random.Random(1)
        for octets in (b"", whole[:100], whole[: len(whole) // 2], b"\0" * len(whole), b"garbage" * 5000):
            self.path.write_bytes(octets)
            self.is_whole_again()
        for _ in range(4):
            torn = bytearray(self.path.read_bytes())
            place = chance.randrange(4096, len(torn))
            torn[place : place + 600] = chance.randbytes(600)
            self.path.write_bytes(torn)
            damages = [damage for damage in self.store.verification().damages() if damage.kind == "index"]
            for damage in damages:
                run_now(self.store.verification().repair(damage))
            self.is_whole_again()

    def test_verify(self) -> None:
        """A text that is not in the index is damage, and repaired."""
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute("DELETE FROM texts WHERE rowid = 38")
        (damage,) = self.store.verification().damages()
        self.assertEqual(("index", "the text of 1/38 is not in it"), (damage.kind, damage.detail))
        run_now(self.store.verification().repair(damage))
        self.is_whole_again()

    def test_another_version(self) -> None:
        """An index of another program version is made anew."""
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute("PRAGMA user_version = 99")
        self.is_whole_again()

    def test_half_done(self) -> None:
        """A process that ends between two transactions, or within one, leaves an index that says what it holds."""
        self.store.indexes.condemn(self.account.id)
        chance = random.Random(2)
        for _ in range(4):
            left = chance.randrange(1, 40)
            process = os.fork()
            if process == 0:
                self._index_and_die(left)
            os.waitpid(process, 0)
            self.assertEqual([38], self.text("lorem 037"))
        self.is_whole_again()

    def _index_and_die(self, left: int) -> None:
        """In a child: index with small transactions, and be killed in the middle of one."""
        try:
            store = Store(f"sqlite:{self.data_dir}/mail.db", self.data_dir)
            run_now(store.start())
            indexing_module._SLICE = 7
            add = SearchIndex._add
            count = [left]

            def counting(index: SearchIndex, document: Document) -> None:
                count[0] -= 1
                if not count[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                add(index, document)

            SearchIndex._add = counting
            Indexing(store.database, store.content, store.indexes, AttachmentText(AttachmentLimits()), float).look()
        finally:
            os._exit(1)

    def test_disk_full(self) -> None:
        """An index that cannot be written hurts nothing, and is brought up to date when it can be."""
        words = base64.encodebytes(random.Random(3).randbytes(100_000))
        self.append(b"Subject: new\r\n\r\nipsum\r\n" + words)
        connect = SearchIndex._prepare

        def full(index: SearchIndex, writes: bool) -> None:
            connect(index, writes)
            if writes:
                index._connection.execute("PRAGMA max_page_count = 1")

        with unittest.mock.patch.object(SearchIndex, "_prepare", full):
            self.index()
        self.assertEqual([61], self.text("ipsum"))
        self.assertEqual((60, 60), self.counts())
        self.append(b"Subject: newer\r\n\r\nipsum\r\n")
        self.index()
        self.assertEqual((60, 60), self.counts())
        self.now += PUT_OFF_SECONDS
        self.index()
        self.assertEqual((62, 62), self.counts())
        self.assertEqual([61, 62], self.text("ipsum"))
