"""While the database fails, requests are rejected in time. Then it recovers; nothing is lost."""

import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from sqlalchemy import literal, select

from customer_certificates.config import Config
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics

from .factories import a_user, an_upload
from .servers import Server, start_postgresql
from .service import COMMAND, Service, run

_WAIT_SECONDS = 30
_CALLERS = 3
# Each new connection is given to either worker process: all of them to one is most unlikely.
_FRESH_CONNECTIONS = 16


@pytest.fixture(scope="module")
def postgresql(folder: Path) -> Iterator[Server]:
    """A PostgreSQL that tests disturb."""
    server = start_postgresql(folder / "postgresql-with-faults")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def _on_postgresql(postgresql: Server, folder: Path) -> Iterator[Service]:
    """The service on that PostgreSQL."""
    settings = {"CC_DATABASE_URL": postgresql.url}
    assert run("migrate", settings).returncode == 0
    service = Service(settings, folder / "service-on-postgresql-with-faults.log")
    yield service
    service.kill()


@pytest.fixture
def on_postgresql(_on_postgresql: Service, postgresql: Server) -> Service:
    """That service, after PostgreSQL has recovered from the previous test."""
    if not postgresql.process.is_running():
        postgresql.start()
    with _on_postgresql.client(headers={"Connection": "close"}) as client:
        _within_time(lambda: all(_health(client)[0] == 200 for _ in range(_FRESH_CONNECTIONS)))
    return _on_postgresql


@pytest.fixture
def connection(postgresql: Server) -> Iterator[psycopg.Connection]:
    """Another session on that PostgreSQL."""
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def on_sqlite(folder: Path) -> Iterator[Service]:
    """The service on a SQLite file of its own."""
    settings = {"CC_DATA_DIR": str(folder / "data-with-faults")}
    assert run("migrate", settings).returncode == 0
    service = Service(settings, folder / "service-on-sqlite-with-faults.log")
    yield service
    service.kill()


@pytest.fixture
def sqlite_file(on_sqlite: Service, folder: Path) -> Path:
    """The file of that service."""
    return folder / "data-with-faults" / "customer-certificates.sqlite3"


class Owner:
    """A user and the acknowledged certificates."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        answer = client.post("/users", json=a_user())
        assert answer.status_code == 201, answer.text
        self.path = answer.headers["Location"]
        self.acknowledged: list[int] = []
        self.refused = 0

    def upload(self) -> httpx.Response:
        """Uploads a certificate; it is acknowledged, or temporarily rejected."""
        answer = self.client.post(f"{self.path}/certificates", json=an_upload())
        if _is_refused_for_now(answer):
            self.refused += 1
        else:
            assert answer.status_code == 201, answer.text
            self.acknowledged.append(answer.json()["id"])
        return answer

    def listed(self) -> list[int]:
        """The list, page by page."""
        ids: list[int] = []
        path = f"{self.path}/certificates?limit=1000"
        while path:
            answer = self.client.get(path)
            assert answer.status_code == 200, answer.text
            ids += [row["id"] for row in answer.json()]
            path = answer.links.get("next", {}).get("url", "")
        return ids


def test_postgresql_is_killed_under_load_and_recovers(
    on_postgresql: Service, postgresql: Server
) -> None:
    workers = on_postgresql.workers()
    assert len(workers) == 2
    stop = Event()
    with on_postgresql.client() as client, ThreadPoolExecutor(2 * _CALLERS) as threads:
        owners = [Owner(client) for _ in range(_CALLERS)]
        calls = [threads.submit(_until, stop, owner.upload) for owner in owners]
        calls += [threads.submit(_until, stop, _read_of(client, owner)) for owner in owners]

        def all_go_on(number: int) -> None:
            asked = [len(owner.acknowledged) + number for owner in owners]
            _within_time(
                lambda: (
                    any(call.done() for call in calls)
                    or all(len(o.acknowledged) >= n for o, n in zip(owners, asked, strict=True))
                )
            )

        try:
            for _ in range(2):
                all_go_on(10)
                refused = [owner.refused for owner in owners]
                postgresql.kill()
                _within_time(
                    lambda refused=refused: (
                        any(call.done() for call in calls)
                        or all(o.refused > n for o, n in zip(owners, refused, strict=True))
                    )
                )
                assert _health(client) == (503, {"api": 1, "database": 0, "cache": 1})
                assert client.get("/livez").status_code == 200
                postgresql.start()
            all_go_on(10)
        finally:
            stop.set()
        for call in calls:
            call.result()
        for owner in owners:
            assert set(owner.acknowledged) <= set(owner.listed())
    assert on_postgresql.workers() == workers


def test_postgresql_hangs_and_recovers(on_postgresql: Service, postgresql: Server) -> None:
    """Each answer comes within the client's 30 seconds."""
    with on_postgresql.client() as client, ThreadPoolExecutor(16) as threads:
        owner = Owner(client)
        owner.upload()
        postgresql.pause()
        try:
            waiting = [
                threads.submit(call)
                for _ in range(4)
                for call in (
                    lambda: client.get(owner.path),
                    lambda: client.get(f"{owner.path}/certificates"),
                    lambda: client.post(f"{owner.path}/certificates", json=an_upload()),
                )
            ]
            healths = [threads.submit(_health, client) for _ in range(2)]
            lives = [threads.submit(client.get, "/livez") for _ in range(2)]
            assert all(life.result().status_code == 200 for life in lives)
            assert [health.result() for health in healths] == [
                (503, {"api": 1, "database": 0, "cache": 1})
            ] * 2
            assert all(_is_refused_for_now(call.result()) for call in waiting)
        finally:
            postgresql.resume()
        _within_time(lambda: _health(client)[0] == 200)
        _within_time(lambda: owner.upload().status_code == 201)
        assert set(owner.acknowledged) <= set(owner.listed())


