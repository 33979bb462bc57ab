"""
A line on standard error that says how far a long command is; only where a person looks on.
"""

from __future__ import annotations

import shutil
import sys
import time

_BAR_SIGNS = 30
_PAUSE_SECONDS = 0.1


class ProgressLine:
    """One line, written over again; `end` takes it away."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` are done; ten times a second at most."""
        now = time.monotonic()
        if not self._is_shown or (done < total and now - self._last < _PAUSE_SECONDS):
            return
        self._last = now
        part = done / total if total else 1.0
        filled = int(part * _BAR_SIGNS)
        line = f"{what:<12} [{'#' * filled}{'.' * (_BAR_SIGNS - filled)}] {part:4.0%}  {done}/{total}"
        sys.stderr.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
