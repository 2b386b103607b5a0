"""The service with a clock that somebody moves: its file says by how many seconds."""

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

from customer_certificates import app
from customer_certificates.cli import main


def serve() -> None:
    """Serves with the clock whose file is the command's argument."""
    file = Path(sys.argv[1])

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(file.read_text() or 0))

    sys.argv = ["customer-certificates", "serve"]
    # The workers are forked from this process.
    with patch.object(app, "create_app", partial(app.create_app, now=now)):
        main()
