"""
SIGKILL at random moments of a mixed load over SMTP, IMAP and POP3; then everything that was acknowledged is looked for.

    python -m tests.e2e.torture --kills 300 --minutes 30 --workers 2

Each turn starts the server, lets clients work for a random while, kills it and starts it again to look. What a client
saw acknowledged is a promise; what was under way may have happened or not, but never twice and never half.

    SMTP     250: in INBOX or, once moved, in Archive; exactly once
    APPEND   OK [APPENDUID v u]: in Work under this UID, octet for octet; no UID ever means another message
    STORE    OK: the flag is there
    MOVE     OK: in Archive and not in INBOX
    POP3     +OK to QUIT: what DELE named is gone; what QUIT did not confirm may be there

Every FRESH_TURNS turns the accounts are left for new ones, so that looking stays quick.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import poplib
import random
import re
import smtplib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from .server import PASSWORD, Server

FRESH_TURNS = 20
WORKERS = {"smtp": 3, "append": 2, "move": 1, "pop": 1}
MARK = re.compile(rb"X-Torture: (\S+)\r\n")


class Lost(AssertionError):
    """A promise was broken."""


@dataclass
class Promises:
    """What clients saw acknowledged, of one pair of accounts. Message ids are texts."""

    sent: set[str] = field(default_factory=set)
    appended: dict[str, tuple[int, int]] = field(default_factory=dict)  # id -> UIDVALIDITY, UID in Work
    flagged: set[tuple[int, int]] = field(default_factory=set)  # UIDVALIDITY, UID in Work
    moved: set[str] = field(default_factory=set)
    popped_sent: set[str] = field(default_factory=set)
    popped: set[str] = field(default_factory=set)
    maybe_popped: set[str] = field(default_factory=set)
    seen_uids: dict[tuple[str, int, int], str] = field(default_factory=dict)  # mailbox, UIDVALIDITY, UID -> id


@dataclass
class Torture:
    """
    One run.

    Args:
        seed: of the dice; a run with the same seed makes the same messages and waits.
        say: where progress goes.
        workers: of the server; 0: it is one process.
    """

    seed: int
    say: Callable[[str], None] = print
    workers: int = 0
    kills: int = 0
    checked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._stop = threading.Event()
        self._count = 0
        self._lock = threading.Lock()
        self.server = Server(accounts=["t0@example.test", "p0@example.test"], workers=self.workers)
        self._generation = 0
        self._promises = Promises()

    @property
    def _account(self) -> str:
        return f"t{self._generation}@example.test"

    @property
    def _popped_account(self) -> str:
        return f"p{self._generation}@example.test"

    def run(self, kills: int, seconds: float) -> None:
        """
        Kill until so many kills or seconds are behind us.

        Raises:
            Lost: something acknowledged is missing, is there twice, or has changed.
        """
        end = time.monotonic() + seconds
        while self.kills < kills and time.monotonic() < end:
            if self.kills and self.kills % FRESH_TURNS == 0:
                self._fresh_accounts()
            self._turn()
            if self.kills % 10 == 0:
                self.say(f"{self.kills} kills; found: {dict(sorted(self.checked.items()))}")
        self.server.start()
        self._look()
        self._look_inside()
        self.server.close()

    def _fresh_accounts(self) -> None:
        # What a killed server leaves, such as a content file that no transaction named yet, the next start clears away.
        self.server.start()
        self.server.stop()
        self._look_inside()
        self._generation += 1
        lines = "".join(f"{address} {PASSWORD}\n" for address in (self._account, self._popped_account))
        self.server.mailtraq("account", "add", "--from-stdin", stdin=lines)
        self._promises = Promises()

    def _turn(self) -> None:
        self.server.start()
        self._look()
        self._stop.clear()
        work = {"smtp": self._send, "append": self._append, "move": self._move, "pop": self._pop}
        threads = [
            threading.Thread(target=self._until_killed, args=(work[kind], self._dice.random()))
            for kind, count in WORKERS.items()
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        time.sleep(self._dice.uniform(0.1, 1.5))
        self.server.kill()
        self.kills += 1
        self._stop.set()
        for thread in threads:
            thread.join()

    def _until_killed(self, work: Callable[[random.Random], None], seed: float) -> None:
        dice = random.Random(seed)
        while not self._stop.is_set():
            with contextlib.suppress(OSError, EOFError, smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto):
                work(dice)

    def _message(self, dice: random.Random) -> tuple[str, bytes]:
        with self._lock:
            self._count += 1
            mark = f"{self.seed}-{self._count}"
        size = dice.choice((200, 4000, 4000, 30_000, 300_000))
        body = "\r\n".join(f"{dice.getrandbits(200):x}" for _ in range(size // 52 + 1))
        return mark, f"X-Torture: {mark}\r\nSubject: torture {mark}\r\n\r\n{body}\r\n".encode()

    # -- the load ---------------------------------------------------------------------------------------

    def _send(self, dice: random.Random) -> None:
        with smtplib.SMTP("127.0.0.1", self.server.mx, "t.example", 10) as client:
            while not self._stop.is_set():
                mark, octets = self._message(dice)
                to = dice.choice((self._account, self._account, self._popped_account))
                client.sendmail("a@b.example", [to], octets)
                (self._promises.sent if to == self._account else self._promises.popped_sent).add(mark)

    def _imap(self) -> imaplib.IMAP4:
        session = imaplib.IMAP4("127.0.0.1", self.server.imap, 10)
        session.login(self._account, PASSWORD)
        return session

    def _append(self, dice: random.Random) -> None:
        session = self._imap()
        session.create("Work")
        session.select("Work")
        while not self._stop.is_set():
            mark, octets = self._message(dice)
            kind, answer = session.append("Work", "", "", octets)
            if kind != "OK":
                return
            found = re.search(rb"APPENDUID (\d+) (\d+)", answer[0])
            uid_validity, uid = int(found[1]), int(found[2])
            self._promises.appended[mark] = uid_validity, uid
            if dice.random() < 0.3 and session.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Flagged)")[0] == "OK":
                self._promises.flagged.add((uid_validity, uid))

    def _move(self, dice: random.Random) -> None:
        session = self._imap()
        while not self._stop.is_set():
            session.select("INBOX")
            _, answer = session.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (X-TORTURE)])")
            marks = {uid: mark for uid, mark in _fetched(answer).items() if dice.random() < 0.5}
            if marks and session.uid("MOVE", ",".join(map(str, marks)), "Archive")[0] == "OK":
                self._promises.moved.update(marks.values())

    def _pop(self, dice: random.Random) -> None:
        session = poplib.POP3("127.0.0.1", self.server.pop3, 10)
        session.user(self._popped_account)
        session.pass_(PASSWORD)
        marks = set()
        for number in range(1, len(session.list()[1]) + 1):
            octets = b"\r\n".join(session.top(number, 0)[1]) + b"\r\n"
            if dice.random() < 0.5:
                marks.add(MARK.search(octets)[1].decode())
                session.dele(number)
        self._promises.maybe_popped |= marks
        session.quit()
        self._promises.popped |= marks

    # -- looking ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        promises = self._promises
        session = self._imap()
        session.create("Work")
        places: dict[str, Counter[str]] = {}
        for mailbox in ("INBOX", "Archive", "Work"):
            places[mailbox] = Counter(self._marks_of(session, mailbox))
        session.logout()
        self._promised("SMTP", promises.sent, places["INBOX"] + places["Archive"])
        self._promised("APPEND", set(promises.appended), places["Work"])
        self._promised("MOVE", promises.moved, places["Archive"])
        if still := promises.moved & set(places["INBOX"]):
            raise Lost(f"moved, and still in INBOX: {sorted(still)}")
        self._look_at_work()
        pop = poplib.POP3("127.0.0.1", self.server.pop3, 30)
        pop.user(self._popped_account)
        pop.pass_(PASSWORD)
        count = len(pop.list()[1])
        left = [MARK.search(b"\r\n".join(pop.top(n, 0)[1]) + b"\r\n")[1].decode() for n in range(1, count + 1)]
        pop.quit()
        if again := promises.popped & set(left):
            raise Lost(f"deleted over POP3, and back: {sorted(again)}")
        self._promised("POP3", promises.popped_sent - promises.maybe_popped, Counter(left))

    def _promised(self, kind: str, promised: set[str], found: Counter[str]) -> None:
        if missing := promised - set(found):
            raise Lost(f"{kind}: acknowledged and missing: {sorted(missing)}")
        if twice := [mark for mark, times in found.items() if times > 1]:
            raise Lost(f"{kind}: there more than once: {sorted(twice)}")
        self.checked[kind] += len(promised)

    def _marks_of(self, session: imaplib.IMAP4, mailbox: str) -> list[str]:
        session.select(mailbox, readonly=True)
        uid_validity = int(session.response("UIDVALIDITY")[1][0])
        _, answer = session.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (X-TORTURE)])")
        marks = _fetched(answer)
        for uid, mark in marks.items():
            known = self._promises.seen_uids.setdefault((mailbox, uid_validity, uid), mark)
            if known != mark:
                raise Lost(f"{mailbox} UID {uid} was {known} and is {mark}")
        return list(marks.values())

    def _look_inside(self) -> None:
        """Octets, references, counts: the store is sound."""
        done = self.server.mailtraq("verify", check=None)
        if done.returncode:
            raise Lost(f"mailtraq verify: {done.stdout}{done.stderr}")
        self.checked["verify"] += 1

    def _look_at_work(self) -> None:
        """Appended messages have their UIDs and whole bodies, stored flags are there."""
        session = self._imap()
        session.select("Work", readonly=True)
        _, answer = session.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (X-TORTURE)])")
        marks = _fetched(answer)
        for mark, (uid_validity, uid) in self._promises.appended.items():
            if marks.get(uid) != mark:
                raise Lost(f"APPEND of {mark} was given UID {uid}, where {marks.get(uid)} is")
            self._promises.seen_uids.setdefault(("Work", uid_validity, uid), mark)
        _, answer = session.uid("SEARCH", "FLAGGED")
        flagged = set(map(int, answer[0].split()))
        if missing := {uid for _, uid in self._promises.flagged} - flagged:
            raise Lost(f"flags acknowledged and missing: {sorted(missing)}")
        self.checked["STORE"] += len(self._promises.flagged)
        session.logout()


def _fetched(answer: list[object]) -> dict[int, str]:
    """UID -> mark, out of imaplib's answer."""
    marks: dict[int, str] = {}
    for part in answer:
        if isinstance(part, tuple) and (mark := MARK.search(part[1])):
            marks[int(re.search(rb"UID (\d+)", part[0])[1])] = mark[1].decode()
    return marks


def main() -> int:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    torture = Torture(options.seed, workers=options.workers)
    try:
        torture.run(options.kills, options.minutes * 60)
    except Lost as lost:
        torture.server.leave()
        print(f"after {torture.kills} kills, seed {options.seed}: {lost}; data in {torture.server.folder}")
        return 1
    print(f"{torture.kills} kills, seed {options.seed}: nothing lost; {dict(sorted(torture.checked.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
