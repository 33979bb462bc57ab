"""
The store without a reactor: for the command line, and for what is asked of it before the server runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.now import run_now
from mailtraq_py.store.sqlite import LibraryTooOld
from mailtraq_py.store.store import Store

from .location import Location, StoreUnusable


@contextmanager
def offline_store(location: Location) -> Iterator[Store]:
    """
    Open the store, making it if it is not there; close it at the end. Its coroutines run to their end at once.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    try:
        store = Store(location.store_url, location.data_dir, default_domain=location.default_domain)
        run_now(store.start())
    except (StoreRefused, LibraryTooOld) as error:
        raise StoreUnusable(str(error)) from None
    except (OSError, apsw.Error) as error:
        raise StoreUnusable(f"{location.shown_store}: {error}") from None
    try:
        yield store
    finally:
        run_now(store.close())
