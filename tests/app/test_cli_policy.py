"""
`mailtraq firewall test`, `check`, `explain`.
"""

from __future__ import annotations

import json

from click.testing import CliRunner

from mailtraq_py.app.cli import main

from .installation import InstallationTestCase


class FirewallTests(InstallationTestCase):
    """`mailtraq firewall test`."""

    def ask(self, entries: str, address: str) -> tuple[int, str]:
        """Exit code and all output."""
        file = self.folder / "entries"
        file.write_text(entries)
        result = CliRunner().invoke(main, ["firewall", "test", "--entries", str(file), address])
        return result.exit_code, result.output.strip()

    def test_last_match_decides(self) -> None:
        """The deciding entry and its line are printed; the exit code says the rest."""
        entries = "# ours\n10.*\n~10.1.*\n"
        self.assertEqual(self.ask(entries, "10.2.3.4"), (0, "10.2.3.4 admitted: line 2: 10.*"))
        self.assertEqual(self.ask(entries, "10.1.2.3"), (1, "10.1.2.3 denied: line 3: ~10.1.*"))
        self.assertEqual(self.ask(entries, "192.0.2.1"), (1, "192.0.2.1 denied: no entry matches"))
        self.assertEqual(self.ask("", "192.0.2.1")[0], 1)

    def test_bad(self) -> None:
        """A bad entry, address or file ends with 2 and is named."""
        code, output = self.ask("10.*\n300.1.1.1\n", "10.2.3.4")
        self.assertEqual(code, 2)
        self.assertIn(":2:", output)
        self.assertEqual(self.ask("*\n", "mx.example")[0], 2)


class CheckTests(InstallationTestCase):
    """`mailtraq check`."""

    def test_good(self) -> None:
        """A configuration that may serve; no store is made for the question."""
        self.assertEqual(self.answer("check"), {"ok": True, "errors": [], "warnings": []})
        self.assertFalse((self.folder / "var" / "mailtraq.db").exists())

    def test_open_relay(self) -> None:
        """One that relays for strangers may not, unless it says that it knows."""
        opened = self.file.read_text().replace("auth = true\nrecent_login = true", "outside_lan = true")
        self.file.write_text(opened)
        [error] = self.answer("check", code=2)["errors"]
        self.assertIn(f"{self.file}:7: smtp[1].relay: service \"mx\" is an open relay", error)
        self.assertIn("outside_lan", error)
        self.file.write_text(opened.replace("outside_lan", "i_know_this_is_an_open_relay = true\noutside_lan"))
        [warning] = self.answer("check")["warnings"]
        self.assertIn("open relay", warning)

    def test_all_errors(self) -> None:
        """Bad entries are told together, each with its line."""
        self.file.write_text(self.file.read_text() + '[lan]\naddresses = [\n"300.1.1.1",\n"10.*",\n"~"]\n')
        errors = self.answer("check", code=2)["errors"]
        self.assertEqual([error.split(":")[1] for error in errors], ["16", "18"])

    def test_one_round(self) -> None:
        """Types, missing files, list entries, rules for recipients and certificates are told at once, in file order."""
        (self.folder / "cert.pem").write_text("noise")
        self.file.write_text(
            self.file.read_text()
            + '[tls]\ncertificate = "cert.pem"\n[lan]\naddresses = ["300.1.1.1", 5]\n'
            + '[recipients]\naliases = "nothing"\nrewrite = ["a"]\n[[imap]]\ntls = 1\nfirewall = ["x-"]\nfoo = 1\n'
        )
        errors = self.answer("check", code=2)["errors"]
        self.assertEqual(
            [" ".join(error.removeprefix(f"{self.file}:").split()[:4]) for error in errors],
            [
                f"14: tls: {self.folder}/cert.pem: no",
                "17: lan.addresses[2]: must be",
                '17: lan.addresses: "300.1.1.1" has',
                "19: recipients.aliases: there is",
                '20: recipients.rewrite[1]: "a": is',
                "22: imap[1].tls: must be",
                '23: imap[1].firewall: "x-" is',
                "24: imap[1].foo: unknown key",
            ],
        )

    def test_line_of_a_single_text(self) -> None:
        """What policy finds in a key that is no list has its line too, in a table of a service as well."""
        added = '[barring]\nreply = "nonsense"\n[[smtp]]\nname = "in"\ntls = "none"\nlisten = ["127.0.0.1:2526"]\n'
        added += '[smtp.relay]\npreset = "custom"\nreply = "250 fine"\n'
        self.file.write_text(self.file.read_text() + added)
        errors = self.answer("check", code=2)["errors"]
        keys = [error.removeprefix(f"{self.file}:").split(": ")[:2] for error in errors]
        self.assertEqual(keys, [["15", "barring.reply"], ["22", "smtp.in.relay.reply"]])

    def test_no_store(self) -> None:
        """A store of no known kind is told once."""
        self.file.write_text(self.file.read_text() + '[store]\nurl = "mysql:x"\n')
        [error] = self.answer("check", code=2)["errors"]
        self.assertIn(' store.url: must begin with "sqlite:" or "postgresql:"', error)

    def test_nothing_to_serve(self) -> None:
        """As a start would say."""
        self.file.write_text("")
        self.assertEqual(
            self.answer("check", code=2)["errors"],
            [f"{self.file}:1: no [[smtp]], [[pop3]] or [[imap]]: nothing to serve"],
        )

    def test_doubts(self) -> None:
        """Names that lead nowhere are warned of."""
        self.mailtraq("domain", "add", "example.test")
        text = 'default_domain = "nope.test"\n' + self.file.read_text()
        self.file.write_text(text + '[outbound]\ncapture = "nobody@example.test"\n')
        first, second = self.answer("check")["warnings"]
        self.assertIn(":1: default_domain: nope.test is not hosted here", first)
        self.assertIn("outbound.capture: nobody@example.test is no mailbox here", second)

    def test_certificate(self) -> None:
        """A certificate that a start would not take is told, by its file, its line and in one sentence."""
        (self.folder / "cert.pem").write_text("noise")
        self.file.write_text(self.file.read_text() + '[tls]\ncertificate = "cert.pem"\n')
        self.assertEqual(
            self.answer("check", code=2)["errors"],
            [f"{self.file}:14: tls: {self.folder / 'cert.pem'}: no certificate in PEM form"],
        )


