"""What is done from time to time, once in the cluster: a plain list of jobs."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from ..errors import Unavailable
from ..gateways.signals import Alarm
from ..services.job_lock import Rota

_LOOK_SECONDS = 10.0
_SECOND = 1.0
_log = logging.getLogger(__name__)


class Job(NamedTuple):
    """`run` is called about `every` so often. It may be killed, and is run again then; two of it
    may overlap where one takes longer than that."""

    name: str
    every: timedelta
    run: Callable[[], object]


def run_jobs(jobs: Sequence[Job], rota: Rota, stopped: Alarm) -> None:
    """Does whatever is due and nobody else in the cluster has begun, until `stopped`."""
    while True:
        for job in jobs:
            if stopped.is_set():
                return
            try:
                if rota.take(job.name, job.every):
                    _log.info("%s: %s", job.name, job.run())
            except Unavailable as error:
                _log.warning("%s waits: %s", job.name, error.detail)
            except Exception:
                _log.exception("%s failed", job.name)
        if stopped.wait(_LOOK_SECONDS):
            return


def run_every_second(name: str, run: Callable[[], int], stopped: Alarm) -> None:
    """Does what must not wait for other jobs, in every worker, until `stopped`; `run` says how much
    it has done."""
    while not stopped.wait(_SECOND):
        try:
            if number := run():
                _log.info("%s: %s", name, number)
        except Unavailable as error:
            _log.warning("%s wait: %s", name, error.detail)
        except Exception:
            _log.exception("%s failed", name)
