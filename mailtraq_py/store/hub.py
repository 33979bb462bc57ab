"""
The hub: changes out of the store to who listens, after commit, in the order of commits.

This process's own commits come from `Database`; those of other processes are read from their notices (`NoticeReader`)
when SQLite says that somebody else committed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from mailtraq_py.interfaces.failures import TemporaryFailure
from mailtraq_py.interfaces.store import IChangeHub
from mailtraq_py.mail.changes import (
    AccountRevoked,
    Change,
    MailboxChanged,
    MailboxesChanged,
    MailboxGone,
    QueueGrew,
)

from .rounds import Rounds

if TYPE_CHECKING:
    from .database import FileDatabase

Listener = Callable[[Change], None]
Key = tuple[str, int]

POLL_SECONDS = 0.05

_QUEUE: Key = ("queue", 0)


@implementer(IChangeHub)
class ChangeHub:
    """See `IChangeHub`. Publishing to nobody costs a look into a dictionary."""

    def __init__(self) -> None:
        self._listeners: dict[Key, dict[object, Listener]] = {}

    def watch_mailbox(self, mailbox_id: int, listener: Listener) -> Callable[[], None]:
        """See `IChangeHub`."""
        return self._watch(("mailbox", mailbox_id), listener)

    def watch_account(self, account_id: int, listener: Listener) -> Callable[[], None]:
        """See `IChangeHub`."""
        return self._watch(("account", account_id), listener)

    def watch_queue(self, listener: Listener) -> Callable[[], None]:
        """See `IChangeHub`."""
        return self._watch(_QUEUE, listener)

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell changes to who watches now; one who stops watching meanwhile hears no more."""
        for change in changes:
            listeners = self._listeners.get(_key(change))
            if listeners:
                for token, listener in tuple(listeners.items()):
                    if token in listeners:
                        listener(change)

    def _watch(self, key: Key, listener: Listener) -> Callable[[], None]:
        token = object()
        self._listeners.setdefault(key, {})[token] = listener

        def stop() -> None:
            listeners = self._listeners.get(key, {})
            listeners.pop(token, None)
            if not listeners:
                self._listeners.pop(key, None)

        return stop


def _key(change: Change) -> Key:
    match change:
        case MailboxChanged(mailbox_id) | MailboxGone(mailbox_id):
            return ("mailbox", mailbox_id)
        case MailboxesChanged(account_id) | AccountRevoked(account_id):
            return ("account", account_id)
        case QueueGrew():
            return _QUEUE


class Notices(ABC):
    """
    Hears what other processes committed, and publishes it.

    Args:
        seconds: between two looks.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rounds = Rounds(self.poll)

    def start(self, reactor: Any) -> None:
        """Begin to look."""
        self._rounds.start(reactor, self._seconds)

    def stop(self) -> None:
        """Look no more."""
        self._rounds.stop()

    @abstractmethod
    def poll(self) -> None:
        """Look once and publish what is new. A database that cannot be read now is asked again the next time."""


class NoticeReader(Notices):
    """
    Hears what other processes committed.

    Asking SQLite for `data_version` costs 2 microseconds and tells whether anybody committed; the notices are read
    only then.

    Args:
        origin: this process's own name, whose notices are passed over.
    """

    log = Logger()

    def __init__(self, database: FileDatabase, hub: ChangeHub, origin: str) -> None:
        super().__init__(POLL_SECONDS)
        self._database = database
        self._hub = hub
        self._origin = origin
        self._version = database.data_version()
        self._last: int = database.read("last_notice")

    def poll(self) -> None:
        """See `Notices`."""
        try:
            version = self._database.data_version()
            if version != self._version:
                self._last, changes = self._database.read("notices_after", self._last, self._origin)
                self._version = version
                self._hub.publish(changes)
        except TemporaryFailure as failure:
            self.log.warn("notices-unread", event="notices-unread", reason=failure.reason)
