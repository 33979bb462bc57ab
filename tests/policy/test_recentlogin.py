"""
The recent-login whitelist, with the time moved by hand.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Connection, Protocol
from mailtraq_py.interfaces.directory import Account, Expansion, LocalMailbox, Remote
from mailtraq_py.interfaces.policy import Facts, Stage, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    Entries,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    ServiceSettings,
    entries,
)

from .fakes import Directory, Resolver, run

ALICE = Account(1, "alice@example.test", "example.test")
BOB = Account(2, "bob@example.test", "example.test")
OUTSIDE = "203.0.113.9"


class World:
    """A policy with the whitelist on, its rows, and a clock."""

    def __init__(
        self, options: RecentLoginSettings | None = None, position: str = "start", firewall: Entries = ()
    ) -> None:
        self.now = 1_800_000_000.0
        self.accounts = {ALICE.id: ALICE, BOB.id: BOB}
        self.rows = MemoryRows(self.accounts)
        settings = PolicySettings(
            "mx.example.test",
            lan=entries(["192.168.1.*"]),
            own_addresses=("192.0.2.1", "127.0.0.1"),
            gateways=("192.0.2.254",),
            proxies=entries(["192.0.2.99"]),
            recent_login=options or RecentLoginSettings(),
            services=(
                ServiceSettings(
                    "mx",
                    access="firewall+lan+recent",
                    firewall=firewall,
                    recent_position=position,
                    relay=MailtraqRelay(recent_login=True),
                ),
            ),
        )
        alias = Expansion((LocalMailbox(ALICE),), "sales")
        directory = Directory(accounts=[ALICE, BOB], expansions={"sales@example.test": alias})
        self.recent = RecentLogins(self.rows, RecentLoginRules(settings.recent_login), lambda: self.now)
        self.policy = build_policy(settings, directory, Resolver(), self.recent, 1)
        self.recent.rules = self.policy.recent_rules

    def log_in(
        self,
        account: Account = ALICE,
        client: str = OUTSIDE,
        protocol: Protocol = Protocol.POP3,
        *,
        tls: bool = True,
        local: str = "192.0.2.1",
    ) -> bool:
        """A login succeeds."""
        return run(self.recent.record(Connection("p", "pop3", protocol, client, 1, local, 110, self.now), account, tls))

    def renew(self, logged_in: float, account: Account = ALICE, client: str = OUTSIDE) -> bool:
        """An IMAP session says it lives."""
        connection = Connection("i", "imap", Protocol.IMAP, client, 1, "192.0.2.1", 143, self.now)
        return run(self.recent.renew(connection, account, True, logged_in))

    def facts(self, client: str = OUTSIDE) -> Facts:
        """An SMTP session."""
        return Facts(Connection("s", "mx", Protocol.SMTP, client, 1, "192.0.2.1", 25, self.now), self.now)

    def admits(self, client: str = OUTSIDE) -> bool:
        """CONNECT."""
        return run(self.policy.decide(Stage.CONNECT, self.facts(client))).is_permit

    def rcpt(self, client: str = OUTSIDE, sender: str = "alice@example.test") -> Verdict:
        """RCPT to elsewhere."""
        path = ReversePath(parse_address(sender)) if sender else NULL_PATH
        forward = ForwardPath(parse_address("x@elsewhere.test"))
        facts = self.facts(client)._replace(
            reverse_path=path, forward_path=forward, destination=Remote(forward)
        )
        return run(self.policy.decide(Stage.RECIPIENT, facts))

    def relays(self, client: str = OUTSIDE, sender: str = "alice@example.test") -> bool:
        """Whether RCPT is permitted."""
        return self.rcpt(client, sender).is_permit


class Clocks(SynchronousTestCase):
    """Two clocks run from one login."""

    def test_access_1200_relay_300(self) -> None:
        """Relaying ends at 300 s, passage at 1200 s, exactly."""
        world = World()
        self.assertFalse(world.admits())
        self.assertFalse(world.relays())
        self.assertTrue(world.log_in())
        self.assertTrue(world.admits() and world.relays())
        world.now += 299
        self.assertTrue(world.admits() and world.relays())
        world.now += 1
        self.assertTrue(world.admits())
        self.assertFalse(world.relays())
        world.now += 899
        self.assertTrue(world.admits())
        world.now += 1
        self.assertFalse(world.admits())

    def test_second_address(self) -> None:
        """A grant is one address's; IPv4-mapped IPv6 is the same address."""
        world = World()
        world.log_in()
        self.assertFalse(world.relays("203.0.113.10"))
        self.assertTrue(world.relays("::ffff:203.0.113.9"))

    def test_login_in_the_future(self) -> None:
        """A login time in the future grants nothing."""
        world = World()
        world.log_in()
        world.now -= 10
        self.assertFalse(world.admits() or world.relays())

    def test_renewal(self) -> None:
        """A living IMAP session moves the clocks, with a write every relay_seconds/3 at most."""
        world = World()
        began = world.now
        world.log_in(protocol=Protocol.IMAP)
        world.now += 99
        self.assertFalse(world.renew(began))
        world.now += 1
        self.assertTrue(world.renew(began))
        self.assertFalse(world.renew(began))
        world.now += 299
        self.assertTrue(world.relays())
        world.now += 1
        self.assertFalse(world.relays())

    def test_revocation_outlasts_the_session(self) -> None:
        """A revoked grant is gone at once, and a session from before cannot renew it; a new login can."""
        world = World()
        began = world.now
        world.log_in(protocol=Protocol.IMAP)
        world.now += 150
        self.assertEqual(run(world.recent.revoke(address=OUTSIDE)), 1)
        self.assertFalse(world.admits() or world.relays())
        self.assertFalse(world.renew(began))
        world.log_in()
        self.assertTrue(world.relays())
        self.assertEqual(run(world.recent.revoke(account_id=ALICE.id)), 1)
        self.assertFalse(world.relays())
        self.assertEqual(run(world.recent.revoke()), 0)


