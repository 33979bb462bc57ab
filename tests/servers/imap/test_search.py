"""SEARCH and its kin over the real store."""

from __future__ import annotations

from .house import MESSAGE, ask, send
from .test_session import SessionCase


class ExtendedSearchTests(SessionCase):
    """RFC 4731, RFC 8438."""

    def setUp(self) -> None:
        super().setUp()
        self.house.deliver(*[MESSAGE] * 6)
        self.play = self.house.log_in("INBOX")
        ask(self.play, "STORE 2 +FLAGS.SILENT (\\Deleted)")
        ask(self.play, "EXPUNGE")
        ask(self.play, "STORE 1:2,4 +FLAGS.SILENT (\\Flagged)")

    def found(self, arguments: str) -> str:
        """The one untagged line."""
        return ask(self.play, arguments)[-2]

    def test_options(self) -> None:
        """Each of them, in numbers and in UIDs."""
        for arguments, expected in (
            ("SEARCH RETURN (MIN COUNT) FLAGGED", "MIN 1 COUNT 3"),
            ("SEARCH RETURN () FLAGGED", "ALL 1:2,4"),
            ("SEARCH return (max) FLAGGED", "MAX 4"),
            ("UID SEARCH RETURN (MIN MAX) 1:2", "UID MIN 1 MAX 3"),
            ("UID SEARCH RETURN (ALL) CHARSET UTF-8 ALL", "UID ALL 1,3:6"),
            ("SEARCH RETURN (ALL) ALL", "ALL 1:5"),
            ("SEARCH RETURN (COUNT) DELETED", "COUNT 0"),
        ):
            self.assertEqual(self.found(arguments), f'* ESEARCH (TAG "t") {expected}', arguments)
        self.assertEqual(self.found("SEARCH RETURN (MIN MAX ALL) DELETED"), '* ESEARCH (TAG "t")')
        self.assertEqual(self.found("UID SEARCH RETURN () DELETED"), '* ESEARCH (TAG "t") UID')

    def test_with_mod_seq(self) -> None:
        """Of the messages named where only MIN and MAX are asked for (RFC 4731 3.2)."""
        self.found("SEARCH MODSEQ 1")
        mod_seqs = [int(line.split("(")[-1].rstrip(")")) for line in ask(self.play, "FETCH 1:* MODSEQ")[:-1]]
        top = max(mod_seqs)
        self.assertTrue(self.found("SEARCH RETURN (MAX) MODSEQ 1").endswith(f"MAX 5 MODSEQ {mod_seqs[4]}"))
        self.assertTrue(self.found("SEARCH RETURN (MIN MAX) MODSEQ 1").endswith(f"MODSEQ {top}"))
        self.assertTrue(self.found("SEARCH RETURN (COUNT) MODSEQ 1").endswith(f"COUNT 5 MODSEQ {top}"))
        self.assertTrue(self.found(f"SEARCH RETURN (COUNT) MODSEQ {top + 9}").endswith("COUNT 0"))

    def test_bad(self) -> None:
        """Options that are none."""
        for arguments in ("RETURN (SAVE) ALL", "RETURN (MIN", "RETURN MIN ALL", "RETURN (MIN)", "RETURN ((MIN)) ALL"):
            self.assertRegex(send(self.play, f"SEARCH {arguments}")[-1], r"\At BAD ", arguments)

    def test_status_size(self) -> None:
        """RFC 8438: the sum of RFC822.SIZE."""
        self.assertEqual(
            self.found("STATUS INBOX (SIZE MESSAGES)"), f'* STATUS "INBOX" (SIZE {5 * len(MESSAGE)} MESSAGES 5)'
        )


def message(sender: str, subject: str, day: int, more: str = "") -> bytes:
    """A message of one day in May 1996."""
    return (
        f"From: {sender}\r\nTo: {sender}\r\nSubject: {subject}\r\nDate: {day} May 1996 10:00:00 +0000\r\n"
        f"{more}\r\n{'x' * day}\r\n"
    ).encode()


