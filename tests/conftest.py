"""The two backends that every test runs on: SQLite alone, and PostgreSQL with Redis."""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import certifi
import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import Application, create_app
from customer_certificates.composition import Services
from customer_certificates.config import Config
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.database.drivers import sqlite
from customer_certificates.gateways.database.schema import migrate
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.pki.validation import Validator

from .dns_server import DnsServer, knot_program, start_knot
from .examples import try_more
from .factories import CHEAPEST_HASHES, a_user
from .gateways.resolver_stub import ResolverStub, refuse
from .leftovers import Leftovers
from .long_first import long_first
from .one_backend import not_on_this_backend, not_this_combination
from .parallel import named_servers, one_at_a_time
from .second_decoder import open_all
from .servers import a_role_that_owns_nothing, start_postgresql, start_valkey
from .service import Service
from .shared_servers import SharedServers
from .slowest import Slowest
from .tables import remove_latches

pytest_plugins = ["tests.applications"]

# A collection looks at all that SQLAlchemy and Hypothesis keep, which is much.
_GC_THRESHOLDS = (20_000, 20, 20)

StoredKeys = Callable[[], dict[tuple[int, int], bytes]]


@dataclass(frozen=True)
class Backend:
    """A migrated database and, on PostgreSQL, a Redis beside it."""

    name: str
    settings: dict[str, str]

    @property
    def database_url(self) -> str:
        return self.config().database_url

    @property
    def owner_url(self) -> str:
        return self.config().database_owner_url

    def config(self, **more: str) -> Config:
        config = Config.from_environ({"CC_ENV": "tst", **self.settings, **more})
        return replace(config, password_cost=CHEAPEST_HASHES)

    def closed(self, **more: str) -> Config:
        """The settings of the profile prd, for the same database. Hostnames need no proof, unless a
        test asks for that."""
        proof = {"CC_HOSTNAME_PROOF": "preferred"}
        return self.config(**{"CC_ENV": "prd", **self.named(), **proof, **more})

    def named(self) -> dict[str, str]:
        """The database and the master key, as the profile prd wants them named."""
        config = self.config()
        Services(config).master_keys.close()  # creates the file if there is none
        master_key = config.data_dir / "master-key"
        return {"CC_DATABASE_URL": self.database_url, "CC_MASTER_KEY": f"file:{master_key}"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="look for races for minutes instead of seconds"
    )
    parser.addoption("--write-messages", action="store_true", help="write tests/messages.txt anew")
    parser.addoption(
        "--all", action="store_true", help="run also the tests marked one_backend on both backends"
    )
    parser.addoption("--pkis", type=int, default=100, help="compare so many random PKIs (100)")
    parser.addoption("--first-pki", type=int, default=0, help="begin at this seed (0)")


