"""Shows how a search over all users reads a million certificates, on both databases.

python -m bench.fleet
"""

import re
import sqlite3
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.fleet.criteria import FleetFilter
from customer_certificates.services.fleet.expiring import FleetExpiring
from customer_certificates.services.fleet.search import Fleet
from customer_certificates.services.pages import Cursor
from tests.servers import a_role_that_owns_nothing, start_postgresql

from . import fleet_data, services

_NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
_DAY = timedelta(days=1)
_LIMIT, _RUNS = 100, 5
_FREQUENT, _RARE = (
    f"CN=Issuing CA {number},O=Some Organization,C=US" for number in (0, fleet_data.ISSUERS - 1)
)
_SOON, _DEEP, _FAR = _NOW + 30 * _DAY, Cursor(_NOW, 900_000), Cursor(_NOW + 40 * _DAY, 0)
_EXPLAIN = "EXPLAIN QUERY PLAN "
_STEP = re.compile(r"(?<=certificates USING )INTEGER PRIMARY KEY|(?<=INDEX )ix_\w+|TEMP B-TREE")
_STEPS = {
    "INTEGER PRIMARY KEY": "primary key",
    "pk_certificates": "primary key",
    "TEMP B-TREE": "sort",
    "Sort": "sort",
    "Incremental Sort": "sort",
    "Seq Scan": "SCAN",
}
_NOTHING: dict[str, Any] = {}
# The searches, and the place after which the page begins.
_SEARCHES: list[tuple[dict[str, Any], Cursor | None]] = [
    (_NOTHING, None),
    (_NOTHING, _DEEP),
    ({"hostname": "www0.c77.example.com"}, None),
    ({"serial": ""}, None),
    ({"fingerprint": ""}, None),
    ({"spki": ""}, None),
    ({"spki": fleet_data.SHARED_SPKI}, None),
    ({"user_id": 77}, None),
    ({"external_id": "crm-77"}, None),
    ({"issuer": _FREQUENT}, None),
    ({"issuer": _FREQUENT}, _FAR),
    ({"issuer": _RARE}, None),
    ({"expires_before": _SOON}, None),
    ({"expires_after": _NOW, "expires_before": _SOON}, None),
    ({"expires_after": _NOW, "expires_before": _SOON + 300 * _DAY}, _FAR),
    *(({"status": status}, None) for status in ("active", "inactive", "expired", "not_yet_valid")),
    *(
        ({"trust": trust}, None)
        for trust in ("public", "private", "self_signed", "incomplete", "unreadable")
    ),
    ({"servable": True}, None),
    ({"servable": False}, None),
    ({"labels": ("env=production",)}, None),
    ({"labels": ("env=production",)}, _DEEP),
    ({"labels": ("team=edge",)}, None),
    ({"labels": ("team=none",)}, None),
    # Pairs.
    ({"status": "active", "servable": False}, None),
    ({"servable": False, "expires_after": _NOW}, None),
    ({"status": "active", "expires_before": _SOON}, None),
    ({"status": "active", "issuer": _RARE}, None),
    ({"status": "active", "issuer": _FREQUENT, "servable": True}, None),
    ({"issuer": _RARE, "expires_after": _NOW, "expires_before": _SOON}, None),
    ({"issuer": _RARE, "trust": "private"}, None),
    ({"issuer": _RARE, "labels": ("team=edge",)}, None),
    ({"spki": fleet_data.SHARED_SPKI, "status": "active"}, None),
    ({"spki": fleet_data.SHARED_SPKI, "expires_after": _NOW}, None),
    ({"hostname": "www0.c77.example.com", "trust": "public"}, None),
    ({"hostname": "www0.c77.example.com", "expires_after": _NOW}, None),
    ({"user_id": 77, "status": "active"}, None),
    ({"external_id": "crm-77", "expires_before": _SOON}, None),
    ({"labels": ("env=production",), "expires_after": _NOW, "expires_before": _SOON}, None),
    ({"labels": ("team=edge",), "expires_after": _NOW, "expires_before": _SOON}, None),
    ({"labels": ("team=edge",), "status": "active"}, None),
    ({"labels": ("team=edge", "env=production")}, None),
    ({"trust": "incomplete", "status": "active"}, None),
    ({"trust": "incomplete", "expires_after": _NOW, "expires_before": _SOON}, None),
    ({"trust": "unreadable", "status": "expired"}, None),
]


def main() -> None:
    """Fills both databases, and prints a table of the searches."""
    parser = ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--certificates", type=int, default=1_000_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
        folder.chmod(0o711)
        server = start_postgresql(folder / "postgresql", settings={"shared_buffers": "2GB"})
        stack.callback(server.stop)
        services.migrate(server.url)
        fleet_data.fill_postgresql(server.url, options.certificates, _NOW)
        file = folder / "fleet.sqlite3"
        services.migrate_sqlite(file)
        fleet_data.fill_sqlite(str(file), options.certificates, _NOW)
        show(server.url, file)


