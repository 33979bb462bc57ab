"""
Recorded decisions, and what another configuration makes of them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.interfaces.connection import TLSInfo
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.policy import Facts, Opinion, RecentLogin, Stage, Verdict
from mailtraq_py.interfaces.store import DecisionRow, RecordedSession
from mailtraq_py.mail.address import parse_address
from mailtraq_py.mail.envelope import NULL_PATH, ForwardPath, ReversePath
from mailtraq_py.policy.build import build_policy
from mailtraq_py.policy.history import DecisionHistory, encode
from mailtraq_py.policy.memoryrows import MemoryRows
from mailtraq_py.policy.recentlogin import RecentLoginRules, RecentLogins
from mailtraq_py.policy.settings import (
    BarringSettings,
    ListsSettings,
    MailtraqRelay,
    PolicySettings,
    RecentLoginSettings,
    ServiceSettings,
    TarpitSettings,
    entries,
)
from mailtraq_py.policy.whatif import Kind, Replay
from tests.fakes import make_connection

from .fakes import Directory, Resolver, run

NOW = 1_800_000_000.0
ALICE = Account(1, "alice@example.test", "example.test")
SETTINGS = PolicySettings(
    "mx.example.test",
    recent_login=RecentLoginSettings(exclude=()),
    services=(ServiceSettings("test", relay=MailtraqRelay(auth=True, recent_login=True)),),
)


def path(text: str) -> ReversePath:
    """A reverse-path."""
    return ReversePath(parse_address(text)) if text else NULL_PATH


class Recorded:
    """Sessions as the server with SETTINGS decides and records them."""

    def __init__(self, settings: PolicySettings = SETTINGS, directory: Directory | None = None) -> None:
        self.history = DecisionHistory()
        self.logins: tuple[RecentLogin, ...] = ()
        self.directory = directory or Directory(accounts=[ALICE])
        self._rows = MemoryRows()
        recent = RecentLogins(self._rows, RecentLoginRules(settings.recent_login), lambda: NOW)
        self._policy = build_policy(settings, self.directory, Resolver(), recent, 7, note=self.history.note)
        recent.rules = self._policy.recent_rules

    def log_in(self, client: str, seconds_ago: float) -> None:
        """Alice has collected her mail."""
        row = RecentLogin(client, ALICE, "pop3", True, NOW - seconds_ago, NOW - seconds_ago)
        self._rows.put(row)
        self.logins = (replace(row, address=""),)

    def session(self, name: str, sender: str, *recipients: str, client: str = "203.0.113.9", **facts: Any) -> None:
        """A session from its beginning to its message."""
        known = Facts(make_connection(session_id=name, client=client), NOW)
        if not run(self._policy.decide(Stage.CONNECT, known)).is_permit:
            return
        known = known._replace(helo="c.outside.example", **facts)
        run(self._policy.decide(Stage.HELLO, known))
        known = known._replace(reverse_path=path(sender))
        verdict = run(self._policy.decide(Stage.SENDER, known))
        known = known._replace(marks=verdict.marks)
        if not verdict.is_permit:
            return
        for recipient in recipients:
            asked = known._replace(forward_path=ForwardPath(parse_address(recipient)))
            verdict = run(self._policy.decide(Stage.RECIPIENT, asked))
            if verdict.is_permit:
                known = known._replace(recipients=known.recipients + 1)
        if known.recipients:
            run(self._policy.decide(Stage.MESSAGE, known._replace(message_octets=1000)))

    def rows(self) -> list[RecordedSession]:
        """What the store gives back."""
        return [
            RecordedSession(row.decided, row.session, row.service, row.client, self.logins, json.loads(row.record))
            for row in encode(self.history.take(), lambda client: client)
        ]


def asked(recorded: Recorded, settings: PolicySettings = SETTINGS, **service: Any) -> Replay:
    """What a configuration makes of it, with these values of its service."""
    replay = Replay(
        replace(settings, services=(replace(settings.services[0], **service),)), recorded.directory, examples=2
    )
    for row in recorded.rows():
        run(replay.ask(row))
    return replay


class HistoryTests(SynchronousTestCase):
    """What is noted and how it is written."""

    def test_a_row_for_each_session(self) -> None:
        """Facts stand with the decision before which they changed; the verdict has the configuration's number."""
        recorded = Recorded()
        recorded.session("S1", "a@b.example", "alice@example.test")
        recorded.session("S2", "", "x@elsewhere.example", tls=TLSInfo("TLSv1.3", "x", 256))
        rows = encode(recorded.history.take(), str.upper)
        self.assertEqual((rows[0].session, rows[0].client, rows[0].address), ("S1", "203.0.113.9", "203.0.113.9"))
        first, second = (json.loads(row.record) for row in rows)
        self.assertEqual(
            [(decision["stage"], decision["facts"]) for decision in first["decisions"]],
            [
                ("connect", {}),
                ("hello", {"helo": "c.outside.example"}),
                ("sender", {"mail_from": "a@b.example"}),
                ("recipient", {"rcpt_to": "alice@example.test"}),
                ("message", {"rcpt_to": None, "recipients": 1, "message_octets": 1000}),
            ],
        )
        self.assertEqual(first["decisions"][3]["verdict"]["number"], 7)
        self.assertEqual(second["decisions"][1]["facts"], {"helo": "c.outside.example", "tls": True})
        self.assertEqual(second["decisions"][2]["facts"], {"mail_from": ""})
        self.assertEqual(second["decisions"][3]["verdict"]["reply"], "554 5.7.1 Relay Access Denied")

    def test_no_login_names(self) -> None:
        """What somebody typed as a name may be a password."""
        history = DecisionHistory()
        verdict = Verdict(Opinion.PERMIT, "nobody", "")
        history.note(Stage.LOGIN, Facts(make_connection(), NOW, login="hunter2", mechanism="PLAIN"), verdict)
        (row,) = encode(history.take(), str)
        self.assertIsInstance(row, DecisionRow)
        self.assertNotIn("hunter2", row.record)

    def test_bounded(self) -> None:
        """Past the bound decisions are counted and dropped."""
        history = DecisionHistory(most=2)
        verdict = Verdict(Opinion.PERMIT, "nobody", "")
        for _ in range(5):
            history.note(Stage.CONNECT, Facts(make_connection(), NOW), verdict)
        self.assertEqual((len(history.take()), history.dropped), (2, 3))
        self.assertEqual(history.take(), [])


