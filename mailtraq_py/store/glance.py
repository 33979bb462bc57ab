"""
A glance at what is kept, without the rest of the store: for commands that only ask or list. Nothing is written, and
what a whole store needs is not even loaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
from zope.interface import implementer

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.failures import TemporaryFailure

from .listings import Listings
from .logins import RecentLoginListing
from .lookup import Lookup, NobodyLogsIn, Read
from .migrate import schema_of
from .queuelisting import QueueListing
from .sql import accounts, lists, logins, queue
from .sqlite import BUSY_MILLISECONDS, RECENT_FILE, check_library

_READS = {
    function.__name__: function
    for function in (
        accounts.account_usage,
        accounts.find_account,
        accounts.find_account_by_id,
        accounts.find_alias,
        accounts.find_domain,
        accounts.list_accounts,
        accounts.list_aliases,
        accounts.list_domains,
        lists.find_account_lists,
        lists.find_list,
        lists.list_lists,
        lists.list_members,
        logins.list_logins,
        queue.list_queue,
    )
}


class OtherSchema(Exception):
    """The store has another schema than this program's, or a database of it is not there yet."""


@contextmanager
def glance(path: str) -> Iterator[Glance]:
    """
    Look into a store that is there; a server may have it open.

    Args:
        path: the main database's file.

    Raises:
        OtherSchema: it is to be made or upgraded first, or newer.
        StoreRefused: a file is none of ours.
        LibraryTooOld, apsw.Error: it cannot be opened.
    """
    check_library()
    with ExitStack() as opened:
        main = opened.enter_context(_reading(path, "main"))
        recent = opened.enter_context(_reading(str(Path(path).parent / RECENT_FILE), "recent"))
        yield Glance(main, recent)


@implementer(IDirectory)
class Glance(NobodyLogsIn, Lookup):
    """
    A directory where nobody logs in, and what is listed of it.

    Args:
        read: of the main database.
        read_recent: of the one of recent logins.
    """

    def __init__(self, read: Read, read_recent: Read) -> None:
        super().__init__(read)
        self.listings = Listings(read)
        self.queue = QueueListing(read, time.time)
        self.recent_rows = RecentLoginListing(read_recent, read)


@contextmanager
def _reading(path: str, kind: str) -> Iterator[Read]:
    if not Path(path).exists():
        raise OtherSchema(path)
    schema, newest = schema_of(path, kind)
    if schema != newest:
        raise OtherSchema(path)
    with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.execute("PRAGMA query_only = 1")

        def read(name: str, *arguments: Any) -> Any:
            try:
                return _READS[name](connection.cursor(), *arguments)
            except apsw.Error as error:
                raise TemporaryFailure(f"the store: {type(error).__name__}") from error

        yield read
