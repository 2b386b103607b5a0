"""How many bytes a certificate takes on disk, in all tables and indexes of PostgreSQL.

    python -m bench.disk

prints them by table and by index.
"""

import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg

from tests.servers import start_postgresql, start_valkey

from . import data, services
from .leaves import Authority
from .revisions import THIS, Revision, check_out

CERTIFICATES = 10_000
# Of a user.
_CERTIFICATES_EACH = 10
_SENDERS = 8
_SIZES = """
SELECT c.relname, i.relname, pg_relation_size(i.oid)
    + CASE WHEN i.relkind = 'r' THEN coalesce(pg_relation_size(nullif(i.reltoastrelid, 0)), 0)
        + coalesce(pg_indexes_size(nullif(i.reltoastrelid, 0)), 0) ELSE 0 END
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
    JOIN pg_class AS i ON i.oid = c.oid
        OR i.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = c.oid)
WHERE c.relkind = 'r'
"""


class Part(NamedTuple):
    """A table (with what is stored beside it) or an index, and its bytes for one certificate."""

    table: str
    name: str
    size: float


def main() -> None:
    parser = ArgumentParser(prog="python -m bench.disk", description=__doc__.splitlines()[0])
    parser.add_argument("--certificates", type=int, default=CERTIFICATES)
    parser.add_argument("--base", metavar="REV", help="measure this revision")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.chmod(0o711)
        postgresql = start_postgresql(folder / "postgresql", durable=True)
        stack.callback(postgresql.stop)
        cache = start_valkey(folder / "valkey")
        stack.callback(cache.stop)
        revision = check_out(options.base, folder) if options.base else THIS
        found = sizes(folder, postgresql.url, cache.url, options.certificates, revision)
        for part in sorted(found, key=lambda part: -part.size):
            if part.size >= 1:
                print(f"{part.size:8,.0f}  {part.table}  {part.name.replace(part.table, '')}")
        print(f"{sum(part.size for part in found):8,.0f}  in all")


def sizes(
    folder: Path, server: str, cache: str, number: int, revision: Revision = THIS
) -> list[Part]:
    """Uploads `number` certificates, in a database of its own on `server`."""
    name = f"disk_{revision.name.replace('-', '_')}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    database = server.removesuffix("postgres") + name
    services.migrate(database, revision)
    authority = Authority()
    roots = folder / "disk-roots.pem"
    roots.write_text(authority.root)
    with psycopg.connect(database, autocommit=True) as connection:
        users = max(1, number // _CERTIFICATES_EACH)
        connection.execute(data.USERS, [1, users])
        before = _measure(connection)
        own = folder / name
        own.mkdir()
        service = services.start_ours(own, database, cache, {"CC_CA_BUNDLE": str(roots)}, revision)
        try:
            _upload(service.url, authority.uploads(number), users)
        finally:
            service.stop()
        after = _measure(connection)
    return [Part(*key, (size - before.get(key, 0)) / number) for key, size in after.items()]


def _measure(connection: psycopg.Connection) -> dict[tuple[str, str], int]:
    connection.execute("VACUUM (ANALYZE)")
    return {(table, name): int(size) for table, name, size in connection.execute(_SIZES.encode())}


def _upload(url: str, uploads: Iterator[str], users: int) -> None:
    """Sends them, a few at once, as those of one user after the other's."""
    with httpx.Client(
        base_url=url, timeout=60, headers={"Content-Type": "application/json"}
    ) as client:

        def send(numbered: tuple[int, str]) -> None:
            place, body = numbered
            path = f"/users/{place % users + 1}/certificates"
            answer = client.post(path, content=body).raise_for_status().json()
            if answer["trust"] != "public" or not answer["active"]:
                raise RuntimeError(f"This is not a certificate as a public CA's: {answer}")

        numbered = enumerate(uploads)
        with ThreadPoolExecutor(_SENDERS) as threads:
            while some := list(islice(numbered, 1000)):
                list(threads.map(send, some))


if __name__ == "__main__":
    main()
