"""The service starts, reloads and stops; its workers act as one."""

import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import psutil
import pytest

from ..factories import a_user, an_upload
from ..servers import free_port
from ..service import Service, run

_WAIT_SECONDS = 30


class Running(NamedTuple):
    """A service on SQLite, and the folder in which it makes its temporary files."""

    service: Service
    file: Path
    temporary: Path


@pytest.fixture
def running(
    request: pytest.FixtureRequest, tmp_path: Path, migrated: Callable[[Path], None]
) -> Iterator[Running]:
    """Starts the background worker too, if the parameter says so."""
    (temporary := tmp_path / "temporary").mkdir()
    data = tmp_path / "data"
    settings = {"CC_DATA_DIR": str(data), "TMPDIR": str(temporary)}
    migrated(data)
    service = Service(
        settings, tmp_path / "service.log", delivers=bool(getattr(request, "param", False))
    )
    yield Running(service, data / "customer-certificates.sqlite3", temporary)
    service.kill()


class SlowUpload:
    """An upload whose body is sent by `finish`, while the service waits for it."""

    def __init__(self, url: str, path: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._body = msgspec.json.encode(an_upload())
        self._socket = socket.create_connection((host, int(port)), _WAIT_SECONDS)
        self._socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self._body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert self._socket.recv(1000).startswith(b"HTTP/1.1 100 ")
        self._socket.sendall(self._body[:10])

    def finish(self) -> bytes:
        """The first line of the answer."""
        self._socket.sendall(self._body[10:])
        with self._socket, self._socket.makefile("rb") as answer:
            return answer.readline().rstrip()


@pytest.mark.parametrize("running", [True], indirect=True, ids=["delivers"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_progress_complete_before_the_service_ends(
    running: Running, number: signal.Signals
) -> None:
    service = running.service
    with (
        service.client() as client,
        ThreadPoolExecutor(1) as thread,
        closing(sqlite3.connect(running.file, isolation_level=None)) as file,
    ):
        owner = client.post("/users", json=a_user()).headers["Location"]
        processes = [psutil.Process(service.popen.pid), *service.workers()]
        assert len(processes) == 3
        assert list(running.temporary.iterdir())
        slow = SlowUpload(service.url, f"{owner}/certificates")
        file.execute("BEGIN IMMEDIATE")
        locked_out = thread.submit(client.post, f"{owner}/certificates", json=an_upload())
        _within_time(
            lambda: (
                _metric(service, 'customer_certificates_database_connections{use="transaction"}')
                == 1
            )
        )

        service.popen.send_signal(number)
        _within_time(lambda: _refuses_connections(service))
        # A worker that has nothing under way may be gone already.
        assert service.popen.poll() is None
        # The first process repeats the signal to the workers. After Ctrl-C, a terminal sends it to
        # every process, the sandboxes included.
        family = psutil.Process(service.popen.pid).children(recursive=True)
        assert service.telling()
        for process in family * 3:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        file.execute("ROLLBACK")

        answer = locked_out.result()
        assert answer.status_code == 201, answer.text
        assert slow.finish() == b"HTTP/1.1 201 Created"
        assert service.popen.wait(_WAIT_SECONDS) == 0
        assert file.execute("SELECT count(*) FROM certificates").fetchone() == (2,)
    assert not any(process.is_running() for process in processes)
    assert list(running.temporary.iterdir()) == []
    log = service.log.read_text()
    assert "Traceback" not in log
    # Nothing went wrong, so the service reports nothing.
    assert "customer-certificates:" not in log


def test_a_killed_worker_is_replaced_and_its_counters_remain(running: Running) -> None:
    service = running.service
    before = service.workers()
    _ask_on_fresh_connections(service, 40)
    assert _asked(service) == 40

    before[0].kill()
    _within_time(lambda: len(_alive(service)) == 2 and before[0] not in _alive(service))
    _within_time(lambda: _all_answer(service))

    assert before[1] in service.workers()
    assert _asked(service) == 40
    _ask_on_fresh_connections(service, 40)
    assert _asked(service) == 80
    assert service.stop() == 0
    assert list(running.temporary.iterdir()) == []


def test_a_worker_killed_during_shutdown_is_no_failure(running: Running) -> None:
    for worker in running.service.workers():
        worker.kill()

    assert running.service.stop() == 0


def test_a_service_ends_if_sigterm_follows_sighup(running: Running) -> None:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        running.service.popen.send_signal(number)

    assert running.service.popen.wait(_WAIT_SECONDS) == 0


def test_requests_to_all_workers_count_once(running: Running) -> None:
    service = running.service
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(_ask_on_fresh_connections, service, 25)
    with service.client() as client:
        for _ in range(25):
            assert client.get("/users/1").status_code == 404

    assert _asked(service) == 225
    labels = '{method="GET",route="/users/{user_id}"}'
    count = f"customer_certificates_http_request_duration_seconds_count{labels}"
    assert _metric(service, count) == 225
    # Otherwise there would be nothing to add up.
    counting = {int(path.stem.split("_")[1]) for path in running.temporary.glob("*/counter_*.db")}
    assert counting >= {worker.pid for worker in service.workers()}


@pytest.mark.parametrize("running", [True], indirect=True, ids=["delivers"])
def test_all_processes_end_when_the_first_one_is_killed(running: Running) -> None:
    """Otherwise workers would keep the port from the service's next start."""
    _within_time(lambda: bool(running.service.telling()))
    others = psutil.Process(running.service.popen.pid).children(recursive=True)
    running.service.popen.kill()
    running.service.popen.wait()
    try:
        _within_time(lambda: not any(_lives(process) for process in others))
    finally:
        for process in others:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def test_a_port_in_use_is_named(running: Running, tmp_path: Path) -> None:
    """Another program uses the port, or another instance of the service, which could share it."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        for port in (stranger.getsockname()[1], running.service.url.rpartition(":")[2]):
            ended = run("serve", {"CC_DATA_DIR": str(running.file.parent), "CC_PORT": str(port)})

            assert ended.returncode == 2
            assert len(ended.stderr.splitlines()) == 1, ended.stderr
            assert f"port {port}: " in ended.stderr
            assert "CC_PORT" in ended.stderr


def test_an_address_of_another_machine_is_named(
    tmp_path: Path, migrated: Callable[[Path], None]
) -> None:
    migrated(tmp_path / "data")
    settings = {"CC_DATA_DIR": str(tmp_path / "data"), "CC_HOST": "192.0.2.1"}
    ended = run("serve", {**settings, "CC_PORT": str(free_port())})

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "CC_HOST" in ended.stderr


def test_a_wrong_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").touch()
    (url := tmp_path / "url").write_text("mysql://u:hunter2@h/d")
    wrong = [
        ("CC_ENV", {"CC_ENV": "staging"}),
        ("CC_ENV", {"CC_ENV": "", "env": "staging"}),
        ("CC_PORT", {"CC_PORT": "http"}),
        ("CC_HOST", {"CC_HOST": "example.com"}),
        ("CC_WORKERS", {"CC_WORKERS": "0"}),
        ("CC_DATABASE_URL", {"CC_DATABASE_URL": "mysql://u:hunter2@h/d"}),
        ("CC_DATABASE_URL", {"CC_DATABASE_URL": "postgresql://u:hunter2@h:port/d"}),
        ("CC_DATABASE_URL", {"CC_DATABASE_URL": "postgresql://u:hunter2@[h/d"}),
        ("CC_DATABASE_URL_FILE", {"CC_DATABASE_URL_FILE": str(url)}),
        ("CC_DATABASE_URL_FILE", {"CC_DATABASE_URL_FILE": str(empty)}),
        ("CC_DATABASE_URL_FILE", {"CC_DATABASE_URL_FILE": str(tmp_path / "missing")}),
        ("CC_CACHE_URL", {"CC_CACHE_URL": "memcached://hunter2"}),
        ("CC_CACHE_URL", {"CC_CACHE_URL": "redis://:hunter2@h:port/0"}),
        ("CC_CACHE_URL", {"CC_CACHE_URL": "redis://h/hunter2"}),
        ("CC_CACHE_URL", {"CC_CACHE_URL": "redis://:hunter2@[h/0"}),
        ("CC_CACHE_URL_FILE", {"CC_CACHE_URL": "redis://h", "CC_CACHE_URL_FILE": str(url)}),
        ("CC_ALLOWED_CLIENTS", {"CC_ALLOWED_CLIENTS": "everybody"}),
    ]
    with ThreadPoolExecutor(2) as threads:
        all_ended = list(
            threads.map(lambda one: run("serve", {"CC_DATA_DIR": str(tmp_path), **one[1]}), wrong)
        )
    for (variable, settings), ended in zip(wrong, all_ended, strict=True):
        assert ended.returncode == 2, (settings, ended)
        assert len(ended.stderr.splitlines()) == 1, (settings, ended)
        assert variable in ended.stderr, (settings, ended)
        assert "hunter2" not in ended.stdout + ended.stderr, (settings, ended)


def _ask_on_fresh_connections(service: Service, number: int) -> None:
    with service.client(headers={"Connection": "close"}) as client:
        for _ in range(number):
            assert client.get("/users/1").status_code == 404


def _all_answer(service: Service) -> bool:
    """Connections that were queued for a worker when it died are reset."""
    with service.client(headers={"Connection": "close"}) as client:
        try:
            return all(client.get("/livez").status_code == 200 for _ in range(16))
        except httpx.TransportError:
            return False


def _alive(service: Service) -> list[psutil.Process]:
    return [worker for worker in service.workers() if _lives(worker)]


def _lives(worker: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(worker.status() != psutil.STATUS_ZOMBIE)
    return False


def _asked(service: Service) -> float:
    return _metric(
        service,
        'customer_certificates_http_requests_total{method="GET",route="/users/{user_id}",status="404"}',
    )


def _metric(service: Service, name: str) -> float:
    with service.client() as client:
        text = client.get("/metrics").text
    found = re.search(f"(?m)^{re.escape(name)} (.*)$", text)
    return float(found[1]) if found else 0


def _refuses_connections(service: Service) -> bool:
    host, port = service.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), _WAIT_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It was waiting to be accepted when the listener closed.
        return False
    return False


def _within_time(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
