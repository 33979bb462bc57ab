"""Whatever two clients say, in whatever order: no error of ours, and their numbering stays true."""

from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.wire.imap.sequence import parse_sequence_set

from .house import MESSAGE, House, heard, send

NUMBERS = st.sampled_from(("1", "2", "1:*", "*", "2:3", "1,3", "3:1", "7:*", "4294967295:1"))
NAMES = st.sampled_from(("INBOX", "Trash", "a", "a/b", "&U,BTFw-", "nowhere", '"."'))
FLAGS = st.sampled_from(("(\\Seen)", "\\Deleted", "(\\Deleted \\Flagged k)", "()"))
ITEMS = st.sampled_from(
    (
        "FLAGS", "(UID FLAGS ENVELOPE)", "FULL", "BODY[]", "BODY.PEEK[1]<3.9>", "(BODY[HEADER.FIELDS (DATE)] UID)",
        "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "(BODYSTRUCTURE BODY[2.MIME])", "RFC822.TEXT",
    )
)  # fmt: skip
KEYS = st.sampled_from(("ALL", "UNSEEN", "OR NEW DELETED", "NOT 1:2", "SUBJECT lunch", "SINCE 1-Jan-1990", "UID 1:*"))
COMMANDS = st.one_of(
    st.builds("SELECT {}".format, NAMES), st.builds("EXAMINE {}".format, NAMES), st.builds("CREATE {}".format, NAMES),
    st.builds("DELETE {}".format, NAMES), st.builds("RENAME {} {}".format, NAMES, NAMES),
    st.builds("STATUS {} (MESSAGES UIDNEXT)".format, NAMES),
    st.builds("APPEND {} {} {{{}+}}\r\n{}".format, NAMES, st.just("(\\Seen)"), st.just(len(MESSAGE)),
              st.just(MESSAGE.decode())),
    st.builds("FETCH {} {}".format, NUMBERS, ITEMS), st.builds("UID FETCH {} {}".format, NUMBERS, ITEMS),
    st.builds("STORE {} +FLAGS {}".format, NUMBERS, FLAGS),
    st.builds("UID STORE {} FLAGS.SILENT {}".format, NUMBERS, FLAGS),
    st.builds("COPY {} {}".format, NUMBERS, NAMES), st.builds("UID MOVE {} {}".format, NUMBERS, NAMES),
    st.builds("MOVE {} {}".format, NUMBERS, NAMES), st.builds("SEARCH {}".format, KEYS),
    st.builds("SORT (REVERSE DATE FROM SUBJECT) UTF-8 {}".format, KEYS),
    st.builds("UID THREAD {} UTF-8 {}".format, st.sampled_from(("REFERENCES", "ORDEREDSUBJECT")), KEYS),
    st.builds("SEARCH RETURN (MIN ALL COUNT) {}".format, KEYS), st.builds("UID SEARCH RETURN () {}".format, KEYS),
    st.builds("UID SEARCH {}".format, KEYS), st.builds("UID EXPUNGE {}".format, NUMBERS),
    st.sampled_from(("EXPUNGE", "CLOSE", "UNSELECT", "NOOP", "CHECK", "IDLE", 'LIST "" *', 'LSUB "" %')),
    st.sampled_from(("ENABLE QRESYNC", "ENABLE CONDSTORE", "SELECT INBOX (CONDSTORE)", "SEARCH MODSEQ 3",
                     "SELECT INBOX (QRESYNC (1 1 1:9 (1:2 1:2)))")),
    st.builds("FETCH {} {} (CHANGEDSINCE 4)".format, NUMBERS, ITEMS),
    st.builds("UID FETCH {} {} (CHANGEDSINCE 4 VANISHED)".format, NUMBERS, ITEMS),
    st.builds("STORE {} (UNCHANGEDSINCE 5) +FLAGS.SILENT {}".format, NUMBERS, FLAGS),
)  # fmt: skip


class Client:
    """What a client knows: how many messages there are, by what it was told."""

    def __init__(self, house: House) -> None:
        self.play = house.log_in("INBOX")
        self.count = 0
        self.idling = False

    def say(self, command: str) -> None:
        """A command, or DONE before it; then everything that came is taken in."""
        if self.play.closed:
            return
        if self.idling:
            self.play << "DONE"
            self.take_in(heard(self.play))
            self.idling = False
        if self.play.closed:
            return
        self.idling = command == "IDLE"
        self.take_in(send(self.play, command))

    def take_in(self, lines: list[str]) -> None:
        """Count up and down; no number may be beyond the count."""
        for line in lines:
            vanished = re.match(r"\* VANISHED (\d[\d:,]*)", line)
            if vanished is not None:
                self.count -= len(parse_sequence_set(vanished[1].encode()).numbers)
            match = re.match(r"\* (\d+) (EXISTS|EXPUNGE|FETCH)", line)
            if match is None:
                continue
            number = int(match[1])
            if match[2] == "EXISTS":
                self.count = number
            elif not 1 <= number <= self.count:
                raise AssertionError(f"{line!r} while there are {self.count}")
            if match[2] == "EXPUNGE":
                self.count -= 1
        if any("SERVERBUG" in line for line in lines):
            raise AssertionError(lines)


class AnyCommandTests(SynchronousTestCase):
    """Two clients of one account."""

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.tuples(st.booleans(), COMMANDS), min_size=5, max_size=25))
    def test_any_commands(self, said: list[tuple[bool, str]]) -> None:
        """Nothing is logged as an error, and no number is ever out of range."""
        house = House()
        try:
            house.deliver(MESSAGE, MESSAGE)
            clients = (Client(house), Client(house))
            for client in clients:
                client.count = 2
            for first, command in said:
                clients[first].say(command)
                if not clients[not first].play.closed:
                    clients[not first].take_in(heard(clients[not first].play))
            for client in clients:
                client.play.end()
        finally:
            house.close()
        self.assertEqual(self.flushLoggedErrors(), [])
