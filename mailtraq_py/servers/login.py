"""
A login, the same over SMTP, POP3 and IMAP: policy, password, policy again, and the recent-login whitelist.

    LOGIN          before a password is looked at (bans, plaintext rules, service)
    the check      password or CRAM-MD5 digest
    AUTHENTICATED  is this account allowed here, now
    record         POP3 and IMAP only; committed before this returns, so the protocol may say +OK

What the peer hears of a failure is the same whatever failed, and it hears it late: 1 s, 2 s, 4 s ... for each failure
of its address. Only failures wait, so whoever shares an address with a guesser still logs in at once.

RFC 4954 4, RFC 4616 2, RFC 2195 2
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.directory import Account, CramSecret, IDirectory
from mailtraq_py.interfaces.policy import Facts, IFailedLogins, IPolicy, IRecentLogins, Opinion, Stage, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.md5 import resumed_hmac
from mailtraq_py.wire.sasl import PLAINTEXT_MECHANISMS, CramResponse, PasswordCredentials

from .peer import address_group

Credentials = PasswordCredentials | CramResponse

FixedLogin = Callable[[str, PasswordCredentials, str], "Awaitable[Account | None] | None"]
"""
Asked with service, credentials and client: None where the service takes the logins of accounts; else who has logged in
with the service's one fixed login, which is no account and has the number 0.
"""

DELAY_MAX_SECONDS = 30.0
FAILURES_KEPT_SECONDS = 900.0
FAILURES_MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class LoginOutcome:
    """
    What a login came to. `account` is None when it failed; `verdict` is then the policy's refusal, or None for wrong
    credentials.
    """

    account: Account | None
    verdict: Verdict | None = None


@implementer(IFailedLogins)
class FailedLogins:
    """Failed logins counted in private memory, where no store is; it forgets the oldest address first."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float]] = {}

    async def note_login(self, client: str, now: float, seconds: float) -> int:
        """See `IFailedLogins`."""
        count, last = self._failures.pop(client, (0, now))
        count = count + 1 if now - last < seconds else 1
        if len(self._failures) >= FAILURES_MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[client] = (count, now)
        return count


