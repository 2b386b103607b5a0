"""The main process of `serve`: starts, supervises and stops the workers."""

import asyncio
import ctypes
import gc
import os
import shlex
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING

import msgspec
import uvloop

from ..config import Config, share_metrics
from ..gateways.metrics import write_to_folder
from ..gateways.sandbox.fork_server import prepare_to_fork
from ..terminal import note, say
from ..web.request_parsing import LARGEST_BODY_BYTES
from . import audit_exports
from .admin import AdminServer
from .listener import HttpServer
from .sockets import require_free
from .supervisor import Supervisor
from .tls_files import TlsFileError, TlsFiles

if TYPE_CHECKING:
    from ..app import Application

_DRAIN_SECONDS = 25
# A replaced worker waits this long for the next requests on its open connections.
_LINGER_SECONDS = 10
_M_ARENA_MAX = -8
_PARENT_CHECK_SECONDS = 1
_RENEWAL_SECONDS = 2


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; then requests in progress have 25 s to finish.

    Raises ListenError if the address cannot be used, TlsFileError if the TLS files cannot.
    """
    _limit_arenas()
    prepare_to_fork("customer_certificates.pki.validation")
    # Workers share the memory of modules that are imported before the fork. gc.freeze keeps the
    # garbage collector from copying it.
    import_module("customer_certificates.app")
    import_module("customer_certificates.background.worker")
    gc.collect()
    gc.freeze()
    tls_files = TlsFiles(config.tls) if config.tls else None

    def work(listener: socket.socket, report_ready: Callable[[], None]) -> None:
        _work(listener, tls_files, report_ready)

    server = Supervisor(
        work,
        workers=config.workers,
        drain_seconds=_DRAIN_SECONDS,
        background=partial(_run_background_worker, os.getpid()),
    )
    if tls_files:
        _serve_tls_files(server, tls_files)
    server.on_startup(lambda: _announce(config))
    require_free(config.host, config.port, "CC_PORT or CC_HOST")
    if config.admin_address:
        require_free(*config.admin_address, "CC_ADMIN_ADDRESS")
    with audit_exports.exports(config, server):
        server.serve(config.host, config.port)


@contextmanager
def metrics_folder() -> Iterator[None]:
    """Provides a folder for the workers' metrics. Enter it before metrics are declared."""
    with TemporaryDirectory(prefix="customer-certificates-", ignore_cleanup_errors=True) as folder:
        share_metrics(Path(folder))
        write_to_folder()
        yield


def _serve_tls_files(server: Supervisor, tls_files: TlsFiles) -> None:
    """Serves the files of CC_TLS_…, and reloads them when they change.

    Reads the files every two seconds and at SIGHUP. Logs an unusable pair, and keeps the old one.
    """

    def load() -> None:
        pair = tls_files.load(datetime.now(UTC))
        if pair.warning:
            say(pair.warning)

    def reload() -> None:
        try:
            load()
        except TlsFileError as error:
            say(f"{error} The service keeps the previous certificate.")

    def watch() -> None:
        previous = logged = ""
        while True:
            sleep(_RENEWAL_SECONDS)
            error_text = ""
            try:
                # OpenSSL may hold locks, which no worker process must inherit.
                with server.forking:
                    is_renewed = tls_files.are_renewed(datetime.now(UTC))
                if is_renewed:
                    say("the TLS certificate was renewed. New workers load it.")
                    server.reload()
            except TlsFileError as error:
                error_text = str(error)
            # The two files do not change at once, so only an error that persists is logged.
            if error_text and error_text == previous != logged:
                say(f"{error_text} The service keeps the previous certificate.")
                logged = error_text
            previous = error_text

    load()
    server.on_reload(reload)
    server.on_startup(Thread(target=watch, name="tls-files", daemon=True).start)


def make_app(config: Config) -> "Application":
    """Returns the application of a worker process."""
    from ..app import create_app
    from ..gateways.log_format import configure_logging

    configure_logging()
    return create_app(config)


def _run_background_worker(parent_pid: int) -> None:
    """Runs the background worker in this process until SIGTERM, or until the parent ends."""
    from ..background.worker import work
    from ..errors import Unavailable
    from ..gateways.database.schema import SchemaError
    from ..gateways.master_keys import MasterKeyError

    try:
        work(Config.from_environ(), parent_pid=parent_pid)
    except (SchemaError, MasterKeyError, Unavailable) as error:
        # The supervisor starts another worker after a second.
        say(str(error))


def _work(
    listener: socket.socket, tls_files: TlsFiles | None, report_ready: Callable[[], None]
) -> None:
    """Runs a worker process: serves on `listener` until SIGTERM, SIGINT or SIGUSR1."""
    # Recorded first: the main process may end at any time.
    parent = os.getppid()
    config = Config.from_environ()
    tls = tls_files.pair.context if tls_files and tls_files.pair else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, listener, tls, parent, report_ready))


async def _serve(
    config: Config,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    parent: int,
    report_ready: Callable[[], None],
) -> None:
    ending, draining = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_signal_handler(signal.SIGINT, ending.set)
    loop.add_signal_handler(signal.SIGUSR1, draining.set)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    app = make_app(config)
    admin = AdminServer(*config.admin_address, app.admin) if config.admin_address else None
    server = HttpServer(
        app,
        listener,
        tls=tls,
        most_connections=config.most_connections,
        most_body_bytes=LARGEST_BODY_BYTES,
        on_cut=app.on_cut,
    )
    report_ready()
    while not ending.is_set() and not draining.is_set() and os.getppid() == parent:
        await _any_of(ending, draining, seconds=_PARENT_CHECK_SECONDS)
    app.stop_waiting()
    server.start_draining()
    if draining.is_set():
        await server.wait_for_clients(_LINGER_SECONDS, ending)
    await server.drain(_DRAIN_SECONDS)
    if admin:
        admin.close()
    app.close()


async def _any_of(*events: asyncio.Event, seconds: float) -> None:
    """Returns when one of the events is set, or after `seconds`."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _limit_arenas() -> None:
    """Limits glibc to two memory arenas, which saves 16 MB (measured)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, 2)


def _warning_about_links(config: Config) -> str:
    if config.smtp is None or config.mails_links:
        return ""
    return (
        "\nCC_PUBLIC_URL is not set, so the service cannot send links that verify email addresses. "
        "It sends notices only to addresses that an operator verifies "
        "(docs/how-to/expiry-notifications.md)."
    )


def _announce(config: Config) -> None:
    url = config.address
    if config.asks_credentials:
        note(
            f"Customer Certificates listens on {url}. It requires authentication (profile prd).\n"
            f"Console: {url}/console\n"
            "If there is no operator token yet, create one: customer-certificates token create "
            "--operator"
            f"{_warning_about_links(config)}"
        )
        return
    user = {"name": "Ada Lovelace", "email": "ada@example.com", "password": "correct horse"}
    body = shlex.quote(msgspec.json.encode(user).decode())
    note(
        f"Customer Certificates listens on {url}. It requires no authentication (profile "
        f"{config.profile}), so it serves only this "
        f"machine{' and CC_ALLOWED_CLIENTS' if config.allowed_clients else ''}.\n"
        f"Console: {url}/console\n"
        "Or try the API:\n"
        f"  curl {url}/users -H 'Content-Type: application/json' -d {body}\n"
        f"  curl {url}/users/1\n"
        f"API documentation: {url}/docs"
    )
