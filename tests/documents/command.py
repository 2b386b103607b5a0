"""`customer-certificates` as a document's commands find it: on free ports, with quick jobs."""

import os
import sys
from datetime import timedelta
from unittest.mock import patch

from customer_certificates import cli

_CLIENTS = ("import", "sync", "expiring", "find", "probe")


def main() -> None:
    """Runs the command. A client asks the service at CC_PORT."""
    command = sys.argv[1]
    if command == "serve":
        _serve()
        return
    if command in _CLIENTS:
        sys.argv[2:2] = ["--server", f"http://localhost:{os.environ['CC_PORT']}"]
    cli.main()


def _serve() -> None:
    """Serves. A minute between two runs of a job takes a second."""
    # Other commands start faster without these imports.
    from customer_certificates.background import scheduler
    from customer_certificates.services.job_lock import JobLock

    try_acquire = JobLock.try_acquire

    def acquire_soon(self: JobLock, job: str, every: timedelta) -> bool:
        return try_acquire(self, job, every / 60)

    scheduler._CHECK_SECONDS = 0.2
    with patch.object(JobLock, "try_acquire", acquire_soon):
        cli.main()