class Logins:
    """
    Where every protocol takes its logins.

    Args:
        policy: gives the policy in force.
        directory: who has which password.
        recent: the whitelist, written for POP3 and IMAP.
        reactor: for the wait before a failure is told; without one nobody waits.
        fixed_login: see `FixedLogin`.
        failures: counts failed logins, to slow guessing down; a fresh private count where None.
    """

    log = Logger()

    def __init__(
        self,
        policy: Callable[[], IPolicy],
        directory: IDirectory,
        recent: IRecentLogins,
        reactor: IReactorTime | None = None,
        fixed_login: FixedLogin | None = None,
        failures: IFailedLogins | None = None,
    ) -> None:
        self._policy = policy
        self._directory = directory
        self._recent = recent
        self._reactor = reactor
        self._fixed_login = fixed_login
        self._failures = failures or FailedLogins()

    async def mechanisms(self, plaintext: bool) -> tuple[str, ...]:
        """
        The SASL mechanisms to offer.

        Args:
            plaintext: whether this client may send a password as it is.

        Raises:
            TemporaryFailure: the store could not be asked whether any account has opted in to CRAM-MD5.
        """
        offered = PLAINTEXT_MECHANISMS if plaintext else ()
        return (*offered, "CRAM-MD5") if await self._directory.offers_cram_md5() else offered

    async def check(self, facts: Facts, mechanism: str, credentials: Credentials) -> LoginOutcome:
        """
        Decide a login; log it; note it in the whitelist where it counts.

        Args:
            facts: of the session so far; `login` and `mechanism` are filled in here.
            mechanism: "PLAIN", "LOGIN", "CRAM-MD5", "USER", for the log.
            credentials: what the client brought.

        Raises:
            TemporaryFailure: the store could not be asked; the protocol says "try again later".
        """
        facts = facts._replace(login=credentials.login, mechanism=mechanism)
        verdict = await self._policy().decide(Stage.LOGIN, facts)
        if not verdict.is_permit:
            self._log_failure(facts, verdict.reason)
            await self._wait(verdict.delay_seconds)
            return LoginOutcome(None, verdict)
        if isinstance(credentials, CramResponse):
            secret = await self._directory.find_cram_secret(credentials.login)
            account = _cram_account(secret, credentials)
            # An account that has not opted in cannot be guessed at in this way: no ban may follow from it.
            reason = "no CRAM-MD5 secret" if secret is None else "wrong credentials"
        else:
            account = await self._verify(facts.connection, credentials)
            reason = "wrong credentials"
            if account is not None and not _acts_as_itself(account, credentials):
                account, reason = None, "acts as another"
        if account is None:
            return await self._refuse_guess(facts, reason, None)
        facts = facts._replace(account=account)
        verdict = await self._policy().decide(Stage.AUTHENTICATED, facts)
        if not verdict.is_permit:
            return await self._refuse_guess(facts, verdict.reason, verdict)
        noted = False
        if facts.connection.protocol in (Protocol.POP3, Protocol.IMAP):
            noted = await self._recent.record(facts.connection, account, facts.tls is not None)
        self.log.info(
            "login",
            event="login",
            session=facts.connection.session_id,
            service=facts.connection.service,
            client=facts.connection.client,
            account=account.address,
            mechanism=mechanism,
            tls=facts.tls.version if facts.tls else None,
            recent_login=noted,
        )
        return LoginOutcome(account)

    async def _verify(self, connection: Connection, credentials: PasswordCredentials) -> Account | None:
        fixed = None
        if self._fixed_login is not None:
            fixed = self._fixed_login(connection.service, credentials, connection.client)
        if fixed is not None:
            return await fixed
        found: Account | None = await self._directory.verify_password(
            credentials.login, credentials.password, connection.client
        )
        return found

    async def _refuse_guess(self, facts: Facts, reason: str, verdict: Verdict | None) -> LoginOutcome:
        self._log_failure(facts, reason)
        seconds = verdict.delay_seconds if verdict is not None else 0.0
        if self._reactor is not None and (verdict is None or verdict.opinion is not Opinion.DEFER):
            seconds = max(seconds, await self._slowing(facts.connection.client, self._reactor.seconds()))
        await self._wait(seconds)
        return LoginOutcome(None, verdict)

    async def _slowing(self, client: str, now: float) -> float:
        """Count a failure; how many seconds its answer waits. IPv6 addresses count by their /64."""
        count: int = await self._failures.note_login(address_group(client), now, FAILURES_KEPT_SECONDS)
        return min(2.0 ** min(count - 1, 10), DELAY_MAX_SECONDS)

    async def _wait(self, seconds: float) -> None:
        if self._reactor is not None and seconds > 0:
            over: Deferred[None] = Deferred()
            self._reactor.callLater(seconds, over.callback, None)
            await over

    def _log_failure(self, facts: Facts, reason: str) -> None:
        self.log.info(
            "login-failed",
            event="login-failed",
            session=facts.connection.session_id,
            service=facts.connection.service,
            client=facts.connection.client,
            login=facts.login,
            mechanism=facts.mechanism,
            reason=reason,
        )


def cram_challenge(hostname: str, now: float) -> bytes:
    """A challenge that no other session gets (RFC 2195 2). `now` is seconds since the epoch."""
    return f"<{secrets.token_hex(8)}.{int(now)}@{hostname}>".encode()


def _acts_as_itself(account: Account, credentials: PasswordCredentials) -> bool:
    """An authorisation identity other than the account itself needs proxy rights, which nobody has."""
    identity = credentials.authorisation
    if not identity or identity == credentials.login:
        return True
    try:
        return parse_address(identity).key == account.address
    except ValueError:
        return False


def _cram_account(secret: CramSecret | None, response: CramResponse) -> Account | None:
    states = (secret.inner, secret.outer) if secret else (bytes(16), bytes(16))
    expected = resumed_hmac(*states, response.challenge).hex().encode()
    right = hmac.compare_digest(expected, response.digest)
    return secret.account if secret is not None and right else None
