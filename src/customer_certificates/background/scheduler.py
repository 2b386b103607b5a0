"""Periodic jobs that run once in the cluster."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from ..errors import Unavailable
from ..gateways.signals import SignalSafeEvent
from ..services.job_lock import JobLock

_LOOK_SECONDS = 10.0
_SECOND = 1.0
_log = logging.getLogger(__name__)


class Job(NamedTuple):
    """A job that runs at the interval `every`.

    A killed job runs again. Two runs may overlap if one takes longer than the interval.
    """

    name: str
    every: timedelta
    run: Callable[[], object]


def run_jobs(jobs: Sequence[Job], job_lock: JobLock, stopped: SignalSafeEvent) -> None:
    """Runs every due job that no other worker has started, until `stopped`."""
    while True:
        for job in jobs:
            if stopped.is_set():
                return
            try:
                if job_lock.try_acquire(job.name, job.every):
                    _log.info("%s: %s", job.name, job.run())
            except Unavailable as error:
                _log.warning("%s is delayed: %s", job.name, error.detail)
            except Exception:
                _log.exception("%s failed", job.name)
        if stopped.wait(_LOOK_SECONDS):
            return


def run_every_second(name: str, run: Callable[[], int], stopped: SignalSafeEvent) -> None:
    """Calls `run` every second in every worker, until `stopped`.

    `run` returns the number of processed items.
    """
    while not stopped.wait(_SECOND):
        try:
            if number := run():
                _log.info("%s: %s", name, number)
        except Unavailable as error:
            _log.warning("%s is delayed: %s", name, error.detail)
        except Exception:
            _log.exception("%s failed", name)
