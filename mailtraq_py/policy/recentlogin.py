"""
The recent-login whitelist: a login over POP3 or IMAP opens the access check for a while, and relaying for a while.

    login ──> RecentLogins.record ──> row (address, account)    committed before +OK is said
    IDLE, IMAP octets ──> renew ──>   row's last login moves    at most every relay_seconds/3
    check ──> find ──> rows ──> RecentLoginRules.judge ──> Grant: the logins that count, or why none does

Rows hold what happened; what it is worth is judged anew each time it is used, so that a changed option, privilege or
exclusion acts at once. There is no cache of rows: a positive answer out of memory could outlive a revocation in
another process, and the store's look-up is an inline read of one index.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from zope.interface import implementer

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.directory import Account, Expansion, IDirectory, LocalMailbox
from mailtraq_py.interfaces.policy import Facts, IRecentLogins, RecentLogin
from mailtraq_py.interfaces.store import IRecentLoginRows
from mailtraq_py.mail.envelope import ForwardPath, ReversePath

from .firewall import EMPTY_LIST, FirewallList, parse_client
from .settings import RecentLoginSettings
from .trust import Trust

_REMEMBERED_WRITES_MAX = 100_000


class Clock(Enum):
    """The two clocks that run from one login."""

    ACCESS = "access"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Grant:
    """What recent logins from an address are worth now: those that count, or the reason why none does."""

    logins: tuple[RecentLogin, ...]
    reason: str = ""

    @property
    def accounts(self) -> str:
        """The accounts' addresses, for a log line."""
        return ", ".join(login.account.address for login in self.logins)


@dataclass(frozen=True, slots=True)
class RecentLoginRules:
    """
    The options, compiled.

    `excluded` is the list of `exclude` with its words replaced by addresses; `excludes_own` says that "own" is among
    them (a connection's local address is own too); `proxies` never get a row.
    """

    settings: RecentLoginSettings
    trust: Trust = field(default_factory=Trust)
    excluded: FirewallList = EMPTY_LIST
    excludes_own: bool = False
    proxies: FirewallList = EMPTY_LIST

    @property
    def horizon_seconds(self) -> int:
        """The longer of the two clocks: older rows are worth nothing."""
        return max(self.settings.access_seconds, self.settings.relay_seconds)

    def seconds(self, clock: Clock) -> int:
        """How long a clock runs."""
        return self.settings.access_seconds if clock is Clock.ACCESS else self.settings.relay_seconds

    @property
    def renewal_seconds(self) -> float:
        """How long a renewed row is left alone."""
        return max(self.settings.relay_seconds / 3, 0.5)

    def row_address(self, client: str) -> str:
        """The address under which a client's row is kept: its own, or its IPv6 prefix."""
        address = parse_client(client)
        if address is None:
            return client
        if not address.ipv6:
            return str(IPv4Address(address.value)) if ":" in client else client
        host_bits = 128 - self.settings.ipv6_prefix
        text = str(IPv6Address(address.value >> host_bits << host_bits))
        return f"{text}/{self.settings.ipv6_prefix}" if host_bits else text

    def exclusion(self, connection: Connection) -> str:
        """Why this client's address never gets a row, "" where it may."""
        client = connection.client
        if self.proxies.admits(client):
            return "the address is a declared proxy's"
        if self.excludes_own and self.trust.is_own(connection):
            return "the address is this machine's own"
        if self.excluded.admits(client):
            return "the address is excluded"
        return ""

    def disqualification(self, client: str, protocol: str, tls: bool) -> str:
        """Why a login of this kind does not count, "" where it does."""
        if protocol not in self.settings.protocols:
            return f"a login over {protocol} does not count"
        if self.settings.require_tls and not tls and not self.trust.in_lan(client):
            return "a login without TLS does not count"
        return ""

    def judge(self, rows: Iterable[RecentLogin], connection: Connection, now: float, clock: Clock) -> Grant:
        """What these rows of the connection's client are worth for one of the clocks."""
        reason = self.exclusion(connection)
        if reason:
            return Grant((), reason)
        client = connection.client
        reason = "no login from this address"
        live = []
        for row in rows:
            if row.last_login > now:
                reason = "the login's time is in the future"
            elif now - row.last_login >= self.horizon_seconds:
                reason = f"the login of {row.account.address} has expired"
            elif not row.account.enabled:
                reason = f"{row.account.address} is disabled"
            else:
                fault = self.disqualification(client, row.protocol, row.tls)
                if fault:
                    reason = fault
                else:
                    live.append(row)
        most = self.settings.max_accounts_per_address
        if len({row.account.id for row in live}) > most and not self.trust.in_lan(client):
            return Grant((), f"withheld: more than {most} accounts logged in from this address")
        counting = []
        for row in live:
            if now - row.last_login >= self.seconds(clock):
                age = int(now - row.last_login)
                reason = f"the login of {row.account.address} {age} s ago is past {self.seconds(clock)} s"
            elif clock is Clock.RELAY and not row.account.relay:
                reason = f"{row.account.address} logged in but has not the privilege to relay"
            else:
                counting.append(row)
        return Grant(tuple(counting)) if counting else Grant((), reason)


