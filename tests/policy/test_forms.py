"""
The same client, sender or recipient in other clothes: IPv4-mapped IPv6, zone indices, case, trailing dots, IDN. Every
list sees through them.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Protocol, Role
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.policy import Facts, Stage, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    AbilityRelay,
    BarringSettings,
    CustomRelay,
    IMailRelay,
    LargeMessagesSettings,
    ListsSettings,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    SendersSettings,
    ServiceSettings,
    entries,
)
from tests.fakes import make_connection

from .fakes import Directory, Resolver, run

CLIENTS = (
    # the entry of a list, clients that it means, a client that it does not mean
    ("203.0.113.9", ("203.0.113.9", "::ffff:203.0.113.9", "::FFFF:CB00:7109"), "203.0.113.19"),
    ("::ffff:203.0.113.9", ("203.0.113.9", "::ffff:cb00:7109"), "203.0.113.19"),
    ("::ffff:203.0.113.0/120", ("203.0.113.9", "::ffff:203.0.113.77"), "203.0.114.9"),
    ("fe80::1", ("fe80::1", "fe80::1%eth0", "FE80:0:0::1%3"), "fe80::2%eth0"),
    ("2001:DB8::/32", ("2001:db8::9", "2001:0DB8:0:0::9"), "2001:db9::9"),
)
SENDERS = (
    (
        "joe@bücher.example",
        ("joe@bücher.example", "JOE@BÜCHER.example.", "joe@xn--bcher-kva.example"),
        "joe@bucher.example",
    ),
    ("*@xn--bcher-kva.example", ("ann@bücher.example", "x@BÜCHER.EXAMPLE"), "ann@sub.bücher.example"),
    ("Joe@B.Example.", ("joe@b.example", "JOE@B.EXAMPLE."), "joe@b.example.org"),
)
ALICE = Account(1, "alice@example.test", "example.test")


def decide(stage: Stage, settings: PolicySettings, client: str = "198.51.100.1", **facts: Any) -> Verdict:
    """One decision; `sender` and `recipient` are addresses as text."""
    recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: 0.0)
    policy = build_policy(settings, Directory(accounts=[ALICE]), Resolver(), recent, 1)
    if "sender" in facts:
        facts["reverse_path"] = ReversePath(parse_address(facts.pop("sender")))
    if "recipient" in facts:
        facts["forward_path"] = ForwardPath(parse_address(facts.pop("recipient")))
    return run(policy.decide(stage, Facts(make_connection(client=client), 0.0, **facts)))


def with_service(**keys: Any) -> PolicySettings:
    """A configuration with one service."""
    return PolicySettings("mx.example.test", services=(ServiceSettings("test", **keys),))


class ClientForms(SynchronousTestCase):
    """Lists of addresses."""

    def check(self, hit: Any) -> None:
        """`hit(entry, client)` says whether a list with this entry means the client."""
        for entry, same, other in CLIENTS:
            for client in same:
                self.assertTrue(hit(entry, client), (entry, client))
            self.assertFalse(hit(entry, other), (entry, other))

    def test_firewall(self) -> None:
        """A service's own list, of every protocol, and IMail's two modes."""
        for protocol in (Protocol.SMTP, Protocol.POP3, Protocol.IMAP):
            self.check(
                lambda entry, client, protocol=protocol: decide(
                    Stage.CONNECT,
                    with_service(protocol=protocol, access="firewall", firewall=entries([entry])),
                    client,
                ).is_permit
            )
        self.check(
            lambda entry, client: not decide(
                Stage.CONNECT, with_service(access="granted_except", firewall=entries([entry])), client
            ).is_permit
        )

    def test_lan(self) -> None:
        """The LAN relays."""

        def relays(entry: str, client: str) -> bool:
            settings = PolicySettings("mx.example.test", entries([entry]), services=(ServiceSettings("test"),))
            return decide(Stage.RECIPIENT, settings, client, sender="a@b.example", recipient="x@c.example").is_permit

        self.check(relays)

    def test_relay_lists(self) -> None:
        """Ability's ranges and safe addresses, IMail's addresses, a custom list."""
        for relay in (
            lambda entry: AbilityRelay(outgoing=True, ip_range_control=True, ranges=entries([entry])),
            lambda entry: AbilityRelay(outgoing=True, auth=True, safe=entries([entry])),
            lambda entry: IMailRelay("addresses", entries([entry])),
            lambda entry: CustomRelay((), (entries(["address_in:them"]),), {"them": entries([entry])}),
        ):
            self.check(
                lambda entry, client, relay=relay: decide(
                    Stage.RECIPIENT,
                    with_service(role=Role.BOTH, relay=relay(entry)),
                    client,
                    sender="a@b.example",
                    recipient="x@c.example",
                ).is_permit
            )

    def test_black_and_white(self) -> None:
        """Black addresses mark, white ones are spared; so are addresses that may send large messages."""
        self.check(
            lambda entry, client: bool(
                decide(
                    Stage.SENDER,
                    with_service(lists=ListsSettings(black_addresses=entries([entry]))),
                    client,
                    sender="a@b.example",
                ).marks
            )
        )
        self.check(
            lambda entry, client: decide(
                Stage.SENDER,
                with_service(lists=ListsSettings(white_addresses=entries([entry]))),
                client,
                sender="alice@example.test",
            ).is_permit
        )
        self.check(
            lambda entry, client: decide(
                Stage.MESSAGE,
                with_service(large_messages=LargeMessagesSettings(1, exempt_addresses=entries([entry]))),
                client,
                message_octets=2,
            ).is_permit
        )

    def test_recent_logins(self) -> None:
        """An excluded address gets no row in any form; a row is found again in any form."""
        settings = RecentLoginSettings(exclude=())
        rules = RecentLoginRules(settings)
        rows = MemoryRows({1: ALICE})
        recent = RecentLogins(rows, rules, lambda: 100.0)
        for entry, same, other in CLIENTS:
            if "/" in entry:
                continue
            run(recent.record(make_connection(Protocol.POP3, client=same[0]), ALICE, True))
            for client in same:
                self.assertTrue(run(recent.find(client, 100.0)), client)
            self.assertFalse(run(recent.find(other, 100.0)), other)
            run(recent.revoke(address=same[-1]))
            self.assertFalse(run(recent.find(same[0], 100.0)), same)

        def excluded(entry: str, client: str) -> bool:
            configuration = PolicySettings(
                "mx.example.test",
                recent_login=RecentLoginSettings(exclude=entries([entry])),
                services=(ServiceSettings("test"),),
            )
            policy = build_policy(configuration, Directory(), Resolver(), recent, 1)
            return bool(policy.recent_rules.exclusion(make_connection(client=client)))

        self.check(excluded)


class SenderForms(SynchronousTestCase):
    """Lists of senders and recipients."""

    def check(self, hit: Any) -> None:
        """`hit(entry, address)` says whether a list with this entry means the address."""
        for entry, same, other in SENDERS:
            for address in same:
                self.assertTrue(hit(entry, address), (entry, address))
            self.assertFalse(hit(entry, other), (entry, other))

    def test_barring(self) -> None:
        """Of senders and of recipients."""

        def barred(entry: str, address: str) -> bool:
            barring = BarringSettings(senders=entries([entry]), recipients=entries([entry]))
            settings = PolicySettings("mx.example.test", barring=barring, services=(ServiceSettings("test"),))
            sender = decide(Stage.SENDER, settings, sender=address)
            recipient = decide(Stage.RECIPIENT, settings, sender="a@b.example", recipient=address)
            self.assertEqual(sender.check == "barring", recipient.check == "barring")
            return sender.check == "barring"

        self.check(barred)

    def test_black_and_white(self) -> None:
        """Senders: black marks, white takes it back."""
        self.check(
            lambda entry, address: bool(
                decide(
                    Stage.SENDER, with_service(lists=ListsSettings(black_senders=entries([entry]))), sender=address
                ).marks
            )
        )
        self.check(
            lambda entry, address: not decide(
                Stage.SENDER,
                with_service(lists=ListsSettings(black_senders=entries(["*"]), white_senders=entries([entry]))),
                sender=address,
            ).marks
        )

    def test_relay_lists(self) -> None:
        """Always-from, always-to, custom lists, IMail's accept list."""
        for relay in (
            lambda entry: MailtraqRelay(always_from=entries([entry])),
            lambda entry: CustomRelay((), (entries(["sender_in:them"]),), {"them": entries([entry])}),
        ):
            self.check(
                lambda entry, address, relay=relay: decide(
                    Stage.RECIPIENT, with_service(relay=relay(entry)), sender=address, recipient="x@c.example"
                ).is_permit
            )
        self.check(
            lambda entry, address: decide(
                Stage.RECIPIENT,
                with_service(relay=MailtraqRelay(always_to=entries([entry]))),
                sender="a@b.example",
                recipient=address,
            ).is_permit
        )

    def test_kill_and_accept(self) -> None:
        """Both files take addresses and hosts in any form."""
        for entry, same, other in (
            ("joe@BÜCHER.example.", ("joe@xn--bcher-kva.example", "JOE@bücher.example"), "jo@bücher.example"),
            ("@bücher.example", ("x@XN--BCHER-KVA.example.", "y@bücher.example"), "x@sub.bücher.example"),
        ):
            for address in (*same, other):
                killed = decide(
                    Stage.SENDER, with_service(senders=SendersSettings(kill=entries([entry]))), sender=address
                )
                accepted = decide(
                    Stage.RECIPIENT,
                    with_service(relay=IMailRelay("local_users", accept=entries([entry]))),
                    sender=address,
                    recipient="x@c.example",
                )
                self.assertEqual(killed.check == "kill", address != other, (entry, address))
                self.assertEqual(accepted.is_permit, address != other, (entry, address))
        killed = decide(
            Stage.SENDER, with_service(senders=SendersSettings(kill=entries(["@*.BÜCHER.example"]))),
            sender="x@sub.xn--bcher-kva.example",
        )
        self.assertEqual(killed.check, "kill")

    def test_our_domain(self) -> None:
        """Ours from outside, and as a recipient, whatever it looks like."""
        settings = with_service()
        for address in ("alice@EXAMPLE.test", "alice@example.test.", "ALICE@example.TEST."):
            self.assertEqual(decide(Stage.SENDER, settings, sender=address).check, "local_sender", address)
            permitted = decide(Stage.RECIPIENT, settings, sender="a@b.example", recipient=address)
            self.assertTrue(permitted.is_permit, address)
        for name in ("EXAMPLE.test.", "mx.example.test.", "MX.Example.Test"):
            self.assertEqual(decide(Stage.HELLO, with_service(role=Role.MX), helo=name).check, "helo", name)
