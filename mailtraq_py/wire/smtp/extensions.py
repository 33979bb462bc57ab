"""
The lines of a positive EHLO reply: printed for our clients, read from our servers.

    ehlo-ok-rsp = "250-" Domain [ SP greeting ] CRLF *( "250-" keyword *( SP parameter ) CRLF ) ...

RFC 5321 4.1.1.1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailtraq_py.mail.reply import Reply

PIPELINING = "PIPELINING"
SIZE = "SIZE"
EIGHT_BIT_MIME = "8BITMIME"
ENHANCED_STATUS_CODES = "ENHANCEDSTATUSCODES"
STARTTLS = "STARTTLS"
AUTH = "AUTH"
DSN = "DSN"
SMTPUTF8 = "SMTPUTF8"
EXPN = "EXPN"
HELP = "HELP"


@dataclass(frozen=True, slots=True)
class Offer:
    """
    What a session offers now.

    `max_message_octets` 0 is no fixed limit (RFC 1870 4). `mechanisms` are the SASL mechanisms that may be used
    now; without any AUTH is not offered. `starttls` is False once TLS is up (RFC 3207 4.2). `expn`: this client may ask
    who is on a list (RFC 5321 3.5.2).
    """

    max_message_octets: int = 0
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    smtputf8: bool = False
    expn: bool = False


@lru_cache(maxsize=256)
def ehlo_reply(hostname: str, client: str, offer: Offer) -> Reply:
    """
    Print the reply to EHLO.

    Args:
        hostname: our name.
        client: the client's address, for the greeting in the first line.
        offer: what is offered.

    RFC 5321 4.1.1.1; without enhanced codes, RFC 2034 3
    """
    lines = [
        f"{hostname} greets {client}",
        PIPELINING,
        f"{SIZE} {offer.max_message_octets}",
        EIGHT_BIT_MIME,
        ENHANCED_STATUS_CODES,
        DSN,
    ]
    if offer.starttls:
        lines.append(STARTTLS)
    if offer.mechanisms:
        lines.append(f"{AUTH} {' '.join(offer.mechanisms)}")
    if offer.smtputf8:
        lines.append(SMTPUTF8)
    if offer.expn:
        lines.append(EXPN)
    lines.append(HELP)
    return Reply(250, "\n".join(lines))


def read_extensions(lines: Sequence[str]) -> Mapping[str, str]:
    """
    Read the lines behind the first of an EHLO reply.

    `AUTH=PLAIN LOGIN`, as servers before RFC 2554 print it, is read like `AUTH PLAIN LOGIN`.

    Returns:
        parameters by keyword in upper case, "" where there are none.
    """
    extensions: dict[str, str] = {}
    for line in lines:
        keyword, _, parameters = line.strip().partition(" ")
        name = keyword.upper()
        if name.startswith("AUTH="):
            name, parameters = "AUTH", f"{keyword[5:]} {parameters}"
        if name:
            extensions.setdefault(name, parameters.strip())
    return extensions
