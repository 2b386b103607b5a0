"""A pytest plugin: the servers that all processes of one run (pytest-xdist) use together."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .dns_server import knot_program, start_knot
from .servers import Server, start_postgresql, start_valkey

# Enough for the services and applications of five processes.
_POSTGRESQL = {"max_connections": "400"}
# To share another kind of server, add the variable that names it to the processes, and its start.
_STARTS: dict[str, Callable[[Path], Server]] = {
    "TEST_DATABASE_URL": lambda folder: start_postgresql(folder, settings=_POSTGRESQL),
    "TEST_CACHE_URL": start_valkey,
    # Without Knot the tests that need it are skipped.
    **({"TEST_DNS_SERVER": start_knot} if knot_program() else {}),
}


class SharedServers:
    """Of the process that controls the others. A variable that is set already names a server to
    use in place of one of our own."""

    def __init__(self, folder: Path) -> None:
        self._started: list[tuple[Server, Path]] = []
        for variable, start in _STARTS.items():
            if not os.environ.get(variable):
                place = folder / variable.lower()
                self._started.append((server := start(place), place))
                os.environ[variable] = server.url

    # The processes have ended by then.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        for server, place in self._started:
            server.stop()
            shutil.rmtree(place)
