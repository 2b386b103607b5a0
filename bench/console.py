"""Measures the console's pages with many certificates: by itself.

python -m bench.console --certificates 10000
"""

import itertools
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import httpx
import psycopg

from . import services
from .terminators import fill

_TERMINATORS = 3
_LIST = "/console/users/1/certificates"


def main() -> None:
    parser = ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--certificates", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o711)

        def fill_all(url: str) -> None:
            fill(folder, url, options.certificates, most_users=1)
            _add_terminators(url)

        ours, _ = services.start_filled(stack, folder, fill_all)
        for title, paths in _pages(options.certificates).items():
            _measure(ours.url, title, paths, options.requests)


def _pages(certificates: int) -> dict[str, Iterator[str]]:
    """The paths to ask for, by what they measure."""
    ids = itertools.cycle(range(1, certificates + 1, 7))
    return {
        "list, the same page": itertools.repeat(_LIST),
        "list, another page each time": (f"{_LIST}?after={one}" for one in ids),
        "list, search by hostname": (f"{_LIST}?hostname=m{one}.example.com" for one in ids),
        "detail": (f"{_LIST}/{one}" for one in ids),
        "versions": (f"{_LIST}/{one}/versions" for one in ids),
        "upload form": itertools.repeat(f"{_LIST}/new"),
        "operators: overview": itertools.repeat("/console/overview"),
        "operators: certificates": (f"/console/certificates?after=0_{one}" for one in ids),
        "operators: certificates of an issuer": itertools.repeat(
            "/console/certificates?issuer=CN%3DAuthority+1"
        ),
        "operators: expiring": itertools.repeat("/console/expiring?within=90d"),
        "operators: an incident of a twentieth": itertools.repeat(
            "/console/incidents?issuer=CN%3DAuthority+1"
        ),
        "operators: users": itertools.repeat("/console/users"),
        "operators: hostnames": itertools.repeat("/console/hostnames"),
        "operators: terminators": itertools.repeat("/console/terminators"),
        "operators: webhooks": itertools.repeat("/console/webhooks"),
        "operators: audit": itertools.repeat("/console/audit"),
    }


def _add_terminators(url: str) -> None:
    """Terminators serve all certificates, which are of 20 issuers."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO terminators (name, format, errors, seen_at)"
            " SELECT concat('edge-', n), 'nginx', '[]', now() FROM generate_series(1, %s) AS n",
            [_TERMINATORS],
        )
        connection.execute(
            "INSERT INTO servings"
            " (terminator_id, certificate_id, user_id, version, since, serves, verified)"
            " SELECT terminators.id, certificates.id, certificates.user_id, 1, now(), true, true"
            " FROM terminators, certificates"
        )
        connection.execute("UPDATE certificates SET issuer = 'CN=Authority ' || id % 20")
        connection.execute("VACUUM (ANALYZE)")


def _measure(url: str, title: str, paths: Iterator[str], number: int) -> None:
    seconds = []
    with httpx.Client(base_url=url, timeout=30) as client:
        for path in itertools.islice(paths, number):
            began = perf_counter()
            answer = client.get(path)
            seconds.append(perf_counter() - began)
            assert answer.status_code == 200, answer.text
    cuts = quantiles(seconds, n=100)
    print(f"{title}: p50 {cuts[49] * 1000:.1f} ms, p95 {cuts[94] * 1000:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
