"""
The outbound queue: rows of mail that leaves, and what became of an attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from zope.interface import Interface

from mailtraq_py.mail.envelope import Recipient, ReversePath
from mailtraq_py.mail.reply import Reply

if TYPE_CHECKING:
    from .store import Acceptance, ContentRef


class Origin(Enum):
    """Why a row is in the queue. Journal and report mail is never copied to the journal again."""

    CLIENT = "client"
    FORWARD = "forward"
    JOURNAL = "journal"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """
    One recipient of a message that leaves. Each row has a reverse-path and `head` of its own.

    `envid`, `ret`, `body` and `smtputf8` as in Envelope; `expires` in seconds since the epoch; `granted_by` names
    the policy's grant, `client` the address it was granted to and `account` whom, for `queue delete --granted-by`.
    """

    reverse_path: ReversePath
    recipient: Recipient
    due: float
    expires: float
    head: bytes = b""
    origin: Origin = Origin.CLIENT
    ret: str = ""
    envid: str = ""
    body: str = "7BIT"
    smtputf8: bool = False
    granted_by: str = ""
    client: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """
    A row taken from the queue under a lease. `acceptance_id` names the message it came with; `content` includes the
    head; `received` is when we accepted it; `attempts` counts those made, `delay_reported` whether a delay report
    went out.
    """

    id: int
    acceptance_id: str
    content: ContentRef
    outgoing: Outgoing
    received: float
    attempts: int = 0
    last_reply: str = ""
    delay_reported: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """The row ends: the next hop took responsibility."""

    id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The row ends: undeliverable. `reply` is the last word of the other side or ours."""

    id: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class Deferred:
    """Try again at `due`."""

    id: int
    reply: Reply
    due: float
    delay_reported: bool = False


Outcome = Sent | Failed | Deferred


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A line of `mailtraq queue list`."""

    row: QueuedRecipient
    due: float
    leased: bool = False
    notes: tuple[str, ...] = field(default=())


class IQueue(Interface):
    """
    Outbound rows and their leases. Two runners never hold the same row: a lease is a row's owner and end
    time, written in the taking transaction.
    """

    async def lease(owner: str, now: float, seconds: float, limit: int) -> list[QueuedRecipient]:
        """
        Take due rows, oldest due first, with the other due rows of the same message and domain.

        They come back by themselves when the lease ends.
        """

    async def release(owner: str) -> None:
        """Give back all rows that `owner` holds: at its end, and at its start for what a crash left behind."""

    async def next_due() -> float | None:
        """When the next row that nobody holds is due; None when there is none."""

    async def settle(owner: str, outcomes: Sequence[Outcome], reports: Sequence[Acceptance]) -> None:
        """
        End or defer rows and accept the reports this causes, in one transaction.

        Rows whose lease is no longer `owner`'s are passed over, and so are reports when none of the rows was ours.
        """

    async def list_entries(limit: int) -> list[QueueEntry]:
        """What is queued, soonest due first."""
