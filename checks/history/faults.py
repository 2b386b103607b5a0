"""The faults: each does something to the servers, and undoes it."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from typing import Any, LiteralString, NamedTuple

import psutil
import psycopg
import redis

from tests.servers import Server
from tests.watchdog import kill_family

from .stack import Stack

_SHORT_SECONDS = (0.2, 1.0)
# The service gives up a hung database after 7 s.
_LONG_SECONDS = (0.5, 9.0)
_SLOW_COMMIT = "100000"
_MOST_LIES = 200
_CLOCK_STEPS = (-3600, -60, -2, 0, 0, 2, 60, 3600)
_START_SECONDS = 60


class Fault(NamedTuple):
    """Does it and undoes it; gives the words that say what was done."""

    inflict: Callable[[Stack, random.Random], str]
    is_possible: Callable[[Stack], bool]


def _worker_kill(stack: Stack, choices: random.Random) -> str:
    worker = choices.choice(_workers(stack, choices))
    with suppress(psutil.NoSuchProcess):
        worker.kill()
    return f"worker {worker.pid}"


def _worker_pause(stack: Stack, choices: random.Random) -> str:
    worker = choices.choice(_workers(stack, choices))
    seconds = choices.uniform(*_SHORT_SECONDS)
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
        time.sleep(seconds)
        worker.resume()
    return f"worker {worker.pid} for {seconds:.1f} s"


def _first_process_kill(stack: Stack, choices: random.Random) -> str:
    """Its workers notice by themselves, and end."""
    number = choices.randrange(len(stack.services))
    service = stack.services[number]
    process = psutil.Process(service.popen.pid)
    family = process.children(recursive=True)
    process.kill()
    service.popen.wait()
    psutil.wait_procs(family, timeout=_START_SECONDS)
    service.kill()
    stack.restart_service(number)
    return f"service {number}, and started again"


def _service_kill(stack: Stack, choices: random.Random) -> str:
    number = choices.randrange(len(stack.services))
    service = stack.services[number]
    kill_family(psutil.Process(service.popen.pid))
    service.kill()
    stack.restart_service(number)
    return f"service {number} with all its processes, and started again"


def _kill(server: Server, choices: random.Random) -> None:
    """Kills all processes of the server, and starts it again a moment later."""
    server.kill()
    time.sleep(choices.uniform(*_SHORT_SECONDS))
    server.start()


def _pause(server: Server, seconds: float) -> str:
    """Stops all processes of the server for some time."""
    server.pause()
    time.sleep(seconds)
    server.resume()
    return f"for {seconds:.1f} s"


def _postgresql_restart(stack: Stack, choices: random.Random) -> str:
    assert stack.postgresql
    stack.postgresql.stop()
    stack.postgresql.start()
    return "stopped in good order, and started again"


def _postgresql_kill(stack: Stack, choices: random.Random) -> str:
    assert stack.postgresql
    _kill(stack.postgresql, choices)
    return "all its processes, and started again"


def _postgresql_pause(stack: Stack, choices: random.Random) -> str:
    assert stack.postgresql
    return _pause(stack.postgresql, choices.uniform(*_LONG_SECONDS))


def _connections_cut(stack: Stack, choices: random.Random) -> str:
    assert stack.postgresql
    with psycopg.connect(stack.postgresql.url, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    return f"{cut[0] if cut else 0} connections of PostgreSQL"


def _slow_commits(stack: Stack, choices: random.Random) -> str:
    """As on a slow disk: PostgreSQL waits before it flushes a commit."""
    assert stack.postgresql
    seconds = choices.uniform(1, 3)
    settings: dict[LiteralString, LiteralString] = {
        "commit_delay": _SLOW_COMMIT,
        "commit_siblings": "0",
    }
    with psycopg.connect(stack.postgresql.url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(seconds)
        for name in settings:
            connection.execute(f"ALTER SYSTEM RESET {name}")
        connection.execute("SELECT pg_reload_conf()")
    return f"each takes 100 ms more, for {seconds:.1f} s"


def _sqlite_lock(stack: Stack, choices: random.Random) -> str:
    seconds = choices.uniform(0.2, 4)
    with closing(sqlite3.connect(stack.sqlite_file, isolation_level=None, timeout=30)) as file:
        file.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        file.execute("ROLLBACK")
    return f"the file is locked for {seconds:.1f} s"


def _redis_kill(stack: Stack, choices: random.Random) -> str:
    assert stack.redis
    _kill(stack.redis, choices)
    return "and started again, empty"


def _redis_pause(stack: Stack, choices: random.Random) -> str:
    assert stack.redis
    return _pause(stack.redis, choices.uniform(*_LONG_SECONDS) / 3)


def _redis_flush(stack: Stack, choices: random.Random) -> str:
    times = choices.randint(1, 20)
    with _redis_of(stack) as store:
        for _ in range(times):
            store.flushall()
            time.sleep(0.02)
    return f"{times} times"


def _redis_lies(stack: Stack, choices: random.Random) -> str:
    """Every page is put under the name of another one, again and again."""
    lies = 0
    with _redis_of(stack) as store:
        for _ in range(10):
            names = list(islice(store.scan_iter("cc:certificates:*", count=_MOST_LIES), _MOST_LIES))
            values = store.mget(names) if names else []
            for name, value in zip(names, values[1:] + values[:1], strict=True):
                if value is not None:
                    store.set(name, value, keepttl=True)
                    lies += 1
            time.sleep(0.05)
    return f"{lies} pages under a wrong name"


def _clock_step(stack: Stack, choices: random.Random) -> str:
    number = choices.randrange(len(stack.clock_files))
    step = choices.choice(_CLOCK_STEPS)
    written = stack.clock_files[number].with_suffix(".new")
    written.write_text(str(step))
    written.replace(stack.clock_files[number])
    return f"service {number} is wrong by {step} s"


def _always(stack: Stack) -> bool:
    return True


def _on_postgresql(stack: Stack) -> bool:
    return stack.postgresql is not None


def _on_sqlite(stack: Stack) -> bool:
    return stack.postgresql is None


def _with_redis(stack: Stack) -> bool:
    return stack.redis is not None


def _with_clocks(stack: Stack) -> bool:
    return stack.has_clocks


# It is a restore from a backup, for which everybody has to wait: run.py does it.
RESTORE = "postgresql-restore"

FAULTS: dict[str, Fault] = {
    "worker-kill": Fault(_worker_kill, _always),
    "worker-pause": Fault(_worker_pause, _always),
    "first-process-kill": Fault(_first_process_kill, _always),
    "service-kill": Fault(_service_kill, _always),
    "postgresql-restart": Fault(_postgresql_restart, _on_postgresql),
    "postgresql-kill": Fault(_postgresql_kill, _on_postgresql),
    "postgresql-pause": Fault(_postgresql_pause, _on_postgresql),
    "connections-cut": Fault(_connections_cut, _on_postgresql),
    "slow-commits": Fault(_slow_commits, _on_postgresql),
    "sqlite-lock": Fault(_sqlite_lock, _on_sqlite),
    "redis-kill": Fault(_redis_kill, _with_redis),
    "redis-pause": Fault(_redis_pause, _with_redis),
    "redis-flush": Fault(_redis_flush, _with_redis),
    "redis-lies": Fault(_redis_lies, _with_redis),
    "clock-step": Fault(_clock_step, _with_clocks),
}


def deck(names: Sequence[str], choices: random.Random) -> Iterator[str]:
    """The faults in an order by chance, each once before one comes again."""
    while names:
        shuffled = list(names)
        choices.shuffle(shuffled)
        yield from shuffled


def _workers(stack: Stack, choices: random.Random) -> list[psutil.Process]:
    """The workers of a service that has some; a killed one is replaced after a moment."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        with suppress(psutil.NoSuchProcess):
            if workers := choices.choice(stack.services).workers():
                return workers
        stack.start_ended_services()
        time.sleep(0.05)
    raise RuntimeError("No service has a worker.")


def _redis_of(stack: Stack) -> Any:
    assert stack.redis
    return redis.Redis.from_url(stack.redis.url)
