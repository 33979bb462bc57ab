"""
IDLE: what happens to the mailbox is told as it happens.

A hint of the hub makes the session read what changed and tell it, in its turn; hints that come meanwhile are merged.
Every `renew_seconds` a line is sent to keep the way open. Where the peer's TCP has acknowledged the one before, the
client is still there, and its row of the recent-login whitelist is renewed.

RFC 2177
"""

from __future__ import annotations

import fcntl
import termios
from struct import unpack
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailtraq_py.wire.imap import commands, responses

from .dialogue import GONE, Dialogue

STILL_HERE = responses.untagged("OK", "still here")


class Idle:
    """One IDLE under way."""

    __slots__ = ("_call", "_dialogue", "_ended", "_telling")

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._telling = False
        self._ended = False
        self._call: IDelayedCall = self._later()

    def news(self) -> None:
        """See `Idling`."""
        if not self._telling and not self._ended:
            self._telling = True
            self._dialogue.around.turns.add(self._begin)

    def end(self) -> None:
        """See `Idling`."""
        self._ended = True
        if self._call.active():
            self._call.cancel()

    def _begin(self) -> None:
        if not self._ended:
            Deferred.fromCoroutine(self._tell()).addErrback(self._failed)

    async def _tell(self) -> None:
        dialogue = self._dialogue
        try:
            news = await dialogue.read_news()
        finally:
            self._telling = False
        selection = dialogue.selection
        if self._ended or selection is None:
            return
        if selection.gone:
            dialogue.farewell(GONE, reason="mailbox deleted")
        elif news:
            dialogue.core.send(dialogue.news_told(expunges=True))
            dialogue.driver.wake()

    def _failed(self, failure: Failure) -> None:
        self._dialogue.log.failure(
            "local error while idling",
            failure,
            event="local-error",
            session=self._dialogue.connection.session_id,
        )
        self._dialogue.driver.close("local error")

    def _later(self) -> IDelayedCall:
        return self._dialogue.around.reactor.callLater(self._dialogue.settings.renew_seconds, self._look)

    def _look(self) -> None:
        """The keep-alive."""
        self._call = self._later()
        dialogue = self._dialogue
        if not unacknowledged_octets(dialogue.driver.transport):
            dialogue.renew()
        dialogue.core.send(STILL_HERE)
        dialogue.driver.wake()
        self.news()


def idle(dialogue: Dialogue, command: commands.Idle) -> None:
    """RFC 2177 3"""
    dialogue.core.continue_with(b"idling")
    dialogue.idle = under_way = Idle(dialogue)
    if dialogue.selection is not None:
        under_way.news()


async def end_idle(dialogue: Dialogue, line: bytes) -> None:
    """The client's line: DONE."""
    end(dialogue)
    if line.upper() == b"DONE":
        await dialogue.done("done")
    else:
        dialogue.core.bad("expected DONE")


def end(dialogue: Dialogue) -> None:
    """Leave IDLE, however."""
    under_way, dialogue.idle = dialogue.idle, None
    if under_way is not None:
        under_way.end()


def unacknowledged_octets(transport: Any) -> int:
    """How many octets that were sent the peer's TCP has not acknowledged; 0 where that cannot be asked."""
    fileno = getattr(transport, "fileno", None)
    if fileno is None:
        return 0
    try:
        (octets,) = unpack("i", fcntl.ioctl(fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:  # no socket, or closed
        return 0
    return int(octets)
