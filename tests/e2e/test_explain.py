"""
The vectors of the three originals through `mailtraq explain` and `mailtraq firewall test`, as a black box: a
configuration file, an account in a store, a scenario in, JSON out.

A few are asked of the real program; the rest of the same command line in this process, which is what the program calls.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app.cli import main

from .server import PASSWORD, PROGRAMS

VECTORS = Path(__file__).parent.parent / "policy" / "vectors"
ALICE = "alice@example.test"
AS_A_PROGRAM = 3


def cases(name: str) -> list[dict[str, Any]]:
    """The cases of one file."""
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    return loaded


def toml(value: Any) -> str:
    """A value as TOML has it."""
    return json.dumps(value)


class ExplainTests(SynchronousTestCase):
    """In a folder with a store that hosts example.test with Alice."""

    def setUp(self) -> None:
        """Make it."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.file = self.folder / "mailtraq.toml"
        self.asked = 0

    def mailtraq(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Exit code and output; the first few calls are of the real program."""
        self.asked += 1
        if self.asked <= AS_A_PROGRAM:
            done = subprocess.run(
                [str(PROGRAMS / "mailtraq"), *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            return done.returncode, done.stdout
        result = CliRunner().invoke(main, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    def host(self) -> None:
        """Example.test and Alice."""
        for arguments, stdin in ((("domain", "add", "example.test"), ""), (("account", "add", ALICE), PASSWORD)):
            options = ("--password-stdin",) if stdin else ()
            result = CliRunner().invoke(main, [*arguments, *options, "--config", str(self.file)], input=stdin)
            self.assertEqual(result.exit_code, 0, result.output)

    def configure(
        self, lan: list[str], service: dict[str, Any], relay: dict[str, Any], senders: dict[str, Any]
    ) -> None:
        """Write the file."""
        lines = ['hostname = "mx.example.test"', "[lan]", f"addresses = {toml(lan)}", "[recent_login]", "exclude = []"]
        lines += ["[[smtp]]", 'name = "mx"', 'tls = "none"', *(f"{key} = {toml(service[key])}" for key in service)]
        lines += ["[smtp.relay]", *(f"{key} = {toml(relay[key])}" for key in relay)]
        lines += ["[smtp.senders]", *(f"{key} = {toml(senders[key])}" for key in senders)]
        self.file.write_text("\n".join(lines) + "\n")

    def explain(self, scenario: dict[str, Any]) -> dict[str, Any]:
        """What it answers."""
        code, told = self.mailtraq("explain", "--config", str(self.file), "--json", "-", stdin=json.dumps(scenario))
        self.assertEqual(code, 0, told)
        answer: dict[str, Any] = json.loads(told)
        return answer

    def test_firewall(self) -> None:
        """`firewall test` admits and denies by its exit code."""
        for case in cases("firewall"):
            entries = self.folder / "list"
            entries.write_text("# a list\n" + "".join(f"{entry}\n" for entry in case["entries"]))
            code, told = self.mailtraq("firewall", "test", "--entries", str(entries), case["client"])
            self.assertEqual(code, 0 if case["admitted"] else 1, (case["id"], told))

    def test_access(self) -> None:
        """CONNECT."""
        self.configure([], {}, {}, {})
        self.host()
        for case in cases("access"):
            service = {key: case[key] for key in ("access", "firewall", "recent_position") if key in case}
            self.configure(case["lan"], service, {}, {})
            scenario: dict[str, Any] = {"service": "mx", "client": case["client"], "own": ["192.0.2.1"]}
            if case["recent_login"] is not None:
                scenario["recent_login"] = {"account": ALICE, "protocol": "pop3", **case["recent_login"]}
            verdict = self.explain(scenario)["connect"]["verdict"]
            self.assertEqual(verdict == "permit", case["admitted"], case["id"])

    def test_relay(self) -> None:
        """All stages; and `check` refuses what is an open relay, and nothing else."""
        self.configure([], {}, {}, {})
        self.host()
        for case in cases("relay"):
            senders = {key: case[key] for key in ("local_sender_from_outside",) if key in case}
            relay = {"preset": case["preset"], **case["options"]}
            self.configure(["127.0.0.1", "192.168.1.*"], {"role": case["listener"]}, relay, senders)
            privilege = "--relay" if case["auth_relay_privilege"] else "--no-relay"
            CliRunner().invoke(main, ["account", "set", ALICE, privilege, "--config", str(self.file)])
            scenario = {
                "service": "mx",
                "client": case["client"],
                "own": ["192.0.2.1"],
                "helo": "client.example",
                "auth": case["auth"],
                "mail_from": case["mail_from"],
                "rcpt_to": [case["rcpt_to"]],
            }
            if case["recent_login_seconds_ago"] is not None:
                scenario["recent_login"] = {
                    "account": ALICE,
                    "protocol": "pop3",
                    "seconds_ago": case["recent_login_seconds_ago"],
                }
            answer = self.explain(scenario)
            self.assertEqual(answer["connect"]["verdict"] == "permit", case["connects"], (case["id"], answer))
            relays = answer["rcpt"] is not None and answer["rcpt"][0]["verdict"] == "permit"
            self.assertEqual(relays, bool(case["relays"]), (case["id"], answer))
            checked = CliRunner().invoke(main, ["check", "--config", str(self.file)])
            self.assertEqual(checked.exit_code, 2 if case.get("open_relay") else 0, (case["id"], checked.output))

    def test_firewall_errors(self) -> None:
        """A bad entry is named with its line, and the exit code is 2."""
        entries = self.folder / "list"
        for bad in ("192.168.1", "300.1.1.1", "010.0.0.1", "10.0.0.0/33", "~", "10.0.0.9-10.0.0.1"):
            entries.write_text(f"10.*\n{bad}\n")
            result = CliRunner().invoke(main, ["firewall", "test", "--entries", str(entries), "10.0.0.1"])
            self.assertEqual(result.exit_code, 2, bad)
            self.assertIn(f"list:2: \"{bad}\"", result.stderr)
