"""
The presets in the unified form, compared with their pseudo-code over all combinations of options and facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Connection, Protocol, Role
from mailtraq_py.interfaces.directory import Account, Remote
from mailtraq_py.interfaces.policy import Facts, RecentLogin, Stage
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.chain import Policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    IMAIL_MODES,
    AbilityRelay,
    IMailRelay,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    RelaySettings,
    SendersSettings,
    ServiceSettings,
    entries,
)

from .fakes import Directory, Resolver, run

NOW = 1_800_000_000.0
ALICE = Account(1, "alice@example.test", "example.test")
OUTSIDER, LAN, OWN = "203.0.113.9", "192.168.1.9", "192.0.2.1"
ELSEWHERE, LISTED_RECIPIENT = "x@elsewhere.test", "friend@elsewhere.test"


def sender(text: str) -> ReversePath:
    """A reverse-path; "" is null."""
    return ReversePath(parse_address(text)) if text else NULL_PATH


def policy_of(relay: RelaySettings, rows: MemoryRows, role: Role = Role.BOTH) -> Policy:
    """A policy with this relay table, in which only relaying decides."""
    service = ServiceSettings(
        "mx", role=role, relay=relay, senders=SendersSettings(local_sender_from_outside="allow")
    )
    settings = PolicySettings(
        "mx.example.test",
        lan=entries(["127.0.0.1", "192.168.1.*"]),
        own_addresses=(OWN,),
        recent_login=RecentLoginSettings(exclude=(), any_sender=True),
        services=(service,),
    )
    recent = RecentLogins(rows, RecentLoginRules(settings.recent_login), lambda: NOW)
    return build_policy(settings, Directory(accounts=[ALICE]), Resolver(), recent, 1)


def facts_of(client: str, account: Account | None, path: str, recipient: str, *, mapped: bool = False) -> Facts:
    """A session at RCPT."""
    connection = Connection("s", "mx", Protocol.SMTP, client, 1, "198.51.100.1", 25, NOW)
    forward = ForwardPath(parse_address(recipient))
    return Facts(
        connection,
        NOW,
        account=account,
        reverse_path=sender(path),
        forward_path=forward,
        destination=Remote(forward, mapped),
    )


def relays(policy: Policy, facts: Facts) -> bool:
    """Whether the chain permits the recipient."""
    return run(policy.decide(Stage.RECIPIENT, facts)).is_permit


@dataclass(frozen=True)
class Session:
    """The facts that the pseudo-code of the three originals speaks of."""

    in_lan: bool = False
    own: bool = False
    user: Account | None = None
    recent_seconds: float | None = None
    recent_relays: bool = True
    sender: str = ""
    recipient: str = ELSEWHERE


def local_domain(address: str) -> bool:
    """A domain we host."""
    return address.endswith("@example.test")


def mailtraq_pseudo_code(options: MailtraqRelay, session: Session) -> bool:
    """`relay(rcpt)` as Mailtraq's Relaying tab means it, line by line."""
    if options.always_from and session.sender == "listed@partner.test":
        return True
    if options.always_to and session.recipient == LISTED_RECIPIENT:
        return True
    if options.auth and session.user is not None and session.user.relay:
        return True
    if (
        options.recent_login
        and session.recent_seconds is not None
        and session.recent_seconds < 300
        and session.recent_relays
    ):
        return True
    if options.auth:
        return False
    outside = options.outside_lan and not options.recent_login
    if not session.in_lan and not outside:
        return False
    return local_domain(session.sender) or options.nonlocal_senders


@dataclass(frozen=True)
class AbilitySession:
    """What Ability's pseudo-code speaks of."""

    safe_listed: bool
    own: bool
    in_ranges: bool
    authenticated: bool
    role: Role


def ability_safe(options: AbilityRelay, session: AbilitySession) -> bool:
    """`safe(ip)`."""
    return session.safe_listed or (options.allow_own and session.own)


def ability_connects(options: AbilityRelay, session: AbilitySession) -> bool:
    """`connect(ip, listener)`."""
    if session.role is Role.SUBMISSION and not ability_safe(options, session):
        if options.block_own and session.own:
            return False
        if options.ip_range_control and not session.in_ranges:
            return False
    return True


def ability_accepts_mail(options: AbilityRelay, session: AbilitySession) -> bool:
    """`mail_from()`."""
    return not (
        session.role is Role.SUBMISSION
        and options.auth
        and not session.authenticated
        and not ability_safe(options, session)
    )


def ability_privileged(options: AbilityRelay, session: AbilitySession) -> bool:
    """`privileged(session)`."""
    if not options.outgoing or session.role is Role.MX:
        return False
    if ability_safe(options, session):
        return True
    if options.block_own and session.own:
        return False
    if options.ip_range_control and not session.in_ranges:
        return False
    return not (options.auth and not session.authenticated)


def imail_pseudo_code(options: IMailRelay, session: Session, *, listed: bool, mapped: bool) -> bool:
    """The relay part of IMail's `rcpt_to(rcpt)`."""
    accepted = session.sender == "someone@foreign.test" or session.sender.endswith("@partner.test")
    if session.own or options.mode == "anyone":
        return True
    if options.auth and session.user is not None:
        return True
    if options.mode == "addresses" and (listed or mapped):
        return True
    if options.mode == "local_hosts" and (local_domain(session.sender) or accepted):
        return True
    return options.mode == "local_users" and (session.sender == "alice@example.test" or accepted)


