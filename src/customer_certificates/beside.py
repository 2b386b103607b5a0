"""What runs beside the workers while they serve: commands in processes of their own.

They are started anew and not forked from the first process: so they inherit no socket, and it holds
no connection that workers would inherit.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from .config import Config, uncounted
from .supervisor import Supervisor
from .terminal import say

_EXPORT_SECONDS = 600
_AGAIN_SECONDS = 1
_END_SECONDS = 25
_COMMAND = [sys.executable, "-c", f"from {__package__}.cli import main; main()"]


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


@contextmanager
def delivering(server: Supervisor) -> Iterator[None]:
    """Has a process tell others of events while it is served (`work`), another where it dies."""
    command = [*_COMMAND, "work", "--parent-pid", str(os.getpid())]
    stopped = Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep_running() -> None:
        while not stopped.is_set():
            try:
                with server.forking:
                    running[:] = [subprocess.Popen(command)]  # noqa: S603
                running[0].wait()
            except OSError as error:
                say(f"the worker that tells others cannot be started: {error.strerror}")
            stopped.wait(_AGAIN_SECONDS)

    thread = Thread(target=keep_running, name="delivering", daemon=True)
    server.on_startup(thread.start)
    yield
    stopped.set()
    if thread.ident:
        for process in running:
            process.terminate()
        thread.join(_END_SECONDS)
