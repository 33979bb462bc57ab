"""
An operation in a transaction of its own, until it is known what came of it; acceptances that wait share one.

    begin          READ COMMITTED; functions in sql/ lock what they count on. SERIALIZABLE where nothing could be locked
    function       out of sql/, which has no effect outside the database, so it may run again
    notices        what it changed, in the same transaction, with its number
    commit

    ended for the sake of another one (40001, 40P01, 23505)   again, after a pause that differs, RUNS_MAX times
    connection lost before the commit was sent                nothing has happened: again
    connection lost after that                                the database is asked by the transaction's number

Who is told TemporaryFailure because the answer never came may ask again: acceptances carry an id that is found.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure

from ..operations import TOGETHER, WRITES
from ..sql.notices import add_shared_notices
from ..sql.rows import Written
from ..writer import Outcome
from .dialect import begin, failure, is_lasting, may_run_again
from .link import Connect, Link, Numbers, PostgresCursor

RUNS_MAX = 12

_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.25
_ASKED_TIMES = 20


class _Unknown(Exception):
    """The commit was sent and its answer did not come. `number` is the transaction's, 0 when it told nothing."""

    def __init__(self, number: int, outcomes: list[Outcome]) -> None:
        super().__init__()
        self.number = number
        self.outcomes = outcomes


class Transactions:
    """
    Runs operations on a connection of its own, one at a time.

    Args:
        connect: makes a connection.
        numbers: where keys come from.
        origin: this process's name in notices.
        clock: seconds since the epoch.
        distrust: called where the database's word is not to be taken any more.
        sleep: waits between two runs, in seconds.
    """

    log = Logger()

    def __init__(
        self,
        connect: Connect,
        numbers: Numbers,
        origin: str,
        clock: Callable[[], float],
        distrust: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._numbers = numbers
        self._origin = origin
        self._clock = clock
        self._distrust = distrust
        self._sleep = sleep
        self._link: Link | None = None

    def execute(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Outcome]:
        """
        Run an operation; what succeeded is durable when this returns. Never raises for what the database did.

        Args:
            calls: the arguments; those of several only where they can share statements (`operations.TOGETHER`).

        Returns:
            what each call came to.
        """
        outcome = self._until_known(name, calls)
        if isinstance(outcome, list):
            return outcome
        if len(calls) == 1:
            return [outcome]
        return [single for call in calls for single in self.execute(name, [call])]

    def _until_known(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Outcome] | Exception:
        """What each call came to, or why nothing of all of them has happened, or may not have."""
        for run in range(1, RUNS_MAX + 1):
            try:
                return self._run(name, calls)
            except _Unknown as unknown:
                outcomes = self._ask(name, unknown)
                if outcomes is not None:
                    return outcomes
            except psycopg.Error as error:
                if is_lasting(error):
                    self._distrust(type(error).__name__)
                lost = self._link is None or self._link.closed
                if run == RUNS_MAX or not (may_run_again(error) or (lost and run <= 2)):
                    return failure(error)
            except Exception as error:  # noqa: BLE001 - its caller hears it
                return error
            pause = min(_PAUSE_SECONDS * 2**run, _LONGEST_PAUSE_SECONDS)
            self._sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that two do not meet again
        return TemporaryFailure("database: the operation met others too often")

    def close(self) -> None:
        """Close the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _run(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Outcome]:
        link = self._link
        if link is None or link.closed:
            link = self._link = self._connect()
        link.execute(begin(name).encode())
        try:
            cursor = PostgresCursor(link, self._numbers)
            outcomes: list[Outcome] = []
            outcomes += TOGETHER[name](cursor, calls) if len(calls) > 1 else [WRITES[name](cursor, *calls[0])]
            changes = [change for each in outcomes if isinstance(each, Written) for change in each.changes]
            number = add_shared_notices(cursor, self._origin, self._clock(), changes)
        except BaseException:
            self._roll_back(link)
            raise
        try:
            link.execute(b"COMMIT")
        except psycopg.Error as error:
            if link.closed:
                raise _Unknown(number, outcomes) from error
            raise
        return outcomes

    def _roll_back(self, link: Link) -> None:
        if not link.closed:
            try:
                link.execute(b"ROLLBACK")
            except psycopg.Error:
                link.close()

    def _ask(self, name: str, unknown: _Unknown) -> list[Outcome] | None:
        """What became of a transaction whose answer is lost, None when nothing of it has happened."""
        self.log.warn("commit-unanswered", event="commit-unanswered", operation=name, transaction=unknown.number)
        for _ in range(_ASKED_TIMES if unknown.number else 0):
            try:
                self._link = self._connect()
                rows = self._link.execute(
                    "SELECT pg_xact_status(CAST(CAST($1 AS TEXT) AS xid8))", (str(unknown.number),)
                ).fetchall()
            except psycopg.Error:
                self._sleep(_LONGEST_PAUSE_SECONDS)
                continue
            if rows[0][0] == "committed":
                return unknown.outcomes
            if rows[0][0] == "aborted":
                return None
            self._link.close()
            self._sleep(_LONGEST_PAUSE_SECONDS)
        lost = TemporaryFailure("database: the connection was lost, and it is not known whether it was done")
        return [lost for _ in unknown.outcomes]
