"""Periodic exports of the audit log's heads, by a command in a separate process.

The process is not forked from the main process, so it inherits no socket.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from ..config import Config, uncounted
from ..terminal import say
from .supervisor import Supervisor

_EXPORT_SECONDS = 600
_COMMAND = [sys.executable, "-c", "from customer_certificates.cli import main; main()"]


@contextmanager
def exports(config: Config, server: Supervisor) -> Iterator[None]:
    """Exports the audit log's heads every ten minutes, and once more at shutdown."""
    if not config.audit_export_dir:
        yield
        return
    command = [*_COMMAND, "audit", "export", "--quiet", "--out", str(config.audit_export_dir)]
    stopped = Event()

    def export() -> None:
        try:
            with server.forking:
                process = subprocess.Popen(command, env=uncounted(), stdout=subprocess.DEVNULL)  # noqa: S603
            process.wait()
        except OSError as error:
            say(
                f"cannot start the export of the audit log's heads: {error.strerror}. "
                "Retrying in 10 minutes."
            )

    def every_ten_minutes() -> None:
        export()
        while not stopped.wait(_EXPORT_SECONDS):
            export()

    thread = Thread(target=every_ten_minutes, name="audit-export", daemon=True)
    server.on_startup(thread.start)
    yield
    stopped.set()
    if thread.ident:
        thread.join()
    export()
