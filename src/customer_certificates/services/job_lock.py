"""Ensures that one worker of the cluster runs each periodic job."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam

from ..gateways.database import EVERYBODY, Database
from ..gateways.database.sql_functions import replacing
from ..models import ServiceState


class JobLock:
    """Has a row for each job with the time of its last start."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        is_due: Any = ServiceState.since <= bindparam("before")
        self._acquire = database.prepare(
            replacing(ServiceState, ServiceState.name, (ServiceState.since,), is_due).returning(
                ServiceState.name
            ),
            ("name", "since"),
        )

    def try_acquire(self, job: str, every: timedelta) -> bool:
        """Returns whether the caller should start the job now. Raises Unavailable."""
        now = self._now()
        values = {"name": f"job:{job}", "since": now, "before": now - every}
        (acquired,) = self._database.run_pipeline(EVERYBODY, (self._acquire, values))
        return bool(acquired)
