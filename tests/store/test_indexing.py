"""
The full-text index: what is found with it and without it is the same, and nothing that happens to it changes that.
"""

from __future__ import annotations

import base64
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.store import NewMessage
from mailtraq_py.mail.flags import FLAGGED, SEEN, StoreOperation
from mailtraq_py.mail.search import And, Contains, HasFlag, HeaderContains, Not, Or, SearchKey, TextField
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.attachments import AttachmentLimits, AttachmentText
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.indexing import Indexing
from mailtraq_py.store.narrowing import IndexedMailbox
from mailtraq_py.store.searchindex import SearchIndexes
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
        self.store = Store(f"sqlite:{self.data_dir}/mail.db", self.data_dir)
        run_now(self.store.start())
        self.addCleanup(lambda: run_now(self.store.close()))
        run_now(self.store.administration.add_domain("x.example"))
        self.account = run_now(self.store.administration.add_account("anna@x.example", b"correct horse"))
        self.now = 0.0
        self.assertTrue(self.store.indexes.take())
        self.addCleanup(self.store.indexes.release)
        self.indexing = self.new_indexing()

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

    def is_asked(self) -> None:
        """Have every message's text fail, so that a search that reads one is noticed."""
        self.patch(MailboxSearch, "_message", lambda *_: self.fail("a message was read"))


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

        @settings(max_examples=150, deadline=None)
        @given(_keys)
        def same(key: SearchKey) -> None:
            self.assertEqual(self.search_directly(key), self.search(key), key)

        same()

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
