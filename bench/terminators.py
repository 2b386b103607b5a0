"""Measures what terminators ask, among few active certificates and among very many: by itself.

python -m bench.terminators --certificates 1000 1000000
"""

import hashlib
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import httpx
import psycopg

from . import data, load, services
from .load import Result
from .workloads import CADDY, RESOLVE, USER

_USERS = 1000
# These are asked for, and lie far from one another among all others.
_NAMES = (1, 1000)
_RESOLVE = replace(RESOLVE, users=_NAMES)
_CADDY = replace(CADDY, users=_NAMES, sql=USER)
_COLUMNS = (
    "user_id, active, body, served_pem, trust, hostnames, subject, issuer, serial, not_before,"
    " not_after, key_algorithm, signature_algorithm, fingerprint_sha256, spki_sha256, created_at"
)


def main() -> None:
    parser = ArgumentParser(prog="python -m bench.terminators", description=__doc__)
    parser.add_argument("--certificates", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    load.check_tools()
    for number in options.certificates:
        _measure(number, options.rounds, options.seconds)


def _measure(number: int, rounds: int, seconds: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o711)

        def fill_and_say(url: str) -> None:
            began = monotonic()
            fill(folder, url, number)
            print(f"{number:,} active certificates, filled in {monotonic() - began:.0f} s")

        ours, postgresql = services.start_filled(stack, folder, fill_and_say)
        for work in (_RESOLVE, _CADDY):
            load.wrk(ours.url, work, 2)
        runs: dict[str, list[Result]] = {}
        for _ in range(rounds):
            for work in (_RESOLVE, _CADDY):
                runs.setdefault(work.title, []).append(load.wrk(ours.url, work, seconds))
            runs.setdefault("pgbench", []).append(load.pgbench(postgresql.url, _CADDY, seconds))
        alone = median(run.per_second for run in runs["pgbench"])
        for title, those in runs.items():
            rate, p99 = median(run.per_second for run in those), median(run.p99 for run in those)
            print(
                f"  {title:10}{rate:>10,.0f}/s  p99 {p99:6.2f} ms  {rate / alone:5.0%} of pgbench"
            )
        if number <= 100_000:
            _follow(ours.url)


def _follow(url: str) -> None:
    """Reads the whole feed, then one change."""
    began, entries, cursor, more = monotonic(), 0, "", True
    with httpx.Client(base_url=url, timeout=60) as client:

        def page(**params: Any) -> dict[str, Any]:
            answer = client.get("/terminators/feed", params=params).raise_for_status()
            return dict(answer.json())

        while more:
            read = page(**({"since": cursor} if cursor else {}), limit=500)
            entries, cursor, more = entries + len(read["changes"]), read["cursor"], read["more"]
        print(f"  feed: {entries:,} certificates from nothing in {monotonic() - began:.1f} s")
        active = "/users/1/certificates/1/active"
        for wanted in (False, True):
            client.patch(active, json={"active": wanted}).raise_for_status()
        began = monotonic()
        changes = page(since=cursor)["changes"]
        print(f"  feed: {len(changes)} change in {(monotonic() - began) * 1000:.1f} ms")


def fill(folder: Path, url: str, number: int, most_users: int = _USERS) -> None:
    """Stores `number` active certificates with their keys, of `most_users` at most."""
    users = min(most_users, number)
    now = datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(data.USERS, [1, users])
        data_keys = data.add_data_keys(connection, folder / "var", 1, users)
        with data.copy_into(connection, f"certificates ({_COLUMNS})") as copy:
            for row in _certificates(number, users, now):
                copy.write_row(row)
        data.add_names(connection, 1, users)
        into = "private_keys (certificate_id, version, sealed)"
        with data.copy_into(connection, into) as copy:
            for one, user in _numbered(number, users):
                copy.write_row((one, 1, data.seal_for(user, one, data_keys[user])))
        connection.execute("VACUUM (ANALYZE)")


def _numbered(number: int, users: int) -> Iterator[tuple[int, int]]:
    return ((one, (one - 1) % users + 1) for one in range(1, number + 1))


def _certificates(number: int, users: int, now: datetime) -> Iterator[tuple[Any, ...]]:
    stride = max(1, number // _NAMES[1])
    ends = now + timedelta(days=90)
    for one, user in _numbered(number, users):
        name = f"n{one // stride}" if one % stride == 0 else f"m{one}"
        digest = hashlib.sha256(str(one).encode()).hexdigest()
        names = f'["{name}.example.com"]'
        yield (
            *(user, True, b"", data.STORED_BODY, "public", names, "CN=www.example.com"),
            *("CN=Some Authority,O=Some Organisation,C=US", "5" * 36, now, ends),
            *("ECDSA-P-256", "ecdsa-with-SHA256", digest, digest, now),
        )


if __name__ == "__main__":
    main()
