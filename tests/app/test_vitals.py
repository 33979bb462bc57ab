"""
How a process is: counted, measured, written, read by `mailtraq status` and as metrics.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from unittest.mock import patch

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mailtraq_py.app import pulse as pulses
from mailtraq_py.app.metrics import families
from mailtraq_py.app.pulse import Pulse, Tally
from mailtraq_py.app.vitals import LAG_BOUNDS, Vitals, quantile, read_vitals, summed, vitals_file
from mailtraq_py.store.now import run_now
from mailtraq_py.store.store import Store
from mailtraq_py.store.writermetrics import WriterMetrics

from .installation import InstallationTestCase


def a_process(name: str, store: WriterMetrics | None = None, *, is_healthy: bool = True) -> Vitals:
    """One that has been up for a minute."""
    now = time.time()
    events = [
        ("connect", "mx", "", 5),
        ("disconnect", "mx", "", 3),
        ("accepted", "mx", "", 2),
        ("decision", "mx", "refuse", 4),
    ]
    lags = [9, 1] + [0] * (len(LAG_BOUNDS) - 1)
    queued = None if store is None else 7
    return Vitals(name, 42, "0.1.0", now - 60, now, is_healthy, events, lags, 0.01, store, queued)


def some_batches() -> WriterMetrics:
    """A hundred small ones and a long one."""
    metrics = WriterMetrics()
    for _ in range(100):
        metrics.note(3, 0.0008)
    metrics.note(40, 0.3)
    return metrics


class PulseTests(SynchronousTestCase):
    """A process on a clock."""

    def setUp(self) -> None:
        """A store in memory."""
        self.folder = Path(self.mktemp())
        self.store = Store("sqlite::memory:", self.folder)
        run_now(self.store.start())
        self.addCleanup(lambda: run_now(self.store.close()))
        self.clock = Clock()

    def pulse(self, speaks_for_store: bool = True) -> Pulse:
        """Started, and stopped at the end."""
        pulse = Pulse("server", self.store, self.folder, self.clock, self.clock.seconds, speaks_for_store)
        pulse.start()
        self.addCleanup(pulse.stop)
        return pulse

    def test_written_and_read(self) -> None:
        """Events are counted, the store is told of, and the file is read by whoever asks, until the process is gone."""
        self.pulse()
        Logger().info("connect", event="connect", service="mx")
        Logger().info("decision", event="decision", service="mx", opinion="refuse")
        Logger().info("just text")
        run_now(self.store.administration.add_domain("here.example", None))
        self.clock.pump([0.5] * 10)
        [vitals] = read_vitals(self.folder, 6.0)
        self.assertEqual((vitals.process, vitals.is_healthy, vitals.queued), ("server", True, 0))
        self.assertEqual((vitals.count("decision", "refuse"), vitals.connections()), (1, {"mx": 1}))
        assert vitals.store is not None
        self.assertEqual((vitals.store.batches, sum(vitals.store.batch_sizes)), (1, 1))
        self.assertEqual(read_vitals(self.folder, 600.0), [])

    def test_lag(self) -> None:
        """A reactor that was held for 0.3 s is seen, once."""
        pulse = self.pulse()
        self.clock.pump([0.5, 0.5, 0.8, 0.2, 0.5])
        lags = pulse.vitals().lags
        self.assertEqual((lags[0], lags[LAG_BOUNDS.index(1.0)]), (4, 1))

    def test_one_of_several(self) -> None:
        """A process that shares the writer says nothing of it; its file goes when it stops."""
        pulse = self.pulse(speaks_for_store=False)
        self.assertIsNone(pulse.vitals().store)
        self.assertTrue(vitals_file(self.folder, "server").exists())
        self.assertEqual(vitals_file(self.folder, "server").parent.stat().st_mode & 0o777, 0o700)
        pulse.stop()
        self.assertFalse(vitals_file(self.folder, "server").exists())

    def test_a_disk_that_is_full(self) -> None:
        """The process goes on, and what was written before stays."""
        self.pulse()
        with patch.object(pulses.Path, "write_bytes", side_effect=OSError(28, "full")):
            self.clock.pump([0.5] * 11)
        self.assertEqual(len(read_vitals(self.folder, 5.0)), 1)


class TallyTests(SynchronousTestCase):
    """The counting alone."""

    def test_keys(self) -> None:
        """By word, service and opinion."""
        tally = Tally()
        for event in ({"event": "login", "service": "imap"}, {"event": "login", "service": "imap"}, {"log_text": "x"}):
            tally(event)
        self.assertEqual(tally.counts, {("login", "imap", ""): 2})


class MetricsTests(SynchronousTestCase):
    """What Prometheus reads."""

    def test_families(self) -> None:
        """Each process has its label; histograms are cumulative."""

        class Collector:
            def collect(self) -> object:
                return families([a_process("worker-1", some_batches()), a_process("worker-2")])

        registry = CollectorRegistry()
        registry.register(Collector())  # type: ignore[arg-type]
        lines = generate_latest(registry).decode().splitlines()
        for line in (
            'mailtraq_events_total{event="accepted",opinion="",process="worker-2",service="mx"} 2.0',
            'mailtraq_connections{process="worker-1",service="mx"} 2.0',
            "mailtraq_queue 7.0",
            'mailtraq_healthy{process="worker-2"} 1.0',
            'mailtraq_store_operations_total{process="worker-1"} 340.0',
            'mailtraq_store_batch_operations_bucket{le="5.0",process="worker-1"} 100.0',
            'mailtraq_store_commit_seconds_bucket{le="+Inf",process="worker-1"} 101.0',
            'mailtraq_store_commit_seconds_count{process="worker-1"} 101.0',
            'mailtraq_reactor_lag_seconds_bucket{le="0.002",process="worker-1"} 10.0',
        ):
            self.assertIn(line, lines)

    def test_sums(self) -> None:
        """Several writers are one, and quantiles are bounds of buckets."""
        whole = summed([some_batches(), some_batches()])
        self.assertEqual((whole.operations, whole.largest_batch, sum(whole.batch_sizes)), (680, 40, 202))
        self.assertEqual(quantile((1, 2, 3), [5, 4, 1, 0], 0.5), 1)
        self.assertEqual(quantile((1, 2, 3), [5, 4, 1, 0], 0.99), 3)
        self.assertIsNone(quantile((1, 2, 3), [0, 0, 0, 9], 0.5))
        self.assertIsNone(quantile((1,), [0, 0], 0.5))


class StatusTests(InstallationTestCase):
    """`mailtraq status`."""

    def write(self, *processes: Vitals) -> None:
        """As processes do."""
        for each in processes:
            file = vitals_file(self.folder / "var", each.process)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(msgspec.json.encode(each))

    def test_status(self) -> None:
        """Numbers of all processes together; no server is exit code 1."""
        self.assertIn("no server runs", self.mailtraq("status", code=1).stderr)
        self.write(a_process("worker-1", some_batches()), a_process("worker-2"))
        text = self.mailtraq("status").stdout
        for words in ("worker-2", "2 mx", "messages accepted        4", "101 of 3.4 operations", "p99 <= 1 ms"):
            self.assertIn(words, text)
        self.assertEqual([each["queued"] for each in json.loads(self.mailtraq("status", "--json").stdout)], [7, None])

    def test_unhealthy(self) -> None:
        """A store that cannot be written is exit code 1."""
        self.write(a_process("server", is_healthy=False))
        self.assertIn("unhealthy", self.mailtraq("status", code=1).stderr)
