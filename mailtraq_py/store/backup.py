"""
Backups of a store: made while servers run, restored while none does.

    DIR/20261122T060000Z/     mail.map, recent.map, pages/ (`packs.py`), content/XX/ID; backup.json, which says it is
                              whole, comes last
    DIR/20261122T060000Z.new  one that is under way, or was given up

Content files never change, so one that the newest backup in DIR has already is linked from there, and so are the pages
of databases that did not change; what is copied is held against its SHA-256. Files are taken before the database and
again after it, because a message that is deleted in between takes its file along; where one came and went in that very
time, the copied database forgets it. All this rests as long as it works, because a server runs beside it.

A restored store gives all mailboxes another UIDVALIDITY: mail programs remember UIDs that it will give again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from mailtraq_py import __version__

from .content import content_path
from .disk import Disk
from .migrate import migrate, schema_of
from .packs import DamagedPack, PackedFile
from .sql import restoring
from .sql.rows import Cursor, Row, every
from .sql.verify import check_table, file_contents, list_tables
from .sqlite import Connections
from .throttle import Throttle
from .verification import Progress

MAIN = "mail.db"
RECENT = "recent.db"
MANIFEST = "backup.json"
_UNDER_WAY = ".new"

_NAMES = {MAIN: "mail", RECENT: "recent"}
_PAGES_AT_ONCE = 200
_STEPS_OF_SQLITE = 1000
_CHUNK_OCTETS = 1 << 20

T = TypeVar("T")


class BackupFailed(Exception):
    """No backup was made, or none restored; the message is a sentence for the administrator."""


@dataclass(frozen=True, slots=True)
class Backup:
    """
    A backup that is whole. `linked` and `copied` are numbers of content files, `octets` what was copied, database
    included; `damaged` are contents whose octets were not right already when they were copied.
    """

    name: str
    version: str
    made: float
    messages: int
    queued: int
    linked: int
    copied: int
    octets: int
    damaged: tuple[str, ...] = ()


def list_backups(folder: Path) -> list[Backup]:
    """Those of a folder, the oldest first."""
    backups = []
    for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
        if manifest.parent.suffix != _UNDER_WAY:
            raw: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
            backups.append(Backup(**{**raw, "damaged": tuple(raw["damaged"])}))
    return backups


def make_backup(
    database: Path,
    data_dir: Path,
    folder: Path,
    now: float,
    progress: Progress = lambda *_: None,
    throttle: Throttle | None = None,
) -> Backup:
    """
    Copy a store: what is not in the last backup, and links to what is.

    Args:
        database: the main file; `recent.db` lies beside it.
        data_dir: where `content` lies.
        folder: where backups go; made when missing.
        throttle: how much it rests; half of the time where None.

    Raises:
        BackupFailed, DamagedPack, OSError, apsw.Error: there is no new backup; the older ones are as they were.
    """
    Disk().make_folder(folder)
    earlier = list_backups(folder)
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    if any(backup.name == name for backup in earlier):
        raise BackupFailed(f"{folder / name} exists already")
    for given_up in folder.glob(f"*{_UNDER_WAY}"):
        shutil.rmtree(given_up)
    target = folder / f"{name}{_UNDER_WAY}"
    target.mkdir(mode=0o700)
    throttle = throttle or Throttle()
    last = folder / earlier[-1].name if earlier else None
    files = _Files(data_dir / "content", target / "content", last / "content" if last else None)
    live = list(_content_files(files.source))
    for number, file in enumerate(live, 1):
        files.take(file)
        throttle.rest()
        progress("files", number, len(live))
    copy = PackedFile(target, _NAMES[MAIN], _earlier_pages(last, MAIN), throttle)
    recent = PackedFile(target, _NAMES[RECENT], _earlier_pages(last, RECENT), throttle)
    with closing(copy), closing(recent):
        taken = _take_pages(database, copy, throttle, progress, _take_stock)
        _take_pages(database.parent / RECENT, recent, throttle, lambda *_: None, lambda _: None)
        messages, queued, damaged = _complete(files, database, copy, taken)
        octets = copy.save() + recent.save()
        copy.verify()
        recent.verify()
    backup = Backup(
        name, __version__, now, messages, queued, files.linked, files.copied, octets + files.octets, tuple(damaged)
    )
    files.sync()
    _write(target / MANIFEST, json.dumps(asdict(backup), indent=2).encode())
    Disk().sync_folder(target)
    target.rename(folder / name)
    Disk().sync_folder(folder)
    return backup


def try_upgrade(database: Path, folder: Path, progress: Progress = lambda *_: None) -> list[tuple[str, int, int]]:
    """
    Bring a copy of a store up to date, and throw it away.

    Args:
        database: the main file; `recent.db` lies beside it.
        folder: where there is room for the copy.

    Returns:
        (file, schema, schema that it would have) of both.

    Raises:
        StoreRefused, BackupFailed, apsw.Error: what would stop the upgrade.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="upgrade-", dir=folder) as holder:
        for path, kind in ((database, "main"), (database.parent / RECENT, "recent")):
            copy = Path(holder, path.name)
            _copy_database(path, copy, progress)
            before, newest = schema_of(str(copy), kind)
            with closing(Connections(str(copy))) as connections:
                migrate(connections, kind)
                _look_at(connections.writer)
            found.append((path.name, before, max(before, newest)))
    return found


