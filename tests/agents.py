"""Agents that run, and the nginx and HAProxy that they keep supplied."""

import atexit
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import psutil
import pytest
import typer
from typer.testing import CliRunner

from customer_certificates.cli.terminators import sync
from customer_certificates.client.sync.status import Status

from .servers import Server, free_port
from .service import COMMAND, Forked, environment
from .terminators import Terminator

T = TypeVar("T")

_COMMANDS = typer.Typer()
_COMMANDS.command()(sync)
# As docs/how-to/nginx.md has it.
_NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {certificates}/http.conf;
    server {{
        listen 127.0.0.1:{port} ssl;
        include {certificates}/server.conf;
        location / {{ return 200 "served"; }}
    }}
}}
"""
# As docs/how-to/haproxy.md has it.
_HAPROXY = """
global
    stats socket {folder}/haproxy.sock mode 600 level admin
    stats timeout 10m
    tune.bufsize 65536
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend https
    bind 127.0.0.1:{port} ssl crt-list {certificates}/crt-list
    http-request return status 200 content-type text/plain string served
"""


class RunningAgent:
    """`customer-certificates sync` for `folder`; `log` is what it says."""

    def __init__(self, folder: Path, server: str, *options: str) -> None:
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.log")
        self.command = [COMMAND, "sync", "--out", str(folder), "--server", server, *options]
        self._forked = Forked(self.command, environment({}), self.log, self.log)
        # multiprocessing waits at exit for what it started.
        atexit.register(self.kill)
        self.process = psutil.Process(self._forked.pid)

    def status(self) -> Status | None:
        """Its last report about itself."""
        with suppress(OSError):
            found = msgspec.json.decode((self.folder / "status.json").read_bytes(), type=Status)
            return found if found.process == self._forked.pid else None
        return None

    def wait_for(self, is_so: Callable[[Status], bool]) -> Status:
        """Its status, once `is_so`."""
        found = wait_for(self.status, lambda one: one is not None and is_so(one), self.log)
        assert found
        return found

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self._forked.terminate()
        return self._forked.wait(30)

    def kill(self) -> None:
        """Ends it, whatever it is doing."""
        self._forked.kill()
        self._forked.wait()
        atexit.unregister(self.kill)


def wait_for(look: Callable[[], T], is_so: Callable[[T], bool], log: Path) -> T:
    """The result of `look`, once it satisfies `is_so`."""
    patience = threading.Event()
    for _ in range(600):
        if is_so(found := look()):
            return found
        patience.wait(0.05)
    raise AssertionError(f"{found}\n{log.read_text()}")


def typed(*words: str | Path) -> tuple[int, str, str]:
    """The exit code of `sync` with these options, and what was printed where."""
    result = CliRunner().invoke(_COMMANDS, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


class Edge(NamedTuple):
    """A terminator's host: a server, and the agent that supplies it."""

    agent: RunningAgent
    server: Server
    terminator: Terminator


# nginx and HAProxy, which is reloaded, or told over its runtime socket.
EDGES = ("nginx", "haproxy", "haproxy-runtime")


def start_edge(kind: str, url: str, folder: Path, stack: ExitStack, **environment: str) -> Edge:
    """One of EDGES, with what is served by the service at `url`, until `stack` ends.

    The server, not the agent, has `environment` too.
    """
    here = Path(tempfile.mkdtemp(dir=folder))
    here.chmod(0o755)  # nginx's workers have to get there
    certificates = here / "certificates"

    def start(folder: Path, certificates: Path) -> tuple[Server, Terminator, list[str]]:
        if kind == "nginx":
            return start_nginx(folder, certificates)
        return start_haproxy(folder, certificates, environment)

    options = ["--format", kind.partition("-")[0]]
    if kind == "nginx" and os.geteuid() == 0:
        options += ["--group", "nogroup"]
    code, _, said = typed("--out", certificates, "--server", url, "--once", *options)
    assert code == 0, said
    server, terminator, reload = start(here, certificates)
    stack.callback(server.stop)
    if kind == "haproxy-runtime":
        reload = ["--runtime", f"{here}/haproxy.sock"]
    agent = RunningAgent(certificates, url, *options, *reload)
    stack.callback(agent.kill)
    return Edge(agent, server, terminator)


def start_nginx(folder: Path, certificates: Path) -> tuple[Server, Terminator, list[str]]:
    """nginx with what an agent put into `certificates`, and the agent's options for it."""
    port = free_port()
    configuration = folder / "nginx.conf"
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    configuration.write_text(
        _NGINX.format(user=user, folder=folder, certificates=certificates, port=port)
    )
    command = [program("nginx"), "-c", str(configuration), "-e", f"{folder}/error.log"]
    typed = " ".join(command)
    server = Server(
        f"https://127.0.0.1:{port}", command, folder / "nginx.log", lambda _: _listens(port)
    )
    options = ["--check", f"{typed} -t", "--reload", f"{typed} -s reload"]
    return server, Terminator(server, port), options


def start_haproxy(
    folder: Path, certificates: Path, environment: Mapping[str, str]
) -> tuple[Server, Terminator, list[str]]:
    """HAProxy (a master and its worker) with what an agent put into `certificates`, and the agent's
    options to have it loaded again."""
    port = free_port()
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_HAPROXY.format(folder=folder, certificates=certificates, port=port))
    pid = folder / "haproxy.pid"
    command = [program("haproxy"), "-W", "-p", str(pid), "-f", str(configuration)]
    server = Server(
        f"https://127.0.0.1:{port}",
        command,
        folder / "haproxy.log",
        lambda _: _listens(port),
        {"env": {**os.environ, **environment}},
    )
    check = f"{command[0]} -c -f {configuration}"
    reload = f"sh -c 'kill -USR2 $(head -1 {pid})'"
    return server, Terminator(server, port), ["--check", check, "--reload", reload]


def program(name: str) -> str:
    """Where an installed server is."""
    # Debian keeps servers where only root's PATH leads.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if not found:
        missing = f"{name} is not installed (apt-get install nginx-light haproxy prometheus)"
        if os.environ.get("CI") == "true":
            raise RuntimeError(missing)
        pytest.skip(missing)
    return found


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
