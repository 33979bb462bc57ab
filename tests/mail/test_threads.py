"""Threads: the algorithms of RFC 5256 on few messages, and what a hostile mailbox costs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.sorting import base_subject
from mailtraq_py.mail.threads import ThreadAlgorithm, ThreadedMessage, Threads, thread, thread_keys


def message(uid: int, subject: str = "", references: str = "", own: str = "", sent: int = 0) -> ThreadedMessage:
    """A message that is named after its UID and sent in the order of the UIDs."""
    return ThreadedMessage(uid, sent or uid, *base_subject(subject), *thread_keys(own or f"<{uid}>", "", references))


def threads(*messages: ThreadedMessage) -> list[tuple[int, int]]:
    """By references: levels and UIDs."""
    found = thread(messages, ThreadAlgorithm.REFERENCES)
    return list(zip(found.levels, found.uids, strict=True))


class OrderedSubjectTests(SynchronousTestCase):
    """Poor man's threading."""

    def test_groups(self) -> None:
        """By base subject; the first by date is the parent; threads by their first."""
        found = thread(
            [
                message(1, "lunch", sent=50),
                message(2, "dinner", sent=20),
                message(3, "re: lunch", sent=10),
                message(4, "fwd: lunch", sent=60),
            ],
            ThreadAlgorithm.ORDEREDSUBJECT,
        )
        self.assertEqual(found, Threads([0, 1, 1, 0], [3, 1, 4, 2], [2, 0, 0, 0]))


class ReferencesTests(SynchronousTestCase):
    """The six steps."""

    def test_replies(self) -> None:
        """A chain, a fork, a message of its own."""
        messages = [
            message(1), message(2, references="<1>"), message(3, references="<1> <2>"), message(4, references="<1>"),
            message(5),
        ]  # fmt: skip
        found = thread(messages, ThreadAlgorithm.REFERENCES)
        self.assertEqual(found, Threads([0, 1, 2, 1, 0], [1, 2, 3, 4, 5], [2, 1, 0, 0, 0]))
        self.assertEqual(thread([], ThreadAlgorithm.REFERENCES), Threads((), (), ()))

    def test_in_reply_to(self) -> None:
        """Its first identifier counts where there are no References."""
        reply = ThreadedMessage(2, 2, "", False, *thread_keys("<2>", "<1> <9>", ""))
        self.assertEqual(threads(message(1), reply), [(0, 1), (1, 2)])

    def test_missing_parent(self) -> None:
        """Siblings of a parent that is not here stay together; a single one stands for itself."""
        self.assertEqual(
            threads(message(3, references="<x>"), message(5, references="<x>")), [(0, 0), (1, 3), (1, 5)]
        )
        self.assertEqual(threads(message(3, references="<x>")), [(0, 3)])
        self.assertEqual(threads(message(1), message(3, references="<1> <x>")), [(0, 1), (1, 3)])

    def test_reply_comes_first(self) -> None:
        """A parent may come later in the mailbox, or have been sent later; quoting makes no difference."""
        self.assertEqual(
            threads(message(1, references='<"a"@b>', sent=9), message(2, own="<a@b>", sent=5)), [(0, 2), (1, 1)]
        )

    def test_truncated_references(self) -> None:
        """The last reference is the parent, whatever others said before."""
        self.assertEqual(
            threads(message(1), message(2), message(3, references="<1> <4>"), message(4, references="<2>")),
            [(0, 1), (0, 2), (1, 4), (2, 3)],
        )

    def test_loops(self) -> None:
        """Messages that claim to answer each other, or themselves."""
        self.assertEqual(threads(message(1, references="<2>"), message(2, references="<1>")), [(0, 2), (1, 1)])
        self.assertEqual(threads(message(1, references="<1>")), [(0, 1)])
        self.assertEqual(threads(message(1, references="<a> <b> <a> <b>")), [(0, 1)])

    def test_same_identifier(self) -> None:
        """The first keeps it."""
        self.assertEqual(
            threads(message(1), message(2, own="<1>"), message(3, references="<1>")), [(0, 1), (1, 3), (0, 2)]
        )

    def test_subjects(self) -> None:
        """Replies without References join by subject; two of a kind get a parent that is not there."""
        self.assertEqual(threads(message(1, "lunch"), message(2, "re: lunch")), [(0, 1), (1, 2)])
        self.assertEqual(threads(message(1, "re: lunch"), message(2, "lunch")), [(0, 2), (1, 1)])
        self.assertEqual(threads(message(1, "lunch"), message(2, "lunch")), [(0, 0), (1, 1), (1, 2)])
        self.assertEqual(
            threads(message(1, "lunch"), message(2, "lunch"), message(3, "lunch")), [(0, 0), (1, 1), (1, 2), (1, 3)]
        )
        self.assertEqual(
            threads(message(1, "a", "<x>"), message(2, "b", "<x>"), message(3, "a", "<y>"), message(4, "c", "<y>")),
            [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4)],
        )
        self.assertEqual(threads(message(1), message(2)), [(0, 1), (0, 2)])

    def test_deep_and_wide(self) -> None:
        """A thread as deep as the mailbox is long, one as wide, and links that are broken again, in a moment."""
        count = 20_000
        deep = threads(*[message(n, references=f"<{n - 1}>") for n in range(1, count)])
        self.assertEqual(deep[-1], (count - 2, count - 1))
        backwards = [message(n, references=f"<{n + 1}>") for n in range(1, count)]
        self.assertEqual(len([uid for _, uid in threads(*backwards) if uid]), count - 1)
        wide = [message(n, references=f"<x> <{n + 1}>") for n in range(1, count)]
        self.assertEqual(len([uid for _, uid in threads(*wide) if uid]), count - 1)
