"""
Delivery status notifications: what the sender hears of a message's fate.

A report is a multipart/report of three parts: words for a person, fields for a program, and the message it is about or
only its header. `begin` prints everything before the returned octets and `end` what follows them, so that a large
message is returned piece by piece. Addresses outside ASCII make it an internationalised report (RFC 6533).

RFC 3461 6, RFC 3464, RFC 6522, RFC 6533 3
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .address import Address
from .dates import print_date
from .envelope import Recipient
from .reply import Reply

# RFC 3461 6.2: beyond this the header alone is returned, whatever RET asked for.
RETURNED_MAX_OCTETS = 1024 * 1024
# What is returned where RET said nothing.
RETURNED_UNASKED_MAX_OCTETS = 64 * 1024

_DIAGNOSTIC_MAX = 900
_NOT_TEXT = re.compile(r"[^ -~]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Action(Enum):
    """What became of a recipient (RFC 3464 2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """
    One recipient's fate. `reply` is the last word on it; `said` is what `remote_mta` said, word for word, which may be
    less than that (a delivery that expired); None and "" when the words are all our own. `attempted` and
    `retry_until` in seconds since the epoch, None where they say nothing.
    """

    recipient: Recipient
    action: Action
    reply: Reply
    remote_mta: str = ""
    attempted: float | None = None
    retry_until: float | None = None
    said: Reply | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """
    One report to one sender. `id` is random and unique: the message's identifier and, in it, the boundary. `arrived`
    and `now` are seconds since the epoch; `envid` is the original's, "" without; `eight_bit` says that the returned
    message may hold octets above 127.
    """

    id: str
    hostname: str
    to: Address
    now: float
    arrived: float
    statuses: tuple[RecipientStatus, ...]
    envid: str = ""
    eight_bit: bool = False

    @property
    def is_international(self) -> bool:
        """Whether an address outside ASCII stands in it (RFC 6533)."""
        addresses = [str(self.to), *(str(status.recipient.path) for status in self.statuses)]
        return not all(address.isascii() for address in addresses)


def returns_full(ret: str, octets: int, actions: Iterable[Action]) -> bool:
    """
    Whether the whole message goes back: failures only, RET permitting, and not when it is too long.

    RFC 3461 4.3, 6.2
    """
    if ret == "HDRS" or Action.FAILED not in actions:
        return False
    return octets <= (RETURNED_MAX_OCTETS if ret == "FULL" else RETURNED_UNASKED_MAX_OCTETS)


def begin(report: Report, full: bool) -> bytes:
    """
    Print the report up to the returned octets.

    Args:
        report: what to say.
        full: whether the whole message follows, or its header.
    """
    international = report.is_international
    parts = [_header(report), _explanation(report), _fields(report, international)]
    return "".join([*parts, _returned(report, full, international)]).encode("utf-8", "replace")


def end(report: Report) -> bytes:
    """Print what closes the report after the returned octets."""
    return f"\r\n--{_boundary(report)}--\r\n".encode()


def status_code(reply: Reply) -> str:
    """The Status of a reply: its enhanced code, or the class alone (RFC 3461 6.3 (g))."""
    return reply.enhanced or f"{min(max(reply.code // 100, 2), 5)}.0.0"


def _header(report: Report) -> str:
    boundary = _boundary(report)
    return (
        f"Date: {print_date(report.now)}\r\n"
        f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>\r\n"
        f"To: {_clean(str(report.to))}\r\n"
        f"Subject: {_subject(report)}\r\n"
        f"Message-ID: <{report.id}@{report.hostname}>\r\n"
        # RFC 3834 2: no vacation notice answers a report.
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"\r\n'
        f"{_encoding(report)}"
        "\r\n"
    )


def _explanation(report: Report) -> str:
    lines = [
        f"--{_boundary(report)}",
        "Content-Type: text/plain; charset=utf-8",
        f"{_encoding(report)}",
        f"This is the mail server {report.hostname}.",
        "",
        f"Your message of {print_date(report.arrived)}:",
        "",
    ]
    for status in report.statuses:
        lines.append(f"  {_SENTENCES[status.action]} <{_clean(str(status.recipient.path))}>")
        if status.action in (Action.FAILED, Action.DELAYED):
            speaker = f"{_text(status.remote_mta)} said" if status.said == status.reply else "The reason"
            lines.append(f"    {speaker}: {_text(str(status.reply))}")
        if status.retry_until is not None:
            lines.append(f"    It is tried again until {print_date(status.retry_until)}; you need not do anything.")
        lines.append("")
    return "\r\n".join(lines) + "\r\n"


def _fields(report: Report, international: bool) -> str:
    """The fields for programs: those of the message, then a group for each recipient (RFC 3464 2.1)."""
    kind = "global-delivery-status" if international else "delivery-status"
    lines = [f"--{_boundary(report)}", f"Content-Type: message/{kind}", _encoding(report)]
    if report.envid:
        lines.append(f"Original-Envelope-Id: {_clean(report.envid)}")
    lines.append(f"Reporting-MTA: dns; {report.hostname}")
    lines.append(f"Arrival-Date: {print_date(report.arrived)}")
    for status in report.statuses:
        lines.append("")
        if status.recipient.original:
            kind, _, address = status.recipient.original.partition(";")
            lines.append(f"Original-Recipient: {_clean(kind.strip())}; {_clean(address.strip())}")
        address = _clean(str(status.recipient.path))
        lines.append(f"Final-Recipient: {'rfc822' if address.isascii() else 'utf-8'}; {address}")
        lines.append(f"Action: {status.action.value}")
        lines.append(f"Status: {status_code(status.reply)}")
        if status.said is not None:
            # RFC 3464 2.3.6: the diagnostic of type "smtp" is the reply itself; our words are in the part for persons.
            lines.append(f"Remote-MTA: dns; {_text(status.remote_mta)}")
            lines.append(f"Diagnostic-Code: smtp; {_text(str(status.said))}")
        if status.attempted is not None:
            lines.append(f"Last-Attempt-Date: {print_date(status.attempted)}")
        if status.retry_until is not None:
            lines.append(f"Will-Retry-Until: {print_date(status.retry_until)}")
    return "\r\n".join(lines) + "\r\n\r\n"


def _returned(report: Report, full: bool, international: bool) -> str:
    if international:
        kind = "message/global" if full else "message/global-headers"
    else:
        kind = "message/rfc822" if full else "text/rfc822-headers"
    return f"--{_boundary(report)}\r\nContent-Type: {kind}\r\n{_encoding(report)}\r\n"


_SENTENCES = {
    Action.FAILED: "was not delivered to",
    Action.DELAYED: "has not been delivered yet to",
    Action.DELIVERED: "was delivered to",
    Action.RELAYED: "was handed on, to a server that sends no further reports, for",
    Action.EXPANDED: "was delivered to all members behind",
}


def _subject(report: Report) -> str:
    actions = {status.action for status in report.statuses}
    if Action.FAILED in actions:
        return "Your message was not delivered"
    if Action.DELAYED in actions:
        return "Your message is delayed"
    return "Your message was delivered"


def _encoding(report: Report) -> str:
    eight_bit = report.eight_bit or report.is_international
    return "Content-Transfer-Encoding: 8bit\r\n" if eight_bit else ""


def _boundary(report: Report) -> str:
    return f"report-{report.id}"


def _clean(text: str) -> str:
    """What came from outside, without what could end a line."""
    return _CONTROL.sub("?", text)


def _text(text: str) -> str:
    """A peer's words as one line of printable ASCII."""
    return _NOT_TEXT.sub("?", text.replace("\n", " "))[:_DIAGNOSTIC_MAX]
