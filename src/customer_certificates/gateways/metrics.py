"""The service's Prometheus metrics, over all its worker processes."""

import os
import platform
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from .. import __version__
from ..errors import Finding
from .fleet_metrics import PREFIX, FleetMetrics
from .loop import Threads

GaugeMode = Literal["livesum", "livemax"]

# Reads the files of all processes.
_THREADS = Threads("metrics", 1)
# The codes of findings come from sandbox processes, which an upload may have taken over.
_MOST_CODES = 200
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics, with their labels bound in advance if there are few."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, folder: Path | None) -> None:
        """`folder` is shared by the worker processes. None: there is only one process."""
        # Over 40 lines: a flat list of declarations, which several functions would only hide.
        self._folder = folder
        registry = self._registry = CollectorRegistry()
        if folder:
            _forget_dead_workers(folder)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str, mode: GaugeMode = "livesum") -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=registry, multiprocess_mode=mode)

        def histogram(
            name: str, text: str, *labels: str, longer: Sequence[float] = ()
        ) -> Histogram:
            buckets = (*_BUCKETS, *longer)
            return Histogram(PREFIX + name, text, labels, registry=registry, buckets=buckets)

        # From live workers only: after a reload, an earlier version disappears with its workers.
        gauge(
            "build_info",
            "Always 1. The labels are the versions of the service and of Python.",
            "version",
            "python_version",
            mode="livemax",
        ).labels(__version__, platform.python_version()).set(1)

        self._requests = counter(
            "http_requests", "Requests with a response.", "method", "route", "status"
        )
        self._durations = histogram(
            "http_request_duration_seconds",
            "Time from the arrival of a request to its response.",
            "method",
            "route",
        )
        self._bound: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._rejected = counter(
            "requests_rejected_busy",
            "Requests that were rejected because of a full queue or a tenant's limit.",
        )
        self._closed_connections = counter(
            "connections_closed",
            "Client connections that were closed: slow ones, and idle ones when many were open.",
            "reason",
        )
        self._ended_sandboxes = counter(
            "sandbox_processes_ended",
            "Sandbox processes that ended and were replaced, by reason.",
            "reason",
        )
        # An alarm about an increase would miss a series that begins with 1.
        for reason in ("cpu", "memory", "crash", "timeout", "killed"):
            self._ended_sandboxes.labels(reason)
        self._quota_refusals = counter(
            "quota_refusals", "Requests that were rejected because of a user's quota.", "quota"
        )
        self._findings = counter(
            "upload_findings",
            "Uploads with a finding, whether they were stored or rejected.",
            "code",
            "severity",
        )
        self._findings.labels("examination_failed", "error")
        self._codes: set[tuple[str, str]] = set()
        self.feed_waiting = gauge("feed_waiting", "Requests to the feed that wait for a change.")
        self.password_queue = gauge(
            "password_hashing", "Passwords that are being hashed or wait in the queue."
        )

        pages = counter("cache_pages", "List pages by the tier that they were read from.", "tier")
        self.process_hits = pages.labels("process")
        self.redis_hits = pages.labels("redis")
        self.misses = pages.labels("database")
        self.cache_failures = counter("cache_failures", "Calls to Redis that failed or timed out.")
        self.cache_forgeries = counter(
            "cache_forgeries",
            "Pages in Redis that were rejected because this service did not write them.",
        )
        connections = gauge(
            "database_connections",
            "Connections to the database: open for reads, or within a transaction.",
            "use",
        )
        self.read_connections = connections.labels("read")
        self.transactions = connections.labels("transaction")

        self._deliveries = counter(
            "delivery_attempts",
            "Attempts to deliver an event to a webhook, by the resulting status of the delivery: "
            "delivered, pending (failed, will be retried) or dead (failed, no more retries).",
            "status",
        )
        self._delivery_durations = histogram(
            "delivery_duration_seconds",
            "Duration of an attempt to deliver an event to a webhook.",
            longer=(10.0, 15.0),
        )
        self.delivery_starts = histogram(
            "delivery_start_seconds",
            "Time from an event to the first attempt to deliver it to a webhook.",
            longer=(10.0, 60.0, 600.0),
        )
        self.delivery_lag = gauge(
            "delivery_lag_seconds",
            "Time since the oldest delivery became due that no worker has claimed.",
            mode="livemax",
        )

    def request(self, method: str, route: str, status: str, seconds: float) -> None:
        """Counts a response.

        `route` is a template, never a path: the number of paths is unlimited.
        """
        bound = self._bound.get((method, route, status))
        if bound is None:
            bound = self._bound[method, route, status] = (
                self._requests.labels(method, route, status),
                self._durations.labels(method, route),
            )
        bound[0].inc()
        bound[1].observe(seconds)

    def sandbox_ended(self, reason: str) -> None:
        """Counts a sandbox process that ended."""
        self._ended_sandboxes.labels(reason).inc()

    def connection_closed(self, reason: str) -> None:
        """Counts a client connection that was closed: `slow` or `shed`."""
        self._closed_connections.labels(reason).inc()

    def request_rejected(self) -> None:
        """Counts a request that was rejected because of load."""
        self._rejected.inc()

    def refusal(self, findings: Iterable[Finding]) -> None:
        """Counts a request that was rejected with these findings, if a quota was the reason."""
        for finding in findings:
            if finding.code == "quota_exceeded":
                self._quota_refusals.labels(finding.field).inc()

    def upload(self, findings: Iterable[Finding]) -> None:
        """Counts each code of an upload's findings once."""
        for labels in {(finding.code, finding.severity) for finding in findings}:
            if labels not in self._codes and len(self._codes) >= _MOST_CODES:
                labels = ("other", labels[1])
            else:
                self._codes.add(labels)
            self._findings.labels(*labels).inc()

    @cached_property
    def fleet(self) -> FleetMetrics:
        """Returns the gauges that only a background worker sets, and so only it declares."""
        return FleetMetrics(self._registry)

    def delivery(self, status: str, seconds: float) -> None:
        """Counts a delivery attempt with the resulting status and its duration."""
        self._deliveries.labels(status).inc()
        self._delivery_durations.observe(seconds)

    def serve(self, host: str, port: int) -> None:
        """Serves the metrics of this process from a separate thread."""
        start_http_server(port, host, self._registry)

    def exposition(self) -> bytes:
        """Returns the metrics of all worker processes in Prometheus' text format."""
        return _THREADS.run(self._exposition)

    def _exposition(self) -> bytes:
        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))
        return generate_latest(registry)


def write_to_folder() -> None:
    """Makes metrics that are declared later write to the folder that the settings name.

    The library decides this when it is imported, which may be before the folder exists.
    """
    values.ValueClass = values.MultiProcessValue()


def _forget_dead_workers(folder: Path) -> None:
    """Removes gauges of dead workers, which cannot decrement them."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))
        except PermissionError:
            continue
