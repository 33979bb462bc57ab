"""Commands about mailboxes and messages, over the real store."""

from __future__ import annotations

import re

from mailtraq_py.interfaces.failures import OverQuota, TemporaryFailure
from mailtraq_py.store.immediate import run_now

from .house import MESSAGE, ask, heard, send
from .test_session import SessionCase

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 40_000


class MailboxTests(SessionCase):
    """RFC 3501 6.3."""

    def test_select(self) -> None:
        """All that RFC 3501 6.3.1 wants."""
        self.house.deliver(MESSAGE, MESSAGE)
        play = self.house.log_in("INBOX")
        ask(play, "STORE 1 FLAGS.SILENT (\\Seen)")
        lines = ask(play, "SELECT INBOX")
        self.assertEqual(lines[0], "* OK [CLOSED] closed")
        self.assertIn("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft ", lines[1])
        self.assertEqual(lines[2:5], ["* 2 EXISTS", "* 0 RECENT", "* OK [UNSEEN 2] first unseen"])
        self.assertRegex("\n".join(lines[5:]), r"UIDVALIDITY \d+.*\n.*UIDNEXT 3.*\n.*PERMANENTFLAGS \(.*\\\*\)")
        self.assertEqual(lines[-1], "OK [READ-WRITE] selected")

    def test_examine(self) -> None:
        """Nothing changes: not \\Recent, not \\Seen, no STORE, EXPUNGE or MOVE."""
        self.house.deliver(MESSAGE)
        play = self.house.log_in("INBOX", read_only=True)
        for command in ("STORE 1 FLAGS ()", "EXPUNGE", "MOVE 1 Trash"):
            self.assertRegex(send(play, command)[-1], "t NO .*read-only")
        ask(play, "FETCH 1 BODY[]")
        self.assertEqual(ask(play, "FETCH 1 FLAGS")[0], "* 1 FETCH (FLAGS (\\Recent))")
        self.assertEqual(ask(play, "CLOSE"), ["OK closed"])
        self.assertEqual(ask(self.house.log_in(), "SELECT INBOX")[2], "* 1 RECENT")

    def test_gaps(self) -> None:
        """What was expunged before leaves no numbers, and a tombstone that is lost loses no message."""
        self.house.deliver(*[MESSAGE] * 6)
        play = self.house.log_in("INBOX")
        for uids in ("3", "1", "4,6"):
            ask(play, f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)")
            ask(play, "EXPUNGE")
        found = ["* SEARCH 2 5", "OK found"]
        self.assertEqual(ask(self.house.log_in("INBOX"), "UID SEARCH ALL"), found)
        self.house.store.database._connections.writer.execute("DELETE FROM vanished")
        self.assertEqual(ask(self.house.log_in("INBOX"), "UID SEARCH ALL"), found)

    def test_failed_select(self) -> None:
        """Nothing is selected afterwards (RFC 3501 6.3.1)."""
        play = self.house.log_in("INBOX")
        self.assertEqual(
            send(play, "SELECT nowhere"), ["* OK [CLOSED] closed", "t NO [NONEXISTENT] no such mailbox"]
        )
        self.assertEqual(send(play, "FETCH 1 FLAGS"), ["t BAD not allowed while authenticated"])

    def test_create_rename_delete(self) -> None:
        """RFC 3501 6.3.3 to 6.3.5."""
        play = self.house.log_in()
        ask(play, "CREATE owatagusiam/")
        ask(play, "CREATE owatagusiam/blurdybloop")
        self.assertIn("ALREADYEXISTS", send(play, "CREATE owatagusiam/blurdybloop")[-1])
        self.assertRegex(send(play, "CREATE inbox")[-1], r"\At NO ")
        ask(play, "RENAME owatagusiam zap")
        self.assertIn("NONEXISTENT", send(play, "DELETE owatagusiam")[-1])
        ask(play, "DELETE zap")
        self.assertEqual(
            ask(play, 'LIST "" "zap*"')[:-1],
            ['* LIST (\\HasChildren \\Noselect) "/" "zap"', '* LIST (\\HasNoChildren) "/" "zap/blurdybloop"'],
        )
        self.assertRegex(send(play, "DELETE INBOX")[-1], r"\At NO ")

    def test_special_use(self) -> None:
        """RFC 6154: attributes, the selection option, CREATE with a use."""
        play = self.house.log_in()
        self.assertIn('* LIST (\\HasNoChildren \\Sent) "/" "Sent"', ask(play, 'LIST "" *'))
        self.assertNotIn("INBOX", "".join(ask(play, 'LIST (SPECIAL-USE) "" *')))
        self.assertRegex(send(play, "CREATE x (USE (\\Flagged))")[-1], r"\At NO \[USEATTR\]")

    def test_subscriptions(self) -> None:
        """RFC 3501 6.3.6, 6.3.7, 6.3.9: a level that is only named by inferiors shows with `%`."""
        play = self.house.log_in()
        ask(play, "CREATE foo/bar")
        ask(play, "SUBSCRIBE foo/bar")
        self.assertEqual(ask(play, 'LSUB "" f%')[0], '* LSUB (\\Noselect) "/" "foo"')
        self.assertIn('* LSUB () "/" "foo/bar"', ask(play, 'LSUB "" *'))
        ask(play, "UNSUBSCRIBE foo/bar")
        self.assertEqual(ask(play, 'LSUB "" foo*'), ["OK listed"])

    def test_list_separator_and_names(self) -> None:
        """The empty pattern; a name in modified UTF-7; NAMESPACE."""
        play = self.house.log_in()
        self.assertEqual(ask(play, 'LIST "" ""')[0], '* LIST (\\Noselect) "/" ""')
        ask(play, "CREATE &U,BTFw-")
        self.assertIn('* LIST (\\HasNoChildren) "/" "&U,BTFw-"', ask(play, 'LIST "" *'))
        self.assertEqual(ask(play, "NAMESPACE")[0], '* NAMESPACE (("" "/")) NIL NIL')
        self.assertEqual(ask(play, "ENABLE X-NOTHING")[0], "* ENABLED")

    def test_status(self) -> None:
        """RFC 3501 6.3.10; without claiming what is recent."""
        self.house.deliver(MESSAGE)
        play = self.house.log_in()
        for _ in range(2):
            self.assertEqual(
                ask(play, "STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN)")[0],
                '* STATUS "INBOX" (MESSAGES 1 RECENT 1 UIDNEXT 2 UNSEEN 1)',
            )
        self.assertIn("NONEXISTENT", send(play, "STATUS nowhere (MESSAGES)")[-1])


