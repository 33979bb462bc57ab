"""
The grammar of SMTP's commands: paths, parameters, xtext.

Text goes in as `str`: ASCII, or UTF-8 where the transaction said SMTPUTF8. What cannot be read raises `Refused` with
the reply for the peer; the core catches it.

    path       = "<" [ source-route ":" ] mailbox ">"        the source route is read and dropped
    parameters = keyword [ "=" value ] *( SP keyword [ "=" value ] )
    xtext      = *( xchar / "+" 2HEXDIG )

RFC 5321 4.1.1.11, 4.1.2, RFC 1870 5, RFC 6152 2, RFC 3461 4, RFC 4954 5, RFC 6531 3.4
"""

from __future__ import annotations

import re

from mailtraq_py.mail.address import Address, parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, Notify, ReversePath, parse_notify
from mailtraq_py.mail.reply import Reply

ENVID_MAX_OCTETS = 100  # RFC 3461 4.4, of the encoded form
ORCPT_MAX_OCTETS = 500  # RFC 3461 4.2

_USUAL_PATH = re.compile(r"<([^\"<>@:\\ ]+@[A-Za-z0-9.-]+)>(?: +|\Z)")
_SOURCE_ROUTE = re.compile(r"@[^@,:\"<>\\ ]+(?:,@[^@,:\"<>\\ ]+)*:")
_QUOTED_OR_END = re.compile(r'"(?:[^"\\]|\\.)*"|>')
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_XTEXT_PAIR = re.compile(r"\+([0-9A-F]{2})")
_NOT_XCHAR = re.compile(r"[^!-*,-<>-~]")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+\Z")
_SIZE = re.compile(r"[0-9]{1,20}\Z")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


