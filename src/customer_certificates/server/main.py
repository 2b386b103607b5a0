"""The process that starts the workers, watches them, and stops them in good order."""

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
from ..gateways.sandbox.fork_server import prepare_to_fork
from ..terminal import note, say
from ..web.request_parsing import LARGEST_BODY_BYTES
from . import audit_exports as beside
from .admin import AdminServer
from .listener import HttpServer
from .supervisor import Supervisor
from .tls_files import Served, TlsFileError

if TYPE_CHECKING:
    from ..app import Application

_DRAIN_SECONDS = 25
# So long a worker that is replaced waits for its clients to send their next requests.
_LEAVE_SECONDS = 10
_M_ARENA_MAX = -8
_LOOK_SECONDS = 1
_RENEWAL_SECONDS = 2


class ListenError(Exception):
    """The address is not to be had. The message says which variable to change."""


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; then requests under way have 25 s to end.

    Raises ListenError where the address cannot be listened on, TlsFileError where the files of
    CC_TLS_… cannot be used.
    """
    _limit_arenas()
    prepare_to_fork("customer_certificates.pki.examination")
    # What is imported before the workers are forked, they share; what the garbage collector has
    # no need to look at, they do not copy.
    import_module("customer_certificates.app")
    import_module("customer_certificates.background.worker")
    gc.collect()
    gc.freeze()
    served = Served(config.tls) if config.tls else None

    def work(listener: socket.socket, tell_ready: Callable[[], None]) -> None:
        _work(listener, served, tell_ready)

    server = Supervisor(
        work,
        workers=config.workers,
        drain_seconds=_DRAIN_SECONDS,
        background=partial(_run_background_worker, os.getpid()),
    )
    if served:
        _renew(server, served)
    server.on_startup(lambda: _announce(config))
    _require_free(config.host, config.port, "CC_PORT or CC_HOST")
    if config.admin_address:
        _require_free(*config.admin_address, "CC_ADMIN_ADDRESS")
    with beside.exports(config, server):
        server.serve(config.host, config.port)


@contextmanager
def metrics_folder() -> Iterator[None]:
    """A folder in which the workers share their counts; to be entered before anything counts."""
    with TemporaryDirectory(prefix="customer-certificates-", ignore_cleanup_errors=True) as folder:
        share_metrics(Path(folder))
        yield


def _renew(server: Supervisor, served: Served) -> None:
    """Serves what is in the files of CC_TLS_…, and what is in them later: they are looked at every
    two seconds, and at a SIGHUP. What cannot be used is said, and the pair before goes on."""

    def take_up() -> None:
        pair = served.take_up(datetime.now(UTC))
        if pair.warning:
            say(pair.warning)

    def take_up_again() -> None:
        try:
            take_up()
        except TlsFileError as error:
            say(f"{error} The certificate before goes on being served.")

    def look() -> None:
        seen = said = ""
        while True:
            sleep(_RENEWAL_SECONDS)
            wrong = ""
            try:
                if served.differs(datetime.now(UTC)):
                    say("the certificate was renewed: new workers take it up.")
                    server.reload()
            except TlsFileError as error:
                wrong = str(error)
            # One file is renewed before the other: what is wrong is said when it stays so.
            if wrong and wrong == seen != said:
                say(f"{wrong} The certificate before goes on being served.")
                said = wrong
            seen = wrong

    take_up()
    server.on_reload(take_up_again)
    server.on_startup(Thread(target=look, name="tls-files", daemon=True).start)


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
        # The supervisor starts another worker in a second.
        say(str(error))


def _work(listener: socket.socket, served: Served | None, tell_ready: Callable[[], None]) -> None:
    """A worker process: serves on `listener` until it is told to end, or to leave."""
    # Recorded before anything takes time: the first process may have ended by now.
    parent = os.getppid()
    config = Config.from_environ()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, listener, _tls_context(served), parent, tell_ready))


async def _serve(
    config: Config,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    parent: int,
    tell_ready: Callable[[], None],
) -> None:
    ending, leaving = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    loop.add_signal_handler(signal.SIGINT, ending.set)
    loop.add_signal_handler(signal.SIGUSR1, leaving.set)
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
    tell_ready()
    while not ending.is_set() and not leaving.is_set() and os.getppid() == parent:
        await _any_of(ending, leaving, seconds=_LOOK_SECONDS)
    app.stop_waiting()
    server.leave()
    if leaving.is_set():
        await server.rest(_LEAVE_SECONDS, ending)
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


def _tls_context(served: Served | None) -> ssl.SSLContext | None:
    if served is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(*served.paths)
    return context


def _limit_arenas() -> None:
    """glibc gives each thread an arena of its own; two are enough, and 16 MB smaller (measured)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, 2)


def _require_free(host: str, port: int, variables: str) -> None:
    """Raises ListenError if the address is taken, also by another service of this kind."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ListenError(
                f"{host} port {port} cannot be listened on: {error.strerror}. "
                f"Choose another with {variables}."
            ) from None


def _warning_about_links(config: Config) -> str:
    if config.smtp is None or config.mails_links:
        return ""
    return (
        "\nCC_PUBLIC_URL is not set: links that verify email addresses cannot be mailed. "
        "Notices are mailed only to addresses that an operator verifies "
        "(docs/how-to/expiry-notifications.md)."
    )


def _announce(config: Config) -> None:
    url = config.address
    if config.asks_credentials:
        note(
            f"Customer Certificates listens on {url}. It asks for credentials (profile prd).\n"
            "The first operator's token: customer-certificates token create --operator"
            f"{_warning_about_links(config)}"
        )
        return
    user = {"name": "Ada Lovelace", "email": "ada@example.com", "password": "correct horse"}
    body = shlex.quote(msgspec.json.encode(user).decode())
    note(
        f"Customer Certificates listens on {url}. It is open (profile {config.profile}): it "
        "asks for no credentials and so serves "
        f"{'its CC_TRUSTED_PEERS and ' if config.trusted_peers else ''}this machine alone.\n"
        f"Try it:\n"
        f"  curl {url}/users -H 'Content-Type: application/json' -d {body}\n"
        f"  curl {url}/users/1\n"
        f"The API is described at {url}/docs"
    )
