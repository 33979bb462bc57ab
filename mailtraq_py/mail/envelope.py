"""
The envelope: who a message is from and for, as MAIL and RCPT said it.

The null reverse-path is a value (`NULL_PATH`), not an absent one.

RFC 5321 2.3.1, RFC 3461 4, RFC 6531 3.4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .address import Address


@dataclass(frozen=True, slots=True)
class ReversePath:
    """Where notifications go. `address` is None for the null path `<>`."""

    address: Address | None

    @property
    def is_null(self) -> bool:
        """The null path, from which no notification may ever be caused."""
        return self.address is None

    @property
    def key(self) -> str:
        """The folded address, "" for the null path."""
        return self.address.key if self.address else ""

    @property
    def domain_key(self) -> str:
        """The folded domain, "" for the null path."""
        return self.address.domain_key if self.address else ""

    def __str__(self) -> str:
        """Without the angle brackets; "" for the null path."""
        return str(self.address) if self.address else ""


NULL_PATH = ReversePath(None)


@dataclass(frozen=True, slots=True)
class ForwardPath:
    """
    One recipient as RCPT named it. A source route has been dropped (RFC 5321 4.1.1.3).

    `RCPT TO:<postmaster>` without a domain is given the server's first domain by the session.
    """

    address: Address

    @property
    def key(self) -> str:
        """The folded address."""
        return self.address.key

    @property
    def domain_key(self) -> str:
        """The folded domain."""
        return self.address.domain_key

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Notify:
    """The NOTIFY parameter (RFC 3461 4.1). The default, nothing said, is failure and delay."""

    success: bool = False
    failure: bool = True
    delay: bool = True

    @property
    def is_never(self) -> bool:
        """NOTIFY=NEVER."""
        return not (self.success or self.failure or self.delay)

    def __str__(self) -> str:
        """As the parameter's value."""
        words = [word for word in ("success", "failure", "delay") if getattr(self, word)]
        return ",".join(words).upper() or "NEVER"


NOTIFY_DEFAULT = Notify()
NOTIFY_NEVER = Notify(False, False, False)


def parse_notify(text: str) -> Notify:
    """
    Read a NOTIFY value.

    Raises:
        ValueError: unknown word, or NEVER beside others.

    RFC 3461 4.1
    """
    words = [word.upper() for word in text.split(",")]
    if words == ["NEVER"]:
        return NOTIFY_NEVER
    if not set(words) <= {"SUCCESS", "FAILURE", "DELAY"}:
        raise ValueError("NOTIFY is NEVER, or SUCCESS, FAILURE, DELAY")
    return Notify("SUCCESS" in words, "FAILURE" in words, "DELAY" in words)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path with its RCPT parameters. `original` is ORCPT's decoded "type;address" or ""."""

    path: ForwardPath
    notify: Notify = NOTIFY_DEFAULT
    original: str = ""


class Envelope(NamedTuple):
    """
    One mail transaction's envelope.

    `ret` is "FULL", "HDRS" or "" where nothing was said; `envid` is decoded; `body` is "7BIT",
    "8BITMIME" or "BINARYMIME"; `declared_octets` is SIZE or None.
    """

    reverse_path: ReversePath
    recipients: tuple[Recipient, ...] = ()
    ret: str = ""
    envid: str = ""
    body: str = "7BIT"
    smtputf8: bool = False
    declared_octets: int | None = None