class ExplainTests(InstallationTestCase):
    """`mailtraq explain`."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "alice@here.example", stdin="long enough\n")

    def test_verdicts(self) -> None:
        """Each stage has its verdict; standard output is JSON and nothing else."""
        scenario = {
            "service": "mx",
            "client": "203.0.113.9",
            "mail_from": "a@b.example",
            "rcpt_to": ["alice@here.example", "nobody@here.example", "x@elsewhere.example"],
        }
        told = json.loads(self.mailtraq("explain", "-", "--json", stdin=json.dumps(scenario)).stdout)
        self.assertEqual(told["connect"]["verdict"], "permit")
        self.assertIsNone(told["helo"])
        self.assertEqual([one["verdict"] for one in told["rcpt"]], ["permit", "refuse", "refuse"])
        self.assertEqual(told["rcpt"][1]["reply"][:9], "550 5.1.1")

    def test_sources(self) -> None:
        """A scenario stands in the argument, in a file, or on standard input."""
        text = '{"service": "mx", "client": "203.0.113.9"}'
        (self.folder / "scenario.json").write_text(text)
        told = self.answer("explain", text)
        self.assertEqual(self.answer("explain", str(self.folder / "scenario.json")), told)
        self.assertEqual(self.answer("explain", "-", stdin=text), told)
        missing = self.mailtraq("explain", "nothere.json", code=2)
        self.assertIn("nothere.json is neither a scenario in JSON nor a file that can be read", missing.stderr)

    def test_recent_login(self) -> None:
        """A recent login opens the relay for five minutes, exactly."""
        for seconds, verdict in ((299, "permit"), (300, "refuse")):
            scenario = {
                "service": "mx",
                "client": "203.0.113.9",
                "recent_login": {"account": "alice@here.example", "protocol": "pop3", "seconds_ago": seconds},
                "mail_from": "alice@here.example",
                "rcpt_to": ["x@elsewhere.example"],
            }
            told = self.answer("explain", json.dumps(scenario))
            last = told["rcpt"][0] if told["rcpt"] else told["mail"]
            self.assertEqual(last["verdict"], verdict)

    def test_open_relay_is_explained(self) -> None:
        """A file that the proof refuses is explained, with a warning beside."""
        self.file.write_text(self.file.read_text().replace("auth = true\nrecent_login = true", "outside_lan = true"))
        scenario = '{"service": "mx", "client": "203.0.113.9", "mail_from": "", "rcpt_to": ["x@elsewhere.example"]}'
        result = self.mailtraq("explain", "--json", scenario)
        self.assertIn("open relay", result.stderr)
        self.assertEqual(json.loads(result.stdout)["rcpt"][0]["verdict"], "permit")

    def test_bad_scenario(self) -> None:
        """What cannot be played ends with 2 and says why."""
        unknown = ('{"service": "nope", "client": "1.2.3.4"}', '{"service": "mx", "client": "x"}')
        for scenario in ("{", "[]", '{"a":' * 5000, *unknown):
            self.assertIn("mailtraq: ", self.mailtraq("explain", scenario, code=2).stderr)
