"""
The vectors of the three originals, each through the real chain and `explain`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.directory import Account
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.explain import explain
from mailtraq_py.policy.firewall import FirewallList, parse_rules
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.problems import Problems
from mailtraq_py.policy.proof import prove
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    ROLES,
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

VECTORS = Path(__file__).parent / "vectors"
PRESETS = {relay.preset: relay for relay in (MailtraqRelay, AbilityRelay, IMailRelay)}
NOW = 1_800_000_000.0


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of one file."""
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    return loaded


def relay_of(preset: str, options: dict[str, Any]) -> RelaySettings:
    """A relay table out of a vector's options."""
    kind = PRESETS[preset]
    assert set(options) <= {field.name for field in fields(kind)}, options
    return kind(**{key: entries(value) if isinstance(value, list) else value for key, value in options.items()})


def settings_of(service: ServiceSettings, lan: list[str]) -> PolicySettings:
    """A configuration with one service."""
    return PolicySettings(
        "mx.example.test",
        lan=entries(lan, "lan.addresses"),
        own_addresses=("192.0.2.1", "127.0.0.1", "::1"),
        recent_login=RecentLoginSettings(exclude=()),
        services=(service,),
    )


class Vectors(SynchronousTestCase):
    """What an administrator of an original expects of it."""

    def test_firewall(self) -> None:
        """Firewall lists admit whom they admitted."""
        for case in cases("firewall"):
            problems = Problems()
            listed = FirewallList(parse_rules(entries(case["entries"]), "firewall", problems))
            self.assertEqual(problems.errors, [], case["id"])
            self.assertEqual(listed.decide(case["client"])[0], case["admitted"], case["id"])

    def test_access(self) -> None:
        """Access modes admit whom they admitted."""
        for case in cases("access"):
            service = ServiceSettings(
                "mx",
                access=case["access"],
                firewall=entries(case["firewall"]),
                recent_position=case.get("recent_position", "start"),
            )
            login = case["recent_login"]
            scenario: dict[str, Any] = {"service": "mx", "client": case["client"], "own": ["192.0.2.1"]}
            if login is not None:
                scenario["recent_login"] = {"account": "alice@example.test", "protocol": "pop3", **login}
            answer = run(explain(settings_of(service, case["lan"]), scenario, Directory(), Resolver(), NOW))
            self.assertEqual(answer["connect"]["verdict"] == "permit", case["admitted"], (case["id"], answer))

    def test_relay(self) -> None:
        """Relay presets relay for whom they relayed, and the proof finds what is open."""
        for case in cases("relay"):
            service = ServiceSettings(
                "mx",
                role=ROLES[case["listener"]],
                relay=relay_of(case["preset"], case["options"]),
                senders=SendersSettings(local_sender_from_outside=case.get("local_sender_from_outside", "refuse")),
            )
            settings = settings_of(service, ["127.0.0.1", "192.168.1.*"])
            alice = Account(1, "alice@example.test", "example.test", relay=case["auth_relay_privilege"])
            scenario = {
                "service": "mx",
                "client": case["client"],
                "own": ["192.0.2.1"],
                "helo": "client.example",
                "auth": case["auth"],
                "mail_from": case["mail_from"],
                "rcpt_to": [case["rcpt_to"]],
            }
            seconds = case["recent_login_seconds_ago"]
            if seconds is not None:
                scenario["recent_login"] = {
                    "account": "alice@example.test",
                    "protocol": "pop3",
                    "seconds_ago": seconds,
                }
            directory = Directory(accounts=[alice])
            answer = run(explain(settings, scenario, directory, Resolver(), NOW))
            self.assertEqual(answer["connect"]["verdict"] == "permit", case["connects"], (case["id"], answer))
            relays = answer["rcpt"] is not None and answer["rcpt"][0]["verdict"] == "permit"
            self.assertEqual(relays, bool(case["relays"]), (case["id"], answer))
            findings = run(prove(settings, directory))
            self.assertEqual(bool(findings), case.get("open_relay", False), (case["id"], findings))

    def test_policy_builds_without_warnings(self) -> None:
        """A plain configuration has no warnings."""
        settings = settings_of(ServiceSettings("mx"), ["127.0.0.1"])
        recent = RecentLogins(MemoryRows(), RecentLoginRules(settings.recent_login), lambda: NOW)
        self.assertEqual(build_policy(settings, Directory(), Resolver(), recent, 1).warnings, ())
