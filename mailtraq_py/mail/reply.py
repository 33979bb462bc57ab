"""
A reply of SMTP as a value: code, enhanced code, text.

RFC 5321 4.2, RFC 2034, RFC 3463
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_REPLY = re.compile(r"([2-5][0-9][0-9])[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3}) )?(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reply:
    """
    A reply: `code` of three digits, `text` of one or more lines joined by "\\n" without their CRLF,
    `enhanced` as "5.7.1" or empty where the reply has none.
    """

    code: int
    text: str
    enhanced: str = ""

    def octets(self) -> bytes:
        """The reply as it goes over the wire, the enhanced code repeated on each line (RFC 2034 4)."""
        if "\n" not in self.text:
            return f"{self}\r\n".encode("utf-8", "replace")
        return _lines(self)

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"

    @property
    def is_permanent(self) -> bool:
        """A 5xx reply."""
        return self.code >= 500

    @property
    def is_temporary(self) -> bool:
        """A 4xx reply."""
        return 400 <= self.code < 500

    @property
    def is_positive(self) -> bool:
        """A 2xx or 3xx reply."""
        return self.code < 400


@lru_cache(maxsize=256)
def _lines(reply: Reply) -> bytes:
    prefix = f"{reply.enhanced} " if reply.enhanced else ""
    lines = reply.text.split("\n")
    last = len(lines) - 1
    return "".join(
        f"{reply.code}{' ' if number == last else '-'}{prefix}{line}\r\n" for number, line in enumerate(lines)
    ).encode("utf-8", "replace")


def parse_reply(text: str) -> Reply:
    """
    Read "550 5.7.1 text" as configuration and logs hold it.

    Raises:
        ValueError: it does not begin with a reply code.
    """
    match = _REPLY.match(text)
    if not match:
        raise ValueError("a reply is three digits, perhaps an enhanced code, and a text")
    return Reply(int(match[1]), match[3], match[2] or "")
