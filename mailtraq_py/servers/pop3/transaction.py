"""
POP3 after the login: the commands on a maildrop.

A response leaves in one write where it fits into PIECE_OCTETS. Longer messages go piece by piece, each after the one
before has left our buffers.

RFC 1939 5, 6, 7
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from twisted.logger import Logger

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import ContentRef, IContent
from mailtraq_py.servers.driver import Driver
from mailtraq_py.wire.pop3.commands import Dele, List, Plain, Retr, Top, Uidl
from mailtraq_py.wire.pop3.server import POP3Server

from .maildrop import Maildrop

PIECE_OCTETS = 256 * 1024
_FOLLOWS = "Message follows"
LINE_OCTETS = 128  # a guess, by which TOP decides how much to read at once


class Transaction:
    """
    The TRANSACTION state of one session.

    Args:
        core: the session's.
        driver: the session's.
        maildrop: INBOX at the login.
        content: the octets of messages.

    `retrieved` and `removed` count messages for the log.
    """

    log = Logger()

    def __init__(self, core: POP3Server, driver: Driver, maildrop: Maildrop, content: IContent) -> None:
        self.maildrop = maildrop
        self.retrieved = 0
        self.removed = 0
        self._core = core
        self._driver = driver
        self._content = content

    def handle(self, event: Any) -> Awaitable[None] | None:
        """Answer a command of this state."""
        return _ANSWERS[event if type(event) is Plain else type(event)](self, event)

    async def update(self) -> bool:
        """The UPDATE state (RFC 1939 6): delete what is marked; whether that is done and durable."""
        try:
            self.removed = await self.maildrop.commit()
        except TemporaryFailure as failure:
            self._log_failure(failure)
            return False
        return True

    def _stat(self, _: Plain) -> None:
        self._core.ok(f"{self.maildrop.count} {self.maildrop.total_octets}")

    def _noop(self, _: Plain) -> None:
        self._core.ok("Nothing done")

    def _rset(self, _: Plain) -> None:
        self.maildrop.unmark_all()
        self._core.ok(f"{self.maildrop.count} messages, {self.maildrop.total_octets} octets")

    def _dele(self, command: Dele) -> None:
        if self._has(command.number):
            self.maildrop.mark(command.number)
            self._core.ok("Marked")

    def _list(self, command: List) -> Awaitable[None] | None:
        if command.number is None:
            drop = self.maildrop
            return self._send_lines(f"{drop.count} messages, {drop.total_octets} octets", drop.size_lines())
        if self._has(command.number):
            self._core.ok(f"{command.number} {self.maildrop.size(command.number)}")
        return None

    def _uidl(self, command: Uidl) -> Awaitable[None] | None:
        if command.number is None:
            return self._send_lines("Unique-ids follow", self.maildrop.unique_id_lines())
        if self._has(command.number):
            self._core.ok(f"{command.number} {self.maildrop.unique_id(command.number)}")
        return None

    async def _send_lines(self, text: str, pieces: Iterator[bytes]) -> None:
        self._core.begin_lines(text)
        for number, piece in enumerate(pieces):
            if number:
                await self._driver.drained()
            self._core.add_lines(piece)
        self._core.end_lines()

    def _retr(self, command: Retr) -> Awaitable[None] | None:
        octets = self.maildrop.octets_at_hand(command.number)
        if octets is None:
            return self._retrieve(command)
        self._core.begin_lines(_FOLLOWS)
        self._core.add_message(octets)
        self._core.end_lines()
        self.retrieved += 1
        return None

    async def _retrieve(self, command: Retr) -> None:
        found = await self._find(command.number)
        if found is not None:
            content, _ = found
            self.retrieved += await self._send_message(content, content.total_octets, 0)

    async def _top(self, command: Top) -> None:
        found = await self._find(command.number)
        if found is not None:
            await self._send_message(*found, command.lines)

    async def _find(self, number: int) -> tuple[ContentRef, int] | None:
        """Where the message is; None, and the command is answered, when it is not there."""
        if not self._has(number):
            return None
        try:
            found = await self.maildrop.find_content(number)
        except TemporaryFailure as failure:
            self._fail(failure)
            return None
        if found is None:
            self._core.error("No such message any more")
        return found

    async def _send_message(self, content: ContentRef, octets: int, lines: int) -> bool:
        """Send the first octets of a message and then some lines of the rest; whether that was done."""
        offset = 0
        while True:
            wanted = octets - offset if offset < octets else 0
            try:
                piece = await self._content.read(content, offset, min(PIECE_OCTETS, wanted + LINE_OCTETS * lines))
                if not piece and offset < min(octets, content.total_octets):
                    raise TemporaryFailure("content is shorter than its row says")
            except TemporaryFailure as failure:
                self._fail(failure)
                return False
            if offset:
                await self._driver.drained()
            else:
                self._core.begin_lines(_FOLLOWS)
            offset += len(piece)
            sent, lines = _cut_lines(piece, wanted, lines)
            self._core.add_message(sent)
            if not piece or offset >= content.total_octets or (offset >= octets and not lines):
                self._core.end_lines()
                return True

    def _has(self, number: int) -> bool:
        """Whether the message is there; the command is answered when it is not."""
        if number in self.maildrop:
            return True
        self._core.error("No such message")
        return False

    def _fail(self, failure: TemporaryFailure) -> None:
        self._log_failure(failure)
        if self._core.mid_response:
            # No reply can say so in the middle of a message; without its end the client knows that it is not whole.
            self._driver.close("store failed in the middle of a response")
        else:
            self._core.error("Try again later", "SYS/TEMP")

    def _log_failure(self, failure: TemporaryFailure) -> None:
        session = self._driver.connection.session_id
        self.log.warn("pop3-failure", event="pop3-failure", session=session, reason=failure.reason)


def _cut_lines(piece: bytes, start: int, lines: int) -> tuple[bytes, int]:
    """
    Cut a piece behind so many lines from an offset on.

    Returns:
        what stays, and how many of the lines are still wanting.
    """
    found = piece.count(b"\n", start)
    if found < lines or start >= len(piece):
        return piece, lines - found
    rest = piece[start:].split(b"\n", lines)[lines] if lines else piece[start:]
    return piece[: len(piece) - len(rest)], 0


_ANSWERS: dict[Any, Callable[[Transaction, Any], Awaitable[None] | None]] = {
    Plain.STAT: Transaction._stat,
    Plain.NOOP: Transaction._noop,
    Plain.RSET: Transaction._rset,
    Dele: Transaction._dele,
    List: Transaction._list,
    Uidl: Transaction._uidl,
    Retr: Transaction._retr,
    Top: Transaction._top,
}
