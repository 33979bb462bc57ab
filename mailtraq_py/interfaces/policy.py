"""
Policy: facts in, verdict out. Stages, facts, verdicts, and the recent-login whitelist.

Checks of a stage are asked in order. The first refuse, defer or discard decides; a permit is remembered
and the asking goes on. Everybody may pass a stage that nobody refuses, but for RECIPIENT, where
somebody must permit too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from zope.interface import Attribute, Interface

from mailtraq_py.mail.envelope import ForwardPath, ReversePath
from mailtraq_py.mail.reply import Reply

from .connection import Connection, TLSInfo
from .directory import Account, Destination


class Stage(Enum):
    """When policy is asked."""

    __hash__ = object.__hash__  # Enum's own is written in Python

    CONNECT = "connect"
    HELLO = "hello"
    LOGIN = "login"
    AUTHENTICATED = "authenticated"
    SENDER = "sender"
    RECIPIENT = "recipient"
    MESSAGE = "message"
    EXPAND = "expand"


class Opinion(Enum):
    """What a check says. DEFER is 4xx; DISCARD says 250 and keeps nothing."""

    PERMIT = "permit"
    REFUSE = "refuse"
    DEFER = "defer"
    DISCARD = "discard"


class Facts(NamedTuple):
    """
    All that is known of a session at one stage. A field that the stage has not reached is None.

    `now` is seconds since the epoch; `failed_recipients` counts refused RCPTs of the session,
    `recipients` the accepted ones of this transaction; `marks` come from earlier verdicts; `account` is the
    authenticated one; `login` the name that a LOGIN-stage client gave; `message_octets` the size at
    MESSAGE; `destination` what the directory says of `forward_path`.
    """

    connection: Connection
    now: float
    tls: TLSInfo | None = None
    helo: str | None = None
    login: str | None = None
    mechanism: str | None = None
    account: Account | None = None
    reverse_path: ReversePath | None = None
    forward_path: ForwardPath | None = None
    destination: Destination | None = None
    recipients: int = 0
    failed_recipients: int = 0
    message_octets: int | None = None
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One check's answer. `opinion` is None where it had none; `reason` a few words for an administrator."""

    check: str
    opinion: Opinion | None
    reason: str


class Verdict(NamedTuple):
    """
    A decision. `opinion` is PERMIT when the session may go on; `reply` is for the peer (None: the
    protocol's ordinary one); `check` decided, `reason` says why in a word for the log.

    `close`: end the connection after the reply, or without one where `reply` is None. `delay_seconds`:
    wait before answering. `marks` join the facts of later stages. `headers`: whole header lines without CRLF to
    put on top of the message. `number` is that of the configuration that decided. `destination` takes the place of
    the directory's, where a mailbox's own lists file or drop its copy.
    """

    opinion: Opinion
    check: str
    reason: str
    reply: Reply | None = None
    close: bool = False
    delay_seconds: float = 0.0
    marks: frozenset[str] = frozenset()
    headers: tuple[str, ...] = ()
    trace: tuple[TraceLine, ...] = ()
    number: int = 0
    destination: Destination | None = None

    @property
    def is_permit(self) -> bool:
        """The session may go on."""
        return self.opinion is Opinion.PERMIT


class ICheck(Interface):
    """One question of policy. A value: it holds its configuration and nothing that changes."""

    name = Attribute("the word in traces and logs: `access`, `relay`, `recipient` ...")
    can_permit = Attribute("whether it can say PERMIT; if it cannot get its answer it then says DEFER")

    async def ask(facts: Facts) -> Verdict | None:
        """The answer, or None for no opinion. The chain fills in `trace` and `number`."""


class IPolicy(Interface):
    """The whole policy in force. Replaced as one by a reload; sessions ask whoever is current."""

    number = Attribute("the configuration's number, from 1, in every verdict")

    async def decide(stage: Stage, facts: Facts) -> Verdict:
        """
        Ask the checks of the service and stage.

        Never raises for what the peer or the outside did: a check that fails to get its answer has said
        DEFER, or nothing where it could only refuse. Writes no log line; the caller logs the verdict.
        """

    async def would_pass(stage: Stage, facts: Facts) -> bool:
        """Whether `decide` would let it go on, asked for what is offered beforehand: it leaves no trace anywhere."""


@dataclass(frozen=True, slots=True)
class RecentLogin:
    """One row of the whitelist: who logged in from where. Times are seconds since the epoch."""

    address: str
    account: Account
    protocol: str
    tls: bool
    first_login: float
    last_login: float


class IRecentLogins(Interface):
    """
    The timed whitelist of addresses that logged in over POP3 or IMAP.

    Two clocks run from one event: passage through access control and relaying.
    """

    async def record(connection: Connection, account: Account, tls: bool) -> bool:
        """
        Note a successful login; committed when this returns, so say +OK only then.

        Returns whether a row was written (an excluded address, another protocol, a login without the TLS
        that is asked for write none).
        """

    async def renew(connection: Connection, account: Account, tls: bool, logged_in: float) -> bool:
        """
        An IMAP session still lives. `logged_in` is the time of its login: a session from before a
        revocation renews nothing. Writes at most once in relay_seconds/3.
        """

    async def find(client: str, now: float) -> Mapping[str, RecentLogin]:
        """
        Live rows of this address by account address, for either clock, whatever the options withhold.
        Asks the store before it says there are none.
        """

    async def revoke(*, address: str | None = None, account_id: int | None = None) -> int:
        """End grants by client address, by account, or both; returns how many rows. Holds from its commit."""

    async def list_live(now: float) -> list[RecentLogin]:
        """All live rows."""


class IBans(Interface):
    """
    Refused recipients and bans by client address, counted over all sessions and processes; kept across reloads, and
    bounded.
    """

    async def note_recipient(client: str, now: float, seconds: float, most: int) -> None:
        """
        Count one refused recipient, in windows of `seconds` that begin with the first. The `most`th of a window bans
        the client for `seconds`; the ban holds when this returns.

        Raises:
            TemporaryFailure: it was not counted.
        """

    def banned_until(client: str, now: float) -> float:
        """
        When the ban of this client ends (seconds since the epoch), 0.0 where there is none. Fast: an inline read.

        Raises:
            TemporaryFailure: it could not be looked up.
        """


class IFailedLogins(Interface):
    """Failed logins by client, counted over all sessions and processes; bounded."""

    async def note_login(client: str, now: float, seconds: float) -> int:
        """
        Count one; returns how many there were, this one included, each within `seconds` of the one before.

        Raises:
            TemporaryFailure: it was not counted.
        """


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """What is logged and stored of one decision."""

    stage: Stage
    facts: Facts
    verdict: Verdict
    scenario: Mapping[str, object] = field(default_factory=dict)
