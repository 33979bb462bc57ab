"""
The store as commands use it: beside a server that runs or none; refusals become exit codes.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .cli_options import Refused, Unusable, find_location
from .location import POSTGRESQL, SQLITE

if TYPE_CHECKING:
    from mailtraq_py.store.store import Store

    from .location import Location

_T = TypeVar("_T")


class OpenStore:
    """A store whose coroutines are run one at a time, here and now."""

    def __init__(self, location: Location, store: Store) -> None:
        self.location = location
        self.store = store
        self.administration = store.administration
        self.queue = store.queue
        self.recent_rows = store.recent_rows

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """
        Run a coroutine of the store to its end.

        Raises:
            Refused: the store refuses, or cannot just now; the message says why.
        """
        from mailtraq_py.interfaces.failures import TemporaryFailure
        from mailtraq_py.store import administration
        from mailtraq_py.store.now import run_now

        try:
            return run_now(coroutine)
        except administration.Refused as error:
            raise Refused(str(error)) from None
        except TemporaryFailure as failure:
            raise Refused(f"the store cannot do that now: {failure.reason}") from None


@contextmanager
def open_store(config: str | None) -> Iterator[OpenStore]:
    """
    Open the configuration's store, making it if it is not there.

    Raises:
        Unusable: the configuration does not say where it is.
        Refused: the store cannot be opened.
    """
    from .location import StoreUnusable
    from .offline import offline_store

    location = find_location(config)
    try:
        with offline_store(location) as store:
            yield OpenStore(location, store)
    except StoreUnusable as error:
        raise Refused(str(error)) from None


def store_file(location: Location, instead: str, must_exist: bool = True) -> Path:
    """
    The main database's file.

    Args:
        instead: what to do where the store is in PostgreSQL.

    Raises:
        Unusable: the store is no file, or is not there.
    """
    scheme, _, path = location.store_url.partition(":")
    if scheme == POSTGRESQL:
        raise Unusable(f"the store is in PostgreSQL: {instead}")
    if scheme != SQLITE or (must_exist and not location.store_exists):
        raise Unusable(f"{location.shown_store}: there is no such store")
    return Path(path)
