"""CONDSTORE and QRESYNC: examples of RFC 7162 played over the real store."""

from __future__ import annotations

import re

from tests.play import Play

from .house import MESSAGE, ask, heard, send
from .test_session import SessionCase


def mod_seq(lines: list[str]) -> int:
    """The HIGHESTMODSEQ that was told."""
    return int(re.findall(r"HIGHESTMODSEQ (\d+)", "\n".join(lines))[-1])


def masked(lines: list[str]) -> list[str]:
    """Lines with MODSEQs as `m`."""
    return [re.sub(r"(MODSEQ \(?)\d+", r"\1m", line) for line in lines]


class ResyncCase(SessionCase):
    """Two sessions on a mailbox of five messages; only the first one knows of MODSEQs."""

    def setUp(self) -> None:
        super().setUp()
        self.house.deliver(*[MESSAGE] * 5)
        self.play = self.house.log_in()
        self.other = self.house.log_in("INBOX")

    def expunge(self, numbers: str, play: Play | None = None) -> list[str]:
        """Somebody else removes messages; what was told."""
        play = play or self.other
        ask(play, f"STORE {numbers} +FLAGS.SILENT (\\Deleted)")
        return ask(play, "EXPUNGE")


class CondstoreTests(ResyncCase):
    """RFC 7162 3.1."""

    def test_select(self) -> None:
        """HIGHESTMODSEQ is told whether asked for or not, and rises with each change."""
        before = mod_seq(ask(self.play, "SELECT INBOX"))
        ask(self.other, "STORE 2 +FLAGS (\\Seen)")
        lines = ask(self.play, "SELECT INBOX (CONDSTORE)")
        self.assertEqual(lines[0], "* OK [CLOSED] closed")
        self.assertEqual(mod_seq(lines), before + 1)
        self.assertEqual(mod_seq(ask(self.play, "STATUS INBOX (HIGHESTMODSEQ)")), before + 1)

    def test_first_enabling_command(self) -> None:
        """Each of them is told where the mailbox stands, once; what follows has UIDs and MODSEQs (3.1, 3.2.4)."""
        for command in (
            "ENABLE CONDSTORE", "STATUS INBOX (HIGHESTMODSEQ)", "FETCH 1 (MODSEQ)", "FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
            "SEARCH MODSEQ 1", "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
        ):  # fmt: skip
            play = self.house.log_in("INBOX")
            self.assertIn("* OK [HIGHESTMODSEQ m] mod-sequences are told from now on", masked(ask(play, command)))
            self.assertNotIn("told from now on", "".join(ask(play, command)))
            ask(self.other, "STORE 2 +FLAGS (\\Seen)")
            self.assertIn("* 2 FETCH (UID 2 MODSEQ (m) FLAGS (\\Seen))", masked(ask(play, "NOOP")))
            ask(self.other, "STORE 2 -FLAGS (\\Seen)")

    def test_fetch(self) -> None:
        """The item; CHANGEDSINCE narrows and adds it (Examples 12, 13)."""
        since = mod_seq(ask(self.play, "SELECT INBOX (CONDSTORE)"))
        ask(self.other, "STORE 2,4 +FLAGS (\\Seen)")
        self.assertEqual(
            masked(ask(self.play, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})"))[:2],
            ["* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (m))", "* 4 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (m))"],
        )
        self.assertEqual(len(ask(self.play, f"FETCH 3:4 UID (CHANGEDSINCE {since})")), 2)
        self.assertEqual(len(ask(self.play, "FETCH 1:* MODSEQ (CHANGEDSINCE 0)")), 6)
        self.assertEqual(ask(self.play, "FETCH 1:* ALL (CHANGEDSINCE 9223372036854775807)"), ["OK fetched"])

    def test_conditional_store(self) -> None:
        """MODIFIED names what was changed meanwhile; the rest is done (Examples 3, 6, 10)."""
        since = mod_seq(ask(self.play, "SELECT INBOX (CONDSTORE)"))
        ask(self.other, "STORE 2,4 +FLAGS (\\Seen)")
        lines = masked(ask(self.play, f"STORE 1:4 (UNCHANGEDSINCE {since}) +FLAGS.SILENT (\\Flagged $x)"))
        self.assertIn("* 1 FETCH (UID 1 MODSEQ (m))", lines)
        self.assertIn("* 3 FETCH (UID 3 MODSEQ (m))", lines)
        self.assertIn("* 2 FETCH (UID 2 MODSEQ (m) FLAGS (\\Seen))", lines)
        self.assertEqual(lines[-1], "OK [MODIFIED 2,4] stored")
        lines = ask(self.play, "UID STORE 5,4 (UNCHANGEDSINCE 0) FLAGS (\\Draft)")
        self.assertEqual(lines, ["OK [MODIFIED 4:5] stored"])
        self.assertEqual(
            masked(ask(self.play, f"STORE 5 (UNCHANGEDSINCE {since}) FLAGS (\\Draft)"))[0],
            "* 5 FETCH (UID 5 MODSEQ (m) FLAGS (\\Draft))",
        )

    def test_own_changes(self) -> None:
        """What a STORE told is not read again, unless somebody else came in between."""
        ask(self.play, "SELECT INBOX")
        read = []
        mailbox = self.play.session.selection.mailbox
        changes = mailbox.changes
        mailbox.changes = lambda since: read.append(since) or changes(since)
        ask(self.play, "STORE 1:3 +FLAGS (\\Seen)")
        self.assertEqual(ask(self.play, "NOOP"), ["OK done"])
        self.assertEqual(read, [])
        ask(self.other, "STORE 4 +FLAGS (\\Seen)")
        lines = ask(self.play, "STORE 1 -FLAGS (\\Seen)")
        self.assertEqual(lines[:2], ["* 1 FETCH (FLAGS ())", "* 4 FETCH (FLAGS (\\Seen))"])
        self.assertEqual(len(read), 1)

    def test_seen_by_fetch(self) -> None:
        """A message that becomes \\Seen tells its new MODSEQ (3.2.4)."""
        since = mod_seq(ask(self.play, "SELECT INBOX (CONDSTORE)"))
        lines = "\n".join(ask(self.play, "FETCH 1:2 (BODY[TEXT] MODSEQ)"))
        self.assertEqual(set(re.findall(r"MODSEQ \((\d+)\)", lines)), {str(since + 1)})
        self.assertEqual(re.findall(r"(?m)^ UID (\d) FLAGS \(\\Seen\)\)$", lines), ["1", "2"])
        self.assertRegex("".join(ask(self.play, "FETCH 3 BODY[TEXT]")), r"UID 3 MODSEQ \(\d+\) FLAGS \(\\Seen\)\)")

    def test_search(self) -> None:
        """The highest MODSEQ of what was found comes with it (Examples 15, 16)."""
        since = mod_seq(ask(self.play, "SELECT INBOX"))
        ask(self.play, "STORE 2,4 +FLAGS (\\Seen)")
        for key in (f"MODSEQ {since + 1}", f'MODSEQ "/flags/\\\\draft" all {since + 1}', f"NOT NOT MODSEQ {since + 1}"):
            self.assertIn(f"* SEARCH 2 4 (MODSEQ {since + 1})", ask(self.play, f"SEARCH {key}"))
        self.assertEqual(ask(self.play, "SEARCH OR NOT MODSEQ 1 LARGER 50000")[0], "* SEARCH")

    def test_bad_arguments(self) -> None:
        """Attack 37: what is no mod-sequence, too large, twice, or out of its place is BAD."""
        ask(self.play, "SELECT INBOX")
        for command in (
            "FETCH 1 FLAGS (CHANGEDSINCE x)", "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", "FETCH 1 FLAGS (",
            "FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 1)", "FETCH 1 FLAGS ()", "FETCH 1 FLAGS (CHANGEDSINCE -1)",
            "STORE 1 (UNCHANGEDSINCE) FLAGS ()", "STORE 1 (UNCHANGEDSINCE 99999999999999999999) FLAGS ()",
        ):  # fmt: skip
            self.assertRegex(send(self.play, command)[-1], r"\At BAD ", command)
        ask(self.play, "NOOP")
        for command in (
            "STORE 1 (CHANGEDSINCE 1) FLAGS ()", "SELECT INBOX (CONDSTORE", "SELECT INBOX (NOTHING)", "SELECT INBOX ()",
            'SEARCH MODSEQ "/flags/x" some 5', "SEARCH MODSEQ -5", "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
        ):  # fmt: skip
            self.assertRegex(send(self.play, command)[-1], r"\At BAD ", command)


