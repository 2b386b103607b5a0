"""The three HTTP services that are compared, each started as its documentation says."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.servers import Server, a_role_that_owns_nothing, free_port

_ROOT = Path(__file__).parent.parent
_SCRIPTS = Path(sys.executable).parent


def migrate(database: str) -> None:
    """Creates the tables in an empty database."""
    subprocess.run(
        [str(_SCRIPTS / "customer-certificates"), "migrate"],
        check=True,
        env={
            **os.environ,
            "CC_DATABASE_OWNER_URL": database,
            "CC_DATABASE_URL": a_role_that_owns_nothing(database),
        },
    )


def start_ours(folder: Path, database: str, cache: str, settings: Mapping[str, str] = {}) -> Server:
    """This service as shipped, log and metrics on: 2 processes of 4 threads."""
    port = free_port()
    return _start(
        folder / "ours.log",
        port,
        "customer-certificates serve",
        {
            "CC_ENV": "lcl",
            "CC_PORT": str(port),
            "CC_DATA_DIR": str(folder / "var"),
            "CC_DATABASE_URL": a_role_that_owns_nothing(database),
            "CC_CACHE_URL": cache,
            **settings,
        },
    )


def start_fastapi(folder: Path, database: str) -> Server:
    """The routes in FastAPI, on as many processes; without an access log, which would cost it."""
    port = free_port()
    return _start(
        folder / "fastapi.log",
        port,
        "uvicorn bench.fastapi_peer:app --workers 2 --loop uvloop --http httptools "
        f"--no-access-log --port {port}",
        {"PEER_DATABASE_URL": database.replace("postgresql://", "postgresql+asyncpg://")},
    )


def start_falcon(folder: Path) -> Server:
    """A route that does nothing, on our server with our processes and threads."""
    port = free_port()
    return _start(
        folder / "falcon.log",
        port,
        "granian bench.falcon_peer:app --interface wsgi --workers 2 --blocking-threads 4 "
        f"--port {port}",
        {},
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

    program, *arguments = command.split()
    return Server(
        f"http://127.0.0.1:{port}",
        [str(_SCRIPTS / program), *arguments],
        log,
        listens,
        {"env": {**os.environ, "PYTHONPATH": str(_ROOT), **settings}},
    )
