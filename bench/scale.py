"""Reads among a million certificates beside the same among a thousand."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import psycopg

from . import load, services, terminators
from .pairs import lost_in_pairs
from .workloads import CADDY, CERTIFICATE, RESOLVE

_FEW, _MANY = 1000, 1_000_000
# Certificates of these users are there in both.
_USERS = (1, 1000)


def cost(folder: Path, server: str, cache: str, rounds: int) -> tuple[float, list[str]]:
    """How many times as long a request takes among many, for the kind of read for which this is the
    most; and a line for each kind."""
    servers = []
    try:
        for number in (_FEW, _MANY):
            name = f"among_{number}"
            own = folder / name
            own.mkdir()
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
            database = server.removesuffix("postgres") + name
            services.migrate(database)
            terminators.fill(own, database, number)
            servers.append(services.start_ours(own, database, cache))
        asks = [partial(load.wrk, one.url) for one in servers]
        ratios = {}
        for work in (RESOLVE, CADDY, CERTIFICATE):
            lost = median(lost_in_pairs(replace(work, users=_USERS), asks, rounds))
            ratios[work.title] = 1 / (1 - lost / 100)
    finally:
        for one in servers:
            one.stop()
    lines = [
        f"{title}: {ratio:.2f}x as long among {_MANY:,} certificates as among {_FEW:,}"
        for title, ratio in ratios.items()
    ]
    return max(ratios.values()), lines
