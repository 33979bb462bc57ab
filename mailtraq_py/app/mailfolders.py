"""
Maildir and mbox on disk: what other programs keep mail in, read and written.

Lines end in LF there and in CRLF here. A Maildir's folders are those of Maildir++ (`.Sent`, `.Lists.Python`); an mbox
is read with either quoting of "From " lines and written with the one that can be undone (mboxrd).
"""

from __future__ import annotations

import os
import re
import time
from calendar import timegm
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_tz
from functools import partial
from pathlib import Path

from mailtraq_py.mail.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from mailtraq_py.mail.mailbox import INBOX, SEPARATOR
from mailtraq_py.wire.imap import mailboxname

_CHUNK_OCTETS = 64 * 1024
_HEADER_LINES_MAX = 1000

_LETTERS = {"D": DRAFT, "F": FLAGGED, "R": ANSWERED, "S": SEEN, "T": DELETED}
_STATUS = {"R": SEEN, "A": ANSWERED, "F": FLAGGED, "T": DRAFT, "D": DELETED}
_BARE_LF = re.compile(rb"(?<!\r)\n")
_QUOTED_FROM = re.compile(rb"(?m)^(?=>*From )")
# With a time and a year, because not every program quotes such lines.
_FROM_LINE = re.compile(rb"From .*[0-9]:[0-9]{2}.*[0-9]{4}")
_STATUS_FIELD = re.compile(rb"(?i)^(X-)?Status:[ \t]*([A-Z]*)\s*$")


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """
    A message in somebody's folder. `mailbox` is its name with our separator; `date` seconds since the epoch; `chunks`
    gives its octets with CRLF.
    """

    mailbox: str
    flags: frozenset[str]
    date: int
    chunks: Callable[[], Iterator[bytes]]


# --- Maildir ---------------------------------------------------------------------------------------------------


def find_maildirs(root: Path) -> list[tuple[str, Path]]:
    """(mailbox, folder) of a Maildir and its Maildir++ folders; [] where `root` is none."""
    if not (root / "cur").is_dir():
        return []
    inner = sorted(path for path in root.iterdir() if path.name.startswith(".") and (path / "cur").is_dir())
    return [(INBOX, root), *((_mailbox_of(path.name[1:]), path) for path in inner)]


def maildir_messages(mailbox: str, folder: Path) -> list[FoundMessage]:
    """The messages of one Maildir folder, the oldest first."""
    found = []
    for name in ("new", "cur"):
        if (folder / name).is_dir():
            for path in (folder / name).iterdir():
                if not path.name.startswith(".") and path.is_file():
                    date = int(path.stat().st_mtime)
                    found.append(FoundMessage(mailbox, _flags_of(path.name), date, partial(_whole, path)))
    return sorted(found, key=lambda message: message.date)


