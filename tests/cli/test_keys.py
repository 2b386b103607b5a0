"""The commands for keys, and the starts that are refused for them."""

import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from customer_certificates.config import Config
from customer_certificates.crypto.secret import Secret
from customer_certificates.gateways.master_keys import MasterKeys, make, open_master_keys
from customer_certificates.maintenance.keys import rewrap
from customer_certificates.models import UserDataKey
from customer_certificates.services.keys.data_keys import data_key_aad

from ..conftest import Backend, StoredKeys
from ..factories import a_pair, a_user, an_upload
from ..second_decoder import open_all
from ..service import Service, run, run_forked
from ..tables import NOW, add_users, dump, number_in_audit

# It is killed when so many are rewrapped.
_BEFORE_THE_KILL = 500
_CLIENTS = 4


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """How many data keys to take to another master key."""
    return 100_000 if request.config.getoption("--long") else 1_500


@pytest.fixture
def new(tmp_path: Path, backend: Backend) -> dict[str, str]:
    """Settings with a new master key; the one that the other tests use retires."""
    make(tmp_path / "new")
    return {
        **backend.settings,
        "CC_MASTER_KEY": f"file:{tmp_path / 'new'}",
        "CC_PREVIOUS_MASTER_KEYS": f"file:{backend.config().master_key.where}",
    }


def keys_of(backend: Backend, settings: dict[str, str]) -> MasterKeys:
    config = backend.config(**settings)
    return open_master_keys(config.master_key, config.previous_master_keys, None)


def fill(engine: sa.Engine, old: MasterKeys, number: int) -> dict[int, bytes]:
    """Users with data keys under the old master key."""
    plain = {user_id: user_id.to_bytes(32) for user_id in add_users(engine, number)}
    rows = [
        {
            "user_id": user_id,
            "version": 1,
            "wrapped": old.current.wrap(Secret(key), data_key_aad(user_id, 1)),
            "master_key_id": old.current.id,
            "created_at": NOW,
        }
        for user_id, key in plain.items()
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(UserDataKey), rows)
    return plain


def rewrap_until_killed(settings: dict[str, str]) -> None:
    killed = run_forked(["keys", "rewrap"], settings, program=_rewrap_some)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def _rewrap_some() -> None:
    """In a process of its own."""

    def told(done: int, of: int) -> None:
        if done == _BEFORE_THE_KILL:
            os.kill(os.getpid(), signal.SIGKILL)

    rewrap(Config.from_environ(), told)


def rewrapped(engine: sa.Engine, keys: MasterKeys) -> int:
    """How many data keys the current master key wraps by now."""
    of_current = sa.select(sa.func.count()).where(UserDataKey.master_key_id == keys.current.id)
    with engine.connect() as connection:
        return connection.execute(of_current).scalar_one()


def test_all_data_keys_are_taken_to_another_master_key(
    backend: Backend, engine: sa.Engine, master_keys: MasterKeys, new: dict[str, str], number: int
) -> None:
    """Killed in the middle, and run again."""
    plain = fill(engine, master_keys, number)
    keys = keys_of(backend, new)
    status = run("keys status --json", new)
    assert [one["current"] for one in json.loads(status.stdout)] == [True, False]
    assert status.returncode == 1

    rewrap_until_killed(new)
    assert rewrapped(engine, keys) == _BEFORE_THE_KILL
    assert run("keys status", new).returncode == 1
    ended = run("keys rewrap --progress", new)

    assert (ended.returncode, ended.stdout) == (0, f"{number} {keys.current.id} (current)\n")
    done_now, _, to_do = ended.stderr.splitlines()[-1].partition(" of ")
    assert int(done_now) == int(to_do) == number - _BEFORE_THE_KILL
    assert number_in_audit(engine, "keys.rewrap") == number
    without_old = {**new, "CC_PREVIOUS_MASTER_KEYS": ""}
    status = run("keys status", without_old)
    assert (status.returncode, status.stdout) == (0, f"{number} {keys.current.id} (current)\n")
    for user_id, version, wrapped, _, _ in dump(engine)["user_keys"]:
        key = keys.current.unwrap(bytes(wrapped), data_key_aad(user_id, version))
        assert key.reveal() == plain[user_id]


