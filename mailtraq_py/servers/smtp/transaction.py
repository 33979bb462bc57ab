"""
A mail transaction while it is being said: what MAIL, the RCPTs and the verdicts on them brought so far.

RFC 5321 3.3
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailtraq_py.interfaces.delivery import IIncoming
from mailtraq_py.interfaces.directory import Destination
from mailtraq_py.interfaces.policy import TraceLine, Verdict
from mailtraq_py.mail.envelope import Envelope, Recipient
from mailtraq_py.mail.reply import Reply
from mailtraq_py.wire.smtp.commands import Mail


@dataclass(slots=True)
class Transaction:
    """
    From MAIL to the reply to its message. `failure` is what the message will be answered with; from then on, and with
    `discarded`, its octets are counted and dropped.
    """

    mail: Mail
    started: float
    recipients: list[Recipient] = field(default_factory=list)
    destinations: list[Destination] = field(default_factory=list)
    grants: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    headers: list[str] = field(default_factory=list)
    trace: list[TraceLine] = field(default_factory=list)
    octets: int = 0
    incoming: IIncoming | None = None
    failure: Reply | None = None
    discarded: bool = False

    def add(self, verdict: Verdict) -> None:
        """Take over what a verdict puts on the message."""
        self.headers += verdict.headers
        self.trace += verdict.trace

    def abort(self) -> None:
        """Forget the message."""
        if self.incoming is not None:
            self.incoming.abort()
            self.incoming = None

    def envelope(self) -> Envelope:
        """As it stands now."""
        mail = self.mail
        return Envelope(
            mail.reverse_path,
            tuple(self.recipients),
            mail.ret,
            mail.envid,
            mail.body,
            mail.smtputf8,
            mail.declared_octets,
        )