class MaildirWriter:
    """
    One folder of a Maildir that messages are exported to. Its files carry the UID in their names, so that a second
    export finds what the first has written.

    Args:
        root: the Maildir.
        mailbox: its name with our separator.
    """

    def __init__(self, root: Path, mailbox: str) -> None:
        self._folder = root if mailbox == INBOX else root / f".{_folder_of(mailbox)}"
        for name in ("tmp", "new", "cur"):
            (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._known = {
            path.name.partition(":")[0]: path for name in ("new", "cur") for path in (self._folder / name).iterdir()
        }

    def has(self, base: str, flags: frozenset[str]) -> bool:
        """Whether a message is there already; its flags are brought up to date."""
        path = self._known.get(base)
        if path is None:
            return False
        named = self._folder / "cur" / f"{base}{_info_of(flags)}"
        if path != named:
            path.rename(named)
        return True

    def write(self, base: str, flags: frozenset[str], date: int, chunks: Iterable[bytes]) -> None:
        """Write a message; it has its name when it is whole."""
        fresh = self._folder / "tmp" / base
        with open(fresh, "wb") as file:
            for chunk in without_cr(chunks):
                file.write(chunk)
        os.utime(fresh, (date, date))
        fresh.rename(self._folder / "cur" / f"{base}{_info_of(flags)}")


# --- mbox ------------------------------------------------------------------------------------------------------


def mbox_messages(mailbox: str, path: Path) -> Iterator[FoundMessage]:
    """
    The messages of an mbox file in their order.

    Raises:
        ValueError: it is none: it does not begin with a "From " line.
    """
    with open(path, "rb") as file:
        places = list(_mbox_places(file))
        if not places and path.stat().st_size:
            raise ValueError(f"{path} is no mbox: it does not begin with a From line")
        for first, start, end in places:
            file.seek(start)
            flags = _status_of(file)
            date = _date_of_from(first)
            yield FoundMessage(mailbox, flags, date, partial(_mbox_octets, path, start, end))


def print_mbox(octets: bytes, date: int) -> bytes:
    """A message as an mbox holds it."""
    body = _QUOTED_FROM.sub(b">", octets.replace(b"\r\n", b"\n"))
    first = f"From MAILER-DAEMON {time.asctime(time.gmtime(date))}\n".encode()
    return first + body + (b"" if body.endswith(b"\n") else b"\n") + b"\n"


def _mbox_places(file: Iterable[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """(From line, first octet, octet behind the last) of each message, without the blank line before a From line."""
    place = start = blank = 0
    first = b""
    was_blank = True
    for line in file:
        if was_blank and line.startswith(b"From ") and _FROM_LINE.match(line):
            if first:
                yield first, start, place - blank
            first, start = line, place + len(line)
        elif place == 0:
            return
        was_blank = line in (b"\n", b"\r\n")
        blank = len(line) if was_blank else 0
        place += len(line)
    if first:
        yield first, start, place - blank


def _mbox_octets(path: Path, start: int, end: int) -> Iterator[bytes]:
    def lines() -> Iterator[bytes]:
        with open(path, "rb") as file:
            file.seek(start)
            place = start
            while place < end:
                line = file.readline()
                place += len(line)
                yield line[1:] if line.startswith(b">") and line.lstrip(b">").startswith(b"From ") else line

    return with_cr(_joined(lines()))


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    kept: list[bytes] = []
    octets = 0
    for line in lines:
        kept.append(line)
        octets += len(line)
        if octets >= _CHUNK_OCTETS:
            yield b"".join(kept)
            kept, octets = [], 0
    yield b"".join(kept)


def _status_of(file: Iterable[bytes]) -> frozenset[str]:
    flags: set[str] = set()
    for number, line in enumerate(file):
        if not line.strip() or number > _HEADER_LINES_MAX:
            break
        match = _STATUS_FIELD.match(line)
        if match:
            flags.update(_STATUS[letter] for letter in match[2].decode().upper() if letter in _STATUS)
    return frozenset(flags)


def _date_of_from(line: bytes) -> int:
    words = line.decode("ascii", "replace").split(None, 2)
    parsed = parsedate_tz(words[2]) if len(words) == 3 else None
    if parsed is None:
        return int(time.time())
    with suppress(ValueError, OverflowError):
        return max(0, timegm((*parsed[:6], 0, 1, 0)) - (parsed[9] or 0))
    return int(time.time())


# --- lines -----------------------------------------------------------------------------------------------------


def with_cr(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets, each bare LF a CRLF."""
    ended_in_cr = False
    for chunk in chunks:
        fixed = _BARE_LF.sub(b"\r\n", chunk)
        if ended_in_cr and chunk.startswith(b"\n"):
            fixed = fixed[1:]
        ended_in_cr = chunk.endswith(b"\r") if chunk else ended_in_cr
        yield fixed


def without_cr(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets, each CRLF an LF."""
    rest = b""
    for chunk in chunks:
        chunk = rest + chunk
        rest = b"\r" if chunk.endswith(b"\r") else b""
        yield chunk[: len(chunk) - len(rest)].replace(b"\r\n", b"\n")
    yield rest


def _whole(path: Path) -> Iterator[bytes]:
    def chunks() -> Iterator[bytes]:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_OCTETS):
                yield chunk

    return with_cr(chunks())


# --- names -----------------------------------------------------------------------------------------------------


def _flags_of(name: str) -> frozenset[str]:
    _, _, letters = name.rpartition(":2,")
    return frozenset(_LETTERS[letter] for letter in letters if letter in _LETTERS) if ":2," in name else frozenset()


def _info_of(flags: frozenset[str]) -> str:
    return ":2," + "".join(letter for letter, flag in sorted(_LETTERS.items()) if flag in flags)


def _mailbox_of(folder: str) -> str:
    levels = [_decoded(level) for level in folder.split(".")]
    return SEPARATOR.join(level.replace(SEPARATOR, "_") for level in levels)


def _folder_of(mailbox: str) -> str:
    # A dot inside a level is written in the shifted form, because a plain one parts levels.
    levels = [mailboxname.encode(level).decode().replace(".", "&AC4-") for level in mailbox.split(SEPARATOR)]
    return ".".join(levels)


def _decoded(level: str) -> str:
    with suppress(ValueError):
        return ".".join(mailboxname.decode(part.encode()) for part in level.split("&AC4-"))
    return level