class SortTests(SessionCase):
    """RFC 5256: SORT and THREAD."""

    def setUp(self) -> None:
        super().setUp()
        self.house.deliver(
            message('"Zoe" <adam@example.test>', "lunch", 9, "Message-ID: <1@x>\r\n"),
            message("bert@example.test", "Re: Apples", 3, "Message-ID: <2@x>\r\nReferences: <1@x>\r\n"),
            message('"A" <"carl"@example.test>', "=?utf-8?q?=C3=84pples?=", 5, "References: <1@x> <2@x>\r\n"),
            message("Adam@elsewhere.test", "Re: lunch", 4),
            b"Subject: apples\r\n\r\nno date\r\n",
        )
        self.play = self.house.log_in("INBOX")

    def test_keys(self) -> None:
        """Each key, reversed, and one after the other; what is equal stays in the order of the mailbox."""
        for criteria, expected in (
            ("DATE", "5 2 4 3 1"), ("REVERSE DATE", "1 3 4 2 5"), ("ARRIVAL", "1 2 3 4 5"),
            ("REVERSE ARRIVAL", "1 2 3 4 5"), ("SIZE", "5 4 1 2 3"), ("SUBJECT", "2 5 1 4 3"),
            ("REVERSE SUBJECT", "3 1 4 2 5"), ("FROM", "5 1 4 2 3"), ("TO FROM", "5 1 4 2 3"),
            ("FROM REVERSE DATE", "5 1 4 2 3"), ("REVERSE FROM DATE", "3 2 4 1 5"),
            ("CC SUBJECT REVERSE SIZE", "2 5 1 4 3"),
        ):  # fmt: skip
            self.assertEqual(ask(self.play, f"SORT ({criteria}) UTF-8 ALL")[0], f"* SORT {expected}", criteria)

    def test_some(self) -> None:
        """Of the messages that match; none; by UID; with MODSEQ (RFC 7162 3.1.9)."""
        ask(self.play, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        ask(self.play, "EXPUNGE")
        self.assertEqual(ask(self.play, "SORT (DATE) us-ascii SUBJECT apples")[0], "* SORT 4 1")
        self.assertEqual(ask(self.play, "UID SORT (DATE) UTF-8 SUBJECT apples")[0], "* SORT 5 2")
        self.assertEqual(ask(self.play, 'SORT (SUBJECT) US-ASCII TEXT "not in mailbox"')[0], "* SORT")
        self.assertRegex(ask(self.play, "SORT (SIZE) UTF-8 MODSEQ 1")[1], r"\A\* SORT 4 3 1 2 \(MODSEQ \d+\)\Z")

    def test_threads(self) -> None:
        """Both ways, in numbers and in UIDs."""
        self.assertEqual(ask(self.play, "THREAD REFERENCES UTF-8 ALL")[0], "* THREAD (5)(1 (2 3)(4))")
        self.assertEqual(ask(self.play, "THREAD ORDEREDSUBJECT UTF-8 ALL")[0], "* THREAD (5 2)(4 1)(3)")
        ask(self.play, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        ask(self.play, "EXPUNGE")
        self.assertEqual(ask(self.play, "UID THREAD REFERENCES UTF-8 NOT UID 5")[0], "* THREAD (2 3)(4)")
        self.assertEqual(ask(self.play, "THREAD REFERENCES US-ASCII TEXT gewp")[0], "* THREAD")

    def test_news(self) -> None:
        """What came since is neither found nor told by number too early."""
        self.house.deliver(message("x@y.test", "lunch", 1))
        self.assertEqual(ask(self.play, "SORT (DATE) UTF-8 ALL")[:2], ["* SORT 5 2 4 3 1", "* 6 EXISTS"])
        self.assertEqual(ask(self.play, "THREAD ORDEREDSUBJECT UTF-8 SUBJECT lunch")[0], "* THREAD (6 (4)(1))")

    def test_bad(self) -> None:
        """A charset comes first; criteria and algorithms are those of the RFC."""
        for command in (
            "SORT (DATE) ALL", "SORT DATE UTF-8 ALL", "SORT () UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL",
            "SORT (REVERSE REVERSE DATE) UTF-8 ALL", "SORT (DATE" + " DATE" * 20 + ") UTF-8 ALL", "SORT (DATE) UTF-8",
        ):  # fmt: skip
            self.assertRegex(send(self.play, command)[-1], r"\At (BAD|NO \[BADCHARSET)", command)
        ask(self.play, "NOOP")
        for command in ("THREAD REFS UTF-8 ALL", "THREAD REFERENCES UTF-8", "THREAD REFERENCES", "THREAD UTF-8 ALL"):
            self.assertRegex(send(self.play, command)[-1], r"\At (BAD|NO)", command)
        self.assertIn("BADCHARSET", send(self.play, "THREAD REFERENCES KOI8-R ALL")[-1])
