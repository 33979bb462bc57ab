"""
The open-relay proof: what it finds, and that it is right.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Protocol, Role
from mailtraq_py.policy.addressclasses import address_classes
from mailtraq_py.policy.explain import explain
from mailtraq_py.policy.firewall import FirewallList, parse_rules
from mailtraq_py.policy.problems import Problems
from mailtraq_py.policy.proof import Finding, pattern_samples, prove
from mailtraq_py.policy.settings import (
    AbilityRelay,
    BarringSettings,
    CustomRelay,
    IMailRelay,
    ListsSettings,
    MailtraqRelay,
    PolicySettings,
    RelaySettings,
    SendersSettings,
    ServiceSettings,
    TarpitSettings,
    entries,
)

from .fakes import Directory, Resolver, run

NOW = 1_800_000_000.0


PRIVATE = ("127.0.0.1", "192.168.1.*")


def settings_of(relay: RelaySettings, lan: tuple[str, ...] = PRIVATE, **service: Any) -> PolicySettings:
    """A configuration with one service."""
    return PolicySettings(
        "mx.example.test",
        lan=entries(lan),
        own_addresses=("192.0.2.1", "127.0.0.1"),
        services=(ServiceSettings("mx", relay=relay, **service),),
    )


def findings(settings: PolicySettings) -> list[Finding]:
    """What the proof says."""
    return run(prove(settings, Directory(), ("alice@example.test",)))


def halves(*second_octets: int) -> tuple[str, ...]:
    """Half an IPv4 /8 each."""
    return tuple(f"{first}.0.0.0/9" for first in second_octets)


class Open(SynchronousTestCase):
    """Configurations that are open, and their neighbours that are not."""

    def check(self, settings: PolicySettings, switch: str) -> None:
        """Open by this switch ("" for not open), and the scenario shows it."""
        found = findings(settings)
        if not switch:
            self.assertEqual(found, [])
            return
        self.assertEqual(len(found), 1)
        self.assertIn(switch, found[0].switch)
        self.assertIn('service "mx" is an open relay', str(found[0]))
        answer = run(explain(settings, found[0].scenario, Directory(), Resolver(), NOW))
        self.assertEqual(answer["rcpt"][0]["verdict"], "permit", answer)

    def test_defaults_are_closed(self) -> None:
        """No preset is open as it comes."""
        for relay in (MailtraqRelay(), AbilityRelay(), IMailRelay(), CustomRelay()):
            self.check(settings_of(relay), "")

    def test_mailtraq(self) -> None:
        """outside_lan opens; with recent_login or auth it is greyed."""
        self.check(settings_of(MailtraqRelay(outside_lan=True)), "outside_lan")
        self.check(settings_of(MailtraqRelay(outside_lan=True, nonlocal_senders=False)), "")
        allowed = SendersSettings(local_sender_from_outside="allow")
        self.check(settings_of(MailtraqRelay(outside_lan=True, nonlocal_senders=False), senders=allowed), "outside_lan")
        self.check(settings_of(MailtraqRelay(outside_lan=True, recent_login=True)), "")
        self.check(settings_of(MailtraqRelay(outside_lan=True, auth=True)), "")

    def test_sender_lists_open(self) -> None:
        """Anybody may write any sender, so a list of senders opens, however narrow, but for senders of ours."""
        self.check(settings_of(MailtraqRelay(auth=True, always_from=entries(["joe@partner.test"]))), "always_from")
        self.check(settings_of(MailtraqRelay(auth=True, always_from=entries(["j?e*%@*.test"]))), "always_from")
        self.check(settings_of(MailtraqRelay(auth=True, always_from=entries(["*@example.test"]))), "")
        self.check(settings_of(IMailRelay("local_users", accept=entries(["partner.test"]))), "accept")
        barred = replace(
            settings_of(MailtraqRelay(auth=True, always_from=entries(["*@partner.test"]))),
            barring=BarringSettings(entries(["*", "~joe@*"])),
        )
        self.check(barred, "always_from")
        self.check(replace(barred, barring=BarringSettings(entries(["*"]))), "")

    def test_recipient_lists(self) -> None:
        """Narrow recipients do not open, a wildcard domain does."""
        for pattern, switch in (
            ("x@elsewhere.test", ""),
            ("*@elsewhere.test", ""),
            ("*@*.test", "always_to"),
            ("abuse@*", "always_to"),
            ("*", "always_to"),
        ):
            self.check(settings_of(MailtraqRelay(auth=True, always_to=entries([pattern]))), switch)

    def test_wide_addresses(self) -> None:
        """More than a /8 taken together is everybody; private space does not count."""
        for lan, switch in (
            (("*",), "lan"),
            (("11.0.0.0/8",), ""),
            (halves(11, 12), ""),
            (halves(11, 12, 13), "lan"),
            (("11.0.0.0/8", "12.0.0.1"), "lan"),
            (("10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "11.0.0.0/8"), ""),
            (("*", "~0.0.0.0/1", "~128.0.0.0/1", "~::/0"), ""),
            (("*.*.*.5",), ""),
            (("*.*.*.5", "*.*.*.6"), "lan"),
            (("*.*.*.1?",), "lan"),
            (("*.*.*.1?", "~*.*.*.*"), ""),
            (("2001::/16",), ""),
            (("2000::/15",), "lan"),
        ):
            self.check(settings_of(MailtraqRelay(), lan), switch)

    def test_ability(self) -> None:
        """Outgoing without a control is open; on the incoming service nothing is."""
        for relay, role, switch in (
            (AbilityRelay(outgoing=True), Role.SUBMISSION, "outgoing"),
            (AbilityRelay(outgoing=True), Role.MX, ""),
            (AbilityRelay(outgoing=True, auth=True), Role.BOTH, ""),
            (AbilityRelay(outgoing=True, ip_range_control=True, ranges=entries(["*"])), Role.SUBMISSION, "ranges"),
            (AbilityRelay(outgoing=True, ip_range_control=True), Role.SUBMISSION, ""),
            (AbilityRelay(outgoing=True, auth=True, safe=entries(["*", "~10.*"])), Role.SUBMISSION, "safe"),
        ):
            self.check(settings_of(relay, role=role), switch)

    def test_access_closes(self) -> None:
        """Who cannot connect cannot relay."""
        relay = IMailRelay("anyone")
        self.check(settings_of(relay), "anyone")
        self.check(settings_of(relay, access="firewall", firewall=entries(["192.168.1.*"])), "")
        self.check(settings_of(relay, access="granted_except", firewall=entries(["203.0.113.*"])), "anyone")

    def test_custom(self) -> None:
        """The unified form, with a negation and an empty group."""
        self.check(settings_of(CustomRelay(grant=(entries(["not lan"]),))), "not lan")
        self.check(settings_of(CustomRelay(grant=(entries(["not auth", "lan"]),))), "")
        self.check(settings_of(CustomRelay(grant=((),))), "anyone")
        lists = {"friends": entries(["joe@partner.test"])}
        self.check(settings_of(CustomRelay(grant=(entries(["sender_in:friends"]),), lists=lists)), "sender_in:friends")
        self.check(settings_of(CustomRelay(grant=(entries(["recipient_in:friends"]),), lists=lists)), "")

    def test_black_lists_and_tarpit(self) -> None:
        """Who is black-listed does not get through, slowly neither; DNS lists are not counted on."""
        everybody = ListsSettings(black_addresses=entries(["*"]))
        self.check(settings_of(IMailRelay("anyone"), lists=everybody), "")
        self.check(settings_of(IMailRelay("anyone"), lists=everybody, tarpit=TarpitSettings(5.0)), "")
        self.check(settings_of(IMailRelay("anyone"), lists=ListsSettings(dns_black=("bl.example",))), "anyone")

    def test_acknowledged(self) -> None:
        """What is acknowledged is found all the same; other protocols are not looked at."""
        settings = settings_of(IMailRelay("anyone", i_know_this_is_an_open_relay=True))
        self.assertTrue(findings(settings)[0].acknowledged)
        self.assertEqual(findings(settings_of(IMailRelay("anyone"), protocol=Protocol.POP3)), [])


class Samples(SynchronousTestCase):
    """Addresses for patterns."""

    def test_samples_match(self) -> None:
        """A pattern's samples are addresses."""
        patterns = ("*", "*@*", "joe*", "*joe", "a@b.test", "*@*.b.test", "host.test", "~x?%$@y.test", "*foo*@*bar*")
        for pattern in patterns:
            self.assertTrue(list(pattern_samples(pattern, "outside.invalid")), pattern)