class ReplayTests(SynchronousTestCase):
    """Differences."""

    def recorded(self) -> Recorded:
        """A stranger writes to Alice and to the world; Alice relays after POP3, and with AUTH from elsewhere."""
        recorded = Recorded()
        recorded.session("S1", "a@b.example", "alice@example.test", "x@elsewhere.example")
        recorded.log_in("198.51.100.1", 60)
        recorded.session("S2", "alice@example.test", "x@elsewhere.example", client="198.51.100.1")
        recorded.session("S3", "alice@example.test", "x@elsewhere.example", account=ALICE)
        return recorded

    def test_the_same_configuration_changes_nothing(self) -> None:
        """Every decision comes out as it was."""
        difference = asked(self.recorded()).difference
        self.assertEqual((difference.sessions, difference.changed, difference.not_reached), (3, 0, 0))
        self.assertEqual(difference.same, difference.decisions)

    def test_a_switch_turned_off(self) -> None:
        """The recipients that it let in would be refused; the examples show them."""
        difference = asked(self.recorded(), relay=MailtraqRelay(auth=True)).difference
        # Without POP-before-SMTP her own address is one of ours from outside.
        kind = Kind("test", "sender", "permit", "nobody", "refuse", "local_sender")
        self.assertEqual({kind: 1}, {kind: change.count for kind, change in difference.changes.items()})
        (example,) = difference.changes[kind].examples
        self.assertEqual((example["client"], example["mail_from"]), ("198.51.100.1", "alice@example.test"))
        self.assertEqual(difference.not_reached, 2)

    def test_a_window_made_shorter_or_longer(self) -> None:
        """The clocks of the new configuration run from the login as it was."""
        short = replace(SETTINGS, recent_login=RecentLoginSettings(exclude=(), relay_seconds=30))
        self.assertEqual(asked(self.recorded(), short).difference.changed, 1)
        recorded = Recorded()
        recorded.log_in("198.51.100.1", 400)
        recorded.session("S1", "alice@example.test", "x@elsewhere.example", client="198.51.100.1")
        long = replace(SETTINGS, recent_login=RecentLoginSettings(exclude=(), relay_seconds=600))
        (kind,) = asked(recorded, long).difference.changes
        self.assertEqual((kind.before_by, kind.after), ("local_sender", "permit"))

    def test_what_would_be_let_in(self) -> None:
        """A stranger's mail that was refused and would go out."""
        difference = asked(self.recorded(), relay=MailtraqRelay(always_to=entries(["*@elsewhere.example"]))).difference
        kind = Kind("test", "recipient", "refuse", "relay", "permit", "relay: always_to")
        self.assertEqual(difference.changes[kind].count, 1)

    def test_barring(self) -> None:
        """Server-wide lists too; what follows a refused sender is not reached."""
        barred = replace(SETTINGS, barring=BarringSettings(senders=entries(["*@b.example"])))
        difference = asked(self.recorded(), barred).difference
        (kind,) = difference.changes
        self.assertEqual((kind.stage, kind.after_by), ("sender", "barring"))
        self.assertEqual(difference.not_reached, 3)

    def test_access(self) -> None:
        """A session that would end at once; the rest of it is not reached."""
        difference = asked(self.recorded(), access="granted_except", firewall=entries(["203.0.113.*"])).difference
        (kind,) = difference.changes
        self.assertEqual((kind.stage, kind.after, difference.changes[kind].count), ("connect", "refuse", 2))
        closed = asked(
            self.recorded(), access="granted_except", firewall=entries(["203.0.113.*"]), refuse="close"
        ).difference
        self.assertEqual([kind.after for kind in closed.changes], ["close"])

    def test_what_is_of_the_moment(self) -> None:
        """Bans are left out; what a DNS list said is kept while the new configuration asks DNS lists."""
        banning = replace(
            SETTINGS,
            services=(
                replace(SETTINGS.services[0], tarpit=TarpitSettings(block_after_failed_recipients=1)),
            ),
        )
        recorded = Recorded(banning)
        recorded.session("S1", "a@b.example", "nobody@example.test")
        recorded.session("S2", "a@b.example", "alice@example.test")
        difference = asked(recorded).difference
        self.assertEqual((difference.changed, difference.left_out), (0, 1))

        listed = Recorded()
        mark = frozenset({"blacklisted 203.0.113.9 in zen.example"})
        facts = Facts(make_connection(), NOW, reverse_path=path("a@b.example"), marks=mark)
        facts = facts._replace(forward_path=ForwardPath(parse_address("alice@example.test")))
        listed.history.note(Stage.RECIPIENT, facts, Verdict(Opinion.REFUSE, "lists", "blacklisted"))
        rows = listed.rows()
        for zones, changed in ((("zen.example",), 0), ((), 1)):
            service = replace(SETTINGS.services[0], lists=ListsSettings(dns_black=zones))
            replay = Replay(replace(SETTINGS, services=(service,)), listed.directory)
            run(replay.ask(rows[0]))
            self.assertEqual(replay.difference.changed, changed, zones)

    def test_an_account_that_is_gone(self) -> None:
        """Is counted and left out."""
        recorded = self.recorded()
        recorded.directory.accounts.clear()
        recorded.logins = ()
        self.assertGreater(asked(recorded).difference.without_account, 0)

    def test_a_session_in_several_rows(self) -> None:
        """A session that was written down in pieces is one."""
        recorded = Recorded()
        replay = Replay(SETTINGS, recorded.directory)
        for sender in ("a@b.example", "c@d.example"):
            recorded.session("S1", sender, "alice@example.test")
            (row,) = recorded.rows()
            run(replay.ask(row))
        self.assertEqual((replay.difference.sessions, replay.difference.changed), (1, 0))