class AppendTests(SessionCase):
    """RFC 3501 6.3.11."""

    def test_append(self) -> None:
        """Flags, date and octets are kept; APPENDUID says where; a selected mailbox hears of it."""
        play = self.house.log_in("INBOX")
        lines = ask(
            play, b'APPEND INBOX (\\Seen $x) "17-Jul-1996 02:44:25 -0700" {%d+}\r\n%b' % (len(MESSAGE), MESSAGE)
        )
        self.assertEqual(lines[:2], ["* 1 EXISTS", "* 1 RECENT"])
        self.assertRegex(lines[2], r"OK \[APPENDUID \d+ 1\]")
        self.assertEqual(
            ask(play, "FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)")[0],
            '* 1 FETCH (FLAGS (\\Seen $x \\Recent) INTERNALDATE "17-Jul-1996 09:44:25 +0000" '
            f"RFC822.SIZE {len(MESSAGE)})",
        )
        self.assertEqual(
            "\r\n".join(ask(play, "FETCH 1 BODY.PEEK[]")[:-1]),
            f"* 1 FETCH (BODY[] {{{len(MESSAGE)}}}\r\n{MESSAGE.decode()})",
        )

    def test_synchronising(self) -> None:
        """The client waits for the word."""
        play = self.house.log_in()
        play << b"t APPEND INBOX {3}\r\n" >> "+ go ahead"
        play << b"abc\r\n" >> "t OK [APPENDUID"

    def test_no_mailbox(self) -> None:
        """TRYCREATE: for a large one before it is sent."""
        play = self.house.log_in()
        self.assertEqual(send(play, "APPEND nowhere {3+}\r\nabc"), ["t NO [TRYCREATE] no such mailbox"])
        self.assertEqual(send(play, "APPEND nowhere {100000}"), ["t NO [TRYCREATE] no such mailbox"])
        self.assertEqual(send(play, "APPEND INBOX {0+}\r\n"), ["t NO [CANNOT] an empty message is none"])
        self.assertEqual(send(play, "APPEND INBOX {3+}\r\nabc x")[0][:5], "t BAD")
        ask(play, "NOOP")
        self.assertIsNone(play.session.appending)

    def test_large(self) -> None:
        """A large one is described off the reactor thread and comes back as it was, in pieces."""
        play = self.house.log_in("INBOX")
        play << b"t APPEND INBOX {%d+}\r\n" % len(LARGE)
        for start in range(0, len(LARGE), 30_000):
            play << LARGE[start : start + 30_000]
        play << b"\r\n"
        self.assertIn("t OK", heard(play)[-1])
        self.assertEqual(len(self.house.threads), 1)
        for item, octets in (("BODY[]", LARGE), ("BODY[TEXT]", LARGE[18:]), ("BODY[]<100.500000>", LARGE[100:500_100])):
            label = item.partition("<")[0] + ("<100>" if "<" in item else "")
            lines = ask(play, f"FETCH 1 {item.replace('BODY', 'BODY.PEEK')}")
            self.assertEqual(
                "\r\n".join(lines[:-1]), f"* 1 FETCH ({label} {{{len(octets)}}}\r\n{octets.decode()})", item
            )

    def test_several(self) -> None:
        """RFC 3502: all messages of one command appear in one instant, each with its flags and date."""
        play = self.house.log_in("INBOX")
        lines = ask(
            play, b'APPEND INBOX (\\Seen) {3+}\r\nabc (\\Flagged) " 7-Feb-1994 22:43:04 -0800" {4+}\r\ndefg {1+}\r\nh'
        )
        self.assertEqual(lines[0], "* 3 EXISTS")
        self.assertRegex(lines[-1], r"OK \[APPENDUID \d+ 1:3\]")
        self.assertEqual(
            ask(play, "FETCH 1:3 (FLAGS RFC822.SIZE)")[:-1],
            [
                "* 1 FETCH (FLAGS (\\Seen \\Recent) RFC822.SIZE 3)",
                "* 2 FETCH (FLAGS (\\Flagged \\Recent) RFC822.SIZE 4)",
                "* 3 FETCH (FLAGS (\\Recent) RFC822.SIZE 1)",
            ],
        )
        self.assertIn("08-Feb-1994 06:43:04 +0000", ask(play, "FETCH 2 INTERNALDATE")[0].replace("\" ", "\"0"))

    def test_several_or_none(self) -> None:
        """An empty message cancels all, and so do a broken one and one too many (RFC 3502)."""
        play = self.house.log_in("INBOX")
        self.assertEqual(send(play, "APPEND INBOX {3+}\r\nabc {0+}\r\n"), ["t NO [CANNOT] an empty message is none"])
        self.assertRegex(send(play, "APPEND INBOX {3+}\r\nabc (\\Nothing) {1+}\r\nx")[0], r"\At BAD ")
        self.assertRegex(send(play, "APPEND INBOX {3+}\r\nabc {1+}\r\nx {x+}")[0], r"\At BAD ")
        self.assertEqual(
            send(play, "APPEND INBOX" + " {1+}\r\nx" * 1001), ["t NO [LIMIT] too many messages at once"]
        )
        self.assertEqual(send(play, "APPEND nowhere {1+}\r\nx {1+}\r\ny"), ["t NO [TRYCREATE] no such mailbox"])
        self.assertEqual(ask(play, "NOOP"), ["OK done"])
        self.assertIsNone(play.session.appending)

    def test_several_synchronising(self) -> None:
        """Each message waits for its word; large ones are on disk; too large together is refused before the last."""
        play = self.house.log_in("INBOX")
        play << b"t APPEND INBOX {%d}\r\n" % len(LARGE) >> "+ go ahead"
        play << LARGE + b" {3}\r\n" >> "+ go ahead"
        play << b"abc {%d}\r\n" % (50 * 1024 * 1024 - 10) >> "t NO [TOOBIG]"
        play << b"t APPEND INBOX {%d}\r\n" % len(LARGE) >> "+ go ahead"
        play << LARGE + b" {%d}\r\n" % len(LARGE) >> "+ go ahead"
        play << LARGE + b"\r\n"
        self.assertIn("t OK [APPENDUID", heard(play)[-1])

    def test_failures(self) -> None:
        """Quota and disk: NO, with the code that says which."""
        play = self.house.log_in()
        for failure, code in ((OverQuota(), "OVERQUOTA"), (TemporaryFailure("disk"), "UNAVAILABLE")):

            async def append(name: str, messages: object, failure: Exception = failure) -> None:
                raise failure

            play.session.own_mailboxes = type("Full", (), {"append": staticmethod(append)})()
            self.assertIn(f"t NO [{code}]", send(play, "APPEND INBOX {3+}\r\nabc")[0])


