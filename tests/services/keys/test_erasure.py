"""On SQLite, no part of a deleted key is left in the database's files."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from falcon.testing import TestClient

from customer_certificates.app import create_app
from customer_certificates.gateways.database import EVERYBODY, Database, migration_engine
from customer_certificates.gateways.master_keys import make
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.maintenance.keys import rewrap
from customer_certificates.models import PrivateKey, UserDataKey, WebhookSecret
from customer_certificates.services.keys.erasure import KeyErasure

from ...conftest import Backend
from ...resources import self_signed
from ...tables import add_users

KEYS = (PrivateKey.sealed, UserDataKey.wrapped, WebhookSecret.wrapped)


class Kept:
    """A user with a certificate of two versions and a webhook, and the keys that are stored."""

    def __init__(self, client: TestClient, engine: sa.Engine, backend: Backend, user: int) -> None:
        self.client, self.engine, self.backend = client, engine, backend
        self.user = f"/users/{user}"
        made = client.simulate_post(
            f"{self.user}/certificates", json=self_signed("www.example.com")
        )
        self.certificate = made.headers["Location"]
        assert (
            client.simulate_put(self.certificate, json=self_signed("www.example.com")).status_code
            == 200
        )
        webhook = {"url": "https://127.0.0.1/", "events": ["*"]}
        made = client.simulate_post(f"{self.user}/webhooks", json=webhook)
        assert made.status_code == 201, made.text
        self.webhook = made.headers["Location"]

    def keys(self) -> set[bytes]:
        with self.engine.connect() as connection:
            return {
                bytes(value)
                for column in KEYS
                for value in connection.execute(sa.select(column)).scalars()
            }

    def in_files(self, keys: set[bytes]) -> list[bytes]:
        """Returns those of `keys` of which a file of the database contains a part."""
        file = Path(str(sa.make_url(self.backend.database_url).database))
        content = b"".join(one.read_bytes() for one in file.parent.glob(f"{file.name}*"))
        # A part, as of a long one only the end may have been overwritten.
        return [key for key in keys if any(part in content for part in (key[:24], key[-24:]))]


@contextmanager
def _opened(backend: Backend) -> Iterator[KeyErasure]:
    with closing(Database(backend.database_url, Metrics(None), threads=1)) as database:
        yield KeyErasure(database)


@pytest.fixture
def kept(migrated: Callable[[Path], None], tmp_path: Path) -> Iterator[Kept]:
    """Uses its own database, in which no running service erases anything."""
    data = tmp_path / "data"
    migrated(data)
    own = Backend("sqlite", {"CC_DATA_DIR": str(data)})
    engine = migration_engine(own.database_url)
    with closing(create_app(own.config())) as app:
        client = TestClient(app, headers={"Host": "localhost:9000"})
        yield Kept(client, engine, own, add_users(engine, 1)[0])
    engine.dispose()


def _delete_user(kept: Kept) -> None:
    assert kept.client.simulate_delete(kept.user).status_code == 204


def _delete_certificate(kept: Kept) -> None:
    assert kept.client.simulate_delete(kept.certificate).status_code == 204


def _delete_webhook(kept: Kept) -> None:
    assert kept.client.simulate_delete(kept.webhook).status_code == 204


def _push_out_the_oldest_version(kept: Kept) -> None:
    for _ in range(5):
        replaced = kept.client.simulate_put(kept.certificate, json=self_signed("www.example.com"))
        assert replaced.status_code == 200


@pytest.mark.parametrize(
    "delete", [_delete_user, _delete_certificate, _delete_webhook, _push_out_the_oldest_version]
)
def test_nothing_of_a_deleted_key_is_left_in_the_files(
    kept: Kept, delete: Callable[[Kept], None]
) -> None:
    before = kept.keys()
    assert len(before) == 4
    delete(kept)
    deleted = before - kept.keys()
    assert deleted

    assert kept.in_files(deleted) != []
    with _opened(kept.backend) as erasure:
        assert erasure.is_due()
        assert erasure.run() == 1
        assert kept.in_files(deleted) == []
        assert (erasure.is_due(), erasure.run()) == (False, 0)


def test_on_postgresql_nothing_is_counted(
    client: TestClient, backend: Backend, database: Database, owner: int
) -> None:
    """The files belong to the server."""
    made = client.simulate_post(f"/users/{owner}/certificates", json=self_signed("www.example.com"))
    assert client.simulate_delete(made.headers["Location"]).status_code == 204
    assert backend.name == "sqlite" or KeyErasure(database).run() == 0


def test_no_secret_of_the_previous_master_key_is_left(kept: Kept, tmp_path: Path) -> None:
    before = kept.keys()
    new = tmp_path / "new"
    assert make(new)
    old = kept.backend.config().master_key.where
    counts = rewrap(
        kept.backend.config(CC_MASTER_KEY=f"file:{new}", CC_PREVIOUS_MASTER_KEYS=f"file:{old}"),
        lambda _done, _of: None,
    )
    assert len(counts) == 1
    replaced = before - kept.keys()

    assert len(replaced) == 2
    assert kept.in_files(replaced) == []


def test_a_reader_in_the_way_only_delays_it(kept: Kept) -> None:
    backend = kept.backend
    before = kept.keys()
    reader = migration_engine(backend.database_url).raw_connection()
    with closing(reader):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM user_keys").fetchone()
        _delete_user(kept)
        with _opened(backend) as erasure:
            assert erasure.run() == 0
            assert erasure.is_due()
        assert kept.in_files(before) != []
        reader.execute("ROLLBACK")
    # Another process, after the first one has died, say.
    with _opened(backend) as erasure:
        assert erasure.run() == 1
    assert kept.in_files(before) == []


def test_every_connection_overwrites_what_it_deletes(database: Database, backend: Backend) -> None:
    if backend.name == "sqlite":
        with database.begin(EVERYBODY) as session:
            assert session.execute(sa.text("PRAGMA secure_delete")).scalar_one() == 1
