"""Periodic jobs that run once in the cluster."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from ..errors import Unavailable
from ..gateways.signals import SignalSafeEvent
from ..services.job_lock import JobLock

_CHECK_SECONDS = 10.0
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
    while not stopped.is_set():
        for job in jobs:
            if stopped.is_set():
                return
            with _logged_failures(job.name):
                if job_lock.try_acquire(job.name, job.every):
                    _log.info("%s: %s", job.name, job.run())
        stopped.wait(_CHECK_SECONDS)


def run_every_second(name: str, run: Callable[[], int], stopped: SignalSafeEvent) -> None:
    """Calls `run`, which returns the number of processed items, every second until `stopped`."""
    while not stopped.wait(1.0):
        with _logged_failures(name):
            if number := run():
                _log.info("%s: %s", name, number)


@contextmanager
def _logged_failures(name: str) -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        _log.warning("%s is delayed: %s", name, error.detail)
    except Exception:
        _log.exception("%s failed", name)
