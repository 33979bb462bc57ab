"""
Power cuts and failing disks under a mixed load on the store; then everything that was acknowledged is looked for.

    python -m tests.store.powercut --minutes 10

A turn makes a store on a recorded disk and works on it: deliveries small and large, appends, flags, copies, moves,
expunges, purges of what is deleted, checkpoints. After each operation that was acknowledged it notes what must be
there from then on.

    cut     the disk is put together again as it may have been at random moments; the store opens, holds either what
            the last acknowledgement before the cut promised or that and the whole of the operation under way, and is
            sound in itself
    full    steps fail for want of room, now and then; the operation says StorageFull, nothing of it is there, and
            the next one works when there is room
    fail    one step fails for good; nothing more is acknowledged, the log says why, and after a cut all is as above
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mailtraq_py.interfaces.failures import StorageFull, TemporaryFailure
from mailtraq_py.interfaces.store import Acceptance, Column, LocalDelivery, NewContent, NewMessage
from mailtraq_py.mail.flags import DELETED, FLAGGED, SEEN, StoreOperation
from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store import writer
from mailtraq_py.store.deleted import DeletedSettings
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.store import Store
from mailtraq_py.wire.imap.structure import describe

from .disks import Fault, Recorder, nothing_fails

ADDRESS = "alice@example.test"
MAILBOXES = ("INBOX", "Archive", "Work")
OPERATIONS = 25
KEPT = DeletedSettings(keep_seconds=86400.0, mailbox="Recoverable")
_EVERY = UIDSet(((1, 0xFFFFFFFF),))

# mailbox -> UID -> (flags, digest of the octets)
State = dict[str, dict[int, tuple[frozenset[str], bytes]]]


class Lost(AssertionError):
    """A promise was broken."""


def read_state(store: Store) -> State:
    """All messages of the account, every octet read."""
    account = run_now(store.administration.find(ADDRESS))
    boxes = store.mailboxes(account.id)
    state: State = {}
    for info in run_now(boxes.list_mailboxes()):
        mailbox = run_now(boxes.open(info.name))
        rows = run_now(mailbox.fetch(_EVERY, [Column.UID, Column.FLAGS, Column.CONTENT], 100_000))
        status = run_now(boxes.status(info.name))
        if status.messages != len(rows):
            raise Lost(f"{info.name} has {len(rows)} messages and says {status.messages}")
        state[info.name] = {
            uid: (flags, hashlib.sha256(run_now(store.content.read(content))).digest())  # type: ignore[arg-type]
            for uid, flags, content in rows
        }
    return state


@dataclass
class Turn:
    """
    One store on one recorded disk.

    Args:
        seed: of the dice: the same seed does the same.
        fault: of the disk, once the account is made.
        deleted: how long deleted mail stays.
    """

    seed: int
    fault: Fault = nothing_fails
    deleted: DeletedSettings = KEPT
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._holder = tempfile.TemporaryDirectory(prefix="powercut-")
        self.folder = Path(self._holder.name)
        self.recorder = Recorder(self.folder / "live")
        self.recorder.root.mkdir()
        self.failed = False
        self.unsure: State | None = None
        self._count = 0

    def open(self, folder: Path, recorded: bool = False) -> Store:
        """A store on a folder."""
        disk = self.recorder.disk if recorded else None
        store = Store(f"sqlite:{folder}/mail.db", folder, disk=disk, deleted=self.deleted)
        run_now(store.start())
        return store

    def close(self) -> None:
        """Remove everything."""
        with contextlib.suppress(ValueError):
            self.recorder.vfs.unregister()
        self._holder.cleanup()

    def work(self, operations: int = OPERATIONS) -> None:
        """Do so many operations, noting after each what holds from then on. Failures are noted as such."""
        with patch.object(writer, "CHECKPOINT_PAGES", 30):
            self.store = self.open(self.recorder.root, recorded=True)
            run_now(self.store.administration.add_domain("example.test"))
            self.account = run_now(self.store.administration.add_account(ADDRESS, b"correct horse"))
            run_now(self.store.mailboxes(self.account.id).create("Work"))
            self.recorder.mark(read_state(self.store))
            self.recorder.fault = self.fault
            for _ in range(operations):
                kind = self.dice.choice(list(_OPERATIONS))
                try:
                    run_now(_OPERATIONS[kind](self))
                except StorageFull:
                    self._refused("full")
                except TemporaryFailure:
                    self._refused("failed")
                else:
                    self.done[kind] += 1
                    with self._good_disk():
                        state = read_state(self.store)
                    if self.failed and state != self.recorder.marks[-1][1]:
                        raise Lost(f"{kind} was acknowledged after a failed sync")
                    if not self.failed:
                        self.recorder.mark(state)

    def _refused(self, why: str) -> None:
        """An operation that failed has left nothing behind."""
        self.done[why] += 1
        if self.store.is_healthy:
            with self._good_disk():
                if read_state(self.store) != self.recorder.marks[-1][1]:
                    raise Lost("a refused operation left something behind")
        else:
            self.failed = True

    @contextlib.contextmanager
    def _good_disk(self) -> Iterator[None]:
        fault, self.recorder.fault = self.recorder.fault, nothing_fails
        try:
            yield
        finally:
            self.recorder.fault = fault

    def end(self) -> None:
        """Stop as a power cut does: what is written from here on is not noted, and the recorded files are left."""
        self.recorder.fault = nothing_fails
        self._moment = self.recorder.moment
        run_now(self.store.close())
        self.recorder.vfs.unregister()

    def cut(self, moment: int) -> None:
        """
        Cut the power at a moment, open, and compare.

        Raises:
            Lost: something acknowledged is missing or half there, or the store is not sound.
        """
        target = self.folder / "cut"
        target.mkdir()
        self.recorder.rebuild(moment, target, random.Random(f"{self.seed} {moment}"))
        store = self.open(target)
        try:
            store.content.sweep(time.time())
            found = read_state(store)
            if found not in self._allowed(moment):
                raise Lost(f"seed {self.seed}, cut after step {moment}: found {_short(found)}")
            self._look_inside(store)
        finally:
            run_now(store.close())
            shutil.rmtree(target)
        self.done["cuts"] += 1

    def moments(self, count: int) -> list[int]:
        """Random moments after the account was made."""
        first = self.recorder.marks[0][0]
        return [self.dice.randint(first, self._moment) for _ in range(count)]

    def _allowed(self, moment: int) -> list[State]:
        """
        What was promised last, and what the operation under way makes of it: the one that failed for good, too, was
        under way when the disk gave up.
        """
        before = [state for noted, state in self.recorder.marks if noted <= moment]
        after = [state for noted, state in self.recorder.marks if noted > moment]
        return before[-1:] + (after[:1] or [self.unsure or {}])

    def _look_inside(self, store: Store) -> None:
        if damages := list(store.verification().damages()):
            raise Lost(f"seed {self.seed}: {damages[:3]}")

    # -- the load ---------------------------------------------------------------------------------------

    def _octets(self) -> bytes:
        self._count += 1
        size = self.dice.choice((100, 4000, 30_000, 140_000, 300_000))
        body = self.dice.randbytes(size // 2).hex()
        lines = "\r\n".join(body[place : place + 70] for place in range(0, len(body), 70))
        return f"Subject: number {self._count}\r\n\r\n{lines}\r\n".encode()

    def _new(self) -> tuple[Any, Any]:
        octets = self._octets()
        spool = self.store.content.spool()
        for place in range(0, len(octets), 50_000):
            spool.write(octets[place : place + 50_000])
        return spool, describe([octets])

    async def deliver(self) -> None:
        """One message to INBOX and Archive at once."""
        local = tuple(LocalDelivery(self.account.id, mailbox) for mailbox in self.dice.sample(MAILBOXES, 2))
        content = NewContent(*self._new(), local)
        await self.store.acceptance.commit(Acceptance(f"A{self._count}", 1000.0, (content,), "{}"))

    async def append(self) -> None:
        """Some messages to Work."""
        messages = [NewMessage(*self._new(), frozenset({SEEN}), 1000) for _ in range(self.dice.randint(1, 3))]
        await self.store.mailboxes(self.account.id).append(self.dice.choice(MAILBOXES), messages)

    async def _some(self) -> tuple[Any, UIDSet]:
        mailbox = await self.store.mailboxes(self.account.id).open(self.dice.choice(MAILBOXES))
        _, uids = await mailbox.select(False)
        return mailbox, UIDSet.from_numbers(uid for uid in uids if self.dice.random() < 0.5)

    async def flag(self) -> None:
        """Flags of some."""
        mailbox, uids = await self._some()
        await mailbox.store(uids, StoreOperation.ADD, frozenset({self.dice.choice((FLAGGED, DELETED, "$Word"))}))

    async def copy(self) -> None:
        """Copies or moves of some."""
        mailbox, uids = await self._some()
        await mailbox.copy(uids, self.dice.choice(MAILBOXES), self.dice.random() < 0.5)

    async def expunge(self) -> None:
        """What is marked goes."""
        mailbox, _ = await self._some()
        await mailbox.expunge(None)

    async def remove(self) -> None:
        """Some go."""
        mailbox, uids = await self._some()
        await mailbox.remove(uids)

    async def purge(self) -> None:
        """The oldest of what was deleted goes for good, and the write-ahead log with it."""
        run = self.store.database.read("oldest_deletion", float("inf"))
        if run is not None:
            await self.store.database.run("purge_deletion", *run, 1 << 20, 10)
            await self.store.database.run("end_purge")


_OPERATIONS: dict[str, Callable[[Turn], Any]] = {
    "deliver": Turn.deliver,
    "append": Turn.append,
    "flag": Turn.flag,
    "copy": Turn.copy,
    "expunge": Turn.expunge,
    "remove": Turn.remove,
    "purge": Turn.purge,
}


def _short(state: State) -> str:
    return ", ".join(f"{name} {sorted(rows)}" for name, rows in state.items() if rows)


def power_cuts(seed: int, cuts: int) -> Counter[str]:
    """A turn on a good disk, with so many cuts."""
    with _turn(seed) as turn:
        turn.work()
        _cut(turn, cuts)
    return turn.done


def disk_full(seed: int, cuts: int) -> Counter[str]:
    """
    A turn on a disk that has no room now and then; it is healthy all the time, and works when there is room. What is
    deleted goes at once: it would make room, and the load could not say how much of it is left.
    """
    dice = random.Random(f"full {seed}")

    def fault(kind: str, name: str) -> OSError | None:
        # A sync of the database that finds no room is a failed sync like any other.
        if kind == "sync_folder" or (kind == "sync" and ".db" in name):
            return None
        return OSError(errno.ENOSPC, "No space left") if dice.random() < 0.01 else None

    with _turn(seed, fault, DeletedSettings()) as turn:
        turn.work()
        if not turn.store.is_healthy:
            raise Lost(f"seed {seed}: a full disk made the store unhealthy")
        turn.recorder.fault = nothing_fails
        run_now(turn.append())
        turn.recorder.mark(read_state(turn.store))
        _cut(turn, cuts)
    return turn.done


def failing_disk(seed: int, cuts: int) -> Counter[str]:
    """A turn on a disk that fails a sync for good; nothing is acknowledged after that."""
    with _turn(seed) as good:
        good.work()
        good.end()
    left = random.Random(f"fail {seed}").randint(1, 40)

    def fault(kind: str, _name: str) -> OSError | None:
        nonlocal left
        left -= kind in ("sync", "sync_folder")
        return OSError(errno.EIO, "Input/output error") if left == 0 else None

    with _turn(seed, fault) as turn:
        turn.work()
        if left <= 0 and turn.store.is_healthy:
            raise Lost(f"seed {seed}: a sync failed, and the store calls itself healthy")
        if len(turn.recorder.marks) < len(good.recorder.marks):
            turn.unsure = good.recorder.marks[len(turn.recorder.marks)][1]
        _cut(turn, cuts)
    return turn.done


@contextlib.contextmanager
def _turn(
    seed: int, fault: Fault = nothing_fails, deleted: DeletedSettings = KEPT
) -> Iterator[Turn]:
    turn = Turn(seed, fault, deleted)
    try:
        yield turn
    finally:
        turn.close()


def _cut(turn: Turn, cuts: int) -> None:
    turn.end()
    for moment in turn.moments(cuts):
        turn.cut(moment)


TURNS = {"power cut": power_cuts, "disk full": disk_full, "failing disk": failing_disk}


def main() -> int:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cuts", type=int, default=20, help="of each turn")
    options = parser.parse_args()
    end = time.monotonic() + options.minutes * 60
    done: dict[str, Counter[str]] = {kind: Counter() for kind in TURNS}
    turns = 0
    while time.monotonic() < end:
        seed = options.seed + turns
        for kind, turn in TURNS.items():
            try:
                done[kind] += turn(seed, options.cuts)
            except Lost as lost:
                print(f"{kind}: {lost}")
                return 1
        turns += 1
    for kind, counts in done.items():
        print(f"{kind}: {turns} turns, nothing lost; {dict(sorted(counts.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
