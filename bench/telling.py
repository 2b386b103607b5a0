"""How fast others are told: events recorded one by one, a worker, a receiver; PostgreSQL.

    python -m bench.telling

Run with an argument, this file is one of the processes.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

import msgspec
import psycopg
import sqlalchemy as sa

from customer_certificates.composition import Services
from customer_certificates.config import Config
from customer_certificates.gateways.database import BoundStatement, Database, migration_engine
from customer_certificates.gateways.database.schema import migrate
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.models import Webhook
from customer_certificates.services.events.log import CertificateState, Events
from customer_certificates.services.webhooks.secrets import WebhookSecrets
from tests.receiver import Receiver
from tests.servers import a_role_that_owns_nothing, start_postgresql
from tests.tables import add_users

from . import recording
from .clock import now
from .figures import ENDPOINT, Figure

EVENTS = 10_000
RATE = 1_000
SECONDS = 10
_CERTIFICATES = 100
_TOGETHER = 50
_ROUNDS = 5


def main() -> None:
    """Prints what it measures, on a server of its own."""
    figures: dict[Figure, float] = {}
    with tempfile.TemporaryDirectory(prefix="telling-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = start_postgresql(folder / "postgresql", durable=True)
        try:
            for line in lines(server.url, folder, figures):
                print(line, flush=True)
            for figure, value in figures.items():
                print(f"{figure.title}: {value:.1f} {figure.unit}")
        finally:
            server.stop()


def lines(server: str, folder: Path, figures: dict[Figure, float]) -> Iterator[str]:
    """Measures on a database of its own and yields result lines; `server` is its owner's URL. The
    cost of an endpoint goes into `figures`."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE telling")
    owner = server.removesuffix("postgres") + "telling"
    settings = {
        "CC_ENV": "tst",
        "CC_DATA_DIR": str(folder / "telling"),
        "CC_DATABASE_OWNER_URL": owner,
        "CC_DATABASE_URL": a_role_that_owns_nothing(owner),
    }
    config = Config.from_environ(settings)
    migrate(config.database_owner_url, config.database_url)
    engine = migration_engine(config.database_owner_url)
    users = add_users(engine, 20)
    # The recording client is not measured, and does not wait for the disk.
    unsafe = f"{config.database_url}?options=-c%20synchronous_commit%3Doff"
    database = Database(unsafe, Metrics(None), threads=4)
    master_keys = Services(config).master_keys
    yield f"{recording.cost(database, engine, master_keys, _ROUNDS)}, told to nobody"
    with _process("receive") as receiver:
        assert receiver.stdout
        address = receiver.stdout.readline().decode().strip()
        pair = add_users(engine, 2)
        _add_webhook(database, config, address, pair[1])
        figures[ENDPOINT] = recording.cost_of_an_endpoint(
            database, engine, master_keys, pair, _ROUNDS
        )
        _add_webhook(database, config, address)
        yield f"{recording.cost(database, engine, master_keys, _ROUNDS)}, told to one endpoint"
        events = Events(database, now)
        for place in range(0, EVENTS, _TOGETHER):
            _record(database, events, users, place, _TOGETHER)
        with _process("work", {**os.environ, **settings}) as worker:
            _wait(engine)
            yield _backlog(_receipts(receiver))
            used = _cpu(worker.pid)
            took = _at_a_rate(database, events, users)
            _wait(engine)
            used = _cpu(worker.pid) - used
            yield f"{_as_they_happen(took, _receipts(receiver))}; the worker's CPU: {used:.1f} s"
    database.close()
    engine.dispose()


def _backlog(receipts: list[tuple[float, float]]) -> str:
    arrived = sorted(at for at, _ in receipts)
    rate = (len(arrived) - 1) / (arrived[-1] - arrived[0])
    return f"one worker tells a backlog of {len(arrived):,} events at {rate:,.0f} a second"


def _at_a_rate(database: Database, events: Events, users: list[int]) -> float:
    """Records RATE events a second, each in a transaction; says how long that took in all."""
    began = time.perf_counter()
    for place in range(RATE * SECONDS):
        ahead = began + place / RATE - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        _record(database, events, users, place)
    return time.perf_counter() - began


def _as_they_happen(took: float, receipts: list[tuple[float, float]]) -> str:
    waits = sorted(at - made for at, made in receipts)
    return (
        f"{len(receipts) / took:,.0f} events a second for {took:.1f} s, from the event to its "
        f"arrival: median {median(waits) * 1000:,.1f} ms, "
        f"99 % {quantiles(waits, n=100)[98] * 1000:,.1f} ms"
    )


def _add_webhook(database: Database, config: Config, url: str, user_id: int | None = None) -> None:
    """A user's endpoint, or one that hears of all users."""
    secrets = WebhookSecrets(database, Services(config).master_keys, now)
    with database.begin("*") as session:
        webhook = Webhook(
            user_id=user_id,
            url=url,
            events='["*"]',
            description="",
            state="active",
            configured=False,
            created_at=now(),
        )
        session.add(webhook)
        session.flush()
        secrets.add(session, webhook.id)


def _record(
    database: Database, events: Events, users: list[int], place: int, number: int = 1
) -> None:
    """Records `number` events of one user, in one transaction."""
    user_id = users[place // number % len(users)]
    calls: list[BoundStatement] = []
    for one in range(place, place + number):
        certificate_id = user_id * _CERTIFICATES + one % _CERTIFICATES
        state = CertificateState(certificate_id, 1, True, '["www.example.com"]', now(), "f" * 64)
        calls += events.calls("certificate.activated", user_id, state)
    database.run_pipeline(user_id, *calls)


def _wait(engine: sa.Engine) -> None:
    query = sa.text("SELECT count(*) FROM deliveries WHERE status = 'pending'")
    while True:
        with engine.connect() as connection:
            if connection.execute(query).scalar_one() == 0:
                return
        time.sleep(0.2)


def _receipts(receiver: "subprocess.Popen[bytes]") -> list[tuple[float, float]]:
    """When each event arrived, and when it was made."""
    assert receiver.stdin
    assert receiver.stdout
    receiver.stdin.write(b"\n")
    receiver.stdin.flush()
    return msgspec.json.decode(receiver.stdout.readline(), type=list[tuple[float, float]])


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _process(
    what: str, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "bench.telling", what]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        process.terminate()


def _receive() -> None:
    arrived: list[tuple[float, float]] = []
    receiver = Receiver(lambda _path: (200, ""))
    print(receiver.url, flush=True)
    while sys.stdin.readline():
        for one in receiver.received:
            event = msgspec.json.decode(one.body)
            made = datetime.fromisoformat(event["timestamp"]).timestamp()
            arrived.append((one.at, made))
        receiver.received.clear()
        print(msgspec.json.encode(arrived).decode(), flush=True)
        arrived.clear()


def _work() -> None:
    from customer_certificates.background.worker import work

    work(Config.from_environ())


if __name__ == "__main__":
    {"receive": _receive, "work": _work}.get(sys.argv[-1], main)()
