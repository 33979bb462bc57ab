"""
`explain`: the shape of its answers, its near misses, and what is no scenario.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import Protocol
from mailtraq_py.interfaces.directory import Account, Expansion, LocalMailbox, Remote
from mailtraq_py.mail.address import Address
from mailtraq_py.mail.envelope import ForwardPath
from mailtraq_py.policy.explain import BadScenario, explain, render
from mailtraq_py.policy.settings import (
    AbilityRelay,
    FixedLogin,
    IMailRelay,
    MailtraqRelay,
    PolicySettings,
    ServiceSettings,
    entries,
)

from .fakes import Directory, Resolver, run

ALICE = Account(1, "alice@example.test", "example.test")
SETTINGS = PolicySettings(
    "mx.example.test",
    lan=entries(["192.168.1.*"]),
    own_addresses=("192.0.2.1",),
    services=(
        ServiceSettings("mx", relay=MailtraqRelay(recent_login=True)),
        ServiceSettings("closed", access="firewall", refuse="close"),
        ServiceSettings("recent", access="firewall+lan+recent"),
        ServiceSettings("imail", relay=IMailRelay()),
        ServiceSettings("fixed", relay=AbilityRelay(outgoing=True, auth=True, auth_only=FixedLogin("Smart", "x"))),
        ServiceSettings("pop3", Protocol.POP3),
    ),
)
LOGIN = {"account": "alice@example.test", "protocol": "pop3", "seconds_ago": 60}
MAIL = {"mail_from": "alice@example.test", "rcpt_to": ["x@elsewhere.test"]}


def ask(service: str = "mx", client: str = "203.0.113.9", **more: Any) -> dict[str, Any]:
    """Play a scenario."""
    scenario = {"service": service, "client": client, **more}
    return run(explain(SETTINGS, scenario, Directory(accounts=[ALICE]), Resolver(), 1_800_000_000.5))


class Answers(SynchronousTestCase):
    """What comes back."""

    def test_where_it_leads(self) -> None:
        """The trace of a recipient begins with what it leads to."""
        directory = Directory(accounts=[ALICE], mapped=["second.test"])
        members = (LocalMailbox(ALICE, "Work"), *(Remote(ForwardPath(Address(f"x{n}", "far.test"))) for n in range(6)))
        owner = Address("staff-owner", "example.test")
        directory.expansions["staff@example.test"] = Expansion(members, "staff@example.test", owner)
        ours = [f"{name}@example.test" for name in ("alice", "staff", "nobody")]
        scenario = {
            "service": "mx",
            "client": "203.0.113.9",
            "mail_from": "a@b.test",
            "rcpt_to": [*ours, "x@second.test", "x@far.test"],
        }
        answer = run(explain(SETTINGS, scenario, directory, Resolver(), 0.0))
        far = ", ".join(f"x{number}@far.test, elsewhere" for number in range(4))
        self.assertEqual([one["trace"][0]["reason"] for one in answer["rcpt"]], [
            "leads to mailbox alice@example.test",
            f"list staff@example.test leads to mailbox alice@example.test, folder Work, {far} and 2 more",
            "leads nowhere: no such user",
            "leads to x@second.test, mapped",
            "leads to x@far.test, elsewhere",
        ])

    def test_shape(self) -> None:
        """Four stages, each with verdict, reply, by, reason and trace."""
        answer = ask(helo="c.example", recent_login=LOGIN, **MAIL)
        self.assertEqual(list(answer), ["connect", "helo", "mail", "rcpt"])
        for one in (answer["connect"], answer["helo"], answer["mail"], answer["rcpt"][0]):
            self.assertEqual(list(one), ["verdict", "reply", "by", "reason", "trace"])
            self.assertEqual(one["verdict"], "permit")
        self.assertEqual(answer["rcpt"][0]["by"], "relay: recent login")

    def test_not_reached(self) -> None:
        """A stage behind a refusal is null; a close without a word is `close`."""
        answer = ask("closed", helo="c.example", **MAIL)
        self.assertEqual(answer["connect"]["verdict"], "close")
        self.assertIsNone(answer["connect"]["reply"])
        self.assertEqual((answer["helo"], answer["mail"], answer["rcpt"]), (None, None, None))
        self.assertIsNone(ask(**MAIL)["rcpt"])
        self.assertEqual(ask("pop3", **MAIL)["connect"]["verdict"], "permit")
        self.assertIsNone(ask("pop3", **MAIL)["mail"])

    def test_not_asked(self) -> None:
        """A person is told what nobody could be asked about; behind a refusal that needs no word."""
        for service, given, told in (
            ("pop3", MAIL, 'Not asked about mail_from, rcpt_to: "pop3" does not speak SMTP.'),
            (
                "mx",
                {"rcpt_to": ["x@elsewhere.test"]},
                'Not asked about rcpt_to: "rcpt_to" needs "mail_from" ("" is the null reverse-path).',
            ),
            ("closed", MAIL, ""),
            ("mx", {"mail_from": "", "rcpt_to": ["alice@example.test"]}, ""),
        ):
            scenario = {"service": service, "client": "203.0.113.9", **given}
            lines = render(ask(service, **given), scenario).splitlines()
            self.assertEqual([line for line in lines if line.startswith("Not asked")], [told] if told else [])

    def test_seconds_ago_is_exact(self) -> None:
        """299.5 s is inside the window, 300 s is not."""
        for seconds, verdict in ((299.5, "permit"), (300, "refuse"), (-1, "refuse")):
            answer = ask(recent_login={**LOGIN, "seconds_ago": seconds}, mail_from="a@b.test", rcpt_to=["x@c.test"])
            word = "not an address of an account" if verdict == "permit" else "no ground"
            self.assertIn(word, answer["rcpt"][0]["reason"], seconds)

    def test_near_misses(self) -> None:
        """Other address, other family, same /64, expired: the reason tells."""
        for client, there, seconds, words in (
            ("203.0.113.9", "203.0.113.10", 60, "not from 203.0.113.9"),
            ("2001:db8::1", "203.0.113.10", 60, "over the other address family"),
            ("2001:db8::1", "2001:db8::2", 60, "in the same /64"),
            ("203.0.113.9", "203.0.113.9", 5000, "has expired"),
        ):
            login = {**LOGIN, "client": there, "seconds_ago": seconds}
            answer = ask("recent", client, recent_login=login)
            self.assertEqual(answer["connect"]["verdict"], "refuse")
            self.assertIn(words, answer["connect"]["reason"])
            self.assertIn("near miss", str(answer["connect"]["trace"]))

    def test_own(self) -> None:
        """`own` takes the place of this machine's addresses."""
        mail = {"mail_from": "a@b.test", "rcpt_to": ["x@c.test"]}
        self.assertEqual(ask("imail", "192.0.2.1", **mail)["rcpt"][0]["verdict"], "permit")
        self.assertEqual(ask("imail", "192.0.2.1", own=["192.0.2.2"], **mail)["rcpt"][0]["verdict"], "refuse")
        self.assertEqual(ask("imail", "192.0.2.2", own=["192.0.2.2"], **mail)["rcpt"][0]["verdict"], "permit")

    def test_auth(self) -> None:
        """`auth` has happened; Ability's fixed login is an account of its own."""
        mail = {"mail_from": "a@b.test", "rcpt_to": ["x@c.test"]}
        self.assertEqual(ask("fixed", auth="smart", **mail)["rcpt"][0]["verdict"], "permit")
        refused = ask("fixed", auth="alice@example.test", **mail)
        self.assertEqual(refused["rcpt"][0]["verdict"], "refuse")
        self.assertIn("another login", str(refused["mail"]["trace"]))

    def test_paths(self) -> None:
        """Null paths, brackets, routes, nonsense and postmaster."""
        answer = ask(mail_from="<>", rcpt_to=["<@a.test:alice@example.test>", "joe", "postmaster"])
        self.assertEqual([one["verdict"] for one in answer["rcpt"]], ["permit", "refuse", "refuse"])
        self.assertEqual(answer["rcpt"][1]["reply"], "501 5.1.3 Bad recipient address syntax")
        self.assertEqual(ask(mail_from="joe")["mail"]["reply"], "501 5.1.7 Bad sender address syntax")
        self.assertEqual(ask(mail_from="a@b.test")["rcpt"], [])

    def test_bad_scenarios(self) -> None:
        """What cannot be played names its field."""
        for given, word in (
            ({"client": "10.0.0.1"}, "service"),
            ({"service": "mx"}, "client"),
            ({"service": "mx", "client": "host"}, "client"),
            ({"service": "nowhere", "client": "10.0.0.1"}, "nowhere"),
            ({"service": "mx", "client": "10.0.0.1", "hello": "x"}, "hello"),
            ({"service": "mx", "client": "10.0.0.1", "auth": "bob@example.test"}, "bob@example.test"),
            ({"service": "mx", "client": "10.0.0.1", "recent_login": {"account": "bob@example.test"}}, "bob"),
            ({"service": "mx", "client": "10.0.0.1", "recent_login": {**LOGIN, "seconds_ago": "5"}}, "seconds_ago"),
            ({"service": "mx", "client": "10.0.0.1", "recent_login": {**LOGIN, "when": 5}}, "when"),
            ({"service": "mx", "client": "10.0.0.1", "rcpt_to": [5]}, "rcpt_to"),
            ({"service": "mx", "client": "10.0.0.1", "mail_from": 5}, "mail_from"),
        ):
            with self.assertRaises(BadScenario) as caught:
                run(explain(SETTINGS, given, Directory(accounts=[ALICE]), Resolver(), 0.0))
            self.assertIn(word, str(caught.exception))

    def test_render(self) -> None:
        """Lines as a person would tell it."""
        scenario = {"service": "mx", "client": "203.0.113.9", "mail_from": "a@b.test", "rcpt_to": ["x@c.test"]}
        answer = run(explain(SETTINGS, scenario, Directory(), Resolver(), 0.0))
        told = render(answer, scenario)
        self.assertIn("The connection from 203.0.113.9 is permitted: nobody refuses it.\n", told)
        self.assertIn('The recipient <x@c.test> is refused with "554 5.7.1 Relay Access Denied" by relay: no gr', told)
        self.assertIn("    relay: lan: no opinion, 203.0.113.9 is not in the LAN\n", told)

    def test_render_ground(self) -> None:
        """The ground that permits is said once."""
        scenario = {"service": "mx", "client": "192.168.1.5", "mail_from": "a@b.test", "rcpt_to": ["x@c.test"]}
        told = render(run(explain(SETTINGS, scenario, Directory(), Resolver(), 0.0)), scenario)
        self.assertRegex(told, r"The recipient <x@c\.test> is permitted by relay: [a-z]+\.\n")

    def test_disabled_account(self) -> None:
        """A disabled account's auth does not count, and the trace says so."""
        scenario = {"service": "imail", "client": "203.0.113.9", "auth": "alice@example.test", "mail_from": "a@b.test"}
        directory = Directory(accounts=[replace(ALICE, enabled=False)])
        answer = run(explain(SETTINGS, scenario, directory, Resolver(), 0.0))
        self.assertEqual(answer["mail"]["trace"][0]["check"], "auth")
        self.assertEqual(answer["mail"]["trace"][0]["opinion"], "refuse")