def show(url: str, file: Path) -> None:
    """Prints a row for each search: the index and the milliseconds on each database."""
    databases = [Database(url, Metrics(None), threads=1) for url in (url, f"sqlite:///{file}")]
    on_postgresql, on_sqlite = _Postgresql(a_role_that_owns_nothing(url)), _Sqlite(file)
    print("| search | PostgreSQL | ms | SQLite | ms |\n| --- | --- | --- | --- | --- |")
    searches = [_statements(database, on_postgresql.one) for database in databases]
    for (title, statement, values), (_, other, _) in zip(*searches, strict=True):
        cells = (
            *on_postgresql.explained(statement.sql, statement.parameters(values)),
            *on_sqlite.explained(other.sql, other.parameters(values)),
        )
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
    for database in databases:
        database.close()


def _statements(
    database: Database, one: Callable[[str], str]
) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    fleet = Fleet(database, lambda: _NOW)
    for criteria, after in _SEARCHES:
        wanted = FleetFilter()
        for name, value in criteria.items():
            compared: Any = one(name) if value == "" else value
            wanted = wanted._replace(**{name: compared})
        title = " and ".join(_shown(*item) for item in criteria.items()) or "none"
        yield title + (", a late page" if after else ""), *fleet.bound(wanted, after, _LIMIT)
    expiring = FleetExpiring(database, lambda: _NOW)
    yield "`/expiring?within=30d`", *expiring.bound(30 * _DAY, None, _LIMIT)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, datetime):
        days = (value - _NOW).days
        return f"`{name}` in {days} days" if days else f"`{name}` now"
    if name == "issuer":
        return "a frequent `issuer`" if value == _FREQUENT else "a rare `issuer`"
    if name == "spki":
        return "a shared `spki`" if value else "`spki`"
    if name == "labels":
        return " and ".join(f"`label={label}`" for label in value)
    is_shown = name in ("status", "trust", "servable")
    return f"`{name}={value}`".lower() if is_shown else f"`{name.replace('user_id', 'user')}`"


class _Postgresql:
    """A connection with the role of the service, under row-level security."""

    def __init__(self, url: str) -> None:
        self._cursor = psycopg.RawCursor(psycopg.connect(url, autocommit=True))
        for setting in ("cc.tenant = '*'", "plan_cache_mode = force_custom_plan"):
            self._cursor.execute(f"SET {setting}".encode())

    def one(self, name: str) -> str:
        """A value that a single certificate has."""
        column = {"spki": "spki_sha256", "fingerprint": "fingerprint_sha256"}.get(name, name)
        found = self._cursor.execute(
            f"SELECT {column} FROM certificates WHERE id = 778".encode()
        ).fetchone()
        return str(found[0]) if found else ""

    def explained(self, sql: str, values: list[Any]) -> tuple[str, str]:
        """The indexes of the plan, and the milliseconds of planning and execution."""
        times = []
        nodes: list[str] = []
        for _ in range(_RUNS):
            self._cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".encode(), values)
            plan = (self._cursor.fetchone() or ())[0][0]
            times.append(plan["Planning Time"] + plan["Execution Time"])
            nodes = [*_nodes(plan["Plan"])]
        return ", ".join(dict.fromkeys(nodes)), f"{median(times):.1f}"


def _nodes(plan: dict[str, Any]) -> Iterator[str]:
    kind, index = plan["Node Type"], plan.get("Index Name")
    if index and index != "pk_users":
        yield _short(index)
    elif kind in ("Seq Scan", "Sort", "Incremental Sort"):
        yield _STEPS[kind]
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


class _Sqlite:
    """A connection to the file."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file)

    def explained(self, sql: str, values: list[Any]) -> tuple[str, str]:
        """The indexes of the plan, and the milliseconds that it takes."""
        times = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            self._connection.execute(sql, values).fetchall()
            times.append(1000 * (time.perf_counter() - start))
        plan = self._connection.execute(_EXPLAIN + sql, values).fetchall()
        names = [_short(found[0]) for *_, step in plan if (found := _STEP.search(step))]
        return ", ".join(dict.fromkeys(names)), f"{median(times):.1f}"


def _short(name: str) -> str:
    """Returns the name of an index, or of another step of a plan, without its table."""
    for same in ("ix_certificates_", "ix_", "certificate_", "uq_"):
        name = name.removeprefix(same)
    return _STEPS.get(name, name)


if __name__ == "__main__":
    main()
