"""
A glance at who is hosted, without the rest of the store: for commands that only ask. Nothing is written, and what a
whole store needs is not even loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import apsw
from zope.interface import implementer

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.interfaces.failures import TemporaryFailure

from .lookup import Lookup, NobodyLogsIn
from .migrate import schema_of
from .sql import accounts, lists
from .sqlite import BUSY_MILLISECONDS, check_library

_READS = {
    function.__name__: function
    for function in (
        accounts.account_usage,
        accounts.find_account,
        accounts.find_account_by_id,
        accounts.find_alias,
        accounts.find_domain,
        accounts.list_accounts,
        accounts.list_domains,
        lists.find_account_lists,
        lists.find_list,
        lists.list_members,
    )
}


class OtherSchema(Exception):
    """The store has another schema than this program's."""


@contextmanager
def glance(path: str) -> Iterator[Glance]:
    """
    Look into a store that is there; a server may have it open.

    Args:
        path: the main database's file.

    Raises:
        OtherSchema: it is to be upgraded first, or newer.
        StoreRefused: the file is no store of ours.
        LibraryTooOld, apsw.Error: it cannot be opened.
    """
    check_library()
    schema, newest = schema_of(path, "main")
    if schema != newest:
        raise OtherSchema(path)
    with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        connection.execute("PRAGMA query_only = 1")
        yield Glance(connection)


@implementer(IDirectory)
class Glance(NobodyLogsIn, Lookup):
    """
    A directory where nobody logs in.

    Args:
        connection: to the main database.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(self._look)
        self._connection = connection

    def _look(self, name: str, *arguments: Any) -> Any:
        try:
            return _READS[name](self._connection.cursor(), *arguments)
        except apsw.Error as error:
            raise TemporaryFailure(f"the store: {type(error).__name__}") from error
