"""
Whose turn it is, among what waits for the writer.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.store.backlog import Backlog


@dataclass(frozen=True)
class Item:
    """What waits, in a test."""

    queue: str
    number: int
    octets: int = 1


class BacklogTests(SynchronousTestCase):
    """Turns, counted in operations."""

    def setUp(self) -> None:
        """A backlog with a thousand of one kind."""
        self.backlog: Backlog[Item] = Backlog()
        for number in range(1000):
            self.backlog.add(Item("accept", number))

    def take(self, most: int, octets: int = 1 << 30) -> list[tuple[str, int]]:
        """Take some; which."""
        return [(item.queue, item.number) for item in self.backlog.take(most, octets)]

    def test_nobody_waits_for_a_thousand(self) -> None:
        """Who comes last with something else is second, however many of one kind wait."""
        self.backlog.add(Item("store_flags", 0))
        self.backlog.add(Item("copy_messages", 0))
        self.assertEqual(self.take(4), [("accept", 0), ("store_flags", 0), ("copy_messages", 0), ("accept", 1)])
        self.assertEqual(len(self.backlog), 998)

    def test_turns_go_on_where_they_ended(self) -> None:
        """A batch that ends in the middle of a round is followed by the rest of the round."""
        for number in range(2):
            self.backlog.add(Item("a", number))
            self.backlog.add(Item("b", number))
        self.assertEqual(self.take(2), [("accept", 0), ("a", 0)])
        self.assertEqual(self.take(3), [("b", 0), ("accept", 1), ("a", 1)])

    def test_what_was_not_begun_comes_first(self) -> None:
        """What is put back is taken first, in the order it had."""
        self.backlog.add(Item("b", 0))
        taken = self.backlog.take(4, 1 << 30)
        self.backlog.put_back(taken[1:])
        self.assertEqual(len(self.backlog), 1000)
        self.assertEqual(self.take(4), [("b", 0), ("accept", 1), ("accept", 2), ("accept", 3)])

    def test_a_batch_holds_so_many_octets(self) -> None:
        """A batch ends with the operation that brings it to its octets, and has one in any case."""
        self.assertEqual(len(self.take(500, 10)), 10)
        self.backlog.add(Item("large", 0, 1 << 40))
        self.take(1)
        self.assertEqual(self.take(500), [("large", 0)])

    def test_some_of_one_kind(self) -> None:
        """What may share a transaction comes together, as much as its kind allows; then it is the next kind's turn."""
        self.backlog.add(Item("b", 0))
        self.backlog.add(Item("b", 1))
        taken = [self.backlog.take_alike(lambda key: 3 if key == "accept" else 1, 1 << 30) for _ in range(4)]
        kinds = [[(item.queue, item.number) for item in some] for some in taken]
        first, second = ([("accept", place + number) for number in range(3)] for place in (0, 3))
        self.assertEqual(kinds, [first, [("b", 0)], second, [("b", 1)]])
        self.assertEqual(len(self.backlog), 994)
        self.assertEqual(len(self.backlog.take_alike(lambda _: 9, 2)), 2)

    def test_what_nobody_wants_is_forgotten(self) -> None:
        """A queue without its last operation has no turn any more."""
        self.backlog.add(Item("b", 0))
        self.backlog.withdraw(lambda item: item.queue == "b" or item.number > 1)
        self.assertEqual(self.take(10), [("accept", 0), ("accept", 1)])
        self.assertEqual(len(self.backlog), 0)
