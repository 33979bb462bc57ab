"""
The log: one line an event, as JSON or key=value, with time, level, event word and every field given.

    {"time":"2026-11-22T04:05:06.789Z","level":"info","event":"login","session":"...","account":"alice@example.test"}
    2026-11-22T04:05:06.789Z info login session=... account=alice@example.test

What this program logs names its event; what Twisted and other libraries log becomes event "message" with the text in
`text`. A failure's traceback is the field `traceback` (names and lines of code, no values of variables). No field can
start a second line: line ends inside are escaped in both forms. With several workers all processes write to one log,
and `worker` says which of them did.

While the server runs, the lines of one turn of the reactor leave in one write before it waits again, so a crash loses
those of one turn at most. What is logged before and after, or in another thread, is written at once.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from select import PIPE_BUF
from stat import S_ISREG
from threading import get_ident
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

_LEVELS = {LogLevel.lookupByName(name): name for name in ("debug", "info", "warn", "error", "critical")}
_ORDER = {level: number for number, level in enumerate(_LEVELS)}
_OLD_TWISTED = "log_legacy"
"""Twisted's older parts tell of every port they open; what they tell at info is for debugging."""
_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f]+\Z")


def _as_text(value: Any) -> str:
    """Values that JSON does not know: sets, enums, our own values."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


_json = msgspec.json.Encoder(enc_hook=_as_text).encode


@implementer(ILogObserver)
class LogLines:
    """
    Writes events as lines.

    Args:
        write: takes one whole line, its line end included, as octets.
        form: "json" or "keyvalue".
        level: the lowest level that is written, by name.
        worker: which of several processes this is, for every line; None where it is the only one, or the supervisor.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        form: str = "json",
        level: str = "info",
        worker: int | str | None = None,
    ) -> None:
        self._write = write
        self._print = _json_line if form == "json" else _keyvalue_line
        self._lowest = _ORDER[LogLevel.lookupByName(level)]
        self._always: dict[str, Any] = {} if worker is None else {"worker": worker}
        self._second = -1
        self._second_text = ""

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        level = event.get("log_level")
        if level is LogLevel.info and event.get("log_namespace") == _OLD_TWISTED:
            level = LogLevel.debug
        if _ORDER.get(level, 1) < self._lowest:
            return
        fields: dict[str, Any] = {"time": self._time(event.get("log_time", 0.0)), "level": _LEVELS.get(level, "info")}
        word = event.get("event")
        if word is None:
            fields["event"] = "message"
            fields["text"] = formatEvent(event) or str(event.get("reason", ""))
            fields["from"] = event.get("log_namespace", "-")
        else:
            fields["event"] = word
            fields |= event
            _drop_loggers_own(fields)
        fields |= self._always
        failure = event.get("log_failure")
        if failure is not None:
            fields.pop("log_failure", None)
            fields.setdefault("text", formatEvent(event))
            fields["traceback"] = failure.getTraceback()
        self._write(self._print(fields))

    def _time(self, seconds: float) -> str:
        whole = int(seconds)
        if whole != self._second:
            self._second = whole
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        return f"{self._second_text}.{int((seconds - whole) * 1000):03d}Z"


def _drop_loggers_own(fields: dict[str, Any]) -> None:
    try:  # what Logger adds to each event
        del fields["log_logger"], fields["log_level"], fields["log_namespace"]
        del fields["log_source"], fields["log_format"], fields["log_time"]
    except KeyError:
        for key in [key for key in fields if key.startswith("log_")]:
            del fields[key]


def _json_line(fields: Mapping[str, Any]) -> bytes:
    try:
        return _json(fields) + b"\n"
    except UnicodeEncodeError:  # octets of a peer that are no UTF-8, as surrogates
        return _json({key: _encodable(value) for key, value in fields.items()}) + b"\n"


def _encodable(value: Any) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def _keyvalue_line(fields: Mapping[str, Any]) -> bytes:
    values = iter(fields.items())
    words = [str(next(values)[1]) for _ in range(3)]
    for key, value in values:
        if value is None:
            continue
        text = _encodable(value) if isinstance(value, (str, int, float)) else _json(value).decode()
        words.append(f"{key}={text if _PLAIN.match(text) else _json(text).decode()}")
    return " ".join(words).encode() + b"\n"


class LogFile:
    """
    A log file that may be moved away: `reopen` begins a new one under the old name.

    Args:
        path: the file, made with mode 0640 when it is not there; None writes to standard output.
        owner: user and group identifiers of a file that is made.
    """

    def __init__(self, path: str | None, owner: tuple[int, int] | None = None) -> None:
        self._path = path
        self._owner = owner
        self._clock: IReactorTime | None = None
        self._thread = 0
        self._gathered: list[bytes] = []
        self._descriptor = 1 if path is None else self._open(path)

    def gather(self, clock: IReactorTime | None) -> None:
        """From now on the lines of a turn of this reactor, which runs in this thread, leave together; None: no more."""
        self._flush()
        self._clock = clock
        self._thread = get_ident()

    def write(self, line: bytes) -> None:
        """Write a whole line, now or with the others of this turn; a full disk loses it silently."""
        if self._clock is None or get_ident() != self._thread:
            self._put(line)
            return
        if not self._gathered:
            self._clock.callLater(0, self._flush)
        self._gathered.append(line)

    def _flush(self) -> None:
        if self._gathered:
            lines = b"".join(self._gathered)
            self._gathered.clear()
            self._put(lines)

    def _put(self, lines: bytes) -> None:
        # Whole lines in one call, so that those of several processes do not mix; pipes promise it for PIPE_BUF octets.
        try:
            if S_ISREG(os.fstat(self._descriptor).st_mode):
                os.write(self._descriptor, lines)
            else:
                for piece in _pieces(lines, PIPE_BUF):
                    os.write(self._descriptor, piece)
        except OSError:
            return

    def reopen(self) -> None:
        """Open the file anew by its name; the one open so far stays in use if that fails."""
        self._flush()
        if self._path is None:
            return
        fresh = self._open(self._path)
        os.dup2(fresh, self._descriptor)
        os.close(fresh)

    def _open(self, path: str) -> int:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if self._owner is not None:
            os.fchown(descriptor, *self._owner)
        return descriptor


def _pieces(lines: bytes, octets: int) -> Iterator[bytes]:
    """Lines in pieces of at most so many octets, none of which ends within a line, but for lines that are longer."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + octets) + 1 or lines.find(b"\n", start) + 1 or len(lines)
        yield lines[start:end]
        start = end
