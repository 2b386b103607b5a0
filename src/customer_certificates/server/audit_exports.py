"""The export of the audit's heads while the service runs: a command in a process of its own.

It is started anew and not forked from the first process: so it inherits no socket.
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
    """Exports the audit's heads every ten minutes while it is served, and once more at the end,
    by a process that ends each time."""
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
            say(f"the audit's heads cannot be exported: {error.strerror}")

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
