"""
What came of one attempt at one row, and who makes attempts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailtraq_py.interfaces.queue import QueuedRecipient
from mailtraq_py.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One row's answer: a positive `reply` ends it as sent, a permanent one as failed, a temporary one waits. `host` is
    who spoke, "" when that was ourselves; `tls` the protocol version or ""; `dsn` says that the host took over the
    duty of reporting success (RFC 3461 5.2.2). `said` is the host's own reply, word for word; None where `reply`, which
    we made, is all there is.
    """

    row: QueuedRecipient
    reply: Reply
    host: str = ""
    tls: str = ""
    dsn: bool = False
    said: Reply | None = None


class Carrier(Protocol):
    """Takes messages away: by SMTP (`relay.py`) or into a mailbox of ours (`capture.py`)."""

    def destination(self, row: QueuedRecipient) -> str:
        """What rows that may travel together have in common: a domain, or one word for all."""
        ...

    async def carry(self, rows: Sequence[QueuedRecipient]) -> list[Attempt]:
        """Try rows of one message and one destination; one answer for each. Raises nothing but for our bugs."""
        ...

    async def stop(self) -> None:
        """Let go of what is kept between messages."""
        ...
