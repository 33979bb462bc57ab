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
    from mailtraq_py.store.listings import Listings
    from mailtraq_py.store.logins import RecentLoginListing, RecentLoginRows
    from mailtraq_py.store.queue import Queue
    from mailtraq_py.store.queuelisting import QueueListing
    from mailtraq_py.store.store import Store

    from .location import Location

_T = TypeVar("_T")


class OpenListings:
    """What is listed of a store; its coroutines are run one at a time, here and now."""

    def __init__(
        self, location: Location, listings: Listings, queue: QueueListing, recent_rows: RecentLoginListing
    ) -> None:
        self.location = location
        self.listings = listings
        self.queue = queue
        self.recent_rows = recent_rows

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """
        Run a coroutine of the store to its end.

        Raises:
            Refused: the store refuses, or cannot just now; the message says why.
        """
        from mailtraq_py.interfaces.failures import TemporaryFailure
        from mailtraq_py.store import listings
        from mailtraq_py.store.now import run_now

        try:
            return run_now(coroutine)
        except listings.Refused as error:
            raise Refused(str(error)) from None
        except TemporaryFailure as failure:
            raise Refused(f"the store cannot do that now: {failure.reason}") from None


class OpenStore(OpenListings):
    """A whole store."""

    queue: Queue
    recent_rows: RecentLoginRows

    def __init__(self, location: Location, store: Store) -> None:
        super().__init__(location, store.administration, store.queue, store.recent_rows)
        self.store = store
        self.administration = store.administration


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


@contextmanager
def open_listings(config: str | None) -> Iterator[OpenListings]:
    """
    Look into the configuration's store, by a glance where that is enough.

    Raises:
        Unusable: the configuration does not say where it is.
        Refused: the store cannot be opened.
    """
    from .cli_hosted import glanced
    from .location import StoreUnusable

    try:
        location = find_location(config)
        with glanced(location) as found:
            if found is not None:
                yield OpenListings(location, found.listings, found.queue, found.recent_rows)
                return
    except StoreUnusable as error:
        raise Refused(str(error)) from None
    with open_store(config) as store:
        yield store


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
