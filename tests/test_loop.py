"""No request blocks a worker's event loop, whatever it waits for."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

import httpx
import pytest
import sqlalchemy as sa

from customer_certificates.app import create_app
from customer_certificates.gateways import loop
from customer_certificates.gateways.database import EVERYBODY, Database
from customer_certificates.server.listener import HttpServer

from .conftest import Backend
from .factories import a_user, an_upload

_WAIT_SECONDS = 60
# Ordinary callbacks take a few milliseconds.
_SLOW_SECONDS = 0.5
# So long what requests wait for keeps them waiting.
_HELD_SECONDS = 1.5
_RUNS = 3


class _OwnTime(asyncio.SelectorEventLoop):
    """Its time stands still while its thread could run and others have the processor: however busy
    the machine is, a callback takes as long as what it does and what it waits for."""

    def __init__(self) -> None:
        self._statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        super().__init__()

    def time(self) -> float:
        # Nanoseconds with the processor, nanoseconds in its queue.
        _, queued, _ = os.pread(self._statistics, 100, 0).split()
        return super().time() - int(queued) / 10**9

    def close(self) -> None:
        super().close()
        os.close(self._statistics)


class Loop:
    """An application on an event loop in debug mode, in a thread of its own."""

    def __init__(self, backend: Backend) -> None:
        self._config = backend.config(CC_UPLOAD_CHECKS="report")
        self._ready: Future[int] = Future()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> httpx.Client:
        self._thread.start()
        port = self._ready.result(_WAIT_SECONDS)
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_OwnTime) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        running = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            app = create_app(self._config)
            running.set_debug(True)
            running.slow_callback_duration = _SLOW_SECONDS
            server = HttpServer(
                app,
                listener,
                tls=None,
                most_connections=16,
                most_body_bytes=256 * 1024,
                on_cut=app.on_cut,
            )
            self._ready.set_result(listener.getsockname()[1])
            while not self._ended.is_set():
                await asyncio.sleep(0.01)
            app.stop_waiting()
            await server.drain(1)
            running.set_debug(False)
            # The callback that turns it off is timed still. To close takes as long as children take
            # to end.
            await asyncio.sleep(0)
            app.close()


def test_requests_of_a_user_block_no_callback(
    backend: Backend, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def live(client: httpx.Client) -> None:
        owner = client.post("/users", json=a_user()).headers["Location"]
        certificate = client.post(f"{owner}/certificates", json=an_upload()).headers["Location"]
        for path in (owner, f"{owner}/certificates", certificate, "/users", "/healthcheck"):
            assert client.get(path).status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/terminators/feed").status_code == 200
        assert client.delete(owner).status_code == 204

    _require_no_slow_callback(backend, caplog, live)


def test_a_request_that_waits_for_a_lock_blocks_no_callback(
    backend: Backend, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def wait(client: httpx.Client) -> None:
        owner = client.post("/users", json=a_user()).headers["Location"]
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE users SET name = name"))
            waiting = [_in_thread(lambda: client.patch(owner, json={"name": "Ada"})) for _ in "ab"]
            threading.Event().wait(_HELD_SECONDS)
            assert client.get(owner).status_code == 200
            assert not any(answer.done() for answer in waiting)
        assert [answer.result(_WAIT_SECONDS).status_code for answer in waiting] == [200, 200]

    _require_no_slow_callback(backend, caplog, wait)


def test_a_change_wakes_all_waiting_requests(
    backend: Backend, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def hear(client: httpx.Client) -> None:
        owner = client.post("/users", json=a_user()).headers["Location"]
        cursor = client.get("/terminators/feed").json()["cursor"]
        while (page := client.get(f"/terminators/feed?since={cursor}").json())["more"]:
            cursor = page["cursor"]
        feed = f"/terminators/feed?since={page['cursor']}&wait=30"
        waiting = [_in_thread(lambda: client.get(feed)) for _ in range(4)]
        waits = "customer_certificates_feed_waiting 4.0"
        while waits not in client.get("/metrics").text:
            assert not any(answer.done() for answer in waiting)
        client.post(f"{owner}/certificates", json={**an_upload(), "active": True})
        pages = [answer.result(_WAIT_SECONDS).json() for answer in waiting]
        assert all(page["changes"] for page in pages)
        assert client.delete(owner).status_code == 204

    _require_no_slow_callback(backend, caplog, hear)


def test_the_first_transactions_of_a_process_may_begin_at_once(fresh_database: Database) -> None:
    """SQLAlchemy holds a lock while an engine connects for the first time."""

    def transact() -> int:
        with fresh_database.begin(EVERYBODY) as session:
            return int(session.scalar(sa.select(sa.literal(1))) or 0)

    async def main() -> list[int]:
        return await asyncio.gather(*(loop.spawn(transact) for _ in range(8)))

    answers: Future[list[int]] = Future()
    # A loop that stands still would never end.
    run = threading.Thread(target=lambda: answers.set_result(asyncio.run(main())), daemon=True)
    run.start()
    assert answers.result(_WAIT_SECONDS) == [1] * 8


def _in_thread(ask: Callable[[], httpx.Response]) -> Future[httpx.Response]:
    answer: Future[httpx.Response] = Future()
    threading.Thread(target=lambda: answer.set_result(ask())).start()
    return answer


def _require_no_slow_callback(
    backend: Backend, caplog: pytest.LogCaptureFixture, scenario: Callable[[httpx.Client], None]
) -> None:
    """A callback that blocks does so each time. The machine's pauses come at random."""
    slow: list[str] = []
    for _ in range(_RUNS):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncio"), Loop(backend) as client, client:
            scenario(client)
        slow = [record.getMessage() for record in caplog.records if "took" in record.getMessage()]
        if not slow:
            return
    pytest.fail("\n".join(slow))
