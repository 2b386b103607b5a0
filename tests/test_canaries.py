"""Secrets are planted, the whole story is run, and then nothing of them is found anywhere."""

import base64
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from .conftest import Backend
from .factories import a_pair, a_user
from .service import Service

_KEY = ec.generate_private_key(ec.SECP256R1())
_PASSPHRASE = f"passphrase-{secrets.token_hex(16)}"
# A token, once there are some, is another one of these.
CANARIES = {
    "key": _KEY.private_numbers().private_value.to_bytes(32),
    "password": f"password-{secrets.token_hex(16)}".encode(),
    "passphrase": _PASSPHRASE.encode(),
}


def forms(canary: bytes) -> dict[str, bytes]:
    """What it may be found as; base64 in each of the three positions that it may begin at."""
    encoded = {f"base64 {skip}": base64.b64encode(canary[skip : skip + 15]) for skip in range(3)}
    urlsafe = {
        f"urlsafe {skip}": base64.urlsafe_b64encode(canary[skip : skip + 15]) for skip in range(3)
    }
    hexadecimal = canary.hex()[:30].encode()
    return {
        "raw": canary[:15],
        "printed": str(canary[:15])[2:-1].encode(),
        "hex": hexadecimal,
        "HEX": hexadecimal.upper(),
        **encoded,
        **urlsafe,
    }


def found_in(content: bytes) -> set[str]:
    return {
        f"{name} as {form}"
        for name, canary in CANARIES.items()
        for form, sought in forms(canary).items()
        if sought in content
    }


@pytest.fixture
def debugged(backend: Backend, engine: sa.Engine, folder: Path) -> Iterator[Service]:
    service = Service(
        backend.settings,
        folder / f"debugged-{backend.name}.log",
        [sys.executable, "-m", "tests.debug_app"],
    )
    yield service
    service.stop()


def tell(service: Service) -> list[httpx.Response]:
    """The whole story, and errors of every kind, with secrets in whatever was sent."""
    password = CANARIES["password"].decode()
    plain = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    encrypted = _KEY.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(CANARIES["passphrase"])
    )
    key, body = base64.b64encode(plain).decode(), a_pair("canary.example").body
    good = {"private_key": key, "body": body}
    sealed = {
        "private_key": base64.b64encode(encrypted).decode(),
        "body": body,
        "passphrase": _PASSPHRASE,
    }
    with service.client() as client:
        user = a_user(password=password)
        registered = client.post("/users", json=user)
        home = registered.headers["Location"]
        path = f"{home}/certificates"
        stored = client.post(path, json=good)
        certificate = stored.headers["Location"]
        answers = [registered, stored, client.post(path, json={**sealed, "active": True})]
        answers += [
            client.post("/users", json=user),
            client.patch(home, json={"password": password, "name": 1}),
            client.patch(home, json={"password": password}),
            client.post(f"{path}/check", json=sealed),
            client.post(path, json={**sealed, "passphrase": f"{_PASSPHRASE}?"}),
            client.post(path, json={**good, "unknown": key}),
            client.post(path, json={**good, "active": _PASSPHRASE}),
            client.post(path, json={**good, "body": plain.decode()}),
            client.post(path, json=[good]),
            client.post(path, content=f'{{"private_key": "{key}"'),
            client.post(path, json=good, headers={"If-Match": '"another"'}),
            client.post("/users/9223372036854775807/certificates", json=good),
            client.put(certificate, json={**sealed, "allow_lost_hostnames": True}),
            client.post(f"{certificate}/rollback", json={"version": 1}),
            client.patch(f"{certificate}/active", json={"active": True}),
            client.get(certificate),
            client.get(f"{certificate}/versions"),
            client.get(path),
            client.get(f"{path}?active=true"),
            client.get(home),
            client.get("/metrics"),
        ]
    return answers


def test_no_secret_is_found_anywhere(
    debugged: Service, backend: Backend, engine: sa.Engine, folder: Path
) -> None:
    answers = tell(debugged)
    assert {answer.status_code for answer in answers} >= {200, 201, 202, 400, 404, 409, 412, 422}
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM private_keys")).scalar_one() > 1
        if backend.name == "postgresql":
            connection.execute(sa.text("CHECKPOINT"))

    told = b"".join(f"{answer.headers}{answer.text}".encode() for answer in answers)
    log = debugged.log.read_bytes()
    assert b"debug" in log
    assert found_in(told) == found_in(log) == set()
    kept = backend.config().data_dir
    database = folder / "postgresql" if backend.name == "postgresql" else kept
    for file in database.rglob("*"):
        if file.is_file():
            assert found_in(file.read_bytes()) == set(), file
    if url := backend.config().cache_url:
        with redis.Redis.from_url(url) as cache:
            for name in cache.scan_iter():
                assert found_in(name + bytes(cache.dump(name) or b"")) == set(), name


@pytest.mark.parametrize("name", CANARIES)
def test_a_secret_would_be_found(name: str) -> None:
    canary = CANARIES[name]
    for around in (b"", b"a", b"ab"):
        assert found_in(base64.b64encode(around + canary)), around
    for form in (canary, canary.hex().encode(), repr(canary).encode()):
        assert found_in(b"before" + form + b"after")
