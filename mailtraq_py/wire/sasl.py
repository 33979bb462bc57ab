"""
SASL mechanisms as steps: PLAIN, LOGIN, CRAM-MD5.

A mechanism is fed the client's decoded responses and answers with the next `Challenge`, or with what has to be
checked (`PasswordCredentials`, `CramResponse`), or with `Malformed`. Base64 and the framing of challenges belong to
the protocol that carries the exchange; checking belongs to `servers/login.py`. Octets of an exchange never appear in
a repr.

RFC 4422, RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5); LOGIN is the expired draft-murchison-sasl-login that clients still use
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

RESPONSE_MAX_OCTETS = 12288  # RFC 4954 4: what a client's line must be allowed
CREDENTIAL_MAX_OCTETS = 1024


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send this to the client, base64-encoded, and feed its response."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class PasswordCredentials:
    """
    A login name and password to check. `authorisation` is the identity to act as, "" for the same.
    """

    login: str
    password: bytes = field(repr=False)
    authorisation: str = ""


@dataclass(frozen=True, slots=True)
class CramResponse:
    """A login name and the hexadecimal HMAC-MD5 digest of `challenge` under its password."""

    login: str
    challenge: bytes = field(repr=False)
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Malformed:
    """What the client sent cannot be a response of this mechanism."""

    reason: str


Step = Challenge | PasswordCredentials | CramResponse | Malformed


class Mechanism(Protocol):
    """One exchange under way."""

    name: str

    def start(self, initial: bytes | None) -> Step:
        """Begin, with the initial response if the client sent one."""
        ...

    def respond(self, response: bytes) -> Step:
        """Take the response to the last challenge."""
        ...


class Plain:
    """`[authzid] NUL authcid NUL passwd` (RFC 4616 2)."""

    name = "PLAIN"

    def start(self, initial: bytes | None) -> Step:
        """An empty challenge asks for what the initial response did not bring."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Step:
        """Exactly two NULs; login and password not empty."""
        pieces = response.split(b"\0")
        if len(pieces) != 3:
            return Malformed("PLAIN needs three parts")
        return _credentials(pieces[1], pieces[2], pieces[0])


class Login:
    """Two prompts: name, password."""

    name = "LOGIN"

    def __init__(self) -> None:
        self._login: bytes | None = None

    def start(self, initial: bytes | None) -> Step:
        """An initial response is the name."""
        return Challenge(b"Username:") if initial is None else self.respond(initial)

    def respond(self, response: bytes) -> Step:
        """First the name, then the password."""
        if self._login is None:
            self._login = response
            return Challenge(b"Password:")
        return _credentials(self._login, response, b"")


class CramMD5:
    """A challenge that no other session gets; the response is `name SP digest` (RFC 2195 2)."""

    name = "CRAM-MD5"

    def __init__(self, challenge: bytes) -> None:
        self._challenge = challenge

    def start(self, initial: bytes | None) -> Step:
        """The server speaks first: an initial response is an error."""
        return Challenge(self._challenge) if initial is None else Malformed("CRAM-MD5 takes no initial response")

    def respond(self, response: bytes) -> Step:
        """The digest is 32 hexadecimal digits in lower case."""
        login, space, digest = response.rpartition(b" ")
        if not space or not login or len(digest) != 32:
            return Malformed("CRAM-MD5 needs a name and a digest")
        name = _text(login)
        return Malformed("login name is not UTF-8") if name is None else CramResponse(name, self._challenge, digest)


PLAINTEXT_MECHANISMS = ("PLAIN", "LOGIN")


def begin(name: str, cram_challenge: Callable[[], bytes]) -> Mechanism | None:
    """
    Start an exchange.

    Args:
        name: the mechanism in any case.
        cram_challenge: makes a fresh `<unique@host>` challenge (RFC 2195 2).

    Returns:
        None for an unknown mechanism. Whether a known one is offered is the session's matter.
    """
    name = name.upper()
    if name == "PLAIN":
        return Plain()
    if name == "LOGIN":
        return Login()
    if name == "CRAM-MD5":
        return CramMD5(cram_challenge())
    return None


def decode_response(octets: bytes) -> bytes | None:
    """Undo base64 strictly: None for anything but canonical base64 (RFC 4954 4: 501 then)."""
    if len(octets) > RESPONSE_MAX_OCTETS:
        return None
    try:
        return binascii.a2b_base64(octets, strict_mode=True) if octets else b""
    except binascii.Error:
        return None


def _credentials(login: bytes, password: bytes, authorisation: bytes) -> Step:
    name, identity = _text(login), _text(authorisation)
    if name is None or identity is None:
        return Malformed("name is not UTF-8")
    if not name or not password:
        return Malformed("empty name or password")
    if max(len(login), len(password), len(authorisation)) > CREDENTIAL_MAX_OCTETS:
        return Malformed("name or password too long")
    return PasswordCredentials(name, password, identity)


def _text(octets: bytes) -> str | None:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
