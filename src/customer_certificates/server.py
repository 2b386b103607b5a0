"""The process that starts the workers, watches them, and stops them in good order."""

import ctypes
import gc
import os
import shlex
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing import parent_process
from multiprocessing.util import Finalize
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import sleep

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from . import beside
from .config import Config, share_metrics
from .gateways.admin_server import AdminServer
from .gateways.tls_files import Served, TlsFileError
from .terminal import note, say
from .workers import ENDING, Workers, act_on_the_first_signal

_DRAIN_SECONDS = 25
# Longer than proxies keep an idle connection (nginx: 60 s), so that it is they who close it.
_HEADER_SECONDS = 65
_M_ARENA_MAX = -8
_LOOK_SECONDS = 1
_RENEWAL_SECONDS = 2
_TARGET = "customer_certificates.server:worker"


class ListenError(Exception):
    """The address is not to be had. The message says which variable to change."""


def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; then requests under way have 25 s to end.

    Raises ListenError where the address cannot be listened on, TlsFileError where the files of
    CC_TLS_… cannot be used.
    """
    _limit_arenas()
    # What is imported before the workers are forked, they share; what the garbage collector has
    # no need to look at, they do not copy.
    import_module(f"{__package__}.app")
    gc.collect()
    gc.freeze()
    server = _granian(config)
    if config.tls:
        _renew(server, Served(config.tls))
    server.on_startup(lambda: _announce(config))
    _require_free(config.host, config.port, "CC_PORT or CC_HOST")
    if config.admin_address:
        _require_free(*config.admin_address, "CC_ADMIN_ADDRESS")
    with beside.delivering(server), beside.exports(config, server):
        server.serve()


@contextmanager
def metrics_folder() -> Iterator[None]:
    """A folder in which the workers share their counts; to be entered before anything counts."""
    with TemporaryDirectory(prefix="customer-certificates-", ignore_cleanup_errors=True) as folder:
        share_metrics(Path(folder))
        yield


def _renew(server: Workers, served: Served) -> None:
    """Serves what is in the files of CC_TLS_…, and what is in them later: they are looked at every
    two seconds, and at a SIGHUP. What cannot be used is said, and the pair before goes on."""

    def take_up() -> None:
        pair = served.take_up(datetime.now(UTC))
        server.use_tls(*served.paths)
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


def worker() -> object:
    """What each worker process serves."""
    # Until granian sets its own handlers, those of the first process would swallow the signals.
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    act_on_the_first_signal()
    from .app import create_app
    from .gateways.log_format import configure_logging

    configure_logging()
    # Recorded before the fork: the first process may have ended by now.
    parent = parent_process()
    if parent and parent.pid:
        Thread(target=_end_after, args=[parent.pid], name="parent-watch", daemon=True).start()
    config = Config.from_environ()
    app = create_app(config)
    _when_signalled(app.stop_waiting)
    # Where a worker ends, Python runs these, and not what atexit has.
    Finalize(None, app.close, exitpriority=1)
    if config.admin_address:
        admin = AdminServer(*config.admin_address, app.admin)
        Finalize(None, admin.close, exitpriority=2)
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


def _end_after(parent_pid: int) -> None:
    """Ends this worker when its parent has ended: otherwise it would keep the port."""
    while os.getppid() == parent_pid:
        sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _limit_arenas() -> None:
    """glibc gives each thread an arena of its own; two are enough, and 16 MB smaller (measured)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, 2)


def _require_free(host: str, port: int, variables: str) -> None:
    """Granian's own words for a taken port are a page of Rust."""
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


def _granian(config: Config) -> Workers:
    return Workers(
        _TARGET,
        address=config.host,
        port=config.port,
        interface=Interfaces.WSGI,
        factory=True,
        workers=config.workers,
        threads=config.most_connections,
        blocking_threads=config.threads,
        backpressure=config.most_connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_SECONDS * 1000),
        websockets=False,
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=_DRAIN_SECONDS,
    )


def _warning_about_links(config: Config) -> str:
    if config.smtp is None or config.mails_links:
        return ""
    return (
        "\nCC_PUBLIC_URL is not set: links that verify email addresses cannot be mailed. Notices "
        "are mailed only to addresses that an operator verifies (docs/expiry.md)."
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
