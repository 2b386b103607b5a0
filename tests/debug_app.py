"""The application as it is, with everything that its libraries can log. `python -m tests.debug_app`
serves it."""

import logging
from unittest.mock import patch

from customer_certificates import server
from customer_certificates.config import Config


def worker() -> object:
    """What each worker process serves."""
    made = server.worker()
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "psycopg", "httpx"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    return made


def main() -> None:
    with patch.object(server, "_TARGET", "tests.debug_app:worker"), server.metrics_folder():
        server.serve(Config.from_environ())


if __name__ == "__main__":
    main()
