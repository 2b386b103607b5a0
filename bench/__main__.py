"""Measures the service beside FastAPI, a bare Falcon and plain SQL by turns; prints medians."""

import tempfile
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg

from tests.servers import Server, start_postgresql, start_valkey

from . import children, credentials, data, load, sealing, services, telling
from .load import Result
from .observe import observe
from .table import FALCON, FASTAPI, OURS, PGBENCH, memory_lines, table
from .workloads import BARE, LIST_TARGET, READERS, WORKLOADS, WRITERS, Workload

_WARM_UP_SECONDS = 2
_READER = READERS[0] + 1


def main() -> None:
    parser = ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run in a round")
    parser.add_argument("--users", type=int, default=100_000, help="for a list's plan among many")
    options = parser.parse_args()
    load.check_tools()
    with ExitStack() as stack:

        def running(server: Server) -> Server:
            stack.callback(server.stop)
            return server

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # PostgreSQL's folder is in it, and PostgreSQL may run as another user.
        folder.chmod(0o711)
        postgresql = running(start_postgresql(folder / "postgresql", durable=True))
        cache = running(start_valkey(folder / "valkey"))
        databases = _databases(postgresql.url)
        ours, peers, _, closed = databases
        servers = {
            OURS: running(services.start_ours(folder, ours, cache.url)),
            FASTAPI: running(services.start_fastapi(folder, peers)),
            FALCON: running(services.start_falcon(folder)),
        }
        results = _by_turns(servers, databases, options.rounds, options.seconds)
        print(table(results), "\n")
        print(memory_lines({name: services.memory(server) for name, server in servers.items()}))
        _check_uploads(ours, results[WORKLOADS[-1], OURS])
        print(children.under_attack(servers[OURS], options.rounds, options.seconds))
        checking = running(credentials.start_closed(folder, closed, cache.url))
        print(credentials.cost(servers[OURS], checking, closed, options.rounds))
        checking.stop()
        for server in servers.values():
            server.stop()
        print(children.cost(options.rounds))
        print(sealing.cost(options.rounds))
        for line in telling.lines(postgresql.url, folder):
            print(line)
        _print_plans(folder, ours, options.users)


def _databases(server: str) -> list[str]:
    """Databases of the same content: for this service, FastAPI, pgbench, and for the service that
    asks for credentials."""
    names = ["ours", "fastapi", "pgbench", "closed"]
    urls = [server.removesuffix("postgres") + name for name in names]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE ours")
        services.migrate(urls[0])
        data.fill(urls[0])
        connection.execute("CREATE DATABASE fastapi TEMPLATE ours")
        connection.execute("CREATE DATABASE pgbench TEMPLATE ours")
        connection.execute("CREATE DATABASE closed TEMPLATE ours")
    with psycopg.connect(urls[1], autocommit=True) as connection:
        # Written plainly, a service keeps the key in the row.
        connection.execute("ALTER TABLE certificates ADD COLUMN private_key bytea")
    return urls


def _by_turns(
    servers: Mapping[str, Server], databases: Sequence[str], rounds: int, seconds: int
) -> dict[tuple[Workload, str], list[Result]]:
    """Every round has each contender's run of each workload; one before them warms up."""
    contenders: dict[str, Callable[[Workload, int], Result]] = {
        name: partial(load.wrk, server.url) for name, server in servers.items()
    }
    contenders[PGBENCH] = partial(load.pgbench, databases[2])
    turns = [(work, name) for work in WORKLOADS for name in (OURS, FASTAPI, PGBENCH)]
    turns.append((BARE, FALCON))
    results = defaultdict(list)
    for turn in range(rounds + 1):
        for work, name in turns:
            result = contenders[name](work, seconds if turn else _WARM_UP_SECONDS)
            if turn:
                results[work, name].append(result)
        if not turn:
            data.settle(databases)
        print(f"round {turn} of {rounds}" if turn else "warmed up", flush=True)
    return results


def _check_uploads(database: str, runs: list[Result]) -> None:
    """Raises RuntimeError where uploads were acknowledged that are not stored."""
    acknowledged = sum(run.requests for run in runs)
    with psycopg.connect(database) as connection:
        stored = connection.execute(
            "SELECT count(*) FROM certificates WHERE user_id BETWEEN %s AND %s", WRITERS
        ).fetchone()
    if stored is None or stored[0] < acknowledged:
        raise RuntimeError(f"{acknowledged} uploads were acknowledged; stored are {stored}")


def _print_plans(folder: Path, database: str, users: int) -> None:
    """The same list among the users that were measured, and among `users`."""
    log = folder / "postgresql" / "log"
    statements, _ = observe(folder, database, log, f"/users/{_READER}")
    print(f"statements for a warm GET /users/{_READER}: {statements:g}")
    target = LIST_TARGET % _READER
    for population in (WRITERS[1], users):
        data.grow(database, population)
        statements, plan = observe(folder, database, log, target)
        print(f"\nGET {target}, not cached, among {population:,} users:\n{plan}")
    print(f"statements for the same when warm: {statements:g}")


if __name__ == "__main__":
    main()
