"""
A login, the same over SMTP, POP3 and IMAP: policy, password, policy again, and the recent-login whitelist.

    LOGIN          before a password is looked at (bans, plaintext rules, service)
    the check      password or CRAM-MD5 digest
    AUTHENTICATED  is this account allowed here, now
    record         POP3 and IMAP only; committed before this returns, so the protocol may say +OK

What the peer hears of a failure is the same whatever failed.

RFC 4954 4, RFC 4616 2, RFC 2195 2
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.logger import Logger

from mailtraq_py.interfaces.connection import Protocol
from mailtraq_py.interfaces.directory import Account, CramSecret, IDirectory
from mailtraq_py.interfaces.policy import Facts, IPolicy, IRecentLogins, Stage, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.wire.sasl import CramResponse, PasswordCredentials

from .cram import resumed_digest

Credentials = PasswordCredentials | CramResponse


@dataclass(frozen=True, slots=True)
class LoginOutcome:
    """
    What a login came to. `account` is None when it failed; `verdict` is then the policy's refusal, or None for wrong
    credentials.
    """

    account: Account | None
    verdict: Verdict | None = None


class Logins:
    """
    Where every protocol takes its logins.

    Args:
        policy: gives the policy in force.
        directory: who has which password.
        recent: the whitelist, written for POP3 and IMAP.
    """

    log = Logger()

    def __init__(self, policy: Callable[[], IPolicy], directory: IDirectory, recent: IRecentLogins) -> None:
        self._policy = policy
        self._directory = directory
        self._recent = recent

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
        facts = replace(facts, login=credentials.login, mechanism=mechanism)
        verdict = await self._policy().decide(Stage.LOGIN, facts)
        if not verdict.is_permit:
            return self._failed(facts, verdict.reason, verdict)
        account = await self._verify(facts, credentials)
        if account is None:
            return self._failed(facts, "wrong credentials", None)
        facts = replace(facts, account=account)
        verdict = await self._policy().decide(Stage.AUTHENTICATED, facts)
        if not verdict.is_permit:
            return self._failed(facts, verdict.reason, verdict)
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

    async def _verify(self, facts: Facts, credentials: Credentials) -> Account | None:
        if isinstance(credentials, CramResponse):
            secret = await self._directory.find_cram_secret(credentials.login)
            return _cram_account(secret, credentials)
        account = await self._directory.verify_password(
            credentials.login, credentials.password, facts.connection.client
        )
        if account is not None and not _acts_as_itself(account, credentials):
            return None
        return account

    def _failed(self, facts: Facts, reason: str, verdict: Verdict | None) -> LoginOutcome:
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
        return LoginOutcome(None, verdict)


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
    expected = resumed_digest(*states, response.challenge)
    right = hmac.compare_digest(expected, response.digest)
    return secret.account if secret is not None and right else None
