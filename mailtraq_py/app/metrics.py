"""
The vitals of all processes as Prometheus reads them, over HTTP, by the client library of Prometheus.

It answers in threads of its own and reads what the processes have written, so a scrape costs the reactor nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from mailtraq_py.store.writermetrics import BATCH_BOUNDS, COMMIT_BOUNDS

from .listen import ListenAddress
from .vitals import LAG_BOUNDS, Vitals, read_vitals

_EVENTS = "Events of the log; docs/operating.md says what each is."
_COUNTERS = {
    "operations": "Operations that the writer ran.",
    "batches": "Transactions in which it ran them.",
    "failures": "Operations that failed.",
    "checkpoints": "Times the write-ahead log went into the database.",
}
_GAUGES = {
    "largest_batch": "The most operations of one transaction.",
    "longest_commit_seconds": "The longest transaction.",
    "wal_pages": "Pages in the write-ahead log.",
}


class MetricsServer:
    """
    Listens for scrapes.

    Args:
        address: where.
        data_dir: of the server.

    Raises:
        ImportError: the client library is not installed (the extra `metrics`).
        OSError: nobody may listen there.
    """

    def __init__(self, address: ListenAddress, data_dir: Path) -> None:
        from prometheus_client import CollectorRegistry, start_http_server

        self._data_dir = data_dir
        registry = CollectorRegistry()
        registry.register(self)
        self._server, self._thread = start_http_server(address.port, address.host, registry)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def collect(self) -> Iterator[Any]:
        """What the library asks for at each scrape."""
        yield from families(read_vitals(self._data_dir))

    def close(self) -> None:
        """Listen no more; waits for its thread, at most half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def families(processes: Sequence[Vitals]) -> Iterator[Any]:
    """The metrics, each with all processes."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    events = CounterMetricFamily("mailtraq_events", _EVENTS, labels=("process", "event", "service", "opinion"))
    healthy = GaugeMetricFamily("mailtraq_healthy", "1 while the store can be written.", labels=("process",))
    began = GaugeMetricFamily("mailtraq_start_time_seconds", "When the process began.", labels=("process",))
    connected = GaugeMetricFamily("mailtraq_connections", "Open connections.", labels=("process", "service"))
    lag = HistogramMetricFamily("mailtraq_reactor_lag_seconds", "How late a call comes.", labels=("process",))
    for each in processes:
        for word, service, opinion, count in each.events:
            events.add_metric((each.process, word, service, opinion), count)
        for service, count in each.connections().items():
            connected.add_metric((each.process, service), count)
        healthy.add_metric((each.process,), int(each.is_healthy))
        began.add_metric((each.process,), each.began)
        lag.add_metric((each.process,), _buckets(LAG_BOUNDS, each.lags), each.lag_seconds)
    yield from (events, healthy, began, connected, lag)
    queued = next((each.queued for each in processes if each.queued is not None), None)
    if queued is not None:
        yield GaugeMetricFamily("mailtraq_queue", "Recipients that wait to leave.", value=queued)
    stores = [(each.process, each.store) for each in processes if each.store is not None]
    for kind, told in ((CounterMetricFamily, _COUNTERS), (GaugeMetricFamily, _GAUGES)):
        for name, text in told.items():
            family = kind(f"mailtraq_store_{name}", text, labels=("process",))
            for process, store in stores:
                family.add_metric((process,), getattr(store, name))
            yield family
    sizes = HistogramMetricFamily("mailtraq_store_batch_operations", "Operations of a batch.", labels=("process",))
    times = HistogramMetricFamily("mailtraq_store_commit_seconds", "What a batch takes.", labels=("process",))
    for process, store in stores:
        sizes.add_metric((process,), _buckets(BATCH_BOUNDS, store.batch_sizes), store.operations)
        times.add_metric((process,), _buckets(COMMIT_BOUNDS, store.commit_times), store.commit_seconds)
    yield from (sizes, times)


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(counts)), strict=True))
