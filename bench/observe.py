"""The database's view of the service: the statements of a read, and the plan of a list."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
import psycopg
from sqlalchemy import make_url

from tests.servers import a_role_that_owns_nothing

from .contenders import Ours
from .credentials import closed, headers

_LOG_STATEMENTS = {"log_statement": "all"}
_LOG_PLANS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
}
_ONE_PROCESS = {"CC_WORKERS": "1"}
_WARM_READS = 10
# Reads are counted so often, with a pause in between.
_WINDOWS = 8
_PAUSE_SECONDS = 2


def statements_of(ours: Ours, log: Path, target: str) -> int:
    """How many statements a fresh service with credentials sends for each warm read of `target`.

    `log` is the log of the database server. One process, so that the second read is warm.
    """
    _set_options(ours.closed_database, _LOG_STATEMENTS)
    with closed(ours, _ONE_PROCESS) as service:
        url, sent = service.url + target, headers(ours)
        _logged(log, url, 1, sent)
        counts = [_counted(_logged(log, url, _WARM_READS, sent))]
        # The background worker sends some as well: many when it starts, few later.
        for _ in range(_WINDOWS - 1):
            time.sleep(_PAUSE_SECONDS)
            counts.append(_counted(_logged(log, url, _WARM_READS, sent)))
    return min(counts)


def _counted(warm: str) -> int:
    # Every statement is sent with one that sets the tenant, which is not counted.
    sent_statements = re.findall("LOG:  (?:statement|execute)(?!.*set_config)(.*)", warm)
    return sum(number // _WARM_READS for number in Counter(sent_statements).values())


def plan_of(ours: Ours, log: Path, target: str) -> str:
    """The plan by which a fresh service, without credentials, reads `target`."""
    _set_options(ours.database, _LOG_PLANS)
    service = ours.start(settings=_ONE_PROCESS)
    try:
        cold = _logged(log, service.url + target, 1)
    finally:
        service.stop()
    plan = re.findall(r"plan:\n((?:\t.*\n)+)", cold)[-1]
    _query, first_node, nodes = re.split(r"^(.*\(cost=)", plan, maxsplit=1, flags=re.MULTILINE)
    return first_node + nodes


def _set_options(database: str, options: Mapping[str, str]) -> None:
    """For sessions of the service's role from now on; the role itself may not."""
    role = make_url(a_role_that_owns_nothing(database)).username
    name = make_url(database).database
    with psycopg.connect(database, autocommit=True) as owner:
        for option, value in options.items():
            statement = f"ALTER ROLE {role} IN DATABASE {name} SET {option} = '{value}'"
            owner.execute(statement.encode())


def _logged(log: Path, url: str, reads: int, sent: Mapping[str, str] = {}) -> str:
    """The statements that the database server logs while `url` is read."""
    start = log.stat().st_size
    for _ in range(reads):
        httpx.get(url, headers=sent, timeout=60).raise_for_status()
    return log.read_bytes()[start:].decode()
