"""One client's numbering, held against the plain way to do it: a list."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.changes import MailboxDelta, MessageState, StateRun
from mailtraq_py.mail.uidset import EMPTY, UIDSet
from mailtraq_py.wire.imap import responses
from mailtraq_py.wire.imap.sequence import parse_sequence_set
from mailtraq_py.wire.imap.tokens import BadCommand
from mailtraq_py.wire.imap.uidmap import SHARED_RUNS, UIDMap
from mailtraq_py.wire.imap.view import View

UIDS = st.sets(st.integers(1, 60), max_size=40).map(sorted)
FLAGS = frozenset(("\\Seen",))


def delta(mod_seq: int, changed: tuple[int, ...] = (), vanished: UIDSet = EMPTY) -> MailboxDelta:
    """What changed up to a MODSEQ."""
    return MailboxDelta(mod_seq, tuple(MessageState(uid, mod_seq, FLAGS) for uid in changed), vanished)


class UIDMapTests(SynchronousTestCase):
    """Places and UIDs."""

    @given(UIDS, st.lists(st.integers(0, 70)))
    def test_like_a_list(self, uids: list[int], asked: list[int]) -> None:
        """Every look-up gives what it would in a list."""
        places = UIDMap.from_uids(UIDSet.from_numbers(uids))
        self.assertEqual(places.count, len(uids))
        self.assertEqual(places.last, uids[-1] if uids else 0)
        self.assertEqual([places.uid_at(place) for place in range(len(uids))], uids)
        self.assertEqual([places.place_of(uid) for uid in range(70)], [bisect_left(uids, uid) for uid in range(70)])
        self.assertEqual(
            list(places.numbers_of(asked)), [uids.index(uid) + 1 if uid in uids else 0 for uid in asked]
        )

    @given(UIDS, UIDS)
    def test_sets(self, uids: list[int], others: list[int]) -> None:
        """Ranges of numbers of a set; what is left without it."""
        places, chosen = UIDMap.from_uids(UIDSet.from_numbers(uids)), UIDSet.from_numbers(others)
        numbers = [number for low, high in places.number_ranges(chosen) for number in range(low, high + 1)]
        self.assertEqual(numbers, [place + 1 for place, uid in enumerate(uids) if uid in others])
        left = places.without(chosen)
        self.assertEqual(
            [left.uid_at(place) for place in range(left.count)], [uid for uid in uids if uid not in others]
        )

    def test_large_without_gaps(self) -> None:
        """A mailbox of 100,000 is one run."""
        places = UIDMap.from_uids(UIDSet(((5, 100_004),)))
        self.assertEqual(list(places.ranges()), [(5, 100_004)])

    @given(UIDS, st.sets(st.integers(61, 90)).map(sorted))
    def test_new_ones(self, uids: list[int], new: list[int]) -> None:
        """They come behind the others, in another map."""
        before = UIDMap.from_uids(UIDSet.from_numbers(uids))
        after = before.extended(new)
        self.assertEqual([after.uid_at(place) for place in range(after.count)], [*uids, *new])
        self.assertEqual([before.uid_at(place) for place in range(before.count)], uids)

    def test_shared(self) -> None:
        """Those who see the same have one map while they see the same, and a change of one is none of another."""
        scattered = UIDSet.from_numbers(range(1, 4 * SHARED_RUNS, 2))
        first, second = (UIDMap.from_uids(scattered).shared() for _ in range(2))
        self.assertIs(first, second)
        for change in (lambda uids: uids.extended([1000, 1001]), lambda uids: uids.without(UIDSet(((3, 7),)))):
            ahead = change(first).shared()
            self.assertEqual(list(second.ranges()), list(scattered.ranges))
            self.assertIs(change(second).shared(), ahead)
        other = UIDMap.from_uids(scattered.difference(UIDSet(((5, 5),)))).shared()
        also = UIDMap.from_uids(scattered.difference(UIDSet(((7, 7),)))).shared()
        self.assertNotEqual(list(other.ranges()), list(also.ranges()))


class RunTests(SynchronousTestCase):
    """Runs of messages in the same state."""

    @given(UIDS, st.integers(1, 5))
    def test_numbered(self, uids: list[int], at_most: int) -> None:
        """Every message that the client knows of has its number, in pieces of so many; others are left out."""
        there = UIDSet.from_numbers([*uids, 70, 71])
        runs = [StateRun(low, high, low, FLAGS) for low, high in there.ranges]
        view = View(UIDSet.from_numbers(uids), 1, 1)
        pieces = list(view.numbered_runs(runs, at_most))
        self.assertTrue(all(run.high - run.low < at_most and run.flags == FLAGS for _, run in pieces))
        numbered = [(number + uid - run.low, uid) for number, run in pieces for uid in range(run.low, run.high + 1)]
        self.assertEqual(numbered, list(enumerate(uids, 1)))

    def test_printed(self) -> None:
        """One response each; what a client has enabled is among it."""
        run = StateRun(7, 8, 9, frozenset(("\\Seen", "50%")))
        self.assertEqual(
            responses.run_update(3, run, False, False, False, False),
            b"* 3 FETCH (FLAGS (\\Seen 50%))\r\n* 4 FETCH (FLAGS (\\Seen 50%))\r\n",
        )
        self.assertEqual(
            responses.run_update(3, run._replace(high=7), True, True, False, False),
            b"* 3 FETCH (UID 7 FLAGS (\\Seen 50% \\Recent))\r\n",
        )
        self.assertEqual(
            responses.run_update(3, run, False, False, True, True),
            b"* 3 FETCH (UID 7 MODSEQ (9))\r\n* 4 FETCH (UID 8 MODSEQ (9))\r\n",
        )


class ViewTests(SynchronousTestCase):
    """What the client is told when."""

    def setUp(self) -> None:
        self.view = View(UIDSet.from_numbers((1, 2, 3, 5, 9)), 10, 5)

    def test_numbers_to_uids(self) -> None:
        """Numbers outside are BAD for commands, left out of a search; `*` is the last one."""
        self.assertEqual(str(self.view.checked_uids(parse_sequence_set(b"2:3,*"))), "2:3,9")
        self.assertEqual(str(self.view.uids_of_numbers(parse_sequence_set(b"4:100"))), "5:9")
        self.assertEqual(str(self.view.uids_of_uids(parse_sequence_set(b"4:100"))), "4:9")
        self.assertEqual(str(self.view.uids_of_uids(parse_sequence_set(b"100:*"))), "9")
        for numbers in (b"6", b"1:6", b"6,*"):
            self.assertRaises(BadCommand, self.view.checked_uids, parse_sequence_set(numbers))

    def test_empty_mailbox(self) -> None:
        """`*` is no message there (RFC 3501 9, seq-number)."""
        view = View(EMPTY, 1, 1)
        self.assertRaises(BadCommand, view.checked_uids, parse_sequence_set(b"1:*"))
        self.assertEqual(view.uids_of_uids(parse_sequence_set(b"1:4294967295")), EMPTY)
        self.assertEqual((view.recent_count, view.recent_uids(), view.last_uid), (0, EMPTY, 0))

    def test_recent(self) -> None:
        """From the first recent UID on."""
        self.assertEqual((self.view.recent_count, str(self.view.recent_uids())), (2, "5:9"))

    def test_expunge_waits(self) -> None:
        """RFC 3501 7.4.1: numbers stay as they are while a FETCH is answered."""
        self.view.absorb(delta(11, vanished=UIDSet.from_numbers((2, 3, 9))))
        self.assertEqual(self.view.tell(expunges=False), b"")
        self.assertEqual(str(self.view.checked_uids(parse_sequence_set(b"5"))), "9")
        self.assertEqual(self.view.tell(expunges=True), b"* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXPUNGE\r\n")
        self.assertEqual(str(self.view.checked_uids(parse_sequence_set(b"1:*"))), "1:5")
        self.assertEqual(self.view.tell(expunges=True), b"")

    def test_new_and_changed(self) -> None:
        """Flags of what the client knows, then EXISTS for what is new."""
        self.view.absorb(delta(11, changed=(2, 12, 13)))
        self.assertEqual(
            self.view.tell(expunges=False, with_uid=True),
            b"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 7 EXISTS\r\n* 4 RECENT\r\n",
        )
        self.assertEqual(self.view.mod_seq, 11)

    def test_twice(self) -> None:
        """Hints come twice: the same news is not new."""
        for _ in range(2):
            self.view.absorb(delta(11, changed=(12,), vanished=UIDSet.from_numbers((1,))))
        self.assertEqual(self.view.tell(expunges=True), b"* 1 EXPUNGE\r\n* 5 EXISTS\r\n* 3 RECENT\r\n")
        self.view.absorb(delta(11, changed=(12,), vanished=UIDSet.from_numbers((1,))))
        self.assertNotIn(b"EXISTS", self.view.tell(expunges=True))

    def test_come_and_gone(self) -> None:
        """A message that was expunged before the client heard of it never was."""
        self.view.absorb(delta(11, changed=(12, 13)))
        self.view.absorb(delta(12, vanished=UIDSet.from_numbers((12,))))
        self.assertEqual(self.view.tell(expunges=True), b"* 6 EXISTS\r\n* 3 RECENT\r\n")

    def test_own_changes(self) -> None:
        """What STORE told (or kept silent on purpose) is not told again; a later change is."""
        self.view.mark_told([StateRun(2, 2, 11, FLAGS)])
        self.view.absorb(delta(11, changed=(2,)))
        self.assertFalse(self.view.has_news)
        self.view.absorb(delta(12, changed=(2,)))
        self.assertEqual(self.view.tell(expunges=False), b"* 2 FETCH (FLAGS (\\Seen))\r\n")

    def test_own_change_follows(self) -> None:
        """A change of one's own right after what the view knows moves it on; after anything else it does not."""
        own = (StateRun(2, 2, 11, FLAGS),)
        before = self.view.mod_seq
        self.view.mark_told(own, before + 1, before + 2)
        self.assertEqual(self.view.mod_seq, before)
        self.view.absorb(delta(before + 1, (2, 3)))
        self.view.mark_told((StateRun(2, 2, before + 2, FLAGS),), before + 1, before + 2)
        self.assertEqual((self.view.mod_seq, self.view.heard_mod_seq), (before + 2, before))
        self.assertEqual(self.view.tell(expunges=True), b"* 3 FETCH (FLAGS (\\Seen))\r\n")
        self.assertEqual(self.view.heard_mod_seq, before + 2)
