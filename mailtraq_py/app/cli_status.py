"""
`mailtraq status`: how the running server is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
import msgspec

from mailtraq_py.store.writermetrics import COMMIT_BOUNDS

from .cli_options import Refused, config_option, find_location, json_option, print_json, print_span, print_table
from .vitals import LAG_BOUNDS, Vitals, quantile, read_vitals, summed

_ROWS = (
    ("messages accepted", "accepted", ""),
    ("delivered to mailboxes", "delivered", ""),
    ("appended by IMAP", "appended", ""),
    ("put into the queue", "queued", ""),
    ("refused at the end", "refused", ""),
    ("decisions to refuse", "decision", "refuse"),
    ("decisions to defer", "decision", "defer"),
    ("logins", "login", ""),
    ("logins that failed", "login-failed", ""),
)


@click.command(epilog="\b\nExamples:\n  mailtraq status\n  mailtraq status --json | jq '.[].queued'")
@json_option
@config_option
def status(config: str | None, as_json: bool) -> None:
    """
    Show how the running server is: its processes, connections, mail since it began, the store's writer, the queue.

    The numbers are at most five seconds old. Exit code 0: it runs and is healthy; 1: not.
    """
    location = find_location(config)
    processes = read_vitals(location.data_dir)
    if as_json:
        print_json(msgspec.to_builtins(processes))
    elif processes:
        _print(processes)
    if not processes:
        raise Refused(f"no server runs on {location.data_dir}")
    if not all(each.is_healthy for each in processes):
        raise Refused("the store is unhealthy: a disk failed a sync; nothing is written until a restart")


def _print(processes: Sequence[Vitals]) -> None:
    now = time.time()
    rows = []
    for each in processes:
        lag = _milliseconds(quantile(LAG_BOUNDS, each.lags, 0.99))
        connections = ", ".join(f"{count} {service}" for service, count in sorted(each.connections().items()) if count)
        rows.append((each.process, each.pid, print_span(now - each.began), lag, connections or "none"))
    print_table(("PROCESS", "PID", "UP", "LATE, P99", "CONNECTIONS"), rows)
    click.echo()
    told: list[tuple[str, object]] = [
        (name, sum(each.count(word, opinion) for each in processes)) for name, word, opinion in _ROWS
    ]
    stores = [each.store for each in processes if each.store is not None]
    if stores:
        store = summed(stores)
        batch = store.operations / store.batches if store.batches else 0.0
        told += [
            ("waiting in the queue", next((each.queued for each in processes if each.queued is not None), "?")),
            ("operations of the store", f"{store.operations}, {store.failures} failed"),
            ("commits", f"{store.batches} of {batch:.1f} operations, {store.largest_batch} at most"),
            (
                "a commit takes",
                f"median {_milliseconds(quantile(COMMIT_BOUNDS, store.commit_times, 0.5))},"
                f" p99 {_milliseconds(quantile(COMMIT_BOUNDS, store.commit_times, 0.99))},"
                f" at most {store.longest_commit_seconds * 1000:.0f} ms",
            ),
            ("write-ahead log", f"{store.wal_pages} pages, {store.checkpoints} checkpoints"),
        ]
    print_table(("SINCE IT BEGAN", ""), told)


def _milliseconds(bound: float | None) -> str:
    return "?" if bound is None else f"<= {bound * 1000:g} ms"
