"""Whose turn it is: of all workers in the cluster one does what is done from time to time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam

from ..gateways.database import EVERYBODY, Database
from ..gateways.database.sql_functions import replacing
from ..models import ServiceState


class JobLock:
    """A row for each job says when it was begun last."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        began: Any = ServiceState.since <= bindparam("before")
        self._take = database.prepare(
            replacing(ServiceState, ServiceState.name, (ServiceState.since,), began).returning(
                ServiceState.name
            ),
            ("name", "since"),
        )

    def take(self, job: str, every: timedelta) -> bool:
        """Whether the job is to be begun now, by whoever asks. Raises Unavailable."""
        now = self._now()
        values = {"name": f"job:{job}", "since": now, "before": now - every}
        (taken,) = self._database.run_pipeline(EVERYBODY, (self._take, values))
        return bool(taken)
