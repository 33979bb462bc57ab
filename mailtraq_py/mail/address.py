"""
Addresses and domains as values: parse, print, fold.

An `Address` keeps its local part unquoted and its domain as the peer wrote it; `key` is the one form in
which two addresses are compared, everywhere in the program. The path grammar of SMTP (angle brackets,
source routes, parameters) is in `wire/smtp/grammar.py`; here is only what an address is.

RFC 5321 4.1.2, RFC 6531 3.3, RFC 5890
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

LOCAL_PART_MAX_OCTETS = 64
DOMAIN_MAX_OCTETS = 255

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*\Z")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\Z")
_UNQUOTABLE = re.compile(r"[\x00-\x1f\x7f]")
_LITERAL = re.compile(r"\[[A-Za-z0-9.:_-]+\]\Z")


@lru_cache(maxsize=4096)
def fold_domain(domain: str) -> str:
    """
    Give a domain the form in which domains are compared.

    Args:
        domain: A-labels or U-labels in any case, perhaps with one trailing dot; or an address literal.

    Returns:
        lower-case A-labels without a trailing dot; an address literal in lower case.

    Raises:
        ValueError: no domain (empty label, bad character, too long, bad IDN).

    RFC 5321 2.3.5, RFC 5890 2.3.2.1
    """
    if domain.startswith("["):
        if not _LITERAL.match(domain):
            raise ValueError("bad address literal")
        return domain.lower()
    if domain.endswith("."):
        domain = domain[:-1]
    if domain.isascii():
        folded = domain.lower()
    else:
        try:
            folded = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise ValueError(f"bad internationalised domain: {error}") from None
    if not folded or len(folded) > DOMAIN_MAX_OCTETS:
        raise ValueError("empty or too long domain")
    for label in folded.split("."):
        if len(label) > 63 or not _LABEL.match(label):
            raise ValueError("bad label in domain")
    return folded


def fold_local_part(local_part: str) -> str:
    """Give a local part of a domain we host the form in which it is compared: NFC, lower case."""
    if local_part.isascii():
        return local_part.lower()
    return unicodedata.normalize("NFC", local_part).casefold()


@dataclass(frozen=True, slots=True)
class Address:
    """
    A mailbox address.

    Equality is by the octets as written; compare `key` to ask whether two addresses mean the same
    mailbox.
    """

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{quote_local_part(self.local_part)}@{self.domain}"

    @property
    def key(self) -> str:
        """`local@domain`, both folded; the form stored and compared."""
        return f"{fold_local_part(self.local_part)}@{fold_domain(self.domain)}"

    @property
    def domain_key(self) -> str:
        """The folded domain."""
        return fold_domain(self.domain)


@lru_cache(maxsize=4096)
def quote_local_part(local_part: str) -> str:
    """Print a local part, as a quoted string where it must be (RFC 5321 4.1.2)."""
    if _DOT_STRING.match(local_part):
        return local_part
    return '"' + local_part.replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address:
    """
    Read `local@domain` with nothing around it, as configuration and command lines hold it.

    Raises:
        ValueError: what stands there is no address; the message says why.

    RFC 5321 4.1.2
    """
    if text.startswith('"'):
        end = _closing_quote(text)
        local_part, rest = unquote(text[: end + 1]), text[end + 1 :]
        if not rest.startswith("@"):
            raise ValueError("no @ after the quoted local part")
        domain = rest[1:]
    else:
        local_part, at, domain = text.partition("@")
        if not at:
            raise ValueError("no @ in the address")
        if not _DOT_STRING.match(local_part):
            raise ValueError("bad local part")
    if not local_part:
        raise ValueError("empty local part")
    if len(local_part.encode("utf-8", "surrogateescape")) > LOCAL_PART_MAX_OCTETS:
        raise ValueError("local part too long")
    if _UNQUOTABLE.search(local_part):
        raise ValueError("control character in the local part")
    fold_domain(domain)
    return Address(local_part, domain)


def unquote(text: str) -> str:
    """Undo a quoted string, quotes included."""
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _closing_quote(text: str) -> int:
    position = 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == '"':
            return position
        else:
            position += 1
    raise ValueError("quoted local part without its closing quote")
