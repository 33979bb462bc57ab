"""
`mailtraq list` and `mailtraq account lists`.
"""

from __future__ import annotations

from .installation import InstallationTestCase


class ListTests(InstallationTestCase):
    """Distribution lists."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")

    def test_a_life(self) -> None:
        """A list is made, gets members and loses them, is shown and goes."""
        self.mailtraq("list", "add", "staff@here.example", "a@far.example", "--owner", "boss@here.example")
        lines = "b@far.example\n\nA@far.example\n"
        result = self.mailtraq("list", "add", "staff@here.example", "--from-stdin", stdin=lines)
        self.assertIn("1 member added", result.output)
        self.mailtraq("list", "add", "staff@here.example", "--posting", "members")
        self.assertEqual(self.answer("list", "members", "staff@here.example"), ["a@far.example", "b@far.example"])
        [shown] = self.answer("list", "list")
        self.assertEqual(shown, {
            "address": "staff@here.example", "owner": "boss@here.example", "posting": "members", "members": 2
        })
        self.mailtraq("list", "remove", "staff@here.example", "B@far.example")
        self.assertEqual(self.mailtraq("list", "members", "staff@here.example").output, "a@far.example\n")
        self.assertIn("members", self.mailtraq("list", "list").output)
        self.mailtraq("list", "delete", "staff@here.example")
        self.assertEqual(self.answer("list", "list"), [])

    def test_refusals(self) -> None:
        """What is not there, is no address, or is hosted by nobody."""
        for arguments in (
            ("members", "none@here.example"),
            ("delete", "none@here.example"),
            ("remove", "none@here.example", "a@far.example"),
            ("add", "staff@far.example"),
            ("add", "staff@here.example", "nobody"),
        ):
            self.mailtraq("list", *arguments, code=1)
        self.mailtraq("list", "add", "staff@here.example", "--posting", "all", code=2)


class AccountListsTests(InstallationTestCase):
    """Black and white lists."""

    def setUp(self) -> None:
        super().setUp()
        self.mailtraq("domain", "add", "here.example")
        self.mailtraq("account", "add", "alice@here.example", "--password-stdin", stdin="correct horse 9\n")

    def lists(self, *options: str, code: int = 0) -> str:
        """Change and show."""
        return self.mailtraq("account", "lists", "alice@here.example", *options, code=code).output

    def test_a_life(self) -> None:
        """Entries come once each and go, options stay until they are changed."""
        self.assertEqual(self.lists(), "Black mail is refused.\n")
        self.lists("--white", "friend@b.example", "--black", "@b.example", "--black", "*@*.spam.example")
        self.lists("--black", "*@b.example", "--black-folder", "Junk", "--white-local-domains", "--black-everyone")
        self.assertEqual(
            self.answer("account", "lists", "alice@here.example"),
            {
                "white": ["friend@b.example"],
                "black": ["*@*.spam.example", "*@b.example"],
                "black_everyone": True,
                "white_local_domains": True,
                "black_folder": "Junk",
            },
        )
        shown = self.lists("--remove", "@b.example", "--no-black-everyone")
        self.assertEqual(
            shown,
            "white  friend@b.example\nblack  *@*.spam.example\nSenders of our domains are white.\n"
            "Black mail is filed in Junk.\n",
        )
        self.assertEqual(self.lists("--clear"), "Black mail is refused.\n")

    def test_refusals(self) -> None:
        """What is no pattern or mailbox is an error, who is not there is refused."""
        for text in ("nobody", "a@b..c", "", "~"):
            self.lists("--black", text, code=2)
        self.lists("--black-folder", "a//b", code=2)
        self.mailtraq("account", "lists", "x@here.example", code=1)