def test_a_write_that_waits_for_a_locked_row_times_out(
    on_postgresql: Service, connection: psycopg.Connection
) -> None:
    with on_postgresql.client() as client, ThreadPoolExecutor(5) as threads:
        owner = Owner(client)
        one = owner.upload().json()["id"]
        certificate = f"{owner.path}/certificates/{one}"
        with connection.transaction():
            user = int(owner.path.rpartition("/")[2])
            connection.execute("SELECT FROM users WHERE id = %s FOR UPDATE", [user])
            waiting = [
                threads.submit(client.request, method, path, json=content)
                for method, path, content in (
                    ("POST", f"{owner.path}/certificates", an_upload()),
                    ("PATCH", f"{certificate}/active", {"active": True}),
                    ("DELETE", certificate, None),
                    ("PATCH", owner.path, {"name": "Somebody Else"}),
                    ("DELETE", owner.path, None),
                )
            ]
            assert owner.listed() == [one]
            assert client.get(owner.path).status_code == 200
            assert all(_is_refused_for_now(call.result()) for call in waiting)
        assert client.get(certificate).json()["active"] is False
        assert client.get(owner.path).json()["name"] != "Somebody Else"
        assert owner.upload().status_code == 201
        assert owner.listed() == owner.acknowledged


def test_writes_to_a_read_only_postgresql_are_unavailable(
    on_postgresql: Service, connection: psycopg.Connection
) -> None:
    with on_postgresql.client() as client:
        owner = Owner(client)
        one = owner.upload().json()["id"]
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
        try:
            _within_time(lambda: owner.upload().status_code == 503)
            certificate = f"{owner.path}/certificates/{one}"
            for method, path, content in (
                ("PATCH", f"{certificate}/active", {"active": True}),
                ("DELETE", certificate, None),
                ("PATCH", owner.path, {"name": "Somebody Else"}),
                ("DELETE", owner.path, None),
                ("POST", "/users", a_user()),
            ):
                assert _is_refused_for_now(client.request(method, path, json=content)), path
            answer = client.get(certificate)
            assert answer.status_code == 200 or _is_refused_for_now(answer)
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")
        _within_time(lambda: owner.upload().status_code == 201)
        assert owner.listed() == owner.acknowledged


def test_closed_idle_connections_are_replaced_without_an_error(
    postgresql: Server, on_postgresql: Service, connection: psycopg.Connection
) -> None:
    database = Database(
        Config.from_environ({"CC_DATABASE_URL": postgresql.url}).database_url,
        Metrics(None),
        threads=4,
    )
    one = database.prepare(select(literal(1)), tenant=None)
    assert one() == [(1,)]
    cut = connection.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'customer-certificates'"
    ).fetchone()

    assert cut is not None
    assert cut[0] > 0
    assert one() == [(1,)]
    database.close()
    with on_postgresql.client(headers={"Connection": "close"}) as client:
        for _ in range(_FRESH_CONNECTIONS):
            assert client.get("/users").status_code == 200


def test_the_sqlite_file_is_locked_for_too_long(on_sqlite: Service, sqlite_file: Path) -> None:
    with (
        on_sqlite.client() as client,
        ThreadPoolExecutor(3) as threads,
        closing(sqlite3.connect(sqlite_file, isolation_level=None)) as other,
    ):
        owner = Owner(client)
        one = owner.upload().json()["id"]
        other.execute("BEGIN IMMEDIATE")
        waiting = [
            threads.submit(client.request, method, path, json=content)
            for method, path, content in (
                ("POST", f"{owner.path}/certificates", an_upload()),
                ("PATCH", f"{owner.path}/certificates/{one}/active", {"active": True}),
                ("DELETE", owner.path, None),
            )
        ]
        assert owner.listed() == [one]
        assert all(_is_refused_for_now(call.result()) for call in waiting)
        other.execute("ROLLBACK")
        assert owner.upload().status_code == 201
        assert owner.listed() == owner.acknowledged