def pytest_configure(config: pytest.Config) -> None:
    try_more(bool(config.getoption("--long")))
    config.pluginmanager.register(Slowest())
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(leftovers := Leftovers())
        if config.getoption("numprocesses", None) and not config.getoption("collectonly"):
            config.pluginmanager.register(SharedServers(leftovers.folder))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps what is collected out of garbage collections: it lives as long as this process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops what `--all` alone runs, and puts long tests first."""
    if not config.getoption("--all"):
        dropped = {*not_on_this_backend(items), *not_this_combination(items)}
        config.hook.pytest_deselected(items=list(dropped))
        items[:] = [item for item in items if item not in dropped]
    items[:] = long_first(items)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, five at most: many tests wait for processes that start or
    stop, or for time-outs. Each one collects all tests and has servers of its own, which takes as
    long as what two more would gain."""
    return min((os.cpu_count() or 1) + 1, 5)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where CI runs, a test that cannot run is a failure: nobody reads why it was skipped."""
    if os.environ.get("CI") == "true" and (
        any(item.iter_markers("skip")) or any(item.iter_markers("skipif"))
    ):
        pytest.fail(f"{item.nodeid} would be skipped, and CI=true", pytrace=False)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that a server run by another account can reach; pytest's own is root's alone."""
    path = Path(tempfile.mkdtemp(prefix="cc-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def dns_server(folder: Path) -> Iterator[DnsServer]:
    """The server that TEST_DNS_SERVER names, or one of our own. Each test uses other names."""
    if address := os.environ.get("TEST_DNS_SERVER"):
        yield DnsServer(address)
        return
    if not knot_program():
        missing = "knotd is not installed (apt-get install knot)"
        if os.environ.get("CI") == "true":
            raise RuntimeError(missing)
        pytest.skip(missing)
    server = start_knot(folder / "knot")
    yield DnsServer(server.url)
    server.stop()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def backend(
    request: pytest.FixtureRequest, folder: Path, migrated: Callable[[Path], None]
) -> Iterator[Backend]:
    """On servers that TEST_DATABASE_URL and TEST_CACHE_URL name, or on ones of our own."""
    data = folder / f"data-{request.param}"
    with ExitStack() as stack:
        # No test asks the machine's own resolvers about names that it makes up.
        resolver = stack.enter_context(ResolverStub(refuse))
        settings = {"CC_DATA_DIR": str(data), "CC_DNS_RESOLVERS": str(resolver.address)}
        if request.param == "postgresql":
            database, cache = named_servers()
            if not database:
                postgresql = start_postgresql(folder / "postgresql")
                stack.callback(postgresql.stop)
                database = postgresql.url
            if not cache:
                valkey = start_valkey(folder / "valkey")
                stack.callback(valkey.stop)
                cache = valkey.url
            settings["CC_DATABASE_OWNER_URL"] = database
            settings["CC_DATABASE_URL"] = a_role_that_owns_nothing(database)
            settings["CC_CACHE_URL"] = cache
        made = Backend(request.param, settings)
        # This process may have made it before: it alternates between the backends.
        if request.param == "postgresql":
            with one_at_a_time():
                migrate(made.owner_url, made.database_url)
        elif not data.exists():
            migrated(data)
        yield made


@pytest.fixture(scope="session")
def migrated(folder: Path) -> Callable[[Path], None]:
    """Puts a migrated SQLite database into the folder of a service; to migrate takes longer."""
    data = folder / "data-migrated"
    url = Config.from_environ({"CC_ENV": "tst", "CC_DATA_DIR": str(data)}).database_url
    migrate(url, url)

    def copy(place: Path) -> None:
        shutil.copytree(data, place)

    return copy


@pytest.fixture(scope="session")
def _engine(backend: Backend) -> Iterator[sa.Engine]:
    # A new connection takes longer than all that most tests ask on it.
    if backend.name == "postgresql":
        engine = sa.create_engine(backend.owner_url, hide_parameters=True)
    else:
        url = sa.make_url(backend.owner_url)
        engine = sa.create_engine(url, connect_args=sqlite.connect_arguments(url))
        sqlite.configure(engine)
    yield engine
    engine.dispose()


# The tables that are emptied before a test. Authorities' certificates and operators' tokens may
# belong to nobody, and records stay; all else goes with its user.
_EMPTIED = (
    "intermediates",
    "audit",
    "audit_heads",
    "kept_answers",
    "events",
    "webhooks",
    "tokens",
    "service_state",
    "hostname_notices",
    "hostname_transfers",
    "rate_counts",
    "key_deletions",
    "audit_exports",
    "terminators",
    "users",
    "summary_changes",
    "summary_values",
    "summary_dates",
)
# A service does not start with data keys of a master key that it was not given, nor without
# credentials where there were any.
_EMPTIED_AFTERWARDS = ("user_keys", "service_latches")


def _empty(engine: sa.Engine, tables: Sequence[str]) -> None:
    """Empties the tables that have rows: most have none, and to empty one takes its time."""
    filled = " UNION ALL ".join(
        f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables
    )
    with engine.begin() as connection:
        found = list(connection.exec_driver_sql(filled).scalars())
        if "users" in found and "summary_changes" not in found:
            # A trigger records the deletion of their certificates.
            found.append("summary_changes")
        if "service_latches" in found:
            remove_latches(connection)
            found.remove("service_latches")
        deletions = [f"DELETE FROM {table}" for table in found]
        # PostgreSQL is sent all of them at once.
        together = ["; ".join(deletions)] if deletions else []
        for statement in together if engine.name == "postgresql" else deletions:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@pytest.fixture
def engine(_engine: sa.Engine) -> Iterator[sa.Engine]:
    """The database as it is, behind the service's back; every test finds it empty."""
    _empty(_engine, (*_EMPTIED, "service_latches"))
    yield _engine
    _empty(_engine, _EMPTIED_AFTERWARDS)


@pytest.fixture(scope="session")
def _app(backend: Backend) -> Iterator[Application]:
    app = create_app(backend.config())
    yield app
    app.close()


@pytest.fixture
def client(_app: Application, engine: sa.Engine) -> TestClient:
    """The application without a socket."""
    return TestClient(_app, headers={"Host": "localhost:9000"})


# Mails are queued, and nobody sends them.
MAIL = {
    "CC_SMTP_URL": "smtp://127.0.0.1:9?tls=none",
    "CC_MAIL_FROM": "certificates@service.example",
    "CC_PUBLIC_URL": "https://certificates.example",
}


@pytest.fixture(scope="session")
def _closed_app(backend: Backend) -> Iterator[Application]:
    app = create_app(backend.closed(CC_UPLOAD_CHECKS="report", **MAIL))
    yield app
    app.close()


@pytest.fixture
def closed(_closed_app: Application, engine: sa.Engine) -> TestClient:
    """The application that asks for credentials, without a socket."""
    return TestClient(_closed_app)


@pytest.fixture
def owner(client: TestClient) -> int:
    """The id of a user whose certificates they are."""
    return int(client.simulate_post("/users", json=a_user()).json["id"])


@pytest.fixture
def stranger(client: TestClient) -> int:
    """The id of a user whose certificates they are not."""
    return int(client.simulate_post("/users", json=a_user()).json["id"])


@pytest.fixture(scope="session")
def _database(backend: Backend) -> Iterator[Database]:
    database = Database(backend.database_url, Metrics(None), threads=4)
    yield database
    database.close()


@pytest.fixture
def database(_database: Database, engine: sa.Engine) -> Database:
    """The gateway, for what is tested without HTTP."""
    return _database


@pytest.fixture
def fresh_database(backend: Backend, engine: sa.Engine) -> Iterator[Database]:
    """The gateway without a connection."""
    database = Database(backend.database_url, Metrics(None), threads=4)
    yield database
    database.close()


@pytest.fixture
def stored_keys(backend: Backend, engine: sa.Engine) -> StoredKeys:
    """Opens the private keys that are stored, by certificate and version."""
    return lambda: open_all(engine, Path(backend.config().master_key.where))


@pytest.fixture(scope="session")
def master_keys(backend: Backend) -> MasterKeys:
    """The master keys that the services of this backend use."""
    return Services(backend.config()).master_keys


@pytest.fixture(scope="session")
def children() -> Iterator[SandboxPool]:
    """The sandbox that validates uploads, for tests without HTTP."""
    children = SandboxPool(
        Validator, Path(certifi.where()).read_bytes(), size=2, on_exit=Metrics(None).sandbox_ended
    )
    yield children
    children.close()


@pytest.fixture(scope="session")
def _service(backend: Backend, folder: Path) -> Iterator[Service]:
    service = Service(backend.settings, folder / f"service-{backend.name}.log")
    yield service
    service.stop()


@pytest.fixture
def service(_service: Service, engine: sa.Engine) -> Service:
    """The service over a real socket: two processes that answer, and none that tells others."""
    return _service