@dataclass(frozen=True, slots=True)
class RecentGrants:
    """What the checks ask: the grants of a session's client, now."""

    recent: IRecentLogins
    rules: RecentLoginRules
    directory: IDirectory

    async def find(self, facts: Facts, clock: Clock) -> Grant:
        """The logins from this client that count for a clock. Raises TemporaryFailure."""
        rows = await self.recent.find(facts.connection.client, facts.now)
        return self.rules.judge(rows.values(), facts.connection, facts.now, clock)

    async def sender_fault(self, grant: Grant, reverse_path: ReversePath | None) -> str:
        """
        Why a reverse-path is not one of the granted accounts' own, "" where it is (or any will do).

        An alias of one account counts as that account's; the null path is nobody's.
        """
        if self.rules.settings.any_sender:
            return ""
        address = reverse_path.address if reverse_path else None
        if address is None:
            return f"the null reverse-path belongs to no account that logged in here ({grant.accounts})"
        key = address.key
        if any(login.account.address == key for login in grant.logins):
            return ""
        destination = await self.directory.resolve(ForwardPath(address))
        if isinstance(destination, Expansion) and destination.reverse_path is None and len(destination.members) == 1:
            destination = destination.members[0]
        granted = {login.account.id for login in grant.logins}
        if isinstance(destination, LocalMailbox) and destination.account.id in granted:
            return ""
        return f"{address} is not an address of an account that logged in here ({grant.accounts})"


@implementer(IRecentLogins)
class RecentLogins:
    """
    The whitelist over the store's rows.

    Args:
        rows: the store's.
        rules: those in force; a reload puts others into the attribute `rules`.
        clock: seconds since the epoch.
    """

    def __init__(self, rows: IRecentLoginRows, rules: RecentLoginRules, clock: Callable[[], float]) -> None:
        self.rules = rules
        self._rows = rows
        self._clock = clock
        self._written: OrderedDict[tuple[str, int], float] = OrderedDict()

    async def record(self, connection: Connection, account: Account, tls: bool) -> bool:
        """Write the row of a login; see IRecentLogins."""
        now = self._clock()
        return await self._write(connection, account, tls, now, now)

    async def renew(self, connection: Connection, account: Account, tls: bool, logged_in: float) -> bool:
        """Move a row's last login, unless that was done a moment ago; see IRecentLogins."""
        now = self._clock()
        last = self._written.get((self.rules.row_address(connection.client), account.id))
        if last is not None and 0 <= now - last < self.rules.renewal_seconds:
            return False
        return await self._write(connection, account, tls, now, logged_in)

    async def find(self, client: str, now: float) -> Mapping[str, RecentLogin]:
        """Live rows by account address; see IRecentLogins."""
        found = await self._rows.find(self.rules.row_address(client), now - self.rules.horizon_seconds)
        return {row.account.address: row for row in found if row.last_login <= now}

    async def revoke(self, *, address: str | None = None, account_id: int | None = None) -> int:
        """End grants; see IRecentLogins."""
        if address is None and account_id is None:
            return 0
        row_address = None if address is None else self.rules.row_address(address)
        return await self._rows.revoke(row_address, account_id, self._clock())

    async def list_live(self, now: float) -> list[RecentLogin]:
        """All live rows, newest first."""
        found = await self._rows.list_rows(now - self.rules.horizon_seconds)
        return [row for row in found if row.last_login <= now]

    async def _write(self, connection: Connection, account: Account, tls: bool, now: float, logged_in: float) -> bool:
        rules = self.rules
        protocol = connection.protocol.value
        if rules.exclusion(connection) or rules.disqualification(connection.client, protocol, tls):
            return False
        address = rules.row_address(connection.client)
        written: bool = await self._rows.write(address, account.id, protocol, tls, now, logged_in)
        if written:
            self._remember((address, account.id), now)
        return written

    def _remember(self, key: tuple[str, int], now: float) -> None:
        """Keep when a row was written; forget what is old enough to be written again, and the oldest past the bound."""
        self._written[key] = now
        self._written.move_to_end(key)
        due = now - self.rules.renewal_seconds
        while self._written:
            oldest = next(iter(self._written))
            if self._written[oldest] > due and len(self._written) <= _REMEMBERED_WRITES_MAX:
                break
            del self._written[oldest]
