"""
What the handlers of all states share: the core, the driver, who is logged in, what is selected.

A handler is a function of (dialogue, command). It sends untagged responses and ends with exactly one tagged reply:
`done`, which also tells the news, or `core.no` and `core.bad`. Failures of the store may pass through it; `refused`
turns them into replies.

RFC 3501 7.1, RFC 5530 3
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailtraq_py.interfaces.connection import Connection
from mailtraq_py.interfaces.directory import Account
from mailtraq_py.interfaces.failures import (
    MailboxExists,
    MailboxNotAllowed,
    NoSuchMailbox,
    OverQuota,
    StorageFull,
    TemporaryFailure,
)
from mailtraq_py.interfaces.policy import Facts
from mailtraq_py.interfaces.store import IMailboxes, ISpool, NewMessage
from mailtraq_py.wire.imap import responses
from mailtraq_py.wire.imap.commands import Append, AppendNext
from mailtraq_py.wire.imap.server import IMAPServer
from mailtraq_py.wire.imap.states import State
from mailtraq_py.wire.sasl import Mechanism

from ..driver import ConnectionEnded, Driver
from .selection import Selection
from .settings import IMAPServiceSettings, IMAPSurroundings

COMMANDS_BEFORE_LOGIN_MAX = 100
GONE = "the selected mailbox was deleted"

EXPECTED_FAILURES = (TemporaryFailure, OverQuota, NoSuchMailbox, MailboxExists, MailboxNotAllowed)


class Appending:
    """
    The messages of an APPEND under way: those that are whole, and in `spool` the one that comes.

    `octets` counts all of them; `failure` is what became of the last one before its end.
    """

    __slots__ = ("command", "failure", "message", "messages", "octets", "spool")

    def __init__(self, command: Append, spool: ISpool) -> None:
        self.command = command
        self.messages: list[NewMessage] = []
        self.failure: TemporaryFailure | None = None
        self.octets = 0
        self.begin(command, spool)

    def begin(self, message: Append | AppendNext, spool: ISpool) -> None:
        """Another message comes."""
        self.message = message
        self.spool = spool
        self.octets += message.octets

    def discard(self) -> None:
        """Let go of all spools; what is stored stays stored."""
        for spool in (self.spool, *(message.spool for message in self.messages)):
            spool.discard()


class Idling(Protocol):
    """An IDLE under way (`idle.py`)."""

    def news(self) -> None:
        """The store has news for the selected mailbox."""
        ...

    def end(self) -> None:
        """Tell nothing any more."""
        ...


class Dialogue:
    """
    One session's state.

    Args:
        settings: of the service.
        around: what the session asks.
        connection: its facts.
    """

    log = Logger()

    __slots__ = (
        "account",
        "appending",
        "around",
        "commands_before_login",
        "condstore",
        "connection",
        "core",
        "driver",
        "failed_logins",
        "idle",
        "logged_in",
        "mechanism",
        "own_mailboxes",
        "qresync",
        "renew_at",
        "selection",
        "settings",
        "unwatch_account",
    )

    def __init__(self, settings: IMAPServiceSettings, around: IMAPSurroundings, connection: Connection) -> None:
        self.core = IMAPServer(settings.max_literal_octets)
        self.settings = settings
        self.around = around
        self.connection = connection
        self.driver: Driver
        self.commands_before_login = 0
        self.failed_logins = 0
        self.mechanism: Mechanism | None = None
        self.account: Account | None = None
        self.logged_in = 0.0
        self.renew_at = 0.0
        self.own_mailboxes: IMailboxes | None = None
        self.unwatch_account: Callable[[], None] | None = None
        self.selection: Selection | None = None
        self.appending: Appending | None = None
        self.idle: Idling | None = None
        # What the client has enabled, until it leaves (RFC 7162 3.1, 3.2.3).
        self.condstore = False
        self.qresync = False

    # -- facts -----------------------------------------------------------------------------------------

    @property
    def mailboxes(self) -> IMailboxes:
        """The account's; handlers that ask for them run only after login."""
        if self.own_mailboxes is None:
            raise RuntimeError("nobody is logged in")
        return self.own_mailboxes

    @property
    def selected(self) -> Selection:
        """
        The selection; handlers that ask for it run only in the selected state.

        Raises:
            ConnectionEnded: after a wait, when the connection, and the selection with it, has ended meanwhile.
        """
        if self.selection is None:
            self.must_be_there()
            raise RuntimeError("no mailbox is selected")
        return self.selection

    def facts(self) -> Facts:
        """For policy."""
        return Facts(self.connection, self.around.now(), self.driver.tls, account=self.account)

    # -- replies ---------------------------------------------------------------------------------------

    async def done(self, words: str, code: str = "", *, expunges: bool = True, with_uid: bool = False) -> None:
        """
        Tell what is new in the selected mailbox, and that the command is done.

        Args:
            words: for people.
            code: a response code without brackets.
            expunges: whether EXPUNGE may be told with this command's reply (RFC 3501 7.4.1).
            with_uid: whether flags are told with UIDs.
        """
        await self.tell(expunges, with_uid)
        self.core.ok(words, code)
        self.end_if_gone()

    async def tell(self, expunges: bool, with_uid: bool = False) -> None:
        """Tell what is new in the selected mailbox."""
        if await self.read_news():
            self.core.send(self.news_told(expunges, with_uid))

    def news_told(self, expunges: bool, with_uid: bool = False) -> bytes:
        """What the view has to tell, in the forms that the client has enabled."""
        view = self.selected.view
        octets = view.tell(expunges, with_uid, self.condstore, self.qresync)
        if self.qresync and view.has_news:
            # MODSEQs above those of EXPUNGEs that may not be told yet: the client must not take them for all.
            octets += responses.untagged("OK", "more is to come", f"HIGHESTMODSEQ {view.heard_mod_seq}")
        return octets

    def enable_condstore(self) -> None:
        """A command of RFC 7162 came; the first one is told where the selected mailbox stands (RFC 7162 3.1)."""
        if not self.condstore:
            self.condstore = True
            if self.selection is not None:
                code = f"HIGHESTMODSEQ {self.selection.view.heard_mod_seq}"
                self.core.send(responses.untagged("OK", "mod-sequences are told from now on", code))

    async def read_news(self) -> bool:
        """
        Bring the view up to date; whether there is anything to tell. What cannot be read now is told later; a mailbox
        that was deleted is `gone`.
        """
        selection = self.selection
        if selection is None:
            return False
        if selection.stale and not selection.gone:
            try:
                await selection.refresh()
            except TemporaryFailure as failure:
                self.log_failure(failure)
            except NoSuchMailbox:
                selection.gone = True
        return selection.view.has_news

    def end_if_gone(self) -> None:
        """There is no way back to a numbering once the mailbox is gone: the client has to connect again."""
        if self.selection is not None and self.selection.gone:
            self.deselect()
            self.core.bye(GONE, reason="mailbox deleted")

    def refused(self, failure: Exception) -> None:
        """Answer the command under way with what a failure means to the client."""
        match failure:
            case StorageFull():
                self.log_failure(failure)
                self.core.no("no room for this now", "OVERQUOTA")
            case TemporaryFailure():
                self.log_failure(failure)
                self.core.no("try again later", "UNAVAILABLE")
            case OverQuota():
                self.core.no("quota exceeded", "OVERQUOTA")
            case NoSuchMailbox():
                self.core.no("no such mailbox", "NONEXISTENT")
            case MailboxExists():
                self.core.no("a mailbox of this name exists", "ALREADYEXISTS")
            case _:
                self.core.no("this cannot be done with this mailbox", "CANNOT")
        self.end_if_gone()

    async def breathe(self) -> None:
        """Send what there is, wait while the client is slow, and let the others have their turn when it is time."""
        await self.driver.breathe()

    def must_be_there(self) -> None:
        """
        After a wait, before anything is kept that only `ended` would let go.

        Raises:
            ConnectionEnded: the connection is closing, and `ended` may have been called already.
        """
        if self.driver.closing:
            raise ConnectionEnded

    def log_failure(self, failure: TemporaryFailure) -> None:
        """The outside failed for now."""
        self.log.warn(
            "failed-for-now", event="failed-for-now", session=self.connection.session_id, reason=failure.reason
        )

    def news(self) -> None:
        """The selected mailbox has news; between commands nothing may be told unless the client idles."""
        if self.idle is not None:
            self.idle.news()

    def counts_as_too_many(self) -> bool:
        """Count a command before login; whether it was one too many, and was answered so."""
        self.commands_before_login += 1
        if self.commands_before_login <= COMMANDS_BEFORE_LOGIN_MAX:
            return False
        self.mechanism = None
        self.core.bad("log in first")
        self.core.bye("too many commands before login")
        return True

    # -- the session's ways ----------------------------------------------------------------------------

    def deselect(self) -> None:
        """End the selection."""
        if self.selection is not None:
            self.selection.close()
            self.selection = None
        self.core.view = None
        if self.core.state is State.SELECTED:
            self.core.state = State.AUTHENTICATED

    def farewell(self, words: str, code: str = "", reason: str = "") -> None:
        """
        End the connection from outside a command. In the middle of an answer nothing can be said any more: the octets
        would be taken for part of it.
        """
        if not self.core.is_answering or self.idle is not None:
            self.core.bye(words, code, reason)
        self.driver.close(reason or words)

    def renew(self) -> None:
        """The client still lives: move its row of the whitelist, when it is time."""
        now = self.around.now()
        if self.account is None or now < self.renew_at:
            return
        self.renew_at = now + self.settings.renew_seconds
        renewal = self.around.recent.renew(
            self.connection, self.account, self.driver.tls is not None, self.logged_in
        )
        Deferred.fromCoroutine(renewal).addErrback(self._not_renewed)

    def _not_renewed(self, failure: Failure) -> None:
        if isinstance(failure.value, TemporaryFailure):
            self.log_failure(failure.value)
        else:
            self.log.failure("renewal failed", failure, event="local-error", session=self.connection.session_id)
