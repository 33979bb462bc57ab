"""
What `ClientCore` tells its caller: the replies of the other side, each named for what it answers.

RFC 5321 4.2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mailtraq_py.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Greeted:
    """The connection's first reply; anything but 2xx means this host takes no mail now."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Extensions:
    """The reply to EHLO or HELO. `offered` is parameters by keyword, empty after HELO or a refusal."""

    reply: Reply
    offered: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StartTLSAnswered:
    """The reply to STARTTLS; when positive, begin the handshake now."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The last reply to AUTH; anything but 2xx is a failure."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """What was said of recipient number `index` of the envelope (the reply to MAIL where that was refused)."""

    index: int
    reply: Reply

    @property
    def accepted(self) -> bool:
        """Whether the message will be for this one too."""
        return self.reply.is_positive


@dataclass(frozen=True, slots=True)
class ReadyForData:
    """354: send the message. At least one recipient was accepted."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class TransactionRefused:
    """
    No message will be taken. `reply` holds for the recipients that had been accepted, if any; the others have
    their own. The connection can be used for another transaction unless `Broken` follows.
    """

    reply: Reply


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply to the end of the message: positive means the other side is responsible now."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The reply to QUIT: close."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection is of no use any more: close. `reason` is for the log and a temporary failure."""

    reason: str


ClientEvent = (
    Greeted
    | Extensions
    | StartTLSAnswered
    | Authenticated
    | RecipientResult
    | ReadyForData
    | TransactionRefused
    | Finished
    | Goodbye
    | Broken
)