def test_sqlite_files_are_private_to_their_owner(on_sqlite: Service, sqlite_file: Path) -> None:
    with on_sqlite.client() as client:
        Owner(client).upload()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sqlite_file.parent.iterdir()}

    names = {sqlite_file.name + suffix for suffix in ("", "-wal", "-shm")} | {"master-key"}
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(sqlite_file.parent.stat().st_mode) == 0o700


class SmallDisk:
    """A folder that holds two megabytes: a file system, or a limit where root is denied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._mounted = not _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
        most = -1 if self._mounted else 2**21
        limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, -1))"
        self.command = [
            sys.executable,
            "-c",
            f"import os, resource; {limit}; os.execv({COMMAND!r}, [{COMMAND!r}, 'serve'])",
        ]

    def enlarge(self, service: Service) -> None:
        """Frees disk space."""
        if self._mounted:
            assert not _mount("-o", "remount,size=16m", str(self.folder))
        else:
            for process in service.workers():
                process.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def _mount(*arguments: str) -> int:
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return 1
    return subprocess.run([mount, *arguments], capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(folder / "small-disk")
    yield disk
    disk.close()


def test_the_disk_of_sqlite_is_full(small_disk: SmallDisk, folder: Path) -> None:
    settings = {"CC_DATA_DIR": str(small_disk.folder / "data")}
    assert run("migrate", settings).returncode == 0
    service = Service(settings, Path(os.devnull), small_disk.command)
    try:
        with service.client() as client:
            owner = Owner(client)
            body = "a certificate " * 1100
            upload = f"{owner.path}/certificates"
            for _ in range(400):
                answer = client.post(upload, json=an_upload(body=body))
                if answer.status_code != 201:
                    break
                owner.acknowledged.append(answer.json()["id"])
            assert _is_refused_for_now(answer), answer.text
            assert owner.acknowledged
            assert owner.listed() == owner.acknowledged
            copy = folder / "copy-of-a-full-disk"
            shutil.copytree(small_disk.folder / "data", copy)
            small_disk.enlarge(service)
            answer = client.post(upload, json=an_upload(body=body))
            assert answer.status_code == 201, answer.text
            owner.acknowledged.append(answer.json()["id"])
            assert owner.listed() == owner.acknowledged
    finally:
        service.kill()
    with closing(sqlite3.connect(copy / "customer-certificates.sqlite3")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ids = [row[0] for row in file.execute("SELECT id FROM certificates ORDER BY id")]
    assert ids == owner.acknowledged[:-1]


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_unwritable_folder_stops_the_start_with_a_message(folder: Path, command: str) -> None:
    (file := folder / f"a-file-for-{command}").touch()
    for data in (file / "data", Path("/proc/customer-certificates")):
        ended = run(command, {"CC_DATA_DIR": str(data)})

        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert str(data) in ended.stderr


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_invalid_sqlite_file_stops_the_start_with_a_message(folder: Path, command: str) -> None:
    (data := folder / f"no-database-for-{command}").mkdir()
    file = data / "customer-certificates.sqlite3"
    file.write_bytes(b"This is no database. " * 1000)

    ended = run(command, {"CC_DATA_DIR": str(data)})

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert file.read_bytes() == b"This is no database. " * 1000


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_unreachable_postgresql_stops_the_start_with_a_message(command: str) -> None:
    ended = run(command, {"CC_DATABASE_URL": "postgresql://postgres:a-secret@127.0.0.1:1/postgres"})

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "CC_DATABASE_URL" in ended.stderr
    assert "a-secret" not in ended.stderr


def _read_of(client: httpx.Client, owner: Owner) -> Callable[[], None]:
    ways = itertools.cycle([owner.path, f"{owner.path}/certificates?active=false", "/users"])

    def read() -> None:
        answer = client.get(next(ways))
        assert answer.status_code == 200 or _is_refused_for_now(answer), answer.text

    return read


def _until(stop: Event, call: Callable[[], object]) -> None:
    while not stop.is_set():
        call()


def _is_refused_for_now(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


def _health(client: httpx.Client) -> tuple[int, Any]:
    answer = client.get("/healthcheck")
    return answer.status_code, answer.json()


def _within_time(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