class MessageTests(SessionCase):
    """RFC 3501 6.4."""

    def setUp(self) -> None:
        super().setUp()
        self.house.deliver(MESSAGE, MESSAGE, MESSAGE)
        self.play = self.house.log_in("INBOX")

    def test_sections(self) -> None:
        """Header, fields, text, part one, NIL for what is not there."""
        header, _, body = MESSAGE.decode().partition("\r\n\r\n")
        for item, octets in (
            ("BODY[HEADER]", header + "\r\n\r\n"),
            ("BODY[HEADER.FIELDS (Subject From)]", "From: Fred <fred@example.test>\r\nSubject: lunch\r\n\r\n"),
            ("BODY[HEADER.FIELDS (x-other)]", "X-Other: y\r\n\r\n"),
            ("BODY[HEADER.FIELDS.NOT (From To Subject Date)]", "X-Other: y\r\n\r\n"),
            ("BODY[TEXT]", body),
            ("BODY[1]", body),
            ("RFC822.HEADER", header + "\r\n\r\n"),
            ("RFC822.TEXT", body),
        ):
            lines = ask(self.play, f"FETCH 2 {item.replace('BODY', 'BODY.PEEK')}")
            answer = "\r\n".join(lines[:-1]).removesuffix(" FLAGS (\\Seen \\Recent))").removesuffix(")")
            self.assertEqual(answer, f"* 2 FETCH ({item} {{{len(octets)}}}\r\n{octets}")
        self.assertEqual(ask(self.play, "FETCH 1 BODY.PEEK[2]")[0], "* 1 FETCH (BODY[2] NIL)")
        self.assertEqual(ask(self.play, "FETCH 1 BODY.PEEK[TEXT]<6.3>")[:2], ["* 1 FETCH (BODY[TEXT]<6> {3}", "Joe)"])

    def test_listing(self) -> None:
        """A client's list of headers: from what is kept, and read where nothing is."""
        command = "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER.FIELDS (DATE)])"
        subject, date = "Subject: lunch\r\n\r\n", "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\n"
        expected = [
            f"* {number} FETCH (UID {number} BODY[HEADER.FIELDS (SUBJECT)] {{{len(subject)}}}\r\n{subject} "
            f"BODY[HEADER.FIELDS (DATE)] {{{len(date)}}}\r\n{date})"
            for number in (1, 2, 3)
        ]
        self.assertEqual("\r\n".join(ask(self.play, command)[:-1]), "\r\n".join(expected))
        self.house.deliver(b"X-Only: this\r\n\r\nbody\r\n")
        ask(self.play, "NOOP")
        expected.append(
            "* 4 FETCH (UID 4 BODY[HEADER.FIELDS (SUBJECT)] {2}\r\n\r\n BODY[HEADER.FIELDS (DATE)] {2}\r\n\r\n)"
        )
        self.assertEqual("\r\n".join(ask(self.play, command)[:-1]), "\r\n".join(expected))

    def test_seen(self) -> None:
        """BODY[] sets \\Seen and says so, once; PEEK does not."""
        ask(self.play, "FETCH 1 BODY.PEEK[]")
        self.assertRegex(ask(self.play, "FETCH 1:2 BODY[TEXT]<0.1>")[1], r"FLAGS \(\\Seen \\Recent\)")
        self.assertNotIn("FLAGS", "".join(ask(self.play, "FETCH 1:2 BODY[TEXT]<0.1>")))
        self.assertEqual(ask(self.play, "SEARCH SEEN")[0], "* SEARCH 1 2")
        self.assertIn("FLAGS (\\Seen \\Recent)", ask(self.play, "FETCH 3 (FLAGS RFC822)")[0])

    def test_uid_fetch(self) -> None:
        """The UID is always told; what does not exist is passed over."""
        self.assertEqual(
            ask(self.play, "UID FETCH 2:100 FLAGS"),
            ["* 2 FETCH (UID 2 FLAGS (\\Recent))", "* 3 FETCH (UID 3 FLAGS (\\Recent))", "OK fetched"],
        )
        self.assertEqual(ask(self.play, "UID FETCH 1000:* UID"), ["* 3 FETCH (UID 3)", "OK fetched"])
        self.assertEqual(ask(self.play, "UID FETCH 77 UID"), ["OK fetched"])
        self.assertEqual(send(self.play, "FETCH 4 FLAGS"), ["t BAD no such message number"])

    def test_many(self) -> None:
        """More than one batch."""
        self.house.deliver(*[MESSAGE] * 1100)
        lines = ask(self.play, "NOOP")
        self.assertEqual(lines[:2], ["* 1103 EXISTS", "* 1103 RECENT"])
        lines = ask(self.play, "FETCH 1:* (UID FLAGS RFC822.SIZE)")
        self.assertEqual(len(lines), 1104)
        self.assertEqual(lines[1102], f"* 1103 FETCH (UID 1103 FLAGS (\\Recent) RFC822.SIZE {len(MESSAGE)})")
        lines = ask(self.play, "FETCH 2:* BODY.PEEK[TEXT]")
        self.assertEqual(len(lines), 1102 * 3 + 1)
        self.assertEqual(len(ask(self.play, "STORE 1:* +FLAGS (x)")), 1104)

    def test_store_some_recent(self) -> None:
        """Neighbours in the same state of which only some are \\Recent in this session."""
        self.house.deliver(MESSAGE)
        play = self.house.log_in("INBOX")
        self.assertEqual(
            ask(play, "UID STORE 2:* +FLAGS.SILENT (\\Seen)") + ask(play, "STORE 2:* +FLAGS (\\Seen)"),
            [
                "OK stored",
                "* 2 FETCH (FLAGS (\\Seen))",
                "* 3 FETCH (FLAGS (\\Seen))",
                "* 4 FETCH (FLAGS (\\Seen \\Recent))",
                "OK stored",
            ],
        )

    def test_store(self) -> None:
        """RFC 3501 6.4.6: told unless silent; the client's own change is not told again."""
        self.assertEqual(
            ask(self.play, "STORE 1:2 +FLAGS (\\Deleted)"),
            ["* 1 FETCH (FLAGS (\\Deleted \\Recent))", "* 2 FETCH (FLAGS (\\Deleted \\Recent))", "OK stored"],
        )
        self.assertEqual(ask(self.play, "STORE 1 FLAGS.SILENT (\\Seen x)"), ["OK stored"])
        self.assertEqual(ask(self.play, "UID STORE 1 -FLAGS \\Seen")[0], "* 1 FETCH (UID 1 FLAGS (x \\Recent))")
        self.assertEqual(ask(self.play, "NOOP"), ["OK done"])

    def test_expunge_and_close(self) -> None:
        """EXPUNGE tells, UID EXPUNGE only its set, CLOSE says nothing."""
        ask(self.play, "STORE 1,3 +FLAGS.SILENT \\Deleted")
        self.assertEqual(ask(self.play, "UID EXPUNGE 3:4"), ["* 3 EXPUNGE", "OK expunged"])
        self.assertEqual(ask(self.play, "EXPUNGE"), ["* 1 EXPUNGE", "OK expunged"])
        ask(self.play, "STORE 1 +FLAGS.SILENT \\Deleted")
        self.assertEqual(ask(self.play, "CLOSE"), ["OK closed"])
        self.assertEqual(ask(self.play, "SELECT INBOX")[1], "* 0 EXISTS")

    def test_unselect(self) -> None:
        """RFC 3691: nothing is expunged."""
        ask(self.play, "STORE 1 +FLAGS.SILENT \\Deleted")
        ask(self.play, "UNSELECT")
        self.assertEqual(ask(self.play, "SELECT INBOX")[1], "* 3 EXISTS")

    def test_copy_and_move(self) -> None:
        """COPYUID, TRYCREATE, and MOVE's EXPUNGE (RFC 4315 3, RFC 6851 4.3)."""
        self.assertRegex(ask(self.play, "COPY 2:3 Trash")[0], r"\AOK \[COPYUID \d+ 2:3 1:2\] copied")
        self.assertEqual(send(self.play, "COPY 1 nowhere"), ["t NO [TRYCREATE] no such mailbox"])
        lines = ask(self.play, "UID MOVE 1,3 Trash")
        self.assertRegex(lines[0], r"\A\* OK \[COPYUID \d+ 1,3 3:4\]")
        self.assertEqual(lines[1:], ["* 1 EXPUNGE", "* 2 EXPUNGE", "OK done"])
        self.assertEqual(ask(self.play, "UID COPY 99 Trash"), ["OK copied"])

    def test_search(self) -> None:
        """RFC 3501 6.4.4, in numbers and UIDs."""
        ask(self.play, "STORE 1 +FLAGS.SILENT \\Deleted")
        ask(self.play, "EXPUNGE")
        self.assertEqual(ask(self.play, 'SEARCH SUBJECT "lunch" SENTSINCE 1-Feb-1994')[0], "* SEARCH 1 2")
        self.assertEqual(ask(self.play, "UID SEARCH 2:* FROM fred")[0], "* SEARCH 3")
        self.assertEqual(ask(self.play, "SEARCH BODY nothing")[0], "* SEARCH")
        self.assertEqual(
            send(self.play, "SEARCH CHARSET X SUBJECT y"), ["t NO [BADCHARSET (US-ASCII UTF-8)] charset not known"]
        )


