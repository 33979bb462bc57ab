"""
`mailtraq index status` and `index rebuild`: the full-text indexes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from .cli_options import CommandGroup, Refused, config_option, json_option, print_json, print_table
from .cli_progress import ProgressLine
from .cli_store import OpenStore, open_store

if TYPE_CHECKING:
    from mailtraq_py.store.searchindex import IndexCounts

_NAP_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0


@click.group(cls=CommandGroup)
def index() -> None:
    """The full-text indexes: how far they are, and making them anew."""


@index.command(epilog="\b\nExamples:\n  mailtraq index status\n  mailtraq index status alice@example.org --json")
@click.argument("account", metavar="[ADDRESS]", required=False)
@json_option
@config_option
def status(account: str | None, config: str | None, as_json: bool) -> None:
    """How much of each account's mail, or of ADDRESS's, is in its index. The rest is searched without it."""
    with open_store(config) as store:
        entries = store.run(store.administration.list_accounts())
        names = {entry.account.id: entry.account.address for entry in entries}
        if account is not None:
            number = store.run(store.administration.find(account)).id
            names = {number: names[number]}
        totals = _totals(store)
        rows = [(name, totals.get(number, 0), _counts(store, number)) for number, name in names.items()]
    if as_json:
        print_json(
            [
                {
                    "account": name,
                    "messages": total,
                    "indexed": 0 if counts is None else counts.messages,
                    "texts": 0 if counts is None else counts.documents,
                    "attachments": 0 if counts is None else counts.extracts,
                    "octets": 0 if counts is None else counts.octets,
                }
                for name, total, counts in rows
            ]
        )
        return
    heads = ("ACCOUNT", "MESSAGES", "INDEXED", "WITH ATTACHMENTS", "OCTETS")
    print_table(heads, [(name, total, *_shown(counts)) for name, total, counts in rows])


@index.command(
    epilog="\b\nExamples:\n  mailtraq index rebuild alice@example.org"
    "\n  mailtraq index rebuild alice@example.org --no-wait"
)
@click.argument("account", metavar="ADDRESS")
@click.option("--no-wait", is_flag=True, help="Leave it to the server; it begins when it runs.")
@config_option
def rebuild(account: str, no_wait: bool, config: str | None) -> None:
    """
    Make ADDRESS's index anew. The server may run; without one it is made here.

    Until it is there, that account is searched without it.
    """
    with open_store(config) as store:
        number = store.run(store.administration.find(account)).id
        store.store.indexes.condemn(number)
        if no_wait:
            return
        progress = ProgressLine()
        try:
            if store.store.indexes.take():
                _make(store, number, progress)
            else:
                _wait(store, number, progress)
        finally:
            store.store.indexes.release()
            progress.end()
        counts = _counts(store, number)
    click.echo(f"{account}: {0 if counts is None else counts.messages} messages are in the index.")


def _make(store: OpenStore, number: int, progress: ProgressLine) -> None:
    from mailtraq_py.interfaces.failures import TemporaryFailure
    from mailtraq_py.store.attachments import AttachmentText
    from mailtraq_py.store.indexing import Indexing

    from .config import load
    from .indexing import indexer_task

    limits = indexer_task(load(store.location.file)).attachments
    opened = store.store
    indexing = Indexing(opened.database, opened.content, opened.indexes, AttachmentText(limits), time.monotonic)
    total = _totals(store).get(number, 0)
    try:
        while indexing.look(number):
            progress("messages", indexing.metrics.messages, total)
    except TemporaryFailure as failure:
        raise Refused(f"the store cannot do that now: {failure.reason}") from None
    counts = _counts(store, number)
    if (0 if counts is None else counts.messages) < total:
        raise Refused("the index cannot be written: is there room on its disk?")


def _wait(store: OpenStore, number: int, progress: ProgressLine) -> None:
    """For the server that does it."""
    total, last, since = _totals(store).get(number, 0), -1, time.monotonic()
    done = 0
    while done < total or store.store.indexes.is_condemned(number):
        counts = _counts(store, number)
        done = 0 if counts is None else counts.messages
        if done != last:
            last, since = done, time.monotonic()
        if time.monotonic() - since > _PATIENCE_SECONDS:
            raise Refused(f"the server does not go on at {done} of {total} messages; see its log")
        progress("messages", done, total)
        time.sleep(_NAP_SECONDS)


def _totals(store: OpenStore) -> dict[int, int]:
    """Messages of each account, deleted ones that can be restored included."""
    totals: dict[int, int] = {}
    for account_id, _, _, _, messages in store.store.database.read("indexable_mailboxes"):
        totals[account_id] = totals.get(account_id, 0) + messages
    return totals


def _counts(store: OpenStore, number: int) -> IndexCounts | None:
    from mailtraq_py.store.searchindex import IndexUnavailable

    try:
        with store.store.indexes.reading(number) as opened:
            return None if opened is None else opened.counts()
    except IndexUnavailable:
        return None


def _shown(counts: IndexCounts | None) -> tuple[object, ...]:
    return ("-", "-", "-") if counts is None else (counts.messages, counts.extracts, counts.octets)
