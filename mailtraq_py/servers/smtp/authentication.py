"""
AUTH in one session: what is offered, the exchange under way, what failures lead to.

A plaintext mechanism where the connection is not fit for one is refused before anything of the exchange is looked at.
The text of a failure is the same whatever failed; `servers/login.py` makes it late, and the third ends the connection.

RFC 4954, RFC 8314 3, RFC 2195 2
"""

from __future__ import annotations

from base64 import b64encode
from secrets import token_hex

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.policy import Facts, Opinion
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire import sasl
from mailtraq_py.wire.smtp.commands import Auth

from .settings import SMTPServiceSettings, SMTPSurroundings

CRAM_MD5 = "CRAM-MD5"

_SUCCEEDED = Reply(235, "authentication succeeded", "2.7.0")
_FAILED = Reply(535, "authentication credentials invalid", "5.7.8")
_TOO_MANY = Reply(421, "too many failed logins", "4.7.0")
_LATER = Reply(454, "temporary authentication failure", "4.7.0")
_ALREADY = Reply(503, "already authenticated", "5.5.1")
_UNKNOWN = Reply(504, "mechanism not offered", "5.5.4")
_NEEDS_TLS = Reply(538, "encryption is required for this mechanism", "5.7.11")
_MALFORMED = Reply(501, "malformed response", "5.5.2")


class Authentication:
    """
    One session's AUTH. `account` is None until an exchange succeeded.
    """

    def __init__(self, settings: SMTPServiceSettings, around: SMTPSurroundings, connection: Connection) -> None:
        self._settings = settings
        self._around = around
        self._connection = connection
        self._mechanism: sasl.Mechanism | None = None
        self._failures = 0
        self.account: Account | None = None

    async def offered(self, encrypted: bool) -> tuple[str, ...]:
        """The mechanisms for EHLO. CRAM-MD5 only while some account has opted in."""
        if self.account is not None:
            return ()
        plaintext = self._settings.allows_plaintext(self._connection.client, encrypted)
        mechanisms = sasl.PLAINTEXT_MECHANISMS if plaintext else ()
        return (*mechanisms, CRAM_MD5) if await self._offers_cram() else mechanisms

    async def start(self, command: Auth, facts: Facts) -> Reply:
        """Answer AUTH: with 334 the exchange goes on."""
        if self.account is not None:
            return _ALREADY
        mechanism = sasl.begin(command.mechanism, self._cram_challenge)
        if mechanism is None or (mechanism.name == CRAM_MD5 and not await self._offers_cram()):
            return _UNKNOWN
        if mechanism.name in sasl.PLAINTEXT_MECHANISMS and not self._settings.allows_plaintext(
            self._connection.client, facts.tls is not None
        ):
            return _NEEDS_TLS
        self._mechanism = mechanism
        return await self._follow(mechanism.start(command.initial), facts)

    async def respond(self, response: bytes, facts: Facts) -> Reply:
        """Answer the client's response to a 334."""
        if self._mechanism is None:
            return _MALFORMED
        return await self._follow(self._mechanism.respond(response), facts)

    def forget(self) -> None:
        """End an exchange under way."""
        self._mechanism = None

    async def _follow(self, step: sasl.Step, facts: Facts) -> Reply:
        if isinstance(step, sasl.Challenge):
            return Reply(334, b64encode(step.octets).decode("ascii"))
        mechanism, self._mechanism = self._mechanism, None
        if isinstance(step, sasl.Malformed) or mechanism is None:
            return _MALFORMED
        try:
            outcome = await self._around.logins.check(facts, mechanism.name, step)
        except TemporaryFailure:
            return _LATER
        if outcome.account is not None:
            self.account = outcome.account
            return _SUCCEEDED
        if outcome.verdict is not None and outcome.verdict.opinion is Opinion.DEFER:
            return _LATER
        self._failures += 1
        if self._failures >= self._settings.max_failed_logins or (outcome.verdict and outcome.verdict.close):
            return _TOO_MANY
        return _FAILED

    async def _offers_cram(self) -> bool:
        try:
            return await self._around.directory.offers_cram_md5()
        except TemporaryFailure:
            return False

    def _cram_challenge(self) -> bytes:
        return f"<{token_hex(12)}.{int(self._around.now())}@{self._settings.hostname}>".encode("ascii", "replace")
