"""The application as it is, with everything that its libraries can log, and a report of crashes."""

import faulthandler
import logging
from typing import TYPE_CHECKING
from unittest.mock import patch

from customer_certificates.config import Config
from customer_certificates.server import main
from customer_certificates.server.main import make_app as server_make_app

if TYPE_CHECKING:
    from customer_certificates.app import Application


def make_app(config: Config) -> "Application":
    """The application of each worker process."""
    made = server_make_app(config)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("asyncio", "sqlalchemy.engine", "sqlalchemy.pool", "psycopg", "httpx"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    return made


def serve() -> None:
    """Serves it."""
    # As PYTHONFAULTHANDLER does where Python starts; the workers are forked from this process.
    faulthandler.enable()
    with patch.object(main, "make_app", make_app), main.metrics_folder():
        main.serve(Config.from_environ())
