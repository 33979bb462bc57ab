"""
[recipients] and [journal] of the configuration: what is made of them, and what is wrong with them.
"""

from __future__ import annotations

import os
from pathlib import Path

from mailtraq_py.app.config import ConfigurationError, parse
from mailtraq_py.app.listfiles import ListFiles
from mailtraq_py.app.recipients import RecipientSettings, recipient_settings
from mailtraq_py.mail.address import parse_address

from .installation import InstallationTestCase
from .test_listfiles import FolderTestCase


class RecipientsTests(FolderTestCase):
    """Text in, rules out."""

    def settings(self, text: str, lists: ListFiles | None = None) -> RecipientSettings:
        """What a file's tables come to."""
        return recipient_settings(parse(text, self.folder / "mailtraq.toml"), lists)

    def problems(self, text: str, lists: ListFiles | None = None) -> list[str]:
        """What is wrong with it."""
        return list(self.assertRaises(ConfigurationError, self.settings, text, lists).problems)

    def test_everything(self) -> None:
        """Rules, maps, routes, the alias file and the journal."""
        (self.folder / "etc").mkdir()
        self.written("etc/aliases", "sales: bob@here.example\n:include:more\n")
        self.written("etc/more", "info: bob\n")
        found = self.settings(
            'unknown_recipient = "deliver"\n[recipients]\ndelimiters = "+-"\naliases = "etc/aliases"\n'
            'rewrite = ["*@old.example -> *@here.example"]\nrewrite_senders = ["root -> admin"]\n'
            'domain_maps = ["*.a.example -> b.example", "c.example -> all@here.example"]\n'
            'backup_domains = ["second.example", "third.example -> [::1]:2525"]\ncatch_all = "x@here.example"\n'
            '[journal]\ncopy_inbound = "j@here.example"\n'
        )
        rules = found.rules
        self.assertEqual(rules.aliases.find(["info"], ["here.example"]), ("bob",))
        self.assertEqual(str(rules.rewriting.rewrite(parse_address("a@old.example"))), "a@here.example")
        self.assertEqual(str(found.senders.rewrite(parse_address("root@x.example"))), "admin@x.example")
        self.assertEqual(rules.maps.find("x.a.example"), "b.example")
        self.assertEqual(rules.maps.find("c.example"), parse_address("all@here.example"))
        self.assertEqual((rules.backup.find("second.example"), rules.backup.find("third.example")), ("", "[::1]:2525"))
        self.assertEqual(found.routes.rows, (("third.example", "[::1]:2525"),))
        self.assertEqual((rules.delimiters, str(rules.catch_all)), ("+-", "x@here.example"))
        self.assertEqual((str(found.journal.copy_inbound), found.journal.copy_outbound), ("j@here.example", None))

    def test_problems(self) -> None:
        """Every bad rule is told with its line, those of the alias file with theirs."""
        self.written("aliases", "a: b\nno rule\n")
        found = self.problems(
            '[recipients]\naliases = "aliases"\nrewrite = [\n  "a -> b",\n  "a",\n]\n'
            'domain_maps = ["*.example -> x.example"]\n'
            'backup_domains = ["*", "a.example -> host"]\n'
        )
        folder = self.folder
        self.assertEqual([problem.split(": ")[0] for problem in found], [
            f"{folder}/mailtraq.toml:8",
            f"{folder}/mailtraq.toml:8",
            f"{folder}/mailtraq.toml:5",
            f"{folder}/mailtraq.toml:7",
            f"{folder}/aliases:2",
        ])

    def test_together(self) -> None:
        """A catch-all and the rule that uses it go together; delimiters are signs; the alias file is there."""
        for text in (
            'unknown_recipient = "deliver"',
            '[recipients]\ncatch_all = "x@here.example"',
            '[recipients]\ndelimiters = "a"',
            '[recipients]\ndelimiters = "@"',
            '[recipients]\naliases = "none"',
            '[journal]\ncopy_outbound = "nobody"',
        ):
            self.assertRaises(ConfigurationError, self.settings, text)

    def test_bad_files(self) -> None:
        """A file that is none, is too large in lines, or has NULs, is refused with its name; nothing hangs."""
        (self.folder / "folder").mkdir()
        os.mkfifo(self.folder / "pipe")
        self.written("nul", "a: b\0\n")
        self.written("main", ":include:folder\n:include:pipe\n:include:nul\n:include:none\n")
        found = self.problems('[recipients]\naliases = "main"\n')
        for reason, problem in zip(("is no regular file",) * 2 + ("NUL octets", "No such file"), found, strict=True):
            self.assertIn(reason, problem)

    def test_watched(self) -> None:
        """The alias file and what it includes are watched; a bad change is refused and the old rules stay."""
        main, more = self.written("main", ":include:more\n"), self.written("more", "a: b@here.example\n")
        text, lists = '[recipients]\naliases = "main"\n', ListFiles()
        self.settings(text, lists)
        self.assertEqual(lists.changed(), [])
        self.written("more", "a: c@here.example\n", 30)
        self.assertEqual(lists.changed(), [more])
        fresh = lists.without(more)
        self.assertEqual(self.settings(text, fresh).rules.aliases.find(["a"], ["x.example"]), ("c@here.example",))
        self.written("main", "bad\n", 20)
        self.assertEqual(fresh.changed(), [main])
        self.assertIn("main:1", self.problems(text, fresh.without(main))[0])


class JudgingTests(InstallationTestCase):
    """`mailtraq check` and `mailtraq explain` under the rules of the file."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="correct horse 9\n")

    def write(self, text: str) -> None:
        """Add to the configuration."""
        self.file.write_text(self.file.read_text() + text)

    def test_explain(self) -> None:
        """Aliases, maps and mailbox lists count in what policy would say."""
        Path(self.folder / "aliases").write_text("sales: alice@here.example\n")
        self.write('[recipients]\naliases = "aliases"\nbackup_domains = ["second.example"]\n')
        self.mailtraq("account", "lists", "alice@here.example", "--black", "@b.example")
        recipients = '["sales@here.example", "x@second.example", "x@far.example"]'
        for sender, expected in (("a@b.example", "mailbox_lists"), ("a@c.example", "relay: our domain")):
            scenario = (
                f'{{"service": "mx", "client": "203.0.113.9", "mail_from": "{sender}", "rcpt_to": {recipients}}}'
            )
            told = self.answer("explain", scenario)["rcpt"]
            self.assertEqual(told[0]["by"], expected)
            self.assertEqual([each["verdict"] for each in told[1:]], ["permit", "refuse"])

    def test_check(self) -> None:
        """Bad rules are errors; addresses that lead nowhere are doubts."""
        self.write('[journal]\ncopy_outbound = "j@far.example"\ncopy_inbound = "none@here.example"\n')
        warnings = self.answer("check")["warnings"]
        self.assertEqual(len(warnings), 2)
        self.assertIn("j@far.example is no mailbox here", warnings[1])
        self.write('[recipients]\nrewrite = ["a"]\n')
        self.assertIn("recipients.rewrite[1]", self.answer("check", code=2)["errors"][0])
