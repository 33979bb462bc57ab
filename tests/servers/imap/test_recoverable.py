"""The mailbox of deleted messages, as a mail program sees it."""

from __future__ import annotations

from mailtraq_py.store.deleted import DeletedSettings

from .house import MESSAGE, ask, heard, send
from .test_session import SessionCase

NAME = "Recoverable"


class RecoverableTests(SessionCase):
    """RFC 3501 6.3, 6.4; RFC 6851."""

    def setUp(self) -> None:
        """A store that keeps what is deleted; two messages that were."""
        super().setUp()
        self.house.store.deleted.settings = DeletedSettings(keep_seconds=86400.0, mailbox=NAME)
        self.house.deliver(MESSAGE, MESSAGE.replace(b"lunch", b"supper"), MESSAGE)
        play = self.house.log_in("INBOX")
        ask(play, "STORE 1:2 +FLAGS.SILENT (\\Flagged \\Deleted)")
        ask(play, "EXPUNGE")

    def test_listed(self) -> None:
        """With LIST, not with LSUB; nothing can be beneath it."""
        play = self.house.log_in()
        line = f'* LIST (\\HasNoChildren \\Noinferiors) "/" "{NAME}"'
        self.assertEqual(ask(play, f'LIST "" {NAME}'), [line, "OK listed"])
        self.assertIn(line, ask(play, 'LIST "" *'))
        self.assertNotIn(NAME, "".join(ask(play, 'LSUB "" *')))
        self.assertEqual(
            ask(play, f"STATUS {NAME} (MESSAGES UIDNEXT)")[0], f'* STATUS "{NAME}" (MESSAGES 2 UIDNEXT 3)'
        )

    def test_looked_at(self) -> None:
        """SELECT says that it is read-only; FETCH, SEARCH and SORT work, and nothing becomes \\Seen."""
        play = self.house.log_in()
        lines = ask(play, f"SELECT {NAME}")
        self.assertEqual(lines[1:3], ["* 2 EXISTS", "* 0 RECENT"])
        self.assertIn("PERMANENTFLAGS ()", "".join(lines))
        self.assertEqual(lines[-1], "OK [READ-ONLY] selected")
        self.assertIn("Subject: supper", "".join(ask(play, "FETCH 2 BODY[HEADER.FIELDS (SUBJECT)]")))
        self.assertEqual(ask(play, "FETCH 2 FLAGS")[0], "* 2 FETCH (FLAGS (\\Flagged))")
        self.assertEqual(ask(play, "UID SEARCH SUBJECT supper")[0], "* SEARCH 2")
        self.assertEqual(ask(play, "UID SORT (REVERSE SUBJECT) UTF-8 ALL")[0], "* SORT 2 1")

    def test_refused(self) -> None:
        """What would change it is refused for good, and CLOSE takes nothing."""
        play = self.house.log_in(NAME)
        for command in (
            "STORE 1 +FLAGS (\\Seen)",
            "EXPUNGE",
            "UID EXPUNGE 1",
            f"CREATE {NAME}/inner",
            f"DELETE {NAME}",
            f"RENAME {NAME} Other",
            f"RENAME Drafts {NAME}",
            f"COPY 1 {NAME}",
        ):
            self.assertRegex(send(play, command)[-1], r"t NO \[CANNOT\]", command)
        self.assertRegex(send(play, f"APPEND {NAME} {{3+}}\r\na: ")[-1], r"t NO \[CANNOT\]")
        ask(play, "CLOSE")
        self.assertIn("MESSAGES 2", ask(play, f"STATUS {NAME} (MESSAGES)")[0])

    def test_undeleted(self) -> None:
        """COPY brings back a copy; MOVE the message itself, unless it was only examined."""
        play = self.house.log_in(NAME)
        self.assertRegex(ask(play, "UID COPY 1 INBOX")[-1], r"OK \[COPYUID \d+ 1 4\]")
        self.assertRegex("\n".join(ask(play, "MOVE 2 Archive")), r"COPYUID \d+ 2 1\].*\n\* 2 EXPUNGE\nOK")
        self.assertEqual(send(self.house.log_in(NAME, read_only=True), "MOVE 1 INBOX")[-1][:4], "t NO")
        play = self.house.log_in("Archive")
        self.assertEqual(ask(play, "FETCH 1 FLAGS")[0], "* 1 FETCH (FLAGS (\\Flagged \\Recent))")

    def test_while_it_is_looked_at(self) -> None:
        """What is deleted meanwhile appears."""
        play = self.house.log_in(NAME)
        other = self.house.log_in("INBOX")
        ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        ask(other, "CLOSE")
        self.assertIn("* 3 EXISTS", ask(play, "NOOP"))

    def test_idle(self) -> None:
        """At once, in IDLE."""
        play = self.house.log_in(NAME)
        play << b"t IDLE\r\n"
        heard(play)
        other = self.house.log_in("INBOX")
        ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        ask(other, "EXPUNGE")
        self.assertIn("* 3 EXISTS", "".join(heard(play)))
