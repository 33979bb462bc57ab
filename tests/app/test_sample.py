"""
The file that `mailtraq init` writes.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app import sections
from mailtraq_py.app.config import parse
from mailtraq_py.app.sample import sample_file
from mailtraq_py.app.tables import Table

ROOT = Path(__file__).parent.parent.parent
_COMMENTED = re.compile(r"^# ([a-z_0-9]+ = .+)$", re.MULTILINE)


def uncommented(text: str) -> dict[str, Any]:
    """The file with every commented-out key in force."""
    return tomllib.loads(_COMMENTED.sub(r"\1", text))


class SampleTests(SynchronousTestCase):
    """Every key stands in it, with its default."""

    def test_etc(self) -> None:
        """etc/mailtraq.toml is what `mailtraq init` writes for mx.example.org."""
        written = (ROOT / "etc" / "mailtraq.toml").read_text("utf-8")
        self.assertEqual(written, sample_file("mx.example.org", "mailtraq"))

    def test_every_key(self) -> None:
        """No key of a table is missing."""
        text = sample_file("mx.example.org", "mailtraq")
        named = {*re.findall(r"^#? ?([a-z_0-9]+) =", text, re.MULTILINE), *re.findall(r"[\[.]([a-z_0-9]+)\]", text)}
        missing = [
            f"{table.__doc__}: {name}"
            for table in (
                sections.Keys,
                sections.SMTPService,
                sections.MailtraqRelay,
                sections.Senders,
                sections.Helo,
                sections.Lists,
                sections.Tarpit,
                sections.LargeMessages,
                sections.History,
                sections.RecentLogin,
                sections.Outbound,
                sections.Log,
                sections.Limits,
                sections.Timeouts,
                sections.Barring,
                sections.ListsAccess,
                sections.Recipients,
                sections.Journal,
                sections.Lan,
                sections.Store,
                sections.TLS,
            )
            for name in table.__struct_fields__
            if name not in named
        ]
        self.assertEqual(missing, [])

    def test_defaults(self) -> None:
        """What is commented out says the default."""
        text = sample_file("mx.example.org", "mailtraq")
        raw = uncommented(re.sub(r"^# \[\[tls.names.*?\n\n", "", text, flags=re.MULTILINE | re.DOTALL))
        words = ("recent_login", "outbound", "log", "limits", "timeouts", "barring", "recipients")
        for word in (*words, "lists_access", "journal"):
            self.compare(raw[word], getattr(sections.Keys(), word), word)
        service = raw["smtp"][0]
        for word in ("senders", "helo", "lists", "tarpit"):
            self.compare(service[word], getattr(sections.SMTPService(), word), word)
        self.compare(
            {key: value for key, value in service.items() if not isinstance(value, dict)},
            sections.SMTPService(),
            "smtp",
            but=("name", "listen"),
        )
        self.compare(service["relay"], sections.MailtraqRelay(), "relay", but=("auth", "recent_login"))

    def compare(self, written: dict[str, Any], table: Table, name: str, but: tuple[str, ...] = ()) -> None:
        """Each key of a table in the file has the value of the model's default."""
        for key, value in written.items():
            default = getattr(table, key)
            if key not in but:
                self.assertEqual(list(default) if isinstance(default, tuple) else default, value, f"{name}.{key}")

    def test_host_and_user(self) -> None:
        """Host name and user come in where they belong."""
        raw = tomllib.loads(sample_file("mail.there.example", "imail", "nobody"))
        self.assertEqual((raw["hostname"], raw["user"]), ("mail.there.example", "nobody"))

    def test_documented(self) -> None:
        """docs/configuration.md names every key."""
        text = (ROOT / "docs" / "configuration.md").read_text("utf-8")
        named = set(re.findall(r"[`.\[]([a-z_0-9]+)(?:`|\]| = )", text))
        tables = [each for each in vars(sections).values() if isinstance(each, type) and issubclass(each, Table)]
        missing = {name for table in tables for name in table.__struct_fields__ if name not in named}
        self.assertEqual(missing - {"names", "login", "password_hash", "preset"}, set())

    def test_is_configuration(self) -> None:
        """It is read without complaint but for the certificate that is not there yet."""
        text = sample_file("mx.example.org", "ability").replace('certificate = "tls/cert.pem"', "").replace(
            'key = "tls/key.pem"', ""
        )
        text = re.sub(r'^tls = .*$', 'tls = "none"', text, flags=re.MULTILINE)
        text = re.sub(r'^(listen = .*)$(?!\ntls)', r'\1\ntls = "none"', text, flags=re.MULTILINE)
        self.assertEqual(len(parse(text, Path("/x/mailtraq.toml")).keys.smtp), 2)
