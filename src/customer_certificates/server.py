"""The process that starts the workers, watches them, and stops them in good order."""

import ctypes
import gc
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing.util import Finalize
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import sleep

import msgspec
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer as Server

from .config import Config, share_metrics, uncounted
from .gateways.no_dumps import forbid_dumps
from .gateways.tls_files import check_pair

_DRAIN_SECONDS = 25
# Longer than proxies keep an idle connection (nginx: 60 s), so that it is they who close it.
_HEADER_SECONDS = 65
_M_ARENA_MAX = -8
_LOOK_SECONDS = 1
_EXPORT_SECONDS = 600
_COMMAND = f"from {__package__}.cli import main; main()"
_TARGET = "customer_certificates.server:worker"


class ListenError(Exception):
    """The address is not to be had. The message says which variable to change."""


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; then requests under way have 25 s to end.

    Raises ListenError where the address cannot be listened on, TlsFileError where the files of
    CC_TLS_… cannot be used.
    """
    forbid_dumps()
    _limit_arenas()
    # What is imported before the workers are forked, they share; what the garbage collector has
    # no need to look at, they do not copy.
    import_module(f"{__package__}.app")
    gc.collect()
    gc.freeze()
    if config.tls and (warning := check_pair(config.tls, datetime.now(UTC))):
        print(f"customer-certificates: {warning}", file=sys.stderr)
    server = _granian(config)
    server.on_startup(lambda: _announce(config))
    _require_free(config)
    with _delivering(server), _exports(config, server):
        server.serve()


@contextmanager
def metrics_folder() -> Iterator[None]:
    """A folder in which the workers share their counts; to be entered before anything counts."""
    with TemporaryDirectory(prefix="customer-certificates-", ignore_cleanup_errors=True) as folder:
        share_metrics(Path(folder))
        yield


@contextmanager
def _exports(config: Config, server: Server) -> Iterator[None]:
    """Exports the audit's heads every ten minutes while it is served, and once more at the end.

    By a process that ends each time: this one is to hold no connection that workers would inherit.
    """
    if not config.audit_export_dir:
        yield
        return
    command = [sys.executable, "-c", _COMMAND, "audit", "export"]
    command += ["--out", str(config.audit_export_dir)]
    stopped = Event()

    def export() -> None:
        subprocess.run(command, env=uncounted(), stdout=subprocess.DEVNULL, check=False)  # noqa: S603

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
def _delivering(server: Server) -> Iterator[None]:
    """Has a process tell others of events while it is served (`work`); another one, where it dies.

    It is started anew and not forked, so that it inherits no socket.
    """
    command = [sys.executable, "-c", _COMMAND, "work", "--with-parent"]
    stopped = Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep_running() -> None:
        while not stopped.is_set():
            running[:] = [subprocess.Popen(command)]  # noqa: S603
            running[0].wait()
            stopped.wait(_LOOK_SECONDS)

    thread = Thread(target=keep_running, name="delivering", daemon=True)
    server.on_startup(thread.start)
    yield
    stopped.set()
    if thread.ident:
        for process in running:
            process.terminate()
        thread.join(_DRAIN_SECONDS)


def worker() -> object:
    """What each worker process serves."""
    # Until granian sets its own handlers, those of the first process would swallow the signals.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .app import create_app
    from .gateways.log_format import configure_logging

    configure_logging()
    Thread(target=_end_with, args=[os.getppid()], name="first-process-watch", daemon=True).start()
    app = create_app(Config.from_environ())
    _when_signalled(app.stop_waiting)
    # Where a worker ends, Python runs these, and not what atexit has.
    Finalize(None, app.close, exitpriority=1)
    return app


def _when_signalled(then: Callable[[], None]) -> None:
    """Calls `then` at once when this process is told to end: granian's own handlers, which stay,
    run only when the requests under way have ended."""
    ready, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

    def wait() -> None:
        os.read(ready, 1)
        then()

    Thread(target=wait, name="end-watch", daemon=True).start()


def _end_with(first_process: int) -> None:
    """Ends this worker after the process that started it: it would go on, and keep the port."""
    while os.getppid() == first_process:
        sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _limit_arenas() -> None:
    """glibc gives each thread an arena of its own; two are enough, and 16 MB smaller (measured)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, 2)


def _require_free(config: Config) -> None:
    """Granian's own words for a taken port are a page of Rust."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise ListenError(
                f"{config.host} port {config.port} cannot be listened on: {error.strerror}. "
                "Choose another with CC_PORT or CC_HOST."
            ) from None


def _granian(config: Config) -> Server:
    return Server(
        _TARGET,
        address=config.host,
        port=config.port,
        interface=Interfaces.WSGI,
        factory=True,
        workers=config.workers,
        blocking_threads=config.threads,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_SECONDS * 1000),
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=_DRAIN_SECONDS,
        ssl_cert=config.tls and config.tls[0],
        ssl_key=config.tls and config.tls[1],
        ssl_protocol_min=SSLProtocols.tls12,
    )


def _announce(config: Config) -> None:
    url = config.address
    if config.asks_credentials:
        print(
            f"Customer Certificates listens on {url}. It asks for credentials (profile prd).\n"
            "The first operator's token: customer-certificates token create --operator",
            file=sys.stderr,
            flush=True,
        )
        return
    user = {"name": "Ada Lovelace", "email": "ada@example.com", "password": "correct horse"}
    body = shlex.quote(msgspec.json.encode(user).decode())
    print(
        f"Customer Certificates listens on {url}. It is open (profile {config.profile}): it "
        "asks for no credentials and so serves "
        f"{'its CC_TRUSTED_PEERS and ' if config.trusted_peers else ''}this machine alone.\n"
        f"Try it:\n"
        f"  curl {url}/users -H 'Content-Type: application/json' -d {body}\n"
        f"  curl {url}/users/1\n"
        f"The API is described at {url}/docs",
        file=sys.stderr,
        flush=True,
    )
