"""
Who is hosted, for commands that only ask: a glance into the store, or the whole of it where it is to be upgraded first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import apsw

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.store.glance import OtherSchema, glance
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.sqlite import LibraryTooOld

from .location import SQLITE, Location, StoreUnusable
from .nobody import NobodyHosted


@contextmanager
def hosted(location: Location) -> Iterator[tuple[IDirectory, tuple[str, ...]]]:
    """
    The store's directory and the address of some account; nobody where there is no store yet, which is not made.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    if not location.store_exists:
        yield NobodyHosted(), ()
        return
    scheme, _, path = location.store_url.partition(":")
    with ExitStack() as opened:
        try:
            if scheme != SQLITE:
                raise OtherSchema(scheme)
            directory = opened.enter_context(glance(path))
            found: tuple[IDirectory, tuple[str, ...]] = (directory, directory.some_account())
        except OtherSchema:
            from .hosted import hosted as hosted_by_store

            found = opened.enter_context(hosted_by_store(location))
        except (StoreRefused, LibraryTooOld) as error:
            raise StoreUnusable(str(error)) from None
        except apsw.Error as error:
            raise StoreUnusable(f"{location.shown_store}: {error}") from None
        yield found
