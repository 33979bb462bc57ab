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
