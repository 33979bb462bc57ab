"""
What was decided, kept for `mailtraq policy diff`: noted in memory, written by and by.

    Policy.decide -> DecisionHistory.note     an append; nothing else on the way of a command
    every second  -> take -> encode           in another thread: a row for each session, facts told once
                  -> IDecisionRows.write      one transaction

Names that were given at a login are not kept, nor is anything of a message; passwords are in no Facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from mailtraq_py.interfaces.policy import Facts, Stage, Verdict
from mailtraq_py.interfaces.store import DecisionRow

Decision = tuple[Stage, Facts, Verdict]

_WAITING_MAX = 50_000

_json = msgspec.json.Encoder()


class DecisionHistory:
    """Decisions that wait to be written; past a bound they are counted and dropped."""

    def __init__(self, most: int = _WAITING_MAX) -> None:
        self.dropped = 0
        self._most = most
        self._waiting: list[Decision] = []

    def note(self, stage: Stage, facts: Facts, verdict: Verdict) -> None:
        """Keep one."""
        if len(self._waiting) < self._most:
            self._waiting.append((stage, facts, verdict))
        else:
            self.dropped += 1

    def take(self) -> list[Decision]:
        """All that wait, in the order they were made."""
        taken, self._waiting = self._waiting, []
        return taken


def encode(decisions: Iterable[Decision], row_address: Callable[[str], str]) -> list[DecisionRow]:
    """
    A row for each session.

    Args:
        row_address: under which address a client's recent logins are kept.
    """
    sessions: dict[str, list[Decision]] = {}
    for decision in decisions:
        sessions.setdefault(decision[1].connection.session_id, []).append(decision)
    return [_encode_session(session, made, row_address) for session, made in sessions.items()]


def _encode_session(session: str, made: list[Decision], row_address: Callable[[str], str]) -> DecisionRow:
    first = made[0][1]
    connection = first.connection
    told: dict[str, Any] = {}
    decided = []
    for stage, facts, verdict in made:
        known = _plain(facts)
        # A fact stands with the decision before which it changed, None where it is no more.
        changed = {name: known.get(name) for name in {*known, *told} if known.get(name) != told.get(name)}
        told = known
        decided.append({"stage": stage.value, "now": facts.now, "facts": changed, "verdict": _verdict(verdict)})
    record = {
        "protocol": connection.protocol.value,
        "role": connection.role.value,
        "local": connection.local,
        "accepted": connection.accepted,
        "decisions": decided,
    }
    text = _json.encode(record).decode()
    return DecisionRow(
        first.now, session, connection.service, connection.client, row_address(connection.client), text
    )


def _plain(facts: Facts) -> dict[str, Any]:
    """What is known, without what is not."""
    known = {
        "tls": facts.tls is not None or None,
        "helo": facts.helo,
        "mechanism": facts.mechanism,
        "account": None if facts.account is None else facts.account.address,
        "mail_from": None if facts.reverse_path is None else str(facts.reverse_path),
        "rcpt_to": None if facts.forward_path is None else str(facts.forward_path),
        "recipients": facts.recipients or None,
        "failed_recipients": facts.failed_recipients or None,
        "message_octets": facts.message_octets,
        "marks": sorted(facts.marks) or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _verdict(verdict: Verdict) -> Mapping[str, Any]:
    told: dict[str, Any] = {
        "opinion": verdict.opinion.value,
        "by": verdict.check,
        "reason": verdict.reason,
        "number": verdict.number,
    }
    if verdict.reply is not None:
        told["reply"] = str(verdict.reply)
    if verdict.close:
        told["close"] = True
    return told