class TwoSessionTests(SessionCase):
    """What one session does the other hears, when it may."""

    def setUp(self) -> None:
        super().setUp()
        self.house.deliver(MESSAGE, MESSAGE, MESSAGE)
        self.one, self.other = self.house.log_in("INBOX"), self.house.log_in("INBOX")

    def test_at_the_next_command(self) -> None:
        """Flags and EXISTS with any reply; EXPUNGE not with FETCH, STORE or SEARCH (RFC 3501 7.4.1)."""
        ask(self.one, "STORE 2 +FLAGS.SILENT (\\Deleted)")
        ask(self.one, "EXPUNGE")
        ask(self.one, "STORE 1 +FLAGS.SILENT (\\Seen)")
        self.assertEqual(heard(self.other), [""])
        self.assertEqual(ask(self.other, "SEARCH ALL"), ["* SEARCH 1 3", "* 1 FETCH (FLAGS (\\Seen))", "OK found"])
        self.assertEqual(
            send(self.other, "FETCH 1:3 UID"),
            ["* 1 FETCH (UID 1)", "* 3 FETCH (UID 3)", "t NO [EXPUNGEISSUED] some messages are gone"],
        )
        self.assertEqual(ask(self.other, "NOOP"), ["* 2 EXPUNGE", "OK done"])

    def test_idle(self) -> None:
        """RFC 2177: at once, new and gone."""
        self.assertEqual(send(self.other, "IDLE"), ["+ idling"])
        self.house.deliver(MESSAGE)
        self.assertEqual(heard(self.other), ["* 4 EXISTS", "* 1 RECENT"])
        ask(self.one, "STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.assertEqual(heard(self.other), ["* 1 FETCH (FLAGS (\\Deleted))"])
        ask(self.one, "EXPUNGE")
        self.assertEqual(heard(self.other), ["* 1 EXPUNGE"])
        self.other << "DONE" >> "t OK done"
        self.house.deliver(MESSAGE)
        self.assertEqual(heard(self.other), [""])

    def test_idle_with_news(self) -> None:
        """What waited is told when IDLE begins; any line but DONE is BAD."""
        self.house.deliver(MESSAGE)
        self.assertEqual(send(self.other, "IDLE"), ["+ idling", "* 4 EXISTS", "* 1 RECENT"])
        self.other << "x NOOP" >> "t BAD expected DONE"
        ask(self.other, "NOOP")

    def test_idle_keeps_alive(self) -> None:
        """A line now and then; the peer's acknowledgement renews the whitelist's row."""
        send(self.other, "IDLE")
        self.other.clock.advance(100)
        self.assertEqual(heard(self.other), ["* OK still here"])
        self.assertEqual(self.house.recent.renewed, ["alice@example.test"])
        self.other << "DONE" >> "t OK"
        self.other.clock.advance(100)
        self.assertEqual(heard(self.other), [""])

    def test_deleted_under_one(self) -> None:
        """The other that has it selected is sent away, idling or at its next command; one's own client goes on."""
        run_now(self.house.mailboxes.create("x"))
        one, other, idling = (self.house.log_in("x") for _ in range(3))
        send(idling, "IDLE")
        self.assertEqual(ask(one, "DELETE x"), ["OK deleted"])
        self.assertEqual(heard(idling), ["* BYE the selected mailbox was deleted"])
        self.assertEqual(send(other, "NOOP"), ["t OK done", "* BYE the selected mailbox was deleted"])
        self.assertTrue(other.closed)
        ask(one, "SELECT INBOX")

    def test_pipelined(self) -> None:
        """Several commands in one write are answered in order."""
        self.one << b"a NOOP\r\nb FETCH 1 UID\r\nc UID SEARCH ALL\r\nd NOOP\r\n"
        self.assertEqual(
            [line for line in heard(self.one) if re.match("[a-d] ", line)],
            ["a OK done", "b OK fetched", "c OK found", "d OK done"],
        )
