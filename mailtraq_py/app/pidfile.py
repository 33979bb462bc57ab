"""
The running server, for the command line: its process, and what came of the last reload.

`mailtraq.pid` in data_dir is locked while the server runs, so a number left over by a crash is never taken for a
process. `reload.json` beside it holds the result of the last reload, written whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from .privileges import Identity

PID_NAME = "mailtraq.pid"
RELOAD_NAME = "reload.json"


class AlreadyRunning(Exception):
    """Another server works on this data_dir; `process` is its identifier, 0 where it cannot be read."""

    def __init__(self, process: int) -> None:
        super().__init__(f"a server runs on this data_dir already (process {process or 'unknown'})")
        self.process = process


class PidFile:
    """
    The server's side.

    Args:
        data_dir: where the files lie.
        owner: who shall own them when root makes them.
    """

    def __init__(self, data_dir: Path, owner: Identity | None = None) -> None:
        self._data_dir = data_dir
        self._owner = owner
        self._descriptor: int | None = None

    def take(self) -> None:
        """
        Write our process identifier and hold the lock until the process ends.

        Raises:
            AlreadyRunning: another server has it.
        """
        path = self._data_dir / PID_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            process = _read_number(descriptor)
            os.close(descriptor)
            raise AlreadyRunning(process) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        if self._owner is not None:
            os.fchown(descriptor, self._owner.uid, self._owner.gid)
        self._descriptor = descriptor

    def release(self) -> None:
        """Forget it. Idempotent."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def tell_reload(self, result: dict[str, Any]) -> None:
        """Publish what came of a reload."""
        path = self._data_dir / RELOAD_NAME
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(result))
        fresh.replace(path)


def running_process(data_dir: Path) -> int | None:
    """The process identifier of the server that runs on this data_dir, None if none does."""
    try:
        descriptor = os.open(data_dir / PID_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_number(descriptor) or None
    finally:
        os.close(descriptor)
    return None


def last_reload(data_dir: Path) -> dict[str, Any] | None:
    """What came of the last reload, None before the first."""
    try:
        result = json.loads((data_dir / RELOAD_NAME).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return result if isinstance(result, dict) else None


def _read_number(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
