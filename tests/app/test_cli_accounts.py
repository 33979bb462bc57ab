"""
`mailtraq domain`, `account`, `alias`.
"""

from __future__ import annotations

from .installation import InstallationTestCase


class DomainTests(InstallationTestCase):
    """Domains."""

    def test_add_list_delete(self) -> None:
        """A domain is added to a store that is made for it, is listed, and goes."""
        self.mailtraq("domain", "add", "Here.Example")
        self.mailtraq("domain", "add", "there.example", "--alias-of", "here.example")
        self.assertEqual(
            self.answer("domain", "list"),
            [
                {"name": "here.example", "alias_of": None, "accounts": 0},
                {"name": "there.example", "alias_of": "here.example", "accounts": 0},
            ],
        )
        self.mailtraq("domain", "delete", "there.example")
        self.assertEqual(len(self.answer("domain", "list")), 1)

    def test_refusals(self) -> None:
        """Twice the same, what is not there, and what is no domain end with 1 and a sentence."""
        self.mailtraq("domain", "add", "here.example")
        self.assertIn("exists already", self.mailtraq("domain", "add", "here.example", code=1).stderr)
        self.assertIn("no domain", self.mailtraq("domain", "delete", "there.example", code=1).stderr)
        self.mailtraq("domain", "add", "no..domain", code=1)


class AccountTests(InstallationTestCase):
    """Accounts and their passwords."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")

    def test_password_from_stdin(self) -> None:
        """The password is one line of standard input, and is not printed."""
        result = self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="a b c d e\nmore\n")
        self.assertNotIn("a b c d e", result.output)
        [account] = self.answer("account", "list")
        self.assertEqual((account["address"], account["relay"], account["enabled"]), ("alice@here.example", True, True))

    def test_many_from_stdin(self) -> None:
        """Lines of address and password; the password may hold spaces. A bad line is named."""
        lines = "alice@here.example one two three\nbob@here.example long enough\n\n"
        self.mailtraq("account", "add", "--from-stdin", "--no-relay", stdin=lines)
        accounts = self.answer("account", "list", "here.example")
        self.assertEqual([(each["address"], each["relay"]) for each in accounts], [
            ("alice@here.example", False),
            ("bob@here.example", False),
        ])
        result = self.mailtraq("account", "add", "--from-stdin", stdin="carol@here.example long enough\ndave\n", code=2)
        self.assertIn("line 2", result.stderr)
        self.assertEqual(len(self.answer("account", "list")), 2)

    def test_set_and_password(self) -> None:
        """State, privilege and password change; who is not there is refused."""
        self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="long enough\n")
        self.mailtraq("account", "set", "alice@here.example", "--no-relay", "--disable", "--quota-octets", "1000")
        [account] = self.answer("account", "list")
        self.assertEqual((account["relay"], account["enabled"], account["quota_octets"]), (False, False, 1000))
        for text, octets in (("2G", 2 << 30), ("500mb", 500 << 20), ("7KiB", 7168), ("none", None)):
            self.mailtraq("account", "set", "alice@here.example", "--quota", text, "--quota-messages", "5")
            (account,) = self.answer("account", "list")
            self.assertEqual((account["quota_octets"], account["quota_messages"]), (octets, 5))
        for text in ("-1", "G", "1X", "1.5G", ""):
            self.mailtraq("account", "set", "alice@here.example", "--quota", text, code=2)
        self.mailtraq("account", "set", "alice@here.example", "--quota-messages", "1K", code=2)
        self.mailtraq("account", "password", "alice@here.example", "--password-stdin", stdin="long enough too\n")
        self.mailtraq("account", "password", "alice@here.example", "--password-stdin", stdin="\n", code=2)
        self.mailtraq("account", "set", "nobody@here.example", "--relay", code=1)
        self.mailtraq("account", "set", "alice@here.example", code=2)

    def test_usage(self) -> None:
        """Neither or both of ADDRESS and --from-stdin are a usage error; an unknown domain is a refusal."""
        self.mailtraq("account", "add", code=2)
        self.mailtraq("account", "add", "a@here.example", "--from-stdin", code=2)
        self.assertIn("no domain", self.mailtraq("account", "add", "a@b.example", stdin="long enough\n", code=1).stderr)

    def test_delete(self) -> None:
        """An account goes with its domain's last hold."""
        self.mailtraq("account", "add", "alice@here.example", stdin="long enough\n")
        self.mailtraq("domain", "delete", "here.example", code=1)
        self.mailtraq("account", "delete", "alice@here.example")
        self.mailtraq("domain", "delete", "here.example")

    def test_broken_configuration(self) -> None:
        """Accounts can be managed while some other table of the file is wrong."""
        self.file.write_text(self.file.read_text() + "[lann]\n")
        self.mailtraq("account", "list")
        self.mailtraq("check", code=2)


class AliasTests(InstallationTestCase):
    """Aliases."""

    def test_add_list_delete(self) -> None:
        """An alias leads to several addresses, a catch-all too."""
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("alias", "add", "info@here.example", "alice@here.example", "x@elsewhere.example")
        self.mailtraq("alias", "add", "*@here.example", "alice@here.example")
        self.assertEqual(
            self.answer("alias", "list"),
            [
                {"address": "*@here.example", "targets": ["alice@here.example"]},
                {"address": "info@here.example", "targets": ["alice@here.example", "x@elsewhere.example"]},
            ],
        )
        self.mailtraq("alias", "delete", "*@here.example")
        self.mailtraq("alias", "delete", "*@here.example", code=1)