def test_requests_are_served_meanwhile(
    backend: Backend,
    engine: sa.Engine,
    master_keys: MasterKeys,
    new: dict[str, str],
    folder: Path,
    number: int,
) -> None:
    """Uploads, replacements and rollbacks of users old and new, by several clients, while it is
    killed and run again; each key opens afterwards."""
    # With a place for each client that registers, and so has a password hashed.
    settings = {**new, "CC_THREADS": str(4 * _CLIENTS)}
    service = Service(settings, folder / f"rotation-{backend.name}.log")
    statuses: list[int] = []
    ended = threading.Event()
    allowed = {"allow_lost_hostnames": True}

    def ask(old: str) -> None:
        with service.client() as client:
            while True:
                last = ended.is_set()
                user = client.post("/users", json=a_user()).headers["Location"]
                for owner in (user, old):
                    upload = client.post(f"{owner}/certificates", json=an_upload())
                    path = upload.headers["Location"]
                    put = client.put(path, json=an_upload("b.example", **allowed))
                    back = client.post(f"{path}/rollback", json={"version": 1, **allowed})
                    read = client.get(path)
                    statuses.extend(one.status_code for one in (upload, put, back, read))
                if last:
                    return

    try:
        plain = fill(engine, master_keys, number)
        # The last ones are rewrapped last.
        owners = sorted(plain)[-_CLIENTS:]
        with ThreadPoolExecutor(_CLIENTS) as threads:
            asking = [threads.submit(ask, f"/users/{owner}") for owner in owners]
            try:
                rewrap_until_killed(new)
                began = time.monotonic()
                ended_well = run("keys rewrap", new, seconds=600)
                print(f"the rest was rewrapped in {time.monotonic() - began:.1f} s")
            finally:
                ended.set()
            for one in asking:
                one.result()
    finally:
        service.stop()

    print(f"{len(statuses)} requests were served")
    assert ended_well.returncode == 0, ended_well.stderr + ended_well.stdout
    assert set(statuses) == {200, 201}, statuses
    opened = open_all(engine, Path(new["CC_MASTER_KEY"].partition(":")[2]))
    assert len(opened) == len(dump(engine)["private_keys"]) > 0


def test_an_uploaded_key_goes_with_its_user(
    service: Service, engine: sa.Engine, stored_keys: StoredKeys
) -> None:
    with service.client() as client:
        user = client.post("/users", json=a_user()).headers["Location"]
        client.post(f"{user}/certificates", json=an_upload())
        assert list(stored_keys().values()) == [a_pair().key_der]
        client.delete(user)

    left = dump(engine)
    assert left["user_keys"] == left["private_keys"] == []


@pytest.mark.one_backend
@pytest.mark.parametrize("command", ["serve", "keys rewrap", "migrate"])
def test_data_keys_of_a_master_key_that_is_not_given_are_named(
    backend: Backend, engine: sa.Engine, master_keys: MasterKeys, new: dict[str, str], command: str
) -> None:
    fill(engine, master_keys, 1)
    ended = run(command, {**new, "CC_PREVIOUS_MASTER_KEYS": "", "CC_PORT": "1"})

    if command == "migrate":
        assert ended.returncode == 0, ended.stderr
    else:
        assert ended.returncode == 2
        assert len(ended.stderr.splitlines()) == (2 if command == "keys rewrap" else 1)
        assert master_keys.current.id in ended.stderr
        assert "CC_PREVIOUS_MASTER_KEYS" in ended.stderr


@pytest.mark.one_backend
@pytest.mark.parametrize("command", ["serve", "keys status"])
def test_a_master_key_that_others_may_read_stops_the_start(
    new: dict[str, str], tmp_path: Path, command: str
) -> None:
    (tmp_path / "new").chmod(0o644)
    ended = run(command, new)

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == (2 if command == "keys status" else 1)
    assert f"chmod 600 {tmp_path / 'new'}" in ended.stderr


@pytest.mark.one_backend
def test_init_makes_a_master_key_and_overwrites_none(backend: Backend, tmp_path: Path) -> None:
    file = tmp_path / "made"
    settings = {**backend.settings, "CC_MASTER_KEY": f"file:{file}"}
    made = run("keys init", settings)
    before = file.read_bytes()
    again = run(f"keys init {file}", backend.settings)

    assert (made.returncode, made.stdout) == (0, f"CC_MASTER_KEY=file:{file}\n")
    assert before not in (made.stdout + made.stderr).encode()
    assert (again.returncode, file.read_bytes()) == (2, before)
    assert "exists already" in again.stderr
    shutil.copy2(file, tmp_path / "copy")
    assert run("keys status", {**settings, "CC_MASTER_KEY": f"file:{tmp_path / 'copy'}"}).stdout