class QresyncTests(ResyncCase):
    """RFC 7162 3.2."""

    def setUp(self) -> None:
        super().setUp()
        lines = ask(self.play, "SELECT INBOX")
        self.since = mod_seq(lines)
        self.validity = re.findall(r"UIDVALIDITY (\d+)", "\n".join(lines))[0]

    def enable(self) -> Play:
        """A session that has enabled QRESYNC."""
        play = self.house.log_in()
        self.assertEqual(ask(play, "ENABLE QRESYNC"), ["* ENABLED QRESYNC", "OK done"])
        return play

    def resync(self, known: str) -> list[str]:
        """What SELECT tells of what changed."""
        lines = masked(ask(self.enable(), f"SELECT INBOX (QRESYNC ({known}))"))
        return [line for line in lines if re.match(r"\* (VANISHED|\d+ FETCH)", line)]

    def test_not_enabled(self) -> None:
        """BAD without ENABLE, and the mailbox stays as it was (3.2.5, 3.2.6)."""
        for command in ("SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)"):
            self.assertEqual(send(self.play, command), ["t BAD enable QRESYNC first"])
        ask(self.play, "FETCH 1 FLAGS")

    def test_vanished(self) -> None:
        """VANISHED instead of EXPUNGE, to its author too, and the MODSEQ with OK (3.2.7, 3.2.10)."""
        play, third = self.enable(), self.enable()
        ask(play, "SELECT INBOX")
        ask(third, "SELECT INBOX")
        self.assertEqual(masked(self.expunge("2,4", play)), ["* VANISHED 2,4", "OK [HIGHESTMODSEQ m] expunged"])
        self.assertEqual(ask(third, "NOOP"), ["* VANISHED 2,4", "OK done"])
        self.assertEqual(ask(self.other, "NOOP")[:2], ["* 2 EXPUNGE", "* 3 EXPUNGE"])
        self.assertEqual(ask(play, "EXPUNGE"), ["OK expunged"])
        lines = masked(ask(play, "MOVE 1 Trash"))
        self.assertEqual(lines[1:], ["* VANISHED 1", "OK [HIGHESTMODSEQ m] done"])
        third << "i IDLE"
        ask(self.other, "NOOP")
        self.expunge("1")
        self.assertIn("* VANISHED 3", heard(third))

    def test_vanished_later(self) -> None:
        """While EXPUNGEs wait, the client is told up to where it knows all (3.2)."""
        play = self.enable()
        ask(play, "SELECT INBOX")
        self.expunge("2")
        lines = ask(play, "STORE 1 +FLAGS (\\Seen)")
        self.assertEqual(mod_seq(lines), self.since)
        self.assertNotIn("VANISHED", "".join(lines))
        self.assertEqual(ask(play, "NOOP")[0], "* VANISHED 2")

    def test_select(self) -> None:
        """What changed and what is gone since the client was there (3.2.5.1)."""
        self.expunge("2,4")
        ask(self.other, "STORE 2 +FLAGS (\\Answered)")
        known = f"{self.validity} {self.since}"
        changed = "* 2 FETCH (UID 3 MODSEQ (m) FLAGS (\\Answered))"
        self.assertEqual(self.resync(known), ["* VANISHED (EARLIER) 2,4", changed])
        self.assertEqual(self.resync(f"{known} 1:2,5"), ["* VANISHED (EARLIER) 2"])
        self.assertEqual(self.resync(f"{known} 1:1000 (1:2 1,3)"), ["* VANISHED (EARLIER) 4", changed])
        self.assertEqual(self.resync(f"{known} (1,3 1,9)"), ["* VANISHED (EARLIER) 2,4", changed])
        self.assertEqual(self.resync(f"{int(self.validity) + 1} {self.since}"), [])
        self.assertEqual(self.resync(f"{self.validity} 9223372036854775807"), [])

    def test_select_bad(self) -> None:
        """Arguments that are none leave the mailbox unselected; a whole mailbox as a sample costs nothing (3.2.5)."""
        play = self.enable()
        for known in (
            "", "1", "0 1", "1 x", "1 1 *", "1 1 1:*", "1 1 1 (1)", "1 1 1 (1 1,2)", "1 1 1 (* 1)", "1 1 (1 1) 1",
            "1 9223372036854775808", "1 1 1 (1:4294967295 1:4294967294)", "1 1 5 (1 1",
        ):  # fmt: skip
            self.assertRegex(send(play, f"SELECT INBOX (QRESYNC ({known}))")[-1], r"\At BAD ", known)
            if known == "1 1 1 (* 1)":
                ask(play, "NOOP")
        ask(play, f"SELECT INBOX (QRESYNC ({self.validity} 1 1:9 (1:4294967295 1:4294967295)))")

    def test_uid_fetch(self) -> None:
        """VANISHED (EARLIER) comes first, without what the client still counts (3.2.6, 3.2.10.1)."""
        self.expunge("2,5")
        play = self.enable()
        ask(play, "SELECT INBOX")
        self.expunge("1")
        ask(self.other, "STORE 2 +FLAGS (\\Seen)")
        lines = masked(ask(play, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.since} VANISHED)"))
        self.assertEqual(
            lines,
            [
                "* VANISHED (EARLIER) 2,5",
                "* 3 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (m))",
                "* VANISHED 1",
                "* 2 FETCH (UID 4 MODSEQ (m) FLAGS (\\Seen))",
                "OK fetched",
            ],
        )
