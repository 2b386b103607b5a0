"""`customer-certificates` as a document's commands find it: on free ports, with quick jobs."""

import os
import sys
from datetime import timedelta
from unittest.mock import patch

from customer_certificates import cli
from customer_certificates.background import scheduler
from customer_certificates.services.job_lock import Rota

_CLIENTS = ("import", "sync", "expiring", "probe")


def main() -> None:
    """Runs the command. Clients ask the service at CC_PORT; a job's minute takes a second."""
    if len(sys.argv) > 2 and sys.argv[1] in _CLIENTS and "--status" not in sys.argv:
        sys.argv[2:2] = ["--server", f"http://localhost:{os.environ['CC_PORT']}"]
    take = Rota.take

    def take_soon(self: Rota, job: str, every: timedelta) -> bool:
        return take(self, job, every / 60)

    scheduler._LOOK_SECONDS = 0.2
    with patch.object(Rota, "take", take_soon):
        cli.main()