class Exclusions(SynchronousTestCase):
    """Logins that do not count."""

    def test_excluded_addresses(self) -> None:
        """The machine's own addresses, loopback, the gateway and declared proxies never get a row."""
        world = World()
        for client in ("192.0.2.1", "127.0.0.1", "127.9.9.9", "192.0.2.254", "192.0.2.99"):
            self.assertFalse(world.log_in(client=client), client)
        self.assertFalse(world.log_in(client="198.51.100.1", local="198.51.100.1"))
        self.assertTrue(World(RecentLoginSettings(exclude=())).log_in(client="127.0.0.1"))
        self.assertFalse(World(RecentLoginSettings(exclude=entries(["203.0.113.*"]))).log_in())

    def test_protocols(self) -> None:
        """Exactly as of old: POP3 only."""
        world = World(RecentLoginSettings(protocols=("pop3",)))
        self.assertFalse(world.log_in(protocol=Protocol.IMAP))
        self.assertTrue(world.log_in(protocol=Protocol.POP3))

    def test_require_tls(self) -> None:
        """Only logins over TLS or from the LAN count."""
        world = World(RecentLoginSettings(require_tls=True))
        self.assertFalse(world.log_in(tls=False))
        self.assertTrue(world.log_in(tls=True))
        self.assertTrue(world.log_in(client="192.168.1.5", tls=False))

    def test_too_many_accounts(self) -> None:
        """More accounts than allowed on one address withhold the grant; the LAN is not counted."""
        world = World(RecentLoginSettings(max_accounts_per_address=1))
        world.log_in()
        self.assertTrue(world.relays())
        world.log_in(BOB)
        self.assertFalse(world.relays())
        self.assertIn("withheld", str(world.rcpt().trace))
        for account in (ALICE, BOB):
            world.log_in(account, client="192.168.1.5")
        self.assertTrue(world.relays("192.168.1.5"))

    def test_ipv6_prefix(self) -> None:
        """A grant covers exactly the address, or the prefix that is configured."""
        exact = World()
        exact.log_in(client="2001:db8::1")
        self.assertTrue(exact.relays("2001:DB8:0:0::1"))
        self.assertFalse(exact.relays("2001:db8::2"))
        wide = World(RecentLoginSettings(ipv6_prefix=64))
        wide.log_in(client="2001:db8::1")
        self.assertTrue(wide.relays("2001:db8::2"))
        self.assertFalse(wide.relays("2001:db8:0:1::1"))
        self.assertEqual(wide.recent.rules.row_address("2001:db8::1"), "2001:db8::/64")


class Accounts(SynchronousTestCase):
    """What the account may, and whose mail it is."""

    def test_privilege_at_use(self) -> None:
        """An account without the relay privilege gets passage, never relaying, also when it is lost meanwhile."""
        world = World()
        world.log_in()
        world.accounts[ALICE.id] = replace(ALICE, relay=False)
        self.assertTrue(world.admits())
        self.assertFalse(world.relays())
        world.accounts[ALICE.id] = replace(ALICE, enabled=False)
        self.assertFalse(world.admits())
        self.assertFalse(world.log_in())

    def test_reverse_path_is_tied_to_the_account(self) -> None:
        """Another's address and the null path do not relay, and the reply says why; an alias does."""
        world = World()
        world.log_in()
        self.assertTrue(world.relays(sender="Alice@Example.test"))
        self.assertTrue(world.relays(sender="sales@example.test"))
        for sender in ("bob@example.test", "someone@foreign.test", ""):
            verdict = world.rcpt(sender=sender)
            self.assertFalse(verdict.is_permit)
            self.assertTrue(str(verdict.reply).startswith("550 5.7.1 Relaying not allowed: the sender is"), verdict)
            self.assertIn("alice@example.test", verdict.reason)
            self.assertNotIn("alice", str(verdict.reply))
        self.assertTrue(World(RecentLoginSettings(any_sender=True)).log_in())

    def test_any_sender(self) -> None:
        """With any_sender the grant is the address's alone."""
        world = World(RecentLoginSettings(any_sender=True))
        world.log_in()
        self.assertTrue(world.relays(sender=""))
        self.assertTrue(world.relays(sender="someone@foreign.test"))


class Position(SynchronousTestCase):
    """`recent_position`."""

    def test_start_and_end(self) -> None:
        """At the start an exclusion wins over a login, at the end the login wins, and a warning says so."""
        firewall = entries(["*", "~203.0.113.9"])
        for position, admitted, warnings in (("start", False, 0), ("end", True, 1)):
            world = World(position=position, firewall=firewall)
            world.log_in()
            self.assertEqual(world.admits(), admitted, position)
            self.assertEqual(len(world.policy.warnings), warnings)


class Listing(SynchronousTestCase):
    """`recent list`."""

    def test_list_live(self) -> None:
        """Live rows, newest first; first and last login are kept apart."""
        world = World()
        world.log_in()
        world.now += 60
        world.log_in(BOB)
        world.log_in()
        rows = run(world.recent.list_live(world.now))
        self.assertEqual({row.account.address for row in rows}, {"alice@example.test", "bob@example.test"})
        alice = next(row for row in rows if row.account.id == ALICE.id)
        self.assertEqual(alice.last_login - alice.first_login, 60)
        self.assertEqual(run(world.recent.list_live(world.now + 1201)), [])
