"""
HELLO: does the name a client gives itself hold?
"""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.net import IResolver
from mailtraq_py.interfaces.policy import Facts, ICheck, Opinion, Verdict
from mailtraq_py.mail.address import fold_domain
from mailtraq_py.mail.reply import Reply

from .senders import has_mail_host
from .trust import Trust
from .waiting import Waiting


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class LocalHeloCheck:
    """An outsider who greets with one of our names. `hostname` is folded."""

    trust: Trust
    directory: IDirectory
    hostname: str
    name = "helo"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse our own name from outside."""
        if facts.account is not None or self.trust.is_trusted(facts.connection.client):
            return None
        name = _folded(facts.helo)
        if not name or name.startswith("["):
            return None
        if name != self.hostname and not await self.directory.is_local_domain(name):
            return None
        return Verdict(Opinion.REFUSE, self.name, f"{name} is ours", Reply(550, "That is my name, not yours", "5.7.1"))


@implementer(ICheck)
@dataclass(frozen=True, slots=True)
class ResolvableHeloCheck:
    """A name that DNS does not know. A name that could not be looked up passes."""

    trust: Trust
    resolver: IResolver
    patience: Waiting
    name = "helo"
    can_permit = False

    async def ask(self, facts: Facts) -> Verdict | None:
        """Refuse a name without MX and address."""
        if facts.account is not None or self.trust.is_trusted(facts.connection.client):
            return None
        name = _folded(facts.helo)
        if name.startswith("["):
            return None
        reply = Reply(550, "The name in your greeting does not resolve", "5.7.1")
        if not name:
            return Verdict(Opinion.REFUSE, self.name, f"{facts.helo} does not resolve", reply)
        try:
            asking = has_mail_host(self.resolver, name)
            if await self.patience.wait(facts.connection.session_id, asking):
                return None
        except TemporaryFailure:
            return None
        return Verdict(Opinion.REFUSE, self.name, f"{name} does not resolve", reply)


def _folded(helo: str | None) -> str:
    try:
        return fold_domain(helo or "")
    except ValueError:
        return ""