class Refused(Exception):
    """What the peer sent cannot be taken; `reply` is for it."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.reply = Reply(code, text, enhanced)


def take_reverse_path(text: str) -> tuple[ReversePath, str]:
    """
    Read what follows `MAIL FROM:`.

    Returns:
        the path, and the parameters behind it.

    Raises:
        Refused: 501 5.1.7.

    RFC 5321 4.1.1.2
    """
    if text.startswith("<>"):
        return NULL_PATH, _behind(text, 2, "5.1.7")
    address, rest = _take_path(text, "5.1.7")
    return ReversePath(address), rest


def take_forward_path(text: str, default_domain: str) -> tuple[ForwardPath, str]:
    """
    Read what follows `RCPT TO:`.

    Args:
        text: path and parameters.
        default_domain: where `<postmaster>` lives (RFC 5321 4.1.1.3).

    Returns:
        the path, and the parameters behind it.

    Raises:
        Refused: 501 5.1.3.
    """
    if text[:12].lower() == "<postmaster>":
        return ForwardPath(Address("postmaster", default_domain)), _behind(text, 12, "5.1.3")
    address, rest = _take_path(text, "5.1.3")
    return ForwardPath(address), rest


def _take_path(text: str, enhanced: str) -> tuple[Address, str]:
    usual = _USUAL_PATH.match(text)
    if usual:
        mailbox, rest = usual[1], text[usual.end() :]
    else:
        end = _closing_bracket(text, enhanced)
        mailbox, rest = text[1:end], _behind(text, end + 1, enhanced)
        route = _SOURCE_ROUTE.match(mailbox)
        if route:
            # RFC 5321 4.1.1.3: "servers MUST be prepared to encounter a list of source routes in the
            # forward-path, but they SHOULD ignore the routes".
            mailbox = mailbox[route.end() :]
    try:
        return parse_address(mailbox), rest
    except ValueError:
        raise Refused(501, enhanced, "bad address syntax") from None


def _closing_bracket(text: str, enhanced: str) -> int:
    if not text.startswith("<"):
        raise Refused(501, enhanced, "the address must stand in angle brackets")
    for match in _QUOTED_OR_END.finditer(text, 1):
        if match[0] == ">":
            return match.start()
    raise Refused(501, enhanced, "the address has no closing angle bracket")


def _behind(text: str, position: int, enhanced: str) -> str:
    rest = text[position:]
    if rest and not rest.startswith(" "):
        raise Refused(501, enhanced, "bad address syntax")
    return rest.strip(" ")


def split_parameters(text: str, known: frozenset[str]) -> dict[str, str | None]:
    """
    Read the parameters of MAIL or RCPT.

    Args:
        text: what stands behind the path.
        known: the keywords that our extensions brought, in upper case.

    Returns:
        value by keyword in upper case; None where there was no "=".

    Raises:
        Refused: 555 5.5.4 for an unknown one, 501 5.5.4 for one that is malformed or comes twice.

    RFC 5321 4.1.1.11
    """
    parameters: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        name, equals, value = word.partition("=")
        keyword = name.upper()
        if not _KEYWORD.match(name) or (equals and not value):
            raise Refused(501, "5.5.4", "malformed parameter")
        if keyword not in known:
            raise Refused(555, "5.5.4", f"parameter {keyword[:32]} not recognised")
        if keyword in parameters:
            raise Refused(501, "5.5.4", f"parameter {keyword} given twice")
        if "=" in value:
            raise Refused(501, "5.5.4", "malformed parameter")
        parameters[keyword] = value if equals else None
    return parameters


def read_size(value: str | None) -> int:
    """SIZE: octets, at most 20 digits (RFC 1870 5). Raises Refused."""
    if value is None or not _SIZE.match(value):
        raise Refused(501, "5.5.4", "SIZE needs a number")
    return int(value)


def read_body(value: str | None) -> str:
    """BODY: "7BIT" or "8BITMIME" (RFC 6152 2). Raises Refused."""
    word = (value or "").upper()
    if word not in ("7BIT", "8BITMIME"):
        raise Refused(501, "5.5.4", "BODY is 7BIT or 8BITMIME")
    return word


def read_ret(value: str | None) -> str:
    """RET: "FULL" or "HDRS" (RFC 3461 4.3). Raises Refused."""
    word = (value or "").upper()
    if word not in ("FULL", "HDRS"):
        raise Refused(501, "5.5.4", "RET is FULL or HDRS")
    return word


def read_envid(value: str | None) -> str:
    """ENVID, decoded (RFC 3461 4.4). Raises Refused."""
    if value is None or len(value) > ENVID_MAX_OCTETS:
        raise Refused(501, "5.5.4", "bad ENVID")
    return decode_xtext(value, "ENVID")


def read_notify(value: str | None) -> Notify:
    """NOTIFY (RFC 3461 4.1). Raises Refused."""
    try:
        return parse_notify(value or "")
    except ValueError:
        raise Refused(501, "5.5.4", "bad NOTIFY") from None


def read_original_recipient(value: str | None) -> str:
    """
    ORCPT, as "type;address" with the address decoded.

    An address of type utf-8 comes in one of RFC 6533 3's encodings, of which the one with `\\x{...}` is
    allowed without SMTPUTF8.

    Raises:
        Refused: 501 5.5.4.

    RFC 3461 4.2, RFC 6533 3
    """
    kind, semicolon, address = (value or "").partition(";")
    if not semicolon or not address or not _ADDRESS_TYPE.match(kind) or len(address) > ORCPT_MAX_OCTETS:
        raise Refused(501, "5.5.4", "bad ORCPT")
    if kind.lower() != "utf-8":
        return f"{kind};{decode_xtext(address, 'ORCPT')}"
    try:
        decoded = _UTF8_ESCAPE.sub(lambda match: chr(int(match[1], 16)), address)
        decoded.encode("utf-8")
    except (ValueError, OverflowError):
        raise Refused(501, "5.5.4", "bad ORCPT") from None
    if not decoded.isprintable():
        raise Refused(501, "5.5.4", "bad ORCPT")
    return f"{kind};{decoded}"


def read_auth(value: str | None) -> str:
    """
    AUTH of MAIL: who first submitted the message, "" for `<>`. Raises Refused.

    RFC 4954 5
    """
    if value is None:
        raise Refused(501, "5.5.4", "bad AUTH parameter")
    text = decode_xtext(value, "AUTH parameter")
    return "" if text == "<>" else text


def decode_xtext(text: str, what: str) -> str:
    """
    Undo xtext.

    Raises:
        Refused: malformed, or it hides octets outside printable ASCII, which could break a report's fields.

    RFC 3461 4
    """
    if not _XTEXT.match(text):
        raise Refused(501, "5.5.4", f"bad {what}")
    if "+" not in text:
        return text
    decoded = _XTEXT_PAIR.sub(lambda match: chr(int(match[1], 16)), text)
    if not decoded.isascii() or not decoded.isprintable():
        raise Refused(501, "5.5.4", f"bad {what}")
    return decoded


def encode_xtext(text: str) -> str:
    """
    Print ASCII text as xtext.

    RFC 3461 4
    """
    return _NOT_XCHAR.sub(lambda match: f"+{ord(match[0]):02X}", text)
