"""Which messages had their flags changed of late."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.uidset import UIDSet
from mailtraq_py.store.flagchanges import MAILBOXES_MAX, UIDS_MAX, FlagChanges


class FlagChangesTests(SynchronousTestCase):
    """What is known, and when nothing is."""

    def setUp(self) -> None:
        """Three changes that follow one another."""
        self.changes = FlagChanges()
        for since, until, uids in ((10, 11, [1, 2]), (11, 15, [2, 7]), (15, 16, [3])):
            self.changes.note(1, since, until, UIDSet.from_numbers(uids))

    def ask(self, since: int, until: int) -> list[int] | None:
        """Of mailbox 1."""
        found = self.changes.changed_since(1, since, until)
        return None if found is None else list(found)

    def test_known(self) -> None:
        """All that changed after a MODSEQ, which may lie between two changes or before the first."""
        self.assertEqual([1, 2, 3, 7], self.ask(10, 16))
        self.assertEqual([2, 3, 7], self.ask(11, 16))
        self.assertEqual([2, 3, 7], self.ask(13, 16))
        self.assertEqual([3], self.ask(15, 16))

    def test_nothing_changed(self) -> None:
        """Nothing but new messages since: nothing to look for, whatever is known."""
        self.assertEqual([], self.ask(16, 16))
        self.assertEqual(UIDSet(), self.changes.changed_since(99, 5, 5))

    def test_unknown(self) -> None:
        """What happened before the first change, elsewhere after the last one, or in another mailbox."""
        self.assertIsNone(self.ask(9, 16))
        self.assertIsNone(self.ask(11, 17))
        self.assertIsNone(self.changes.changed_since(2, 1, 5))

    def test_gap(self) -> None:
        """A change from elsewhere makes what was before it useless."""
        self.changes.note(1, 18, 19, UIDSet(((9, 9),)))
        self.assertIsNone(self.ask(15, 19))
        self.assertEqual([9], self.ask(18, 19))

    def test_bounds(self) -> None:
        """A large change is not kept, nor are more mailboxes than so many; the others stay."""
        self.changes.note(1, 16, 17, UIDSet(((1, UIDS_MAX - 1),)))
        self.assertIsNone(self.ask(11, 17))
        self.assertEqual(UIDS_MAX - 1, len(self.ask(16, 17) or ()))
        self.changes.note(1, 17, 18, UIDSet(((1, UIDS_MAX + 1),)))
        self.assertIsNone(self.ask(17, 18))
        for mailbox in range(2, MAILBOXES_MAX + 3):
            self.changes.note(mailbox, 1, 2, UIDSet(((1, 1),)))
        self.assertIsNone(self.changes.changed_since(2, 1, 2))
        self.assertIsNotNone(self.changes.changed_since(MAILBOXES_MAX + 2, 1, 2))
