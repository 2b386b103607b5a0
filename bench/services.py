"""The HTTP services that are compared, each started as its documentation says."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.servers import (
    Server,
    a_role_that_owns_nothing,
    free_port,
    start_postgresql,
    start_valkey,
)

from .revisions import THIS, Revision

_ROOT = Path(__file__).parent.parent
_SCRIPTS = Path(sys.executable).parent


def migrate(database: str, revision: Revision = THIS) -> None:
    """Creates the tables of `revision` in an empty database."""
    settings = {
        "CC_DATABASE_OWNER_URL": database,
        "CC_DATABASE_URL": a_role_that_owns_nothing(database),
    }
    subprocess.run(
        [str(revision.scripts / "customer-certificates"), "migrate"],
        check=True,
        cwd=revision.sources,
        env={**os.environ, **revision.settings(settings)},
    )


def migrate_sqlite(file: Path) -> str:
    """Creates a database with the tables of this revision, and returns its URL."""
    url = f"sqlite:///{file}"
    command = [_SCRIPTS / "customer-certificates", "migrate"]
    subprocess.run(command, check=True, env={**os.environ, "CC_DATABASE_URL": url})
    return url


def start_filled(
    stack: ExitStack, folder: Path, fill: Callable[[str], object]
) -> tuple[Server, Server]:
    """Starts the service on PostgreSQL and a Redis, and returns the service and PostgreSQL.

    `fill` gets the URL of the migrated database. All of them stop with `stack`.
    """

    def running(server: Server) -> Server:
        stack.callback(server.stop)
        return server

    postgresql = running(start_postgresql(folder / "postgresql", durable=True))
    cache = running(start_valkey(folder / "valkey"))
    migrate(postgresql.url)
    fill(postgresql.url)
    return running(start_ours(folder, postgresql.url, cache.url)), postgresql


def start_ours(
    folder: Path,
    database: str,
    cache: str,
    settings: Mapping[str, str] = {},
    revision: Revision = THIS,
) -> Server:
    """This service as shipped, log and metrics on, with two workers."""
    port = free_port()
    given = {
        "CC_ENV": "lcl",
        "CC_PORT": str(port),
        "CC_DATA_DIR": str(folder / "var"),
        "CC_DATABASE_URL": a_role_that_owns_nothing(database),
        "CC_CACHE_URL": cache,
        **settings,
    }
    return _start(
        folder / f"{revision.name}.log",
        port,
        f"{revision.scripts / 'customer-certificates'} serve",
        revision.settings(given),
    )


def start_fastapi(folder: Path, database: str) -> Server:
    """The routes in FastAPI, on as many processes; without an access log, which would cost it."""
    port = free_port()
    return _start(
        folder / "fastapi.log",
        port,
        f"{_SCRIPTS / 'uvicorn'} bench.fastapi_peer:app --workers 2 --loop uvloop "
        f"--http httptools --no-access-log --port {port}",
        {
            "PEER_DATABASE_URL": database.replace("postgresql://", "postgresql+asyncpg://"),
            "PYTHONPATH": str(_ROOT),
        },
    )


def start_falcon(folder: Path) -> Server:
    """A route that does nothing, on granian with two processes of four threads."""
    port = free_port()
    return _start(
        folder / "falcon.log",
        port,
        f"{_SCRIPTS / 'granian'} bench.falcon_peer:app --interface wsgi --workers 2 "
        f"--blocking-threads 4 --port {port}",
        {"PYTHONPATH": str(_ROOT)},
    )


def memory(server: Server) -> tuple[float, float]:
    """Megabytes of its two largest processes, and of all of them; shared pages are shared out."""
    family = [server.process, *server.process.children(recursive=True)]
    sizes = sorted((process.memory_full_info().pss / 1e6 for process in family), reverse=True)
    return sum(sizes[:2]), sum(sizes)


def _start(log: Path, port: int, command: str, settings: Mapping[str, str]) -> Server:
    def listens(_: int) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return Server(
        f"http://127.0.0.1:{port}",
        command.split(),
        log,
        listens,
        {"env": {**os.environ, **settings}},
    )
