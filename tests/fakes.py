"""
Stand-ins for what lies on the other side of an interface: policy, directory, acceptance, recent logins, TLS.

Each keeps what it was asked, answers at once, and can be told to answer late (`hold`, `release`) or to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.delivery import IAccept, IIncoming, MailTransaction
from mailtraq_py.interfaces.directory import (
    Account,
    CramSecret,
    Destination,
    Expansion,
    IDirectory,
    LocalMailbox,
    MailboxLists,
    Remote,
    UnknownUser,
)
from mailtraq_py.interfaces.net import ITLSContexts
from mailtraq_py.interfaces.policy import (
    Facts,
    IPolicy,
    IRecentLogins,
    Opinion,
    RecentLogin,
    Stage,
    TraceLine,
    Verdict,
)
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.mail.md5 import md5_block_states
from mailtraq_py.mail.reply import parse_reply

PERMIT = Verdict(Opinion.PERMIT, "fake", "permitted")


def make_connection(protocol: Protocol = Protocol.SMTP, **facts: Any) -> Connection:
    """A connection from 203.0.113.9 to the service "test"; any fact may be given."""
    given: dict[str, Any] = {
        "session_id": "S1",
        "service": "test",
        "protocol": protocol,
        "client": "203.0.113.9",
        "client_port": 50000,
        "local": "192.0.2.1",
        "local_port": 25,
        "accepted": 1_000_000.0,
    }
    return Connection(**{**given, **facts})


def make_account(address: str, number: int = 1, **more: Any) -> Account:
    """An account with this main address."""
    return Account(number, address, address.rpartition("@")[2], **more)


def refuse(reply: str, check: str = "fake", reason: str = "refused", **more: Any) -> Verdict:
    """A refusal with a reply such as "550 5.7.1 no"."""
    return Verdict(Opinion.REFUSE, check, reason, parse_reply(reply), **more)


def defer(reply: str, check: str = "fake", reason: str = "deferred", **more: Any) -> Verdict:
    """A deferral with a reply such as "451 4.7.1 later"."""
    return Verdict(Opinion.DEFER, check, reason, parse_reply(reply), **more)


@implementer(IPolicy)
class FakePolicy:
    """
    Says what it was told: `says[stage]` is a verdict or a function of the facts. A stage without an entry is
    permitted, but for RECIPIENT, which permits local mailboxes and refuses the world as a server that relays
    nothing would.
    """

    number = 1

    def __init__(self, says: Mapping[Stage, Verdict | Callable[[Facts], Verdict]] | None = None) -> None:
        self.says = dict(says or {})
        self.asked: list[tuple[Stage, Facts]] = []
        self._held: dict[Stage, Deferred[None]] = {}

    async def decide(self, stage: Stage, facts: Facts) -> Verdict:
        """The verdict that was set, once the stage is not held."""
        self.asked.append((stage, facts))
        if stage in self._held:
            await self._held[stage]
        said = self.says.get(stage)
        if said is None:
            return _relays_nothing(facts) if stage is Stage.RECIPIENT else PERMIT
        return said if isinstance(said, Verdict) else said(facts)

    async def would_pass(self, stage: Stage, facts: Facts) -> bool:
        """As decide, but it does not count as asked."""
        said = self.says.get(stage, PERMIT)
        return (said if isinstance(said, Verdict) else said(facts)).is_permit

    def facts(self, stage: Stage) -> Facts:
        """What was asked last at a stage."""
        return [facts for asked, facts in self.asked if asked is stage][-1]

    def hold(self, stage: Stage) -> None:
        """Answer this stage only after `release`."""
        self._held[stage] = Deferred()

    def release(self, stage: Stage) -> None:
        """Answer now."""
        self._held.pop(stage).callback(None)


def _relays_nothing(facts: Facts) -> Verdict:
    if isinstance(facts.destination, UnknownUser):
        return refuse("550 5.1.1 no such user here", "recipient", "no such user")
    if isinstance(facts.destination, Remote):
        return refuse("550 5.7.1 relaying denied", "relay", "no ground")
    return PERMIT._replace(check="local", reason="our domain")


@implementer(IDirectory)
class FakeDirectory:
    """
    Accounts with their passwords; their domains are the local ones.

    Args:
        accounts: password by address, or by Account.
        cram: addresses that opted in to CRAM-MD5.
    """

    def __init__(self, accounts: Mapping[str | Account, bytes], cram: frozenset[str] = frozenset()) -> None:
        self.accounts: dict[str, Account] = {}
        self.passwords: dict[str, bytes] = {}
        self.cram = cram
        self.checked: list[str] = []
        self.expansions: dict[str, Expansion] = {}
        self.failure: Exception | None = None
        for number, (who, password) in enumerate(accounts.items(), 1):
            account = who if isinstance(who, Account) else make_account(who, number)
            self.accounts[account.address] = account
            self.passwords[account.address] = password

    async def is_local_domain(self, domain: str) -> bool:
        """Whether an account lives there."""
        self._may_fail()
        return any(account.domain == domain for account in self.accounts.values())

    async def find_account(self, address: str) -> Account | None:
        """By main address."""
        self._may_fail()
        return self.accounts.get(address)

    async def resolve(self, path: ForwardPath) -> Destination:
        """Accounts, `expansions` and the world."""
        if path.key in self.expansions:
            return self.expansions[path.key]
        if not await self.is_local_domain(path.domain_key):
            return Remote(path)
        account = self.accounts.get(path.key)
        return LocalMailbox(account) if account else UnknownUser()

    async def mailbox_lists(self, account: Account) -> MailboxLists:
        """Nobody has any."""
        return MailboxLists()

    async def has_room(self, account: Account) -> bool:
        """Everybody has."""
        return True

    async def verify_password(self, login: str, password: bytes, client: str) -> Account | None:
        """By address or, with one domain, by local part."""
        self._may_fail()
        self.checked.append(login)
        key = _login_key(login, self.accounts)
        return self.accounts[key] if key is not None and self.passwords[key] == password else None

    async def find_cram_secret(self, login: str) -> CramSecret | None:
        """The HMAC-MD5 states of the password, for addresses that opted in."""
        self._may_fail()
        key = _login_key(login, self.accounts)
        if key is None or key not in self.cram:
            return None
        return CramSecret(self.accounts[key], *md5_block_states(self.passwords[key]))

    async def offers_cram_md5(self) -> bool:
        """Whether any opted in."""
        return bool(self.cram)

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def _login_key(login: str, accounts: Mapping[str, Account]) -> str | None:
    if "@" not in login:
        found = [key for key in accounts if key.partition("@")[0] == login.lower()]
        return found[0] if found else None
    try:
        key = parse_address(login).key
    except ValueError:
        return None
    return key if key in accounts else None


@implementer(IIncoming)
@dataclass
class FakeIncoming:
    """A message that keeps its octets."""

    id: str
    transaction: MailTransaction
    accept: FakeAccept
    octets: int = 0
    pieces: list[bytes] = field(default_factory=list)
    headers: tuple[str, ...] = ()
    trace: tuple[TraceLine, ...] = ()
    state: str = "open"

    @property
    def content(self) -> bytes:
        """All that was written."""
        return b"".join(self.pieces)

    def write(self, octets: bytes) -> None:
        """Keep a piece."""
        if self.accept.write_failure is not None:
            raise self.accept.write_failure
        self.octets += len(octets)
        if self.accept.keep:
            self.pieces.append(bytes(octets))

    async def commit(self, headers: tuple[str, ...], trace: tuple[TraceLine, ...]) -> None:
        """Join the accepted ones, or fail as was set."""
        if self.accept.committing is not None:
            await self.accept.committing
        if self.accept.commit_failure is not None:
            raise self.accept.commit_failure
        self.headers, self.trace, self.state = headers, trace, "committed"
        self.accept.accepted.append(self)

    def abort(self) -> None:
        """Forget it."""
        if self.state == "open":
            self.state = "aborted"


@implementer(IAccept)
class FakeAccept:
    """
    The one door. `accepted` are the committed messages, `begun` all; the failures are raised where their names say;
    `committing` is a Deferred that a commit waits for; without `keep` octets are counted only.
    """

    def __init__(self) -> None:
        self.begun: list[FakeIncoming] = []
        self.accepted: list[FakeIncoming] = []
        self.begin_failure: Exception | None = None
        self.write_failure: Exception | None = None
        self.commit_failure: Exception | None = None
        self.committing: Deferred[None] | None = None
        self.keep = True

    def begin(self, transaction: MailTransaction) -> FakeIncoming:
        """Start a message."""
        if self.begin_failure is not None:
            raise self.begin_failure
        incoming = FakeIncoming(f"M{len(self.begun) + 1}", transaction, self)
        self.begun.append(incoming)
        return incoming


@implementer(IRecentLogins)
class FakeRecentLogins:
    """Rows by client address; nothing expires."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, RecentLogin]] = {}
        self.renewed: list[str] = []
        self.failure: Exception | None = None

    async def record(self, connection: Connection, account: Account, tls: bool) -> bool:
        """Keep a row."""
        if self.failure is not None:
            raise self.failure
        now = connection.accepted
        row = RecentLogin(connection.client, account, connection.protocol.value, tls, now, now)
        self.rows.setdefault(connection.client, {})[account.address] = row
        return True

    async def renew(self, connection: Connection, account: Account, tls: bool, logged_in: float) -> bool:
        """Note that it was asked for."""
        self.renewed.append(account.address)
        return account.address in self.rows.get(connection.client, {})

    async def find(self, client: str, now: float) -> Mapping[str, RecentLogin]:
        """The rows of an address."""
        return self.rows.get(client, {})

    async def revoke(self, *, address: str | None = None, account_id: int | None = None) -> int:
        """Remove rows that match all that is given."""
        gone = [
            (client, key)
            for client, rows in self.rows.items()
            for key, row in rows.items()
            if address in (None, client) and account_id in (None, row.account.id)
        ]
        for client, key in gone:
            del self.rows[client][key]
        return len(gone)

    async def list_live(self, now: float) -> list[RecentLogin]:
        """All rows."""
        return [row for rows in self.rows.values() for row in rows.values()]


@implementer(ITLSContexts)
class FakeTLSContexts:
    """A certificate, or none."""

    def __init__(self, has_certificate: bool = True) -> None:
        self.has_certificate = has_certificate

    def for_server(self) -> object | None:
        """A word in place of the context."""
        return "server context" if self.has_certificate else None

    def for_client(self, host: str, verify: bool) -> object:
        """A word in place of the context."""
        return f"client context for {host}"
