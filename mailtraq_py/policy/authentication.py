"""
LOGIN and AUTHENTICATED: may this client send a password here, and may this account log in?
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.reply import Reply

from .trust import Trust

PLAINTEXT_MECHANISMS = frozenset({"PLAIN", "LOGIN", "USER", "XOAUTH2", "OAUTHBEARER"})
ENCRYPTION_REQUIRED = Reply(538, "Encryption required for requested authentication mechanism", "5.7.11")
INVALID_CREDENTIALS = Reply(535, "Authentication credentials invalid", "5.7.8")


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class PlaintextCheck:
    """LOGIN: `auth_without_tls`, for mechanisms that show the password to whoever listens (RFC 4954 4, RFC 4616 5)."""

    trust: Trust
    rule: str
    name = "plaintext"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse a plaintext mechanism without TLS where the rule does not let the client; None means any mechanism."""
        if facts.tls is not None or (facts.mechanism or "PLAIN").upper() not in PLAINTEXT_MECHANISMS:
            return None
        if self.trust.may_use_plaintext(facts.connection.client, self.rule):
            return None
        return Verdict(Opinion.REFUSE, self.name, f"no TLS, and auth_without_tls is {self.rule}", ENCRYPTION_REQUIRED)


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class AccountCheck:
    """
    AUTHENTICATED: the account's state, and whether it is the one that counts here. The peer hears what it hears of a
    wrong password.

    `only` is the folded login of Ability's one fixed account, or "".
    """

    only: str = ""
    name = "account"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse a disabled account, and any other than the fixed one."""
        account = facts.account
        if account is None or not account.enabled:
            return Verdict(Opinion.REFUSE, self.name, "the account is disabled", INVALID_CREDENTIALS)
        if self.only and account.address.lower() != self.only:
            return Verdict(Opinion.REFUSE, self.name, "another login is the only one here", INVALID_CREDENTIALS)
        return None
