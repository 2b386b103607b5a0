"""Gauges about what the database contains, which background workers compute."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

PREFIX = "customer_certificates_"


class FleetMetrics:
    """The gauges of one background worker. All workers compute the same values.

    A gauge keeps its last value if its update fails. `gauge_last_update_timestamp_seconds` shows
    that.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauges: dict[str, Gauge] = {}

        def gauge(name: str, text: str, *labels: str) -> None:
            # The file of a worker that ended may still exist: the latest value counts.
            self._gauges[name] = Gauge(
                PREFIX + name, text, labels, registry=registry, multiprocess_mode="livemostrecent"
            )

        gauge("certificates", "All certificates by status, without earlier versions.", "status")
        gauge("active_certificates", "Active certificates by days until they expire.", "days")
        gauge(
            "certificates_without_replacement",
            "Active certificates that expire within a window, and whose hostnames no later "
            "certificate covers. Window expired: they expired in the last 30 days.",
            "window",
        )
        gauge(
            "soonest_expiry_timestamp_seconds",
            "When the next active certificate expires. NaN: there is none.",
        )
        gauge("hostnames", "Claimed hostnames that are unproven or contested.", "state")
        gauge("cutovers", "Scheduled cutovers, and those that are overdue.", "state")
        gauge(
            "deliveries",
            "Webhook deliveries that are pending or dead (no more retries), up to 100,000.",
            "status",
        )
        gauge(
            "terminators",
            "Terminators by state. Owner user: their token is limited to one user.",
            "owner",
            "state",
        )
        gauge(
            "gauge_last_update_timestamp_seconds",
            "When a background worker last computed a gauge.",
            "gauge",
        )

    def publish(self, name: str, values: Mapping[Any, float], at: datetime) -> None:
        """Sets a gauge to `values`, by tuples of labels. `at` is when the values were true.

        A combination of labels keeps its value until it is set again, so `values` must have all.
        """
        for labels, value in values.items():
            gauge = self._gauges[name]
            (gauge.labels(*labels) if labels else gauge).set(value)
        self._gauges["gauge_last_update_timestamp_seconds"].labels(name).set(at.timestamp())
