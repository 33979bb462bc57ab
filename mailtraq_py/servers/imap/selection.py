"""
The selected mailbox of a session: the store's mailbox, this client's view of it, and whether there is news.

The hub's hints only say up to where there is news; what changed is read when the client may be told (`refresh`), from
the view's own MODSEQ on. So a hint may come twice, late or merged.

RFC 3501 3.3, 5.2
"""

from __future__ import annotations

from collections.abc import Callable

from mailtraq_py.interfaces.store import IChangeHub, IMailbox, MailboxStatus
from mailtraq_py.mail.changes import Change, MailboxChanged, MailboxGone
from mailtraq_py.mail.uidset import EMPTY
from mailtraq_py.wire.imap.view import View


class Selection:
    """
    One selected mailbox. Make it with `Selection.open`, end it with `close`.

    `examined`: EXAMINE opened it; `read_only`: so it was, or it holds deleted messages. `gone`: it was deleted.
    """

    __slots__ = ("_newest", "_news", "_unwatch", "examined", "gone", "mailbox", "read_only", "view")

    def __init__(self, mailbox: IMailbox, examined: bool, news: Callable[[], None]) -> None:
        self.mailbox = mailbox
        self.examined = examined
        self.read_only = examined or mailbox.read_only
        self.view = View(EMPTY, 0, 1)
        self.gone = False
        self._newest = 0
        self._news = news
        self._unwatch: Callable[[], None] | None = None

    async def open(self, hub: IChangeHub) -> MailboxStatus:
        """Read the mailbox; changes from this instant on are heard of."""
        self._unwatch = hub.watch_mailbox(self.mailbox.id, self._heard)
        try:
            status, uids = await self.mailbox.select(not self.read_only)
        except BaseException:
            self.close()
            raise
        self.view = View(uids, status.highest_mod_seq, status.first_recent)
        return status

    def close(self) -> None:
        """Hear no more."""
        if self._unwatch is not None:
            unwatch, self._unwatch = self._unwatch, None
            unwatch()

    async def refresh(self) -> None:
        """
        Take over what changed. Only the view learns it; telling the client is another matter.

        Raises:
            NoSuchMailbox: it was deleted.
            TemporaryFailure: it stays stale.
        """
        while self.stale:
            newest, self._newest = self._newest, 0
            try:
                delta = await self.mailbox.changes(self.view.mod_seq)
            except BaseException:
                self._newest = max(newest, self._newest)
                raise
            self.view.absorb(delta)

    @property
    def stale(self) -> bool:
        """Whether the store has more than the view."""
        return self._newest > self.view.mod_seq

    def _heard(self, change: Change) -> None:
        match change:
            case MailboxChanged() if change.mod_seq > self.view.mod_seq:
                self._newest = max(self._newest, change.mod_seq)
                self._news()
            case MailboxGone():
                self.gone = True
                self._news()
