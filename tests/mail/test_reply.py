"""Tests of SMTP replies as values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.mail.reply import Reply, parse_reply


class ReplyTests(SynchronousTestCase):
    """Printing, reading, asking."""

    def test_one_line(self) -> None:
        """Code, enhanced code, text."""
        self.assertEqual(b"550 5.7.1 no\r\n", Reply(550, "no", "5.7.1").octets())
        self.assertEqual(b"250 ok\r\n", Reply(250, "ok").octets())

    def test_lines(self) -> None:
        """The enhanced code stands on each line (RFC 2034 4)."""
        self.assertEqual(b"550-5.7.1 one\r\n550 5.7.1 two\r\n", Reply(550, "one\ntwo", "5.7.1").octets())

    def test_parse(self) -> None:
        """What is printed reads back."""
        for reply in (Reply(550, "no", "5.7.1"), Reply(250, "ok"), Reply(421, "")):
            self.assertEqual(reply, parse_reply(str(reply)))
        for text in ("", "55", "650 x", "550x", "5500 x"):
            self.assertRaises(ValueError, parse_reply, text)

    def test_kinds(self) -> None:
        """Positive, temporary, permanent."""
        for code, kind in ((250, "positive"), (354, "positive"), (451, "temporary"), (550, "permanent")):
            reply = Reply(code, "x")
            self.assertEqual(
                (kind == "positive", kind == "temporary", kind == "permanent"),
                (reply.is_positive, reply.is_temporary, reply.is_permanent),
            )
