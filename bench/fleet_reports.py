"""Measures the summary and an incident with a million certificates, on both databases.

python -m bench.fleet_reports
"""

import resource
import sqlite3
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.services.fleet.incidents import IncidentCriteria, Incidents
from customer_certificates.services.fleet.summary import Summary
from customer_certificates.services.fleet.summary_counters import SummaryCounters
from tests.servers import a_role_that_owns_nothing, start_postgresql

from . import services

_RUNS = 9
_OF_ONE_USER = 10
# One certificate in a hundred has this key.
_SPKI = "ab" * 32
_COLUMNS = (
    "user_id, active, body, created_at, trust, issuer, serial, hostnames, not_before, not_after, "
    "fingerprint_sha256, spki_sha256, key_algorithm"
)
# 50 issuers, and as many certificates for each of 398 days of expiry. {0} is the number of users.
_VALUES = (
    "1 + n % {0}, n % 10 < 8, {body}, {now}, CASE WHEN n % 20 = 0 THEN 'private' ELSE 'public' END,"
    " 'CN=Issuing CA ' || (n % 50) || ',O=Some Organization,C=US', 'a' || n,"
    " '[\"www' || n || '.example.com\"]', {begin}, {end}, 'f' || n,"
    f" CASE WHEN n % 100 = 1 THEN '{_SPKI}' ELSE 's' || n END,"
    " CASE n % 3 WHEN 0 THEN 'ECDSA-P-256' WHEN 1 THEN 'RSA-2048' ELSE 'RSA-4096' END"
)
_ON_POSTGRESQL = {
    "body": "decode(repeat('30', 1000), 'hex')",
    "now": "now()",
    "begin": "date_trunc('second', now()) - (395 - n % 398) * interval '1 day'",
    "end": "date_trunc('second', now()) - (30 - n % 398) * interval '1 day'"
    " + n % 86400 * interval '1 second'",
}
_TIME = "strftime('%Y-%m-%d %H:%M:%S.000000', 'now', {})"
_ON_SQLITE = {
    "body": "zeroblob(1000)",
    "now": _TIME.format("'0 days'"),
    "begin": _TIME.format("(n % 398 - 395) || ' days'"),
    "end": _TIME.format("(n % 398 - 30) || ' days', (n % 86400) || ' seconds'"),
}
_NUMBERS = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {}) "
)
_USERS = (
    "INSERT INTO users (name, email, email_key, password_hash, certificates_revision, created_at)"
    " SELECT 'c' || n, 'c' || n, 'c' || n, 'x', {revision}, {now} FROM numbers"
)
# Half of the affected certificates have been replaced.
_REPLACED = (
    "INSERT INTO certificate_versions (certificate_id, version, body, issuer, serial, not_after,"
    " spki_sha256) SELECT id, 1, body, issuer, serial, not_after, spki_sha256 FROM certificates"
    f" WHERE spki_sha256 = '{_SPKI}' AND id % 200 < 100",
    "UPDATE certificates SET version = 2, spki_sha256 = 's' || id"
    f" WHERE spki_sha256 = '{_SPKI}' AND id % 200 < 100",
)


def main() -> None:
    """Fills both databases, and prints a table of the measured times."""
    parser = ArgumentParser(prog="python -m bench.fleet_reports", description=__doc__)
    parser.add_argument("--certificates", type=int, default=1_000_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
        folder.chmod(0o711)
        server = start_postgresql(folder / "postgresql", settings={"shared_buffers": "1GB"})
        stack.callback(server.stop)
        services.migrate(server.url)
        _fill_postgresql(server.url, options.certificates)
        file = folder / "fleet.sqlite3"
        url = services.migrate_sqlite(file)
        _fill_sqlite(file, options.certificates)
        print("| database | what | median ms | CPU of the client, ms |\n| --- | --- | --- | --- |")
        _measure("PostgreSQL", a_role_that_owns_nothing(server.url))
        _measure("SQLite", url)


def _statements(number: int, words: dict[str, str], revision: str) -> list[str]:
    users = max(1, number // _OF_ONE_USER)
    return [
        _NUMBERS.format(users) + _USERS.format(revision=revision, now=words["now"]),
        f"{_NUMBERS.format(number)} INSERT INTO certificates ({_COLUMNS})"
        f" SELECT {_VALUES.format(users, **words)} FROM numbers",
        *_REPLACED,
    ]


def _fill_postgresql(url: str, number: int) -> None:
    """Fills an empty database without triggers: a recount makes the counters."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET cc.tenant = '*'")
        connection.execute("ALTER TABLE certificates DISABLE TRIGGER USER")
        for statement in _statements(number, _ON_POSTGRESQL, "uuid_send(gen_random_uuid())"):
            connection.execute(statement.encode())
        connection.execute("ALTER TABLE certificates ENABLE TRIGGER USER")
        connection.execute("VACUUM (ANALYZE)")


def _fill_sqlite(file: Path, number: int) -> None:
    """Fills an empty database."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for statement in _statements(number, _ON_SQLITE, "randomblob(16)"):
        connection.execute(statement)
    connection.execute("DELETE FROM summary_changes")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _measure(name: str, url: str) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    database = Database(url, Metrics(None), threads=2)
    counters, incidents = SummaryCounters(database, now), Incidents(database, now)
    criteria = IncidentCriteria(spki=_SPKI)
    _time(name, "recount all", counters.recount, runs=1)
    _time(name, "GET /summary", Summary(database, now).read)
    _time(name, "numbers of an incident", lambda: incidents.counts(criteria))
    _time(name, "a page of an incident", lambda: incidents.page(criteria, 0, 100))
    print(f"\n{incidents.counts(criteria)}\n")
    database.close()


def _time(name: str, what: str, run: Callable[[], object], runs: int = _RUNS) -> None:
    times, before = list[float](), resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"| {name} | {what} | {median(times) * 1000:.1f} | {cpu / runs * 1000:.1f} |")


if __name__ == "__main__":
    main()
