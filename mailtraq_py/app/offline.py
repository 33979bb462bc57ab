"""
The store without a reactor: for the command line, and for what is asked of it before the server runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from mailtraq_py.interfaces.directory import IDirectory
from mailtraq_py.store.immediate import run_now
from mailtraq_py.store.migrate import StoreRefused
from mailtraq_py.store.sqlite import LibraryTooOld
from mailtraq_py.store.store import Store

from .config import Configuration
from .judging import NobodyHosted

ACCOUNTS_LISTED_MAX = 1000


class StoreUnusable(Exception):
    """The store cannot be opened; the message says which and why."""


@contextmanager
def offline_store(configuration: Configuration) -> Iterator[Store]:
    """
    Open the store, making it if it is not there; close it at the end. Its coroutines run to their end at once.

    Raises:
        StoreUnusable: it cannot be opened.
    """
    try:
        store = Store(
            configuration.store_url, configuration.data_dir, default_domain=configuration.keys.default_domain
        )
        run_now(store.start())
    except (StoreRefused, LibraryTooOld) as error:
        raise StoreUnusable(str(error)) from None
    except (OSError, apsw.Error) as error:
        raise StoreUnusable(f"{configuration.store_url}: {error}") from None
    try:
        yield store
    finally:
        run_now(store.close())


@contextmanager
def hosted(configuration: Configuration) -> Iterator[tuple[IDirectory, tuple[str, ...]]]:
    """
    Who is hosted, for judging: the store's directory and the address of some account; nobody where there is no store
    yet, which is not made for this.
    """
    if not configuration.store_exists:
        yield NobodyHosted(), ()
        return
    with offline_store(configuration) as store:
        yield store.directory, _some_account(store)


def _some_account(store: Store) -> tuple[str, ...]:
    for domain in run_now(store.administration.list_domains()):
        if 0 < domain.accounts <= ACCOUNTS_LISTED_MAX:
            return (run_now(store.administration.list_accounts(domain.name))[0].account.address,)
    return ()
