"""
Mail out of a running IMAP server into an account here; run again it brings what is new.

What was brought is remembered for each mailbox there as UIDVALIDITY and the next UID, after each commit. So what was
deleted here does not come back, and what was interrupted goes on. Should the memory be older than the store, or another
UIDVALIDITY make it worthless, `Importer` knows the messages by their octets.

A mailbox or message that cannot be read does not end the import: it is told at the end, and tried the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mailtraq_py.interfaces.failures import MailboxExists, MailboxNotAllowed
from mailtraq_py.interfaces.store import IMailboxes
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR

from .imapsource import ConnectionLost, IMAPSource, RemoteMailbox, SourceRefused
from .transfer import Importer, Progress

_ATTEMPTS = 4
_COMMIT_MESSAGES = 50
_ARCHIVE = "\\Archive"

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@dataclass(slots=True)
class Place:
    """How far a mailbox was brought: UIDs below `next` are here, but for those that `failed`."""

    uid_validity: int = 0
    next: int = 1
    failed: list[int] = field(default_factory=list)


class ImportMemory:
    """
    What was brought of one account elsewhere into one here, in a file.

    Args:
        folder: of such files; made when missing.
        account_id: whose mail it becomes.
        source: the account elsewhere, and where its mail goes.
    """

    def __init__(self, folder: Path, account_id: int, source: str) -> None:
        digest = hashlib.sha256(source.encode()).hexdigest()[:16]
        self._file = folder / f"{account_id}-{digest}.json"
        self._source = source
        self._places: dict[str, Place] = {}
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            told = json.loads(self._file.read_text("utf-8"))
            self._places = {name: Place(**place) for name, place in told["mailboxes"].items()}

    def place(self, mailbox: RemoteMailbox, uid_validity: int) -> Place:
        """How far a mailbox was brought; from the beginning where its UIDs are others now."""
        place = self._places.get(mailbox.raw.hex())
        return place if place is not None and place.uid_validity == uid_validity else Place(uid_validity)

    def note(self, mailbox: RemoteMailbox, place: Place) -> None:
        """Remember it; what it says is committed."""
        self._places[mailbox.raw.hex()] = place
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        places = {
            name: {"uid_validity": each.uid_validity, "next": each.next, "failed": each.failed}
            for name, each in self._places.items()
        }
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump({"source": self._source, "mailboxes": places}, file)
        fresh.replace(self._file)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a mailbox would bring: `messages` of `octets` into `target`."""

    name: str
    target: str
    messages: int
    octets: int


class IMAPImport:
    """
    One import.

    Args:
        source: connected.
        importer: of the account here.
        boxes: its mailboxes.
        memory: what was brought before.
        run: runs a coroutine of the store to its end.
        progress: is told how far it is.
        beneath: the mailbox under which all goes, "" for none.

    Attributes:
        failures: (mailbox, why) of what could not be brought.
    """

    def __init__(
        self,
        source: IMAPSource,
        importer: Importer,
        boxes: IMailboxes,
        memory: ImportMemory,
        run: Run[Any],
        progress: Progress,
        beneath: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.failures: list[tuple[str, str]] = []
        self._source = source
        self._importer = importer
        self._boxes = boxes
        self._memory = memory
        self._run = run
        self._progress = progress
        self._beneath = beneath
        self._sleep = sleep
        self._here = {info.special_use: info.name for info in run(boxes.list_mailboxes()) if info.special_use}
        self._seen_elsewhere: set[int] = set()

    def target_of(self, mailbox: RemoteMailbox) -> str:
        """The mailbox here: the one of the same use, else of the same name."""
        use = _ARCHIVE if mailbox.is_all else mailbox.special_use
        if self._beneath:
            return self._beneath if mailbox.name == INBOX else f"{self._beneath}{SEPARATOR}{mailbox.name}"
        return self._here.get(use, mailbox.name) if use else mailbox.name

    def plan(self, mailbox: RemoteMailbox) -> Planned | None:
        """What it would bring; None and a failure where it cannot be looked at."""

        def look() -> Planned:
            place, uids, _ = self._new(mailbox)
            sizes = self._source.sizes([*place.failed, *uids])
            return Planned(mailbox.name, self.target_of(mailbox), len(sizes), sum(sizes.values()))

        return self._trying(mailbox, look)

    def bring(self, mailbox: RemoteMailbox) -> None:
        """
        Bring what is new of a mailbox.

        Raises:
            ConnectionLost: the server is gone for good.
            OverQuota, TemporaryFailure: the account here takes no more.
        """
        self._trying(mailbox, lambda: self._bring(mailbox))

    def _trying(self, mailbox: RemoteMailbox, work: Callable[[], T]) -> T | None:
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    self._sleep(2.0 ** (attempt - 1))
                    self._source.connect()
                return work()
            except ConnectionLost:
                if attempt == _ATTEMPTS - 1:
                    raise
            except SourceRefused as refusal:
                self.failures.append((mailbox.name, str(refusal)))
                return None
            except MailboxNotAllowed as error:
                self.failures.append((mailbox.name, f"cannot be named so here: {error}"))
                return None
        return None

    def _new(self, mailbox: RemoteMailbox) -> tuple[Place, list[int], int]:
        uid_validity, uid_next = self._source.examine(mailbox)
        place = self._memory.place(mailbox, uid_validity)
        return place, self._source.new_uids(place.next, uid_next), uid_next

    def _bring(self, mailbox: RemoteMailbox) -> None:
        place, uids, uid_next = self._new(mailbox)
        target = self._prepare(mailbox)
        if self._source.is_gmail:
            uids = self._unseen(mailbox, uids, uid_next)
        again, failed = sorted(place.failed), []
        wanted = [*again, *uids]
        committed = place.next
        for done, (uid, found) in enumerate(self._source.messages(wanted, target), 1):
            if isinstance(found, str):
                failed.append((uid, found))
            else:
                try:
                    self._run(self._importer.add(found))
                except SourceRefused as refusal:
                    failed.append((uid, str(refusal)))
            committed = max(committed, uid + 1)
            self._progress(mailbox.name, done, len(wanted))
            if done % _COMMIT_MESSAGES == 0 and uid >= place.next:
                self._commit(mailbox, Place(place.uid_validity, committed, [each for each, _ in failed]))
        committed = max([committed, *(uid + 1 for uid in uids)])
        self._commit(mailbox, Place(place.uid_validity, committed, [each for each, _ in failed]))
        self.failures += [(mailbox.name, f"UID {uid}: {reason}") for uid, reason in failed]

    def _commit(self, mailbox: RemoteMailbox, place: Place) -> None:
        self._run(self._importer.flush())
        self._memory.note(mailbox, place)

    def _prepare(self, mailbox: RemoteMailbox) -> str:
        """Make the mailbox here, with the use and the subscription that it has there."""
        target = self.target_of(mailbox)
        use = "" if self._beneath or mailbox.special_use in self._here else mailbox.special_use
        with suppress(MailboxExists):
            self._run(self._boxes.create(target, use))
            if use:
                self._here[use] = target
        if mailbox.subscribed:
            self._run(self._boxes.subscribe(target, True))
        return target

    def _unseen(self, mailbox: RemoteMailbox, uids: list[int], uid_next: int) -> list[int]:
        """Without what of "all mail" is in other mailboxes, which were asked before."""
        if mailbox.is_all:
            ids = self._source.gmail_ids(uids)
            return [uid for uid in uids if ids.get(uid) not in self._seen_elsewhere]
        every = self._source.new_uids(1, uid_next)
        self._seen_elsewhere.update(self._source.gmail_ids(every).values())
        return uids
