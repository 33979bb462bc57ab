"""mailtraq_py/policy/mailboxlists.py: what accounts say of their own mail, beyond `cases/mailbox-lists.txt`."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.directory import Account, Destination, Expansion, LocalMailbox, MailboxLists, Remote
from mailtraq_py.interfaces.policy import Facts, Verdict
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import ForwardPath, ReversePath
from mailtraq_py.policy.mailboxlists import MailboxListsCheck
from tests.fakes import make_account, make_connection

from .fakes import Directory, run

PLAIN = make_account("plain@here.example", 1)
STRICT = make_account("strict@here.example", 2, lists_number=1)
FILING = make_account("filing@here.example", 3, lists_number=1)
AWAY = Remote(ForwardPath(parse_address("x@far.example")))
BLACK = ("*@b.example",)


class MailboxListsTests(SynchronousTestCase):
    """Destinations in, destinations out."""

    def setUp(self) -> None:
        self.directory = Directory(["here.example"])
        self.directory.lists = {2: MailboxLists(black=BLACK), 3: MailboxLists(black=BLACK, black_folder="Junk")}
        self.check = MailboxListsCheck(self.directory)

    def ask(self, destination: Destination, sender: str = "a@b.example") -> Verdict | None:
        """What the check says."""
        path = ReversePath(parse_address(sender))
        facts = Facts(make_connection(), 0.0, reverse_path=path, destination=destination)
        return run(self.check.ask(facts))

    def expansion(self, *accounts: Account) -> Expansion:
        """An alias of these."""
        return Expansion(tuple(map(LocalMailbox, accounts)), "all")

    def test_filed(self) -> None:
        """A copy that the account wants filed goes to its folder, whatever the sub-address asked for."""
        verdict = self.ask(LocalMailbox(FILING, "Lists"))
        assert verdict is not None
        self.assertEqual(verdict.destination, LocalMailbox(FILING, "Junk"))
        self.assertTrue(verdict.is_permit)

    def test_some_refuse(self) -> None:
        """Of several, those that refuse get no copy, with a trace; all together refuse."""
        verdict = self.ask(self.expansion(PLAIN, STRICT, FILING))
        assert verdict is not None
        kept = (LocalMailbox(PLAIN), LocalMailbox(FILING, "Junk"))
        self.assertEqual(verdict.destination, Expansion(kept, "all"))
        self.assertIn("strict@here.example", verdict.reason)
        refused = self.ask(self.expansion(STRICT))
        self.assertFalse(refused is None or refused.is_permit)
        away = self.ask(Expansion((LocalMailbox(STRICT), AWAY), "all"))
        assert away is not None
        self.assertEqual(away.destination, Expansion((AWAY,), "all"))

    def test_nothing_to_say(self) -> None:
        """Accounts without lists, other senders and what leaves are not touched."""
        for destination in (LocalMailbox(PLAIN), AWAY, self.expansion(PLAIN)):
            self.assertIsNone(self.ask(destination))
        self.assertIsNone(self.ask(LocalMailbox(STRICT), "a@c.example"))

    def test_change(self) -> None:
        """Another number means other lists; the same number is not asked for again."""
        self.assertIsNotNone(self.ask(LocalMailbox(STRICT)))
        self.directory.lists[2] = MailboxLists()
        self.assertIsNotNone(self.ask(LocalMailbox(STRICT)))
        self.assertIsNone(self.ask(LocalMailbox(replace(STRICT, lists_number=2))))

    def test_bad_pattern(self) -> None:
        """A pattern that is none (it was judged before it was stored) names nobody."""
        self.directory.lists[2] = MailboxLists(black=("a@b..c", ""))
        self.assertIsNone(self.ask(LocalMailbox(STRICT)))
