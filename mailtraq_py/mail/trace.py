"""
Trace fields: Received, Return-Path, Delivered-To, and how many hops a message has behind it.

Each printed field is whole lines with their CRLF. What the peer said (HELO) is reduced to octets that cannot end
a line, a comment or a clause.

RFC 5321 4.4, RFC 3848, RFC 6531 3.7.3
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from .dates import print_date

LINE_OCTETS = 78

_NOT_IN_HELO = re.compile(r"[^A-Za-z0-9._:-]")
_NOT_IN_WORD = re.compile(r"[^!-~]|[()<>;,\\\"]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HELO_MAX = 255
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_DELIVERED_TO = re.compile(rb"^delivered-to[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


class TLSDetails(Protocol):
    """What a Received field says of TLS; `interfaces.connection.TLSInfo` is one."""

    @property
    def version(self) -> str:
        """As "TLSv1.3"."""
        ...

    @property
    def cipher(self) -> str:
        """The cipher suite by its name."""
        ...

    @property
    def bits(self) -> int:
        """Bits of the secret."""
        ...

    def __hash__(self) -> int:
        """A value that does not change."""
        ...


def transmission_type(
    *, extended: bool, tls: bool = False, authenticated: bool = False, lmtp: bool = False, smtputf8: bool = False
) -> str:
    """
    The keyword of the `with` clause: SMTP, ESMTP, ESMTPSA, LMTPS, UTF8SMTPS ...

    RFC 3848, RFC 6531 4.3
    """
    suffix = ("S" if tls else "") + ("A" if authenticated else "")
    if lmtp:
        return f"{'UTF8' if smtputf8 else ''}LMTP{suffix}"
    if smtputf8:
        return f"UTF8SMTP{suffix}"
    # RFC 3848 knows no SMTP with S or A: TLS and AUTH are extensions, so the client has said EHLO.
    return f"ESMTP{suffix}" if extended or suffix else "SMTP"


def received_field(
    *,
    helo: str,
    client: str,
    by: str,
    protocol: str,
    id: str,
    tls: TLSDetails | None,
    recipient: str | None,
    seconds: float,
) -> bytes:
    """
    Print our Received field, folded so that lines stay within 78 octets where words allow.

    Args:
        helo: what the client called itself, as it came; anything but a domain's characters becomes "?".
        client: its address as text, IPv4 or IPv6; "" for mail that was born here.
        by: our name.
        protocol: the keyword, from `transmission_type`.
        id: the message's identifier.
        tls: the session's TLS, None without.
        recipient: the only recipient, or None where there are several (RFC 5321 7.2: no blind copies shown).
        seconds: now.

    RFC 5321 4.4
    """
    clauses = [f"id {_word(id)}"]
    if recipient and not _CONTROL.search(recipient):
        clauses.append(f"for <{recipient}>")
    clauses[-1] += ";"
    clauses.append(print_date(seconds))
    return f"{_fold(_received_by(helo, client, by, protocol, tls), clauses)}\r\n".encode("utf-8", "replace")


@lru_cache(maxsize=256)
def _received_by(helo: str, client: str, by: str, protocol: str, tls: TLSDetails | None) -> str:
    """What all messages of a connection begin their Received fields with."""
    clauses = [f"by {_word(by)}", f"with {_word(protocol)}"]
    if client or helo:
        clauses.insert(0, f"from {_helo(helo)}" + (f" ({address_literal(client)})" if client else ""))
    if tls is not None:
        clauses.append(f"(version={_word(tls.version)} cipher={_word(tls.cipher)} bits={tls.bits:d})")
    return _fold(f"Received: {clauses[0]}", clauses[1:])


def return_path_field(reverse_path: str) -> bytes:
    """
    Print Return-Path for the reverse-path as text, "" for the null path.

    RFC 5321 4.4
    """
    return f"Return-Path: <{_CONTROL.sub('?', reverse_path)}>\r\n".encode("utf-8", "replace")


def delivered_to_field(address: str) -> bytes:
    """Print Delivered-To, by which forwarding in a ring is seen."""
    return f"Delivered-To: {_CONTROL.sub('?', address)}\r\n".encode("utf-8", "replace")


def count_received(header: bytes) -> int:
    """
    How many Received fields stand in a header (RFC 5321 6.3: too many mean a loop).

    Args:
        header: the raw header; what follows its blank line, if anything, is not looked at.
    """
    return len(_RECEIVED.findall(_header_only(header)))


def was_delivered_to(header: bytes, address: str) -> bool:
    """Whether a Delivered-To field of this header names the address (compared without regard to case)."""
    wanted = address.encode("utf-8", "replace").lower()
    return any(value.strip().lower() == wanted for value in _DELIVERED_TO.findall(_header_only(header)))


def address_literal(address: str) -> str:
    """
    An IP address in brackets, IPv6 with its tag.

    RFC 5321 4.1.3
    """
    address = _NOT_IN_HELO.sub("?", address)
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _header_only(header: bytes) -> bytes:
    if header.startswith((b"\r\n", b"\n")):
        return b""
    ends = [end for end in (header.find(b"\n\r\n"), header.find(b"\n\n")) if end >= 0]
    return header[: min(ends) + 1] if ends else header


def _helo(name: str) -> str:
    """A domain or an address literal, or what is left of it (RFC 5321 4.1.2, 4.1.3)."""
    name = name[:_HELO_MAX]
    if name.startswith("[") and name.endswith("]"):
        return f"[{_NOT_IN_HELO.sub('?', name[1:-1])}]"
    return _NOT_IN_HELO.sub("?", name) or "unknown"


def _word(text: str) -> str:
    return _NOT_IN_WORD.sub("?", text)


def _fold(text: str, clauses: list[str]) -> str:
    """A field's text and further clauses, a new line wherever the next one would pass the limit (RFC 5322 2.2.3)."""
    width = len(text[text.rfind("\n") + 1 :].expandtabs(8))
    for clause in clauses:
        width += 1 + len(clause)
        if width > LINE_OCTETS:
            text += f"\r\n\t{clause}"
            width = 8 + len(clause)
        else:
            text += f" {clause}"
    return text
