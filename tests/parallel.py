"""The resources of each process that runs tests in parallel (pytest-xdist)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

# pytest-xdist names its processes gw0, gw1, …. Without it there is only this process.
_NAME = os.environ.get("PYTEST_XDIST_WORKER", "")
NUMBER = int(_NAME.removeprefix("gw") or 0)
COUNT = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def named_servers() -> tuple[str, str]:
    """The URLs of TEST_DATABASE_URL and TEST_CACHE_URL, empty where one is not set.

    Of several processes each has a database there of its own: `…_gw0`, made anew, and with Redis
    the numbers from the one in the URL on.
    """
    database, cache = (os.environ.get(f"TEST_{of}_URL", "") for of in ("DATABASE", "CACHE"))
    if database and _NAME:
        url = make_url(database)
        name = f"{url.database}_{_NAME}"
        with one_at_a_time(), psycopg.connect(database, autocommit=True) as connection:
            for statement in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "CREATE DATABASE {}"):
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        database = url.set(database=name).render_as_string(hide_password=False)
    if cache:
        at = make_url(cache)
        cache = at.set(database=str(int(at.database or 0) + NUMBER)).render_as_string(False)
    return database, cache


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Only one of the processes is in here at any time, for what a server has only once: roles."""
    with Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
