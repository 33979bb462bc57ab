"""
Who is hosted, for commands that only ask: a glance into the store, or the whole of it where it is to be upgraded first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import apsw

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.store.glance import Glance, OtherSchema, glance
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.sqlite import LibraryTooOld

from .location import Location, StoreUnusable
from .nobody import NobodyHosted


@contextmanager
def glanced(location: Location) -> Iterator[Glance | None]:
    """
    A glance into the store; None where that is not enough: it is to be made or upgraded first, or no file.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    found = None
    with ExitStack() as opened:
        if location.is_file and location.store_exists:
            try:
                found = opened.enter_context(glance(location.store_url.partition(":")[2]))
            except OtherSchema:
                pass
            except (StoreRefused, LibraryTooOld) as error:
                raise StoreUnusable(str(error)) from None
            except apsw.Error as error:
                raise StoreUnusable(f"{location.shown_store}: {error}") from None
        yield found


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
    with glanced(location) as directory:
        if directory is not None:
            yield directory, directory.some_account()
            return
    from .hosted import hosted as hosted_by_store

    with hosted_by_store(location) as found:
        yield found
