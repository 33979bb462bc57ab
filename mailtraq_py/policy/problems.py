"""
What is wrong with a configuration: every error and every warning, each with file, line, key, entry and reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailtraq_py.mail.reply import Reply, parse_reply

from .settings import Entry


@dataclass(frozen=True, slots=True)
class PolicyError:
    """One thing that is wrong (or, as a warning, doubtful). `line` is 0 where it is not known."""

    file: str
    key: str
    entry: str
    reason: str
    line: int = 0

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line else "")
        parts = [part for part in (place, self.key) if part]
        entry = f'"{self.entry}" ' if self.entry else ""
        return ": ".join([*parts, entry + self.reason])


class BadPolicy(Exception):
    """A configuration that may not come into force; `errors` holds all that is wrong, not the first only."""

    def __init__(self, errors: Sequence[PolicyError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


def parse_refusal(text: str, key: str, problems: Problems) -> Reply:
    """A configured refusal; what is none becomes an error in `problems`."""
    try:
        reply = parse_reply(text)
        if reply.is_positive:
            raise ValueError("a refusal begins with 4 or 5")
        if any(sign < " " for sign in text):
            raise ValueError("it has a control character")
    except ValueError as error:
        problems.error(key, text, f"is no reply: {error}")
        return Reply(554, "Refused by local policy", "5.7.1")
    return reply


@dataclass(slots=True)
class Problems:
    """Collects while settings are compiled; `file` is named where an entry does not name its own."""

    file: str = ""
    errors: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)

    def error(self, key: str, entry: str | Entry, reason: str) -> None:
        """Note an error; an Entry brings its own file, line and, if it has one, key."""
        self.errors.append(self._make(key, entry, reason))

    def warn(self, key: str, entry: str | Entry, reason: str) -> None:
        """Note a warning."""
        self.warnings.append(self._make(key, entry, reason))

    def _make(self, key: str, entry: str | Entry, reason: str) -> PolicyError:
        if isinstance(entry, Entry):
            return PolicyError(entry.file or self.file, entry.key or key, entry.text, reason, entry.line)
        return PolicyError(self.file, key, entry, reason)