class BruteForce(SynchronousTestCase):
    """An outsider who tries, against what the proof says."""

    def test_random_configurations(self) -> None:
        """Over 200 random configurations the proof says open exactly when some outsider gets through."""
        rolls = random.Random(3)
        opened = 0
        for _ in range(200):
            settings = self.random_settings(rolls)
            found = bool(findings(settings))
            opened += found
            self.assertEqual(self.somebody_gets_through(settings, rolls), found, settings)
        self.assertTrue(40 < opened < 160, opened)

    def random_settings(self, rolls: random.Random) -> PolicySettings:
        """Options thrown; lists are narrow or for everybody, so that a few tries tell them apart."""
        toss = lambda: rolls.random() < 0.5  # noqa: E731
        addresses = lambda: entries(rolls.choice([(), ("10.1.2.3",), ("192.168.1.*",), ("*",), ("*", "~10.*")]))  # noqa: E731
        patterns = lambda: entries(rolls.choice([(), (), ("*@example.test",), ("joe@partner.test",), ("*",)]))  # noqa: E731
        relays: list[RelaySettings] = [
            MailtraqRelay(toss(), toss(), toss(), toss(), patterns(), patterns()),
            AbilityRelay(toss(), toss(), None, toss(), addresses(), addresses(), toss(), toss()),
            IMailRelay(
                rolls.choice(["anyone", "addresses", "local_hosts", "local_users", "none"]),
                addresses(),
                entries(rolls.choice([(), ("partner.test",)])),
                toss(),
            ),
        ]
        return settings_of(
            rolls.choice(relays),
            rolls.choice([(), ("192.168.1.*",), ("192.168.1.*",), ("*",)]),
            role=rolls.choice(list(Role)),
            access=rolls.choice(["any", "any", "firewall+lan", "granted_except"]),
            firewall=entries(rolls.choice([("*",), (), ("10.*",)])),
            senders=SendersSettings(
                refuse_null=toss(), local_sender_from_outside=rolls.choice(["refuse", "allow"])
            ),
        )

    def somebody_gets_through(self, settings: PolicySettings, rolls: random.Random) -> bool:
        """Play sessions of outsiders."""
        senders = ("", "alice@example.test", "nobody@example.test", "x@foreign.test", "joe@partner.test")
        for _ in range(2):
            client = f"{rolls.choice([8, 81, 203])}.{rolls.randrange(256)}.{rolls.randrange(256)}.7"
            for sender in senders:
                scenario = {
                    "service": "mx",
                    "client": client,
                    "helo": "c.foreign.test",
                    "mail_from": sender,
                    "rcpt_to": ["victim@elsewhere.test"],
                }
                answer = run(explain(settings, scenario, Directory(), Resolver(), NOW))
                if answer["rcpt"] and answer["rcpt"][0]["verdict"] == "permit":
                    return True
        return False


class Classes(SynchronousTestCase):
    """Addresses sorted by what lists say."""

    def test_counts(self) -> None:
        """Classes are disjoint, cover public space, and count it exactly, grids included."""
        problems = Problems()
        lists = [
            FirewallList(parse_rules(entries(one), "", problems))
            for one in (("*.5.*.7", "~11.*"), ("11.0.0.0/8", "8.8.8.8"))
        ]
        classes = address_classes(lists, frozenset())
        ipv4 = {one.admitted: one.count for one in classes if not one.ipv6}
        self.assertEqual(ipv4[False, True], (1 << 24) + 1)
        self.assertNotIn((True, True), ipv4)
        # 224 first octets, without 0, 10, 11, 127; of 100.64/10, 169.254/16, 172.16/12, 192.168/16 and 198.18/15 none
        # has 5 as second octet.
        self.assertEqual(ipv4[True, False], (224 - 4) * 256)
        total = sum(ipv4.values())
        reserved = 3 * (1 << 24) + (1 << 22) + (1 << 16) + (1 << 20) + (1 << 16) + (1 << 17)
        self.assertEqual(total, 224 * (1 << 24) - reserved)
