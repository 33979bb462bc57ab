"""
Back to the schema before the last step, out of the copy that `migrate` made: for who must run the older program again.

What came since then is not in the copy, so how many messages would be lost is counted first. Messages that were deleted
since come back where their octets are still there. Mailboxes get another UIDVALIDITY.
"""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from .backup import RECENT
from .content import content_path
from .disk import Disk
from .sql import restoring
from .sql.content import PLACE_FILE
from .sqlite import Connections

_COPY = re.compile(r".*\.before-(?P<number>[0-9]{4})\Z")


class NoRollback(Exception):
    """There is nothing to go back to; the message is a sentence for the administrator."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What going back means. `lost` messages came since the copy was made, `returning` were deleted since, `torn` ones
    are in the copy but their files are gone. What came and was deleted since goes without a word.
    """

    copy: Path
    schema: int
    lost: int
    returning: int
    torn: int


def plan_rollback(database: Path, data_dir: Path) -> Plan:
    """
    Look what going back one step would do; nothing is changed.

    Raises:
        NoRollback: no step has a copy.
    """
    copies = {int(match["number"]): path for path in _siblings(database) if (match := _COPY.match(path.name))}
    with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)) as live:
        schema = int(live.pragma("user_version"))
        copy = copies.get(schema)
        if copy is None:
            raise NoRollback(f"{database} has schema {schema}, and there is no copy from before it")
        live.execute("ATTACH ? AS earlier", (str(copy),))
        # What is in mailboxes; deleted messages may be in the file, too.
        live.execute(
            "CREATE TEMP VIEW listed AS SELECT m.content_id FROM main.messages m"
            " JOIN main.mailboxes b ON b.id = m.mailbox_id AND b.state = 'open'"
        )
        lost = live.execute(
            "SELECT count(*) FROM listed l WHERE NOT EXISTS"
            " (SELECT 1 FROM earlier.contents c WHERE c.id = l.content_id)"
        ).get
        returning = live.execute(
            "SELECT count(*) FROM earlier.messages m WHERE m.content_id NOT IN (SELECT content_id FROM listed)"
        ).get
        files = live.execute(
            "SELECT m.content_id FROM earlier.messages m JOIN earlier.contents c ON c.id = m.content_id"
            " WHERE c.place = ?",
            (PLACE_FILE,),
        ).fetchall()
    content = data_dir / "content"
    torn = sum(not content_path(content, int(str(row[0]))).exists() for row in files)
    return Plan(copy, schema - 1, int(lost), max(0, int(returning) - torn), torn)


def roll_back(plan: Plan, database: Path, now: float) -> Path:
    """
    Put the copy in the database's place; no process has it open.

    Returns:
        where the newer database lies now. Recent logins begin anew, because they have a schema of their own.
    """
    fresh = database.with_name(f"{database.name}.rollback")
    shutil.copyfile(plan.copy, fresh)
    with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)) as live:
        above = max(int(now), restoring.highest_uid_validity(live.cursor()))
    with closing(Connections(str(fresh))) as connections:
        with connections.writer:
            restoring.renew_uid_validities(connections.writer.cursor(), above)
        connections.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    kept = database.parent / f"before-rollback-{int(now)}"
    kept.mkdir(mode=0o700)
    for path in (database, database.parent / RECENT):
        for tail in ("", "-wal", "-shm"):
            inner = Path(f"{path}{tail}")
            if inner.exists():
                inner.rename(kept / inner.name)
    fresh.rename(database)
    plan.copy.rename(kept / plan.copy.name)
    Disk().sync_folder(database.parent)
    return kept


def _siblings(database: Path) -> list[Path]:
    return [path for path in database.parent.iterdir() if path.name.startswith(f"{database.name}.before-")]