def restore_backup(
    source: Path,
    database: Path,
    data_dir: Path,
    now: float,
    progress: Progress = lambda *_: None,
    *,
    renew_uids: bool = True,
    keep_queue: bool = True,
) -> Path | None:
    """
    Put a backup in the place of a store that no process has open.

    Everything is copied and checked before anything of the store is touched.

    Args:
        source: the backup.
        renew_uids: give mailboxes other UIDVALIDITYs; needed unless nothing was changed since the backup.
        keep_queue: whether what waited to leave then is sent, perhaps again.

    Returns:
        where the store lies that was there before, None where there was none.

    Raises:
        BackupFailed: the backup is damaged; nothing has happened.
    """
    disk = Disk()
    disk.make_folder(data_dir)
    disk.make_folder(database.parent)
    fresh = data_dir / "restore.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    for name in (MAIN, RECENT):
        try:
            with closing(PackedFile.read(source, _NAMES[name])) as packed:
                packed.extract(fresh / name, progress)
        except (DamagedPack, OSError) as error:
            shutil.rmtree(fresh)
            raise BackupFailed(str(error)) from None
    with closing(Connections(str(fresh / MAIN))) as connections:
        _look_at(connections.writer)
        migrate(connections, "main")
        cursor = connections.writer.cursor()
        files = _Files(source / "content", fresh / "content", None)
        wanted = file_contents(cursor)
        for number, row in enumerate(wanted, 1):
            if not files.take(content_path(files.source, row[0])) or not files.is_right(row):
                shutil.rmtree(fresh)
                raise BackupFailed(f"{source}: content {row[0]:016x} is missing or damaged")
            progress("files", number, len(wanted))
        files.sync()
        with connections.writer:
            if not keep_queue:
                restoring.forget_queue(cursor)
            if renew_uids:
                above = max(int(now), restoring.highest_uid_validity(cursor), _highest_of(database))
                restoring.renew_uid_validities(cursor, above)
        connections.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    return _exchange(fresh, database, data_dir, now)


class _Files:
    """
    Content files on their way from one folder to another.

    Args:
        source, target: folders of content files.
        earlier: a folder whose files may be linked.
    """

    def __init__(self, source: Path, target: Path, earlier: Path | None) -> None:
        self.source = source
        self.target = target
        self.linked = self.copied = self.octets = 0
        self._earlier = earlier
        self._digests: dict[str, bytes] = {}
        self._folders: set[Path] = set()

    def take(self, file: Path) -> bool:
        """Link or copy a file of `source`; False where it is gone."""
        inner = file.relative_to(self.source)
        target = self.target / inner
        if target.parent not in self._folders:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folders.add(target.parent)
        try:
            if self._earlier is not None and self._link(file, self._earlier / inner, target):
                return True
            self._copy(file, target)
        except FileNotFoundError:
            return False
        return True

    def is_right(self, row: Row) -> bool:
        """Whether a file that was taken is the content (id, octets, SHA-256)."""
        content_id, octets, sha256 = row
        path = content_path(self.target, content_id)
        digest = self._digests.get(path.name)
        return path.stat().st_size == octets and (digest is None or digest == sha256)

    def sync(self) -> None:
        """Bring the names to disk."""
        for folder in (*self._folders, *({self.target, self.target.parent} if self._folders else ())):
            Disk().sync_folder(folder)

    def _link(self, file: Path, earlier: Path, target: Path) -> bool:
        try:
            if earlier.stat().st_size != file.stat().st_size:
                return False
            os.link(earlier, target)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno in (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOTSUP):
                return False
            raise
        self.linked += 1
        return True

    def _copy(self, file: Path, target: Path) -> None:
        digest = hashlib.sha256()
        with open(file, "rb", buffering=0) as source:
            descriptor = Disk().new_file(target)
            try:
                while chunk := source.read(_CHUNK_OCTETS):
                    digest.update(chunk)
                    self.octets += len(chunk)
                    Disk().write(descriptor, chunk)
                Disk().sync(descriptor)
            finally:
                os.close(descriptor)
        self._digests[target.name] = digest.digest()
        self.copied += 1


def _content_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for inner in sorted(folder.iterdir()):
            yield from (file for file in inner.iterdir() if len(file.name) == 16)


def _copy_database(source: Path, target: Path, progress: Callable[[str, int, int], None]) -> int:
    """
    Copy through SQLite, one instant of it, in steps; returns the octets.

    The source's read transaction stays open, or each commit of the server would begin the copy anew.
    """
    with (
        closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)) as live,
        closing(apsw.Connection(str(target))) as copy,
    ):
        target.chmod(0o600)
        live.set_busy_timeout(10_000)
        live.execute("BEGIN")
        live.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        with copy.backup("main", live, "main") as backup:
            while not backup.done:
                backup.step(_PAGES_AT_ONCE)
                progress("database", backup.page_count - backup.remaining, backup.page_count)
        live.execute("ROLLBACK")
        # One file, that opens without a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    return target.stat().st_size


