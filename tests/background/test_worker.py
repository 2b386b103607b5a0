"""The worker is killed at any instant, and the receiver fails: nothing is lost, nothing disordered.

With `--long`: 100,000 events and 100 kills.
"""

import atexit
import random
import re
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Flag
from threading import Thread

import httpx
import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from falcon.testing import TestClient
from standardwebhooks import Webhook as Verifier

from customer_certificates.app import create_app
from customer_certificates.background.worker import work
from customer_certificates.config import Config
from customer_certificates.gateways.database import Database
from customer_certificates.models import Delivery, KeyDeletions, User
from customer_certificates.services.events.log import CertificateState, Events

from .. import hasty_worker
from ..conftest import Backend
from ..factories import a_user, an_upload
from ..monitoring import names_in
from ..receiver import Receiver, failing
from ..servers import free_port
from ..service import COMMAND, Forked, Service, environment, run_forked
from ..services.email.test_expiry_notices import Post
from ..tables import add_users, add_webhook

WAIT_SECONDS = 60
CERTIFICATES = 50


class Worker:
    """A worker process: `worker`, or the function that does the same."""

    def __init__(
        self,
        backend: Backend,
        log: Path,
        program: Callable[[], object] | None = None,
        /,
        **settings: str,
    ) -> None:
        variables = environment({**backend.settings, **settings})
        self.popen = Forked([COMMAND, "worker"], variables, log, log, program=program)
        # multiprocessing waits at exit for what it started.
        atexit.register(self.popen.kill)
        self.log = log

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def pending(engine: sa.Engine) -> int:
    query = sa.select(sa.func.count()).where(Delivery.status == "pending")
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def keys_in_files(engine: sa.Engine) -> int:
    """The number of deleted keys that are not erased from the files yet."""
    query = sa.select(KeyDeletions.deleted - KeyDeletions.erased)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def wait(until: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_loses_and_reorders_no_deliveries(
    backend: Backend,
    database: Database,
    engine: sa.Engine,
    receiver: Receiver,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    is_long = pytestconfig.getoption("--long")
    number, kills = (100_000, 100) if is_long else (600, 3)
    receiver.answer = failing(0.3)
    users = add_users(engine, 5)
    add_webhook(engine, None, url=receiver.url, configured=True)
    settings = {"CC_WEBHOOK_URL": receiver.url, "CC_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4}
    recorded = Flag()

    def record() -> None:
        events = Events(database, lambda: datetime.now(UTC))
        for place in range(number):
            certificate = place % CERTIFICATES + 1
            user_id = users[certificate % len(users)]
            state = CertificateState(certificate, place, True, "[]", None, None)
            calls = events.calls("certificate.replaced", user_id, state)
            with database.begin(user_id) as session:
                session.get(User, user_id, with_for_update=True)
                session.run_pipeline(*calls)
        recorded.set()

    recording = Thread(target=record)
    recording.start()
    log = tmp_path / "worker.log"
    workers = [Worker(backend, log, hasty_worker.main, **settings) for _ in range(2)]
    for _ in range(kills):
        enough = len(receiver.received) + number // (2 * kills)
        wait(lambda enough=enough: len(receiver.received) > enough or not pending(engine))
        time.sleep(random.random() * 0.2)
        victim = workers.pop(random.randrange(2))
        victim.kill()
        workers.append(Worker(backend, log, hasty_worker.main, **settings))
    recording.join()
    wait(lambda: pending(engine) == 0, 3600 if is_long else WAIT_SECONDS)
    for worker in workers:
        worker.popen.terminate()
    # One that was just started may not have got to where it says how it wants to be stopped.
    ends = {worker.popen.wait(WAIT_SECONDS) for worker in workers}
    assert ends <= {0, -signal.SIGTERM}, log.read_text()

    with engine.connect() as connection:
        told = connection.execute(
            sa.select(Delivery.event_id, Delivery.ordering_key)
            .where(Delivery.ordering_key > 0)
            .order_by(Delivery.event_id)
        ).all()
    assert len(told) == number
    wanted: defaultdict[int, list[int]] = defaultdict(list)
    for event_id, certificate in told:
        wanted[certificate].append(event_id)
    first_of: dict[int, None] = dict.fromkeys(receiver.ids())
    key_of = {row.event_id: row.ordering_key for row in told}
    arrived: defaultdict[int, list[int]] = defaultdict(list)
    for event_id in first_of:
        arrived[key_of[event_id]].append(event_id)
    duplicates = len(receiver.ids()) - len(first_of)
    print(f"{number} events, {kills} kills, {len(receiver.received)} requests, {duplicates} twice")
    assert arrived == wanted
    assert {one.headers["webhook-id"] for one in receiver.received} == {
        f"evt_{event_id}" for event_id, _ in told
    }


@pytest.mark.one_backend("sqlite")
def test_serve_delivers_within_a_second_and_shuts_down_cleanly(
    backend: Backend, engine: sa.Engine, receiver: Receiver, tmp_path: Path
) -> None:
    """`serve` has a worker inside: an activation is told, a worker that dies is replaced, deleted
    keys are erased."""
    service = Service(backend.settings, tmp_path / "service.log", delivers=True)
    try:
        with service.client() as client:
            owner = client.post("/users", json=a_user()).json()["id"]
            made = client.post(f"/users/{owner}/webhooks", json={"url": receiver.url}).json()
            client.post(f"/users/{owner}/certificates", json=an_upload(active=True))
            wait(lambda: len(receiver.ids()) == 2)
            for received in receiver.received:
                Verifier(made["secret"]).verify(received.body.decode(), received.headers)

            (inside,) = service.telling()
            inside.kill()
            client.post(f"/users/{owner}/webhooks/{made['id']}/test")
            wait(lambda: len(receiver.ids()) == 3)
            wait(
                lambda: (
                    'customer_certificates_delivery_attempts_total{status="delivered"}'
                    in client.get("/metrics").text
                )
            )
            (inside,) = service.telling()
            client.delete(f"/users/{owner}")
            wait(lambda: keys_in_files(engine) == 0)
        assert service.stop() == 0
        assert not inside.is_running()
    finally:
        service.kill()


@pytest.mark.one_backend
def test_a_separate_worker_has_metrics_and_drains(
    backend: Backend, engine: sa.Engine, receiver: Receiver, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"CC_WEBHOOK_URL": receiver.url, "CC_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4}
    metrics = {"CC_METRICS_PORT": str(port)}
    worker = Worker(backend, tmp_path / "log", **settings, **metrics)
    try:
        with httpx.Client(trust_env=False, verify=False) as client:

            def counts() -> bool:
                with suppress(httpx.TransportError):
                    names = names_in(client.get(f"http://127.0.0.1:{port}").text)
                    return names >= {
                        "customer_certificates_delivery_lag_seconds",
                        "customer_certificates_terminators",
                    }
                return False

            wait(counts)
        worker.popen.send_signal(signal.SIGTERM)
        assert worker.popen.wait(WAIT_SECONDS) == 0, worker.log.read_text()
    finally:
        worker.kill()


def _work_for_nobody() -> None:
    """Runs in a separate process, whose parent is another process than `parent_pid`."""
    parent = subprocess.Popen(["true"])
    parent.wait()
    work(Config.from_environ(), parent_pid=parent.pid)


def test_a_worker_ends_if_its_parent_ended_first(backend: Backend, engine: sa.Engine) -> None:
    ended = run_forked([COMMAND, "worker"], backend.settings, program=_work_for_nobody)

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.one_backend
def test_a_worker_emails_verification_links(
    backend: Backend, client: TestClient, engine: sa.Engine, tmp_path: Path
) -> None:
    """Within seconds, and whatever its other jobs do."""
    post, port = Post(), free_port()
    mail = {
        "CC_SMTP_URL": f"smtp://127.0.0.1:{port}?tls=none",
        "CC_MAIL_FROM": "certificates@service.example",
        "CC_PUBLIC_URL": "http://localhost:9000",
    }
    app = create_app(backend.config(**mail))
    answer = TestClient(app, headers={"Host": "localhost"}).simulate_post("/users", json=a_user())
    app.close()
    controller = Controller(post, hostname="127.0.0.1", port=port)
    controller.start()
    worker = Worker(backend, tmp_path / "log", **mail)
    deadline = time.monotonic() + WAIT_SECONDS
    while not post.letters:
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.05)
    worker.popen.terminate()
    assert worker.popen.wait(WAIT_SECONDS) == 0
    controller.stop()

    (link,) = re.findall("http://localhost:9000(/email-.*?)\\s", post.letters[0].get_content())
    assert client.simulate_post(link).status_code == 200
    user = client.simulate_get(f"/users/{answer.json['id']}")
    assert user.json["email_verified"] is True
    assert link.rpartition("/")[2] not in worker.log.read_text()
