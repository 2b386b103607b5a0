"""What the database sees of the service: how many statements a read sends, and a list's plan."""

import re
from pathlib import Path

import httpx
import psycopg
from sqlalchemy import make_url

from tests.servers import a_role_that_owns_nothing

from .services import start_ours

_OPTIONS = {
    "log_statement": "all",
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
}
_WARM_READS = 10


def observe(folder: Path, database: str, log: Path, target: str) -> tuple[float, str]:
    """Has a fresh service read `target`: statements of a warm read, and the plan of the cold one.

    `log` is the log of the database server. One process, so that the second read is warm.
    """
    role = make_url(a_role_that_owns_nothing(database)).username
    with psycopg.connect(database, autocommit=True) as owner:
        # For its sessions from now on; the role itself may not.
        for name, value in _OPTIONS.items():
            owner.execute(f"ALTER ROLE {role} SET {name} = '{value}'".encode())
    service = start_ours(folder, database, "", {"CC_WORKERS": "1"})
    try:
        cold = _logged(log, service.url + target, 1)
        warm = _logged(log, service.url + target, _WARM_READS)
    finally:
        service.stop()
    plan = re.findall(r"plan:\n((?:\t.*\n)+)", cold)[-1]
    _query, first_node, nodes = re.split(r"^(.*\(cost=)", plan, maxsplit=1, flags=re.MULTILINE)
    # What says whose rows are to be seen goes along with every statement.
    statements = re.findall("LOG:  (?:statement|execute)(?!.*set_config)", warm)
    return len(statements) / _WARM_READS, first_node + nodes


def _logged(log: Path, url: str, reads: int) -> str:
    """What the database server logs while `url` is read."""
    start = log.stat().st_size
    for _ in range(reads):
        httpx.get(url).raise_for_status()
    return log.read_bytes()[start:].decode()
