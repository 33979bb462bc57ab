"""
Who is hosted, for what is asked before the server runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mailtraq_py.interfaces.directory import IDirectory

from .location import Location
from .nobody import NobodyHosted
from .offline import offline_store


@contextmanager
def hosted(location: Location) -> Iterator[tuple[IDirectory, tuple[str, ...]]]:
    """
    Who is hosted: the store's directory and the address of some account; nobody where there is no store yet, which is
    not made for this.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    if not location.store_exists:
        yield NobodyHosted(), ()
        return
    with offline_store(location) as store:
        yield store.directory, store.directory.some_account()
