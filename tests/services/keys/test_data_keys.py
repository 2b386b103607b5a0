"""Users' data keys: created once, wrapped, and cached no longer than their rows exist."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from customer_certificates.crypto.secret import Secret
from customer_certificates.errors import NotFound, Unavailable
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.master_keys import MasterKeys
from customer_certificates.models import User, UserDataKey
from customer_certificates.services.keys.data_keys import DataKeys
from customer_certificates.services.keys.secret_cache import ExistingIds, SecretCache

from ...tables import NOW, add_users, dump


class Counted:
    """A master key that counts its uses, and does not encrypt."""

    def __init__(self, name: str = "counted") -> None:
        self.id = name
        self.unwrapped = 0

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        return aad + data_key.reveal()

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        self.unwrapped += 1
        assert wrapped.startswith(aad)
        return Secret(wrapped.removeprefix(aad))

    def close(self) -> None:
        pass


@pytest.fixture
def master_key() -> Counted:
    return Counted()


@pytest.fixture
def data_keys(database: Database, master_key: Counted) -> Iterator[DataKeys]:
    data_keys = DataKeys(database, MasterKeys(master_key), lambda: NOW)
    yield data_keys
    data_keys.close()


def test_a_key_is_made_once_and_wrapped(data_keys: DataKeys, engine: sa.Engine) -> None:
    owner, stranger = add_users(engine, 2)
    first = data_keys.stored(owner)

    assert data_keys.stored(owner) == first
    assert data_keys.stored(stranger).newest.key != first.newest.key
    ((user_id, version, _, master_key_id, created_at), _) = dump(engine)["user_keys"]
    assert (user_id, version, master_key_id, created_at) == (owner, 1, "counted", NOW)


def test_it_is_bound_to_user_and_version(data_keys: DataKeys, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    data_keys.stored(owner)

    ((_, _, wrapped, _, _),) = dump(engine)["user_keys"]
    assert wrapped[:26] == b"cc/data-key/v1" + owner.to_bytes(8) + (1).to_bytes(4)


def test_nobody_has_no_key(data_keys: DataKeys, engine: sa.Engine) -> None:
    with pytest.raises(NotFound):
        data_keys.stored(2**62)
    assert data_keys.of(2**62).by_version == {}
    assert dump(engine)["user_keys"] == []


def test_concurrent_requests_get_the_same_data_key(data_keys: DataKeys, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    start = threading.Barrier(4)

    def stored(_: int) -> bytes:
        start.wait()
        return data_keys.stored(owner).newest.key.reveal()

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(stored, range(4)))) == 1
    assert len(dump(engine)["user_keys"]) == 1


def test_it_is_unwrapped_once_while_its_row_stays(
    data_keys: DataKeys, master_key: Counted, engine: sa.Engine
) -> None:
    (owner,) = add_users(engine, 1)
    first = data_keys.stored(owner)
    for _ in range(3):
        assert data_keys.of(owner) == first._replace(to_store=())

    assert master_key.unwrapped == 1
    with engine.begin() as connection:
        connection.execute(sa.delete(User).where(User.id == owner))
    assert data_keys.of(owner).by_version == {}


def test_a_cached_key_is_not_found_by_another_row(
    data_keys: DataKeys, master_key: Counted, engine: sa.Engine
) -> None:
    """A rewrapped key is unwrapped again; here it is another key."""
    (owner,) = add_users(engine, 1)
    first = data_keys.stored(owner).newest.key
    with engine.begin() as connection:
        wrapped = b"cc/data-key/v1" + owner.to_bytes(8) + (1).to_bytes(4) + b"another"
        connection.execute(sa.update(UserDataKey).values(wrapped=wrapped))

    assert data_keys.of(owner).newest.key == Secret(b"another") != first
    assert master_key.unwrapped == 2


def test_a_cached_key_expires(database: Database, master_key: Counted, engine: sa.Engine) -> None:
    (owner,) = add_users(engine, 1)
    data_keys = DataKeys(
        database,
        MasterKeys(master_key),
        lambda: datetime.now(UTC),
        lambda existing: SecretCache(existing, kept_seconds=0.0),
    )
    data_keys.stored(owner)
    data_keys.of(owner)

    assert master_key.unwrapped == 2
    data_keys.close()


def test_a_cached_key_is_dropped_after_its_row_was_deleted(
    database: Database, master_key: Counted, engine: sa.Engine
) -> None:
    """The process drops it without another request."""
    gone, stays = add_users(engine, 2)
    held: list[SecretCache] = []

    def new_cache(existing: ExistingIds) -> SecretCache:
        held.append(SecretCache(existing, check_seconds=0.01))
        return held[0]

    data_keys = DataKeys(database, MasterKeys(master_key), lambda: NOW, new_cache)
    names = {}
    for owner in (gone, stays):
        secret = data_keys.stored(owner).newest.key
        wrapped = b"cc/data-key/v1" + owner.to_bytes(8) + (1).to_bytes(4) + secret.reveal()
        names[owner] = (owner, 1, wrapped)
        assert held[0].get(names[owner]) == secret
    with engine.begin() as connection:
        connection.execute(sa.delete(User).where(User.id == gone))

    until = time.monotonic() + 10
    while held[0].get(names[gone]) and time.monotonic() < until:
        time.sleep(0.01)
    assert held[0].get(names[gone]) is None
    assert held[0].get(names[stays])
    data_keys.close()


def test_without_its_master_key_a_data_key_is_unavailable(
    database: Database, data_keys: DataKeys, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    (owner,) = add_users(engine, 1)
    data_keys.stored(owner)
    others = DataKeys(database, MasterKeys(Counted("another")), lambda: NOW)

    with pytest.raises(Unavailable) as refused:
        others.of(owner)
    assert "counted" not in refused.value.detail
    assert "wrapped by counted" in caplog.text
    retiring = MasterKeys(Counted("another"), [Counted()])
    others = DataKeys(database, retiring, lambda: NOW)
    assert others.of(owner) == data_keys.of(owner)
    others.close()
