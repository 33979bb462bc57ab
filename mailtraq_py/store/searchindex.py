"""
The full-text index of one account: a file of its own, derived from the mail, which may be thrown away at any time.

    documents   a text that was indexed: a content behind one head
    texts       its trigrams (FTS5: trigram, contentless, detail=none)
    extracts    what was read out of its attachments, for which the message itself is too dear to be asked again
    places      where documents lie: mailbox and UID, which never change
    mailboxes   up to which UID all messages of a mailbox have their place

The index narrows and the message decides. All trigrams of a string stand in every text that holds the string, so what
is found is all there can be, and more. It holds what SEARCH looks at, in the forms in which SEARCH compares
(`searchable`): a test holds both against each other.

Write-ahead log with synchronous=NORMAL: commits wait for no disk, and a power cut may take the last of them back but
never a part of one, so `mailboxes` never says more than is there. One process writes, any may read.
"""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from .sql.rows import Row

_VERSION = 1
_APPLICATION_ID = 0x4D545253  # "MTRS"
_SUFFIX = "db"
_ORDER = "rebuild"
_BUSY_MILLISECONDS = 5000
# Whoever searches does better without the index than waiting for one that runs at idle priority.
_PATIENCE_MILLISECONDS = 100
_LOG_OCTETS = 4 * 1024 * 1024

# No text of these many octets is indexed: its message is a candidate for every key.
TEXT_MAX_OCTETS = 8 * 1024 * 1024

# As many trigrams of a key are asked for; more would hardly narrow.
_TRIGRAMS_MAX = 24

_SCHEMA = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    content_id INTEGER NOT NULL,
    head INTEGER NOT NULL,
    is_whole INTEGER NOT NULL,
    UNIQUE (content_id, head)
);
CREATE INDEX partial_documents ON documents (number) WHERE NOT is_whole;
CREATE TABLE places (
    mailbox_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, number, uid)
) WITHOUT ROWID;
CREATE TABLE mailboxes (
    mailbox_id INTEGER PRIMARY KEY,
    uid_validity INTEGER NOT NULL,
    last_uid INTEGER NOT NULL,
    messages INTEGER NOT NULL
);
CREATE TABLE unmerged (documents INTEGER NOT NULL);
INSERT INTO unmerged VALUES (0);
CREATE TABLE extracts (number INTEGER PRIMARY KEY, octets BLOB NOT NULL);
CREATE INDEX extract_numbers ON extracts (number);
CREATE VIRTUAL TABLE texts USING fts5 (
    text, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram case_sensitive 1'
);
"""

# A merge step writes at most about so many pages; between steps others have their turn.
_MERGE_PAGES = 200


GRACE_SECONDS = 0.5
"""Between the order and the end of a file: whoever did not see the order has its log open by then."""


class IndexUnavailable(Exception):
    """The index cannot be used just now: it is busy, the disk is full, or it is not there yet."""


class IndexDamaged(IndexUnavailable):
    """The file cannot be used and has to be made anew."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be indexed. `text` is in the form of `searchable`, None where it is too long to be indexed."""

    content_id: int
    head: int
    text: str | None
    extract: str = ""


@dataclass(frozen=True, slots=True)
class IndexCounts:
    """How much an index holds. `messages` are places: one document may lie in several mailboxes."""

    documents: int
    messages: int
    extracts: int
    octets: int