@dataclass(frozen=True, slots=True)
class _Stock:
    """What the copied instant of a database holds: (id, octets, SHA-256) of contents in files, and counts."""

    files: tuple[Row, ...]
    messages: int
    queued: int


def _take_stock(cursor: Cursor) -> _Stock:
    [(messages, queued)] = every(
        cursor,
        "SELECT (SELECT coalesce(sum(messages), 0) FROM mailboxes WHERE state = 'open'), (SELECT count(*) FROM queue)",
    )
    return _Stock(tuple(file_contents(cursor)), messages, queued)


def _earlier_pages(backup: Path | None, name: str) -> PackedFile | None:
    """A database of the last backup; None where it cannot be gone on from, and all is copied anew."""
    if backup is None:
        return None
    try:
        return PackedFile.read(backup, _NAMES[name])
    except (DamagedPack, OSError):
        return None


def _take_pages(
    source: Path,
    copy: PackedFile,
    throttle: Throttle,
    progress: Callable[[str, int, int], None],
    ask: Callable[[Cursor], T],
) -> T:
    """
    Copy one instant of a database, look at its pages, and ask it something.

    The read transaction stays open over all of that, or each commit of the server would begin the copy anew.
    """

    def rest() -> bool:
        throttle.rest()
        return False

    with closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READWRITE)) as live:
        live.set_busy_timeout(10_000)
        live.execute("BEGIN")
        live.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        with closing(copy.connect()) as target, target.backup("main", live, "main") as backup:
            while not backup.done:
                backup.step(_PAGES_AT_ONCE)
                throttle.rest()
                progress("database", backup.page_count - backup.remaining, backup.page_count)
        live.set_progress_handler(rest, _STEPS_OF_SQLITE)
        _look_at(live)
        answer = ask(live.cursor())
        live.execute("ROLLBACK")
    return answer


def _complete(files: _Files, database: Path, copy: PackedFile, taken: _Stock) -> tuple[int, int, list[str]]:
    """Bring files and the copied database together; returns messages, queue rows, contents that are damaged."""
    damaged, missing = [], []
    wanted = set()
    for row in taken.files:
        path = content_path(files.target, row[0])
        wanted.add(path)
        if not path.exists() and not files.take(content_path(files.source, row[0])):
            missing.append(row[0])
        elif not files.is_right(row):
            damaged.append(f"{row[0]:016x}")
    gone = _gone(database, missing)
    damaged += [f"{content_id:016x}" for content_id in missing if content_id not in gone]
    if gone:
        with closing(copy.connect()) as connection:
            with connection:
                restoring.forget_contents(connection.cursor(), sorted(gone))
            taken = _take_stock(connection.cursor())
    for path in _content_files(files.target):
        if path not in wanted:
            path.unlink()
    return taken.messages, taken.queued, damaged


def _gone(database: Path, content_ids: list[int]) -> set[int]:
    """Which contents the live database knows no more."""
    with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)) as live:
        return {
            number
            for number in content_ids
            if live.execute("SELECT 1 FROM contents WHERE id = ?", (number,)).get is None
        }


def _look_at(connection: apsw.Connection) -> None:
    cursor = connection.cursor()
    for table in list_tables(cursor):
        if check_table(cursor, table):
            raise BackupFailed(f"{connection.filename}: table {table} is damaged")


def _highest_of(database: Path) -> int:
    """The highest UIDVALIDITY of the store that is replaced, 0 where it cannot be read."""
    try:
        with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)) as old:
            return restoring.highest_uid_validity(old.cursor())
    except apsw.Error:
        return 0


def _exchange(fresh: Path, database: Path, data_dir: Path, now: float) -> Path | None:
    """The fresh files in place of the old ones, which are kept."""
    kept = data_dir / f"before-restore-{int(now)}"
    old = [Path(f"{path}{tail}") for path in (database, database.parent / RECENT) for tail in ("", "-wal", "-shm")]
    # The full-text index is not in a backup: the server makes it anew.
    old = [path for path in (*old, data_dir / "content", data_dir / "search") if path.exists()]
    if old:
        kept.mkdir(mode=0o700)
        for path in old:
            path.rename(kept / path.name)
    for name, path in ((MAIN, database), (RECENT, database.parent / RECENT), ("content", data_dir / "content")):
        if (fresh / name).exists():
            (fresh / name).rename(path)
    for path in (database, database.parent / RECENT):
        path.chmod(0o600)
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    shutil.rmtree(fresh)
    for folder in {database.parent, data_dir}:
        Disk().sync_folder(folder)
    return kept if old else None


def _write(path: Path, octets: bytes) -> None:
    disk = Disk()
    descriptor = disk.new_file(path)
    try:
        disk.write(descriptor, octets)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