class Presets(SynchronousTestCase):
    """Each preset is its pseudo-code."""

    def test_mailtraq(self) -> None:
        """9,216 combinations of Mailtraq's options and sessions."""
        switches = list(product((False, True), repeat=6))
        accounts = (None, ALICE, replace(ALICE, relay=False))
        recents = ((None, True), (60.0, True), (60.0, False))
        senders = ("", "alice@example.test", "someone@foreign.test", "listed@partner.test")
        checked = 0
        for auth, recent, outside, nonlocal_senders, use_from, use_to in switches:
            options = MailtraqRelay(
                auth,
                recent,
                outside,
                nonlocal_senders,
                entries(["listed@partner.test"] if use_from else []),
                entries([LISTED_RECIPIENT] if use_to else []),
            )
            rows = MemoryRows()
            policy = policy_of(options, rows)
            for client, (seconds, relay) in product((LAN, OUTSIDER), recents):
                rows.__init__()  # type: ignore[misc]
                if seconds is not None:
                    account = replace(ALICE, relay=relay)
                    rows.put(RecentLogin(client, account, "pop3", True, NOW - seconds, NOW - seconds))
                for user, path, recipient in product(accounts, senders, (ELSEWHERE, LISTED_RECIPIENT)):
                    session = Session(client == LAN, False, user, seconds, relay, path, recipient)
                    expected = mailtraq_pseudo_code(options, session)
                    found = relays(policy, facts_of(client, user, path, recipient))
                    self.assertEqual(found, expected, (options, session))
                    checked += 1
        self.assertEqual(checked, 9216)

    def test_ability(self) -> None:
        """1,536 combinations of Ability's options and sessions, each at CONNECT, MAIL and RCPT."""
        clients = {
            "203.0.113.1": (True, False, False),
            OWN: (False, True, False),
            "203.0.113.2": (False, False, True),
            OUTSIDER: (False, False, False),
        }
        checked = 0
        for role, switches in product(Role, product((False, True), repeat=6)):
            outgoing, auth, ranges, allow_own, block_own, use_safe = switches
            options = AbilityRelay(
                outgoing,
                auth,
                ip_range_control=ranges,
                ranges=entries(["203.0.113.2"]),
                safe=entries(["203.0.113.1"] if use_safe else []),
                allow_own=allow_own,
                block_own=block_own,
            )
            policy = policy_of(options, MemoryRows(), role)
            for (client, (safe, own, in_ranges)), user in product(clients.items(), (None, ALICE)):
                session = AbilitySession(safe and use_safe, own, in_ranges, user is not None, role)
                facts = facts_of(client, user, "a@b.test", ELSEWHERE)
                connecting = facts._replace(account=None, reverse_path=None, forward_path=None, destination=None)
                verdict = run(policy.decide(Stage.CONNECT, connecting))
                self.assertEqual(verdict.is_permit, ability_connects(options, session), (options, session))
                self.assertTrue(verdict.is_permit or (verdict.close and verdict.reply is None))
                sending = facts._replace(forward_path=None, destination=None)
                verdict = run(policy.decide(Stage.SENDER, sending))
                self.assertEqual(verdict.is_permit, ability_accepts_mail(options, session), (options, session))
                self.assertEqual(relays(policy, facts), ability_privileged(options, session), (options, session))
                checked += 1
        self.assertEqual(checked, 1536)

    def test_imail(self) -> None:
        """720 combinations of IMail's modes and sessions."""
        senders = (
            "",
            "alice@example.test",
            "nobody@example.test",
            "other@foreign.test",
            "someone@foreign.test",
            "anyone@partner.test",
        )
        checked = 0
        for mode, auth in product(IMAIL_MODES, (False, True)):
            accept = entries(["someone@foreign.test", "partner.test"])
            options = IMailRelay(mode, entries(["203.0.113.2"]), accept, auth)
            policy = policy_of(options, MemoryRows())
            for client, user, path, mapped in product(
                (OWN, "203.0.113.2", OUTSIDER), (None, ALICE), senders, (False, True)
            ):
                session = Session(own=client == OWN, user=user, sender=path)
                expected = imail_pseudo_code(options, session, listed=client == "203.0.113.2", mapped=mapped)
                found = relays(policy, facts_of(client, user, path, ELSEWHERE, mapped=mapped))
                self.assertEqual(found, expected, (options, session, mapped))
                checked += 1
        self.assertEqual(checked, 720)

    def test_replies(self) -> None:
        """Each preset refuses in its own words."""
        for relay, words in (
            (MailtraqRelay(), "554 5.7.1 Relay Access Denied"),
            (AbilityRelay(), "550 5.7.1 relaying not allowed"),
            (IMailRelay(), "550 5.7.1 unknown local host elsewhere.test, not a gateway"),
        ):
            policy = policy_of(relay, MemoryRows())
            verdict = run(policy.decide(Stage.RECIPIENT, facts_of(OUTSIDER, None, "a@b.test", ELSEWHERE)))
            self.assertEqual(str(verdict.reply), words)
            self.assertEqual(verdict.check, "relay")
