"""
A policy that changes under a running server: by a reload, and by files of lists that are edited.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from .server import Server, wait_for

STRANGER = "MAIL FROM:<a@b.example>"


class Session:
    """An SMTP session that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._stream = self._socket.makefile("rwb", 0)
        self.greeting = self._stream.readline().decode()

    def say(self, command: str) -> str:
        """The last line of the reply."""
        self._stream.write(command.encode() + b"\r\n")
        while (line := self._stream.readline().decode())[3:4] == "-":
            pass
        return line

    def close(self) -> None:
        """Leave."""
        self._stream.close()
        self._socket.close()


class Reloading(SynchronousTestCase):
    """One server for all; each test brings its configuration back."""

    CONFIG = Server.CONFIG.replace(
        'local_sender_from_outside = "allow"',
        'local_sender_from_outside = "allow"\nkill_file = "kill.lst"\n[smtp.lists]\nblack_senders = ["file:black.lst"]',
    )
    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        """Start it with two empty lists."""
        cls.server = Server(cls.CONFIG, workers=2)
        for name in ("kill.lst", "black.lst"):
            (cls.server.folder / name).write_text("")
        cls.server.start()

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop it."""
        cls.server.close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session after HELO."""
        session = Session(self.server.mx)
        try:
            session.say("HELO c.outside.example")
            yield session
        finally:
            session.close()

    @contextmanager
    def configured(self, old: str, new: str) -> Iterator[None]:
        """`new` in place of `old` in the configuration file, for a while; nothing is reloaded here but at the end."""
        good = self.server.config.read_text()
        assert old in good
        self.server.config.write_text(good.replace(old, new))
        try:
            yield
        finally:
            self.server.config.write_text(good)
            self.server.mailtraq("reload")

    def reload(self) -> dict[str, object]:
        """What `mailtraq reload --json` says."""
        told: dict[str, object] = json.loads(self.server.mailtraq("reload", "--json").stdout)
        return told

    def events(self, event: str) -> list[dict[str, object]]:
        """Lines of the log."""
        lines = [json.loads(line) for line in self.server.logged().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def assert_becomes(self, session: Session, command: str, reply: str, seconds: float = 10.0) -> None:
        """New sessions are soon answered so, and this one, which was there before and maybe at another worker."""

        def right(asked: Session) -> bool:
            answered = asked.say(command).startswith(reply)
            asked.say("RSET")
            return answered

        def fresh() -> bool:
            with self.session() as one:
                return right(one)

        wait_for(fresh, f"{command} to be answered {reply}", seconds)
        wait_for(lambda: right(session), "the session that was there before", seconds)

    def test_running_sessions_are_decided_by_the_new_policy(self) -> None:
        """Sessions of every protocol live on; the next command is the new policy's, and the log says whose number."""
        with self.session() as one, self.session() as other:
            pop = self.server.pop()
            self.assertTrue(one.say(STRANGER).startswith("250"))
            with self.configured("[[pop3]]", '[barring]\nrecipients = ["alice@example.test"]\n[[pop3]]'):
                number = self.reload()["number"]
                self.assertTrue(one.say("RCPT TO:<alice@example.test>").startswith("554"))
                self.assertTrue(other.say("NOOP").startswith("250"))
                self.assertEqual(pop.noop()[:3], b"+OK")
            self.assertTrue(one.say("RCPT TO:<alice@example.test>").startswith("250"))
            pop.quit()
        decided = [line["number"] for line in self.events("decision") if line.get("by") == "barring"]
        self.assertEqual(decided[-1], number)
        permitted = [line["number"] for line in self.events("decision") if line.get("reason") == "our domain"]
        self.assertGreater(permitted[-1], number)

    def test_a_bad_file_leaves_the_old_policy_in_force(self) -> None:
        """Nothing of it is taken; the number stays; the reasons are told and logged."""
        before = self.reload()["number"]
        with self.configured("[[pop3]]", '[barring]\nsenders = ["*@b.example"]\nreply = "250 no refusal"\n[[pop3]]'):
            told = self.server.mailtraq("reload", check=2)
            self.assertIn("barring.reply", told.stderr)
            with self.session() as session:
                self.assertTrue(session.say(STRANGER).startswith("250"))
        self.assertEqual(self.reload()["number"], before + 2)
        self.assertIn("barring.reply", str(self.events("reload-refused")[-1]["reason"]))

    def test_an_open_relay_does_not_come_into_force(self) -> None:
        """The proof is asked at a reload too."""
        with self.configured("auth = true\nrecent_login = true", "outside_lan = true"):
            told = self.server.mailtraq("reload", check=2)
            self.assertIn("open relay", told.stderr)
            self.assertIn("outside_lan", told.stderr)
            with self.session() as session:
                session.say(STRANGER)
                self.assertTrue(session.say("RCPT TO:<x@elsewhere.example>").startswith("554"))

    def test_keys_that_need_a_restart_are_named(self) -> None:
        """And the others come into force all the same."""
        with self.configured(
            "[[pop3]]", "[timeouts]\nstop_seconds = 9\n[barring]\nsenders = [\"*@b.example\"]\n[[pop3]]"
        ):
            self.assertEqual(self.reload()["restart"], ["timeouts"])
            with self.session() as session:
                self.assertTrue(session.say(STRANGER).startswith("554"))

    def test_list_files_are_watched(self) -> None:
        """A changed list is in force within seconds; one with a bad line is reported, and the old list stays."""
        kill, black = self.server.folder / "kill.lst", self.server.folder / "black.lst"
        with self.session() as session:
            kill.write_text("# unwanted\n@b.example\n")
            self.assert_becomes(session, STRANGER, "501 5.1.8")
            kill.write_text("@c.example\nnonsense\n")
            wait_for(lambda: self.events("list-refused"), "the bad line to be reported")
            (refused,) = self.events("list-refused")
            self.assertIn("kill.lst:2", str(refused["reason"]))
            self.assertTrue(session.say(STRANGER).startswith("501"))
            # Another list is not held up by it.
            black.write_text("*@d.example\n")
            wait_for(lambda: len(self.events("list-renewed")) == 2, "the other list")
            session.say("MAIL FROM:<x@d.example>")
            self.assertTrue(session.say("RCPT TO:<alice@example.test>").startswith("554"))
            session.say("RSET")
            kill.unlink()
            wait_for(lambda: len(self.events("list-refused")) == 2, "the loss to be reported")
            self.assertTrue(session.say(STRANGER).startswith("501"))
            kill.write_text("")
            self.assert_becomes(session, STRANGER, "250")

    def test_what_a_change_would_do(self) -> None:
        """`policy diff` asks a changed file about the sessions of this server; nothing comes into force."""
        began = datetime.now(UTC).isoformat()
        with self.session() as session:
            self.assertTrue(session.say("MAIL FROM:<what@if.example>").startswith("250"))
            self.assertTrue(session.say("RCPT TO:<x@elsewhere.example>").startswith("55"))
        time.sleep(2.5)  # decisions are written down each second

        def diff() -> dict[str, Any]:
            told: dict[str, Any] = json.loads(self.server.mailtraq("policy", "diff", "--since", began, "--json").stdout)
            return told

        unchanged = diff()
        self.assertEqual(unchanged["changes"], [])
        self.assertGreaterEqual(unchanged["decisions"], 4)
        with self.configured("[[pop3]]", '[barring]\nsenders = ["*@if.example"]\n[[pop3]]'):
            (change,) = diff()["changes"]
            self.assertEqual((change["stage"], change["before"], change["after_by"]), ("sender", "permit", "barring"))
            self.assertEqual(change["examples"][0]["mail_from"], "what@if.example")
            readable = self.server.mailtraq("policy", "diff", "--since", began).stdout
            self.assertIn("mx sender: permit by nobody -> refuse by barring", readable)
            with self.session() as session:
                self.assertTrue(session.say("MAIL FROM:<what@if.example>").startswith("250"))