def searchable(text: str) -> str:
    """A folded text as its trigrams are taken: what a tokenizer might stumble over is replaced, one sign for one."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def match_expression(text: str) -> str | None:
    """What finds all documents that may hold a folded text; None where the text is too short to be asked for."""
    text = searchable(text)
    trigrams = list(dict.fromkeys(text[place : place + 3] for place in range(len(text) - 2)))
    if len(trigrams) > _TRIGRAMS_MAX:
        step = len(trigrams) / _TRIGRAMS_MAX
        trigrams = [trigrams[int(number * step)] for number in range(_TRIGRAMS_MAX)]
    return " AND ".join(['"' + trigram.replace('"', '""') + '"' for trigram in trigrams]) or None


class SearchIndex:
    """
    One account's index.

    Args:
        path: the file; made when missing, if it is to be written.
        writes: whether this is the one process that writes.

    Raises:
        IndexDamaged, IndexUnavailable: from every method.
    """

    def __init__(self, path: Path, writes: bool = False) -> None:
        self._path = path
        if writes and not path.exists():
            _create_private(path)
        with _damage():
            self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                self._prepare(writes)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file; its log stays beside it until `settle`."""
        self._connection.close()

    # -- reading ----------------------------------------------------------------------------------------------

    def last_uid(self, mailbox_id: int, uid_validity: int) -> int:
        """The UID up to which a mailbox is indexed, 0 for one that is not."""
        rows = self._rows(
            "SELECT last_uid FROM mailboxes WHERE mailbox_id = ? AND uid_validity = ?", (mailbox_id, uid_validity)
        )
        return int(rows[0][0]) if rows else 0

    def find(self, mailbox_id: int, expression: str) -> set[int]:
        """UIDs of a mailbox's messages that may match (`match_expression`)."""
        rows = self._rows(
            "SELECT p.uid FROM texts(?2) t CROSS JOIN places p ON p.mailbox_id = ?1 AND p.number = t.rowid UNION ALL"
            " SELECT p.uid FROM documents d CROSS JOIN places p ON p.mailbox_id = ?1 AND p.number = d.number"
            " WHERE NOT d.is_whole",
            (mailbox_id, expression),
        )
        return {row[0] for row in rows}

    def extracted(self, mailbox_id: int) -> set[int]:
        """UIDs of a mailbox's messages that have an extract."""
        rows = self._rows(
            "SELECT p.uid FROM extracts e CROSS JOIN places p ON p.mailbox_id = ? AND p.number = e.number",
            (mailbox_id,),
        )
        return {row[0] for row in rows}

    def extract(self, content_id: int, head: int) -> str:
        """What was read out of a document's attachments, folded."""
        rows = self._rows(
            "SELECT e.octets FROM documents d JOIN extracts e ON e.number = d.number"
            " WHERE d.content_id = ? AND d.head = ?",
            (content_id, head),
        )
        with _damage():
            return zlib.decompress(rows[0][0]).decode() if rows else ""

    def counts(self) -> IndexCounts:
        """How much it holds."""
        ((documents, messages, extracts),) = self._rows(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM places), (SELECT count(*) FROM extracts)"
        )
        octets = sum(path.stat().st_size for path in index_files(self._path) if path.exists())
        return IndexCounts(documents, messages, extracts, octets)

    def check(self) -> str:
        """What is wrong with it, "" where nothing is."""
        try:
            for (line,) in self._rows("PRAGMA integrity_check"):
                if line != "ok":
                    return str(line)
            (strays,) = self._rows(
                "SELECT count(*) FROM places p LEFT JOIN documents d ON d.number = p.number WHERE d.number IS NULL"
            )
        except IndexDamaged as error:
            return str(error)
        return "" if strays == (0,) else f"{strays[0]} messages without their document"

    def some_places(self, most: int) -> list[Row]:
        """(mailbox id, uid, document's number) of at most so many messages of whole documents, from all over it."""
        ((last,),) = self._rows("SELECT coalesce(max(number), 0) FROM documents")
        return self._rows(
            "SELECT p.mailbox_id, p.uid, p.number FROM places p JOIN documents d ON d.number = p.number"
            " WHERE d.is_whole AND d.number % ? = 0 LIMIT ?",
            (max(1, last // most), most),
        )

    def holds(self, number: int, expression: str) -> bool:
        """Whether a document may match."""
        return bool(self._rows("SELECT 1 FROM texts(?) WHERE rowid = ?", (expression, number)))

    # -- writing ----------------------------------------------------------------------------------------------

    def marks(self) -> dict[int, tuple[int, int, int]]:
        """UIDVALIDITY, last UID and number of places of each mailbox that is indexed."""
        rows = self._rows("SELECT mailbox_id, uid_validity, last_uid, messages FROM mailboxes")
        return {row[0]: (row[1], row[2], row[3]) for row in rows}

    def known(self, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """Numbers of those documents (content id, head) that are there."""
        found = {}
        for key in keys:
            rows = self._rows("SELECT number FROM documents WHERE content_id = ? AND head = ?", key)
            if rows:
                found[key] = rows[0][0]
        return found

    def add(
        self,
        mailbox_id: int,
        uid_validity: int,
        documents: Sequence[Document],
        places: Sequence[tuple[int, int, int]],
        last_uid: int,
    ) -> None:
        """
        Index messages, in one transaction: their documents, their places and the mailbox's mark.

        Args:
            documents: those that are not there yet.
            places: (uid, content id, head) of messages behind the mark; their documents are there or given.
            last_uid: the mark: every message up to it has its place now.
        """
        with self._transaction():
            for document in documents:
                self._add(document)
            if places:
                self._many(
                    "INSERT INTO places (mailbox_id, number, uid)"
                    " SELECT ?, number, ? FROM documents WHERE content_id = ? AND head = ? ON CONFLICT DO NOTHING",
                    [(mailbox_id, *place) for place in places],
                )
            self._rows(
                "INSERT INTO mailboxes (mailbox_id, uid_validity, last_uid, messages) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (mailbox_id) DO UPDATE SET uid_validity = ?2, last_uid = ?3, messages = messages + ?4",
                (mailbox_id, uid_validity, last_uid, len(places)),
            )

    def forget_mailbox(self, mailbox_id: int) -> None:
        """Forget the places of a mailbox; `forget_strays` follows."""
        with self._transaction():
            self._rows("DELETE FROM places WHERE mailbox_id = ?", (mailbox_id,))
            self._rows("DELETE FROM mailboxes WHERE mailbox_id = ?", (mailbox_id,))

    def forget_gone(self, mailbox_id: int, uids: set[int]) -> None:
        """Forget the places of a mailbox's messages other than `uids`; `forget_strays` follows."""
        places = self._rows("SELECT number, uid FROM places WHERE mailbox_id = ?", (mailbox_id,))
        gone = [(mailbox_id, *place) for place in places if place[1] not in uids]
        with self._transaction():
            self._many("DELETE FROM places WHERE mailbox_id = ? AND number = ? AND uid = ?", gone)
            self._rows(
                "UPDATE mailboxes SET messages = ? WHERE mailbox_id = ?", (len(places) - len(gone), mailbox_id)
            )

    def forget_strays(self) -> int:
        """
        Forget documents without a place.

        Returns:
            how many; their trigrams are there until `merge` has nothing more to do.
        """
        strays = self._rows("SELECT number FROM documents EXCEPT SELECT number FROM places")
        with self._transaction():
            self._many("DELETE FROM texts WHERE rowid = ?", strays)
            self._many("DELETE FROM extracts WHERE number = ?", strays)
            self._many("DELETE FROM documents WHERE number = ?", strays)
            self._rows("UPDATE unmerged SET documents = documents + ?", (len(strays),))
        return len(strays)

    def is_unmerged(self) -> bool:
        """Whether there may be trigrams of documents that are forgotten."""
        return self._rows("SELECT documents FROM unmerged") != [(0,)]

    def merge(self) -> Iterator[None]:
        """
        Bring all trigrams together, step by step, which is when those of forgotten documents go.

        What a step leaves free on the disk is overwritten; the last one writes the log back and cuts it off.
        """
        pages = -_MERGE_PAGES
        ((forgotten,),) = self._rows("SELECT documents FROM unmerged")
        while True:
            before = self._connection.total_changes()
            self._rows("INSERT INTO texts (texts, rank) VALUES ('merge', ?)", (pages,))
            if self._connection.total_changes() - before < 2:
                break
            pages = _MERGE_PAGES
            yield
        self._rows("UPDATE unmerged SET documents = documents - ?", (forgotten,))
        self._rows("PRAGMA incremental_vacuum")
        self.settle()

    def settle(self) -> None:
        """Bring it to disk in one file."""
        with _damage():
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    # ---------------------------------------------------------------------------------------------------------

    def _prepare(self, writes: bool) -> None:
        connection = self._connection
        connection.set_busy_timeout(_BUSY_MILLISECONDS if writes else _PATIENCE_MILLISECONDS)
        # Otherwise each last close would write the log back and wait for the disk.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if not writes:
            connection.execute("PRAGMA query_only = 1")
        elif not connection.execute("SELECT count(*) FROM sqlite_schema").get:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            with connection:
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        if writes:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = 1")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_OCTETS}")
        found = connection.pragma("application_id"), connection.pragma("user_version")
        if found == (0, 0):
            raise IndexUnavailable("it is empty")
        if found != (_APPLICATION_ID, _VERSION):
            raise IndexDamaged(f"its version is {found[1]}, not {_VERSION}")

    def _add(self, document: Document) -> None:
        is_whole = document.text is not None
        ((number,),) = self._rows(
            "INSERT INTO documents (content_id, head, is_whole) VALUES (?, ?, ?) RETURNING number",
            (document.content_id, document.head, is_whole),
        )
        if is_whole:
            self._rows("INSERT INTO texts (rowid, text) VALUES (?, ?)", (number, document.text))
        if document.extract:
            octets = zlib.compress(document.extract.encode())
            self._rows("INSERT INTO extracts (number, octets) VALUES (?, ?)", (number, octets))

    def _rows(self, statement: str, bindings: Row = ()) -> list[Row]:
        with _damage():
            return self._connection.execute(statement, bindings).fetchall()

    def _many(self, statement: str, bindings: Sequence[Row]) -> None:
        with _damage():
            self._connection.executemany(statement, bindings)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _damage():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


class SearchIndexes:
    """
    The indexes of all accounts, `data_dir/search/ACCOUNT.db`.

    Who finds one damaged condemns it: a file ACCOUNT.rebuild beside it, which ends its use at once and has the process
    that writes make it anew. Only that process removes files that may be open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = -1

    def path(self, account_id: int) -> Path:
        """Where an account's index lies."""
        return self.folder / f"{account_id}.{_SUFFIX}"

    @contextmanager
    def reading(self, account_id: int) -> Iterator[SearchIndex | None]:
        """
        An account's index while the context lasts, None where there is none. One that turns out to be damaged is
        condemned.

        Raises:
            IndexDamaged, IndexUnavailable: also out of the context.
        """
        if self.is_condemned(account_id) or not self.path(account_id).exists():
            yield None
            return
        try:
            index = SearchIndex(self.path(account_id))
            try:
                yield index
            finally:
                index.close()
        except IndexDamaged:
            self.condemn(account_id)
            raise

    def open_to_write(self, account_id: int) -> SearchIndex:
        """
        An account's index for the one process that writes; made anew where it is condemned or damaged.

        Raises:
            IndexUnavailable: see there.
        """
        path = self.path(account_id)
        if self.is_condemned(account_id) or not path.exists():
            self._replace(account_id)
        try:
            return SearchIndex(path, writes=True)
        except IndexDamaged:
            self.condemn(account_id)
            self._replace(account_id)
            return SearchIndex(path, writes=True)

    def _replace(self, account_id: int) -> None:
        """Make room for another file of the same name. Who has just opened the old one must not read the new log."""
        if self.path(account_id).exists():
            time.sleep(GRACE_SECONDS)
        self.remove(account_id)

    def condemn(self, account_id: int) -> None:
        """Have an account's index made anew."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._order(account_id).touch(mode=0o600)

    def discard(self, account_id: int) -> None:
        """Have an account's index made anew, and the old one gone: now, if no process writes, else soon."""
        self.condemn(account_id)
        if self.take():
            try:
                self.remove(account_id)
            finally:
                self.release()

    def is_condemned(self, account_id: int) -> bool:
        """Whether an account's index is to be made anew."""
        return self._order(account_id).exists()

    def remove(self, account_id: int) -> None:
        """Remove an account's index; for the process that writes, or while none does."""
        for path in (*index_files(self.path(account_id)), self._order(account_id)):
            path.unlink(missing_ok=True)

    def present(self) -> tuple[set[int], set[int]]:
        """Accounts that have an index, and those whose index is to be made anew."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return set(), set()
        found = {suffix: set[int]() for suffix in (_SUFFIX, _ORDER)}
        for stem, _, suffix in (name.partition(".") for name in names):
            if suffix in found and stem.isdecimal():
                found[suffix].add(int(stem))
        return found[_SUFFIX], found[_ORDER]

    def take(self) -> bool:
        """
        Become the one process that writes, until it ends.

        Returns:
            whether no other one does.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock < 0:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
        return True

    def release(self) -> None:
        """Let another process write. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _order(self, account_id: int) -> Path:
        return self.folder / f"{account_id}.{_ORDER}"


def index_files(path: Path) -> tuple[Path, ...]:
    """All files of an index, the order in which they may go: its log is nothing without it."""
    return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, readable by its owner alone; -wal and -shm take their mode from it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise IndexUnavailable(str(error)) from error


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, zlib.error) as error:
        raise IndexDamaged(str(error)) from error
    except apsw.Error as error:
        raise IndexUnavailable(str(error)) from error
