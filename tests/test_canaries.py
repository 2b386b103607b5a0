"""Secrets are planted, many requests are run, and no secret is found anywhere."""

import base64
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
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

from customer_certificates.crypto import token_format

from .conftest import Backend
from .credentials import bearer, make_token
from .factories import a_pair, a_user
from .resources.test_audit import put_in_the_way
from .service import Service
from .test_idempotency import held, until, waits

_KEY = ec.generate_private_key(ec.SECP256R1())
_PASSPHRASE = f"passphrase-{secrets.token_hex(16)}"
_SECRET = token_format.new_secret()
CANARIES = {
    "key": _KEY.private_numbers().private_value.to_bytes(32),
    "password": f"password-{secrets.token_hex(16)}".encode(),
    "passphrase": _PASSPHRASE.encode(),
    "token": _SECRET.encode(),
}
# The signals that kill the service during a request with a key.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT)


def forms(canary: bytes) -> dict[str, bytes]:
    """The encodings to search for: base64 at each of its three possible offsets, too."""
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


def found_in(content: bytes, more: Mapping[str, bytes] = {}) -> set[str]:
    return {
        f"{name} as {form}"
        for name, canary in {**CANARIES, **more}.items()
        for form, sought in forms(canary).items()
        if sought in content
    }


@pytest.fixture
def debugged(backend: Backend, engine: sa.Engine, folder: Path) -> Iterator[Service]:
    """With credentials, everything that can be logged, and a report of each crash."""
    service = Service(
        {
            **backend.settings,
            **backend.named(),
            "CC_ENV": "prd",
            "CC_UPLOAD_CHECKS": "report",
            "CC_HOSTNAME_PROOF": "preferred",
            "PYTHONFAULTHANDLER": "1",
            "CC_WORKERS": "1",
        },
        folder / f"debugged-{backend.name}.log",
        ["debug-app"],
    )
    yield service
    service.stop()


class Story:
    """Requests with secrets in whatever is sent. `answers` are what came back; of the one request
    that is answered with a secret, `made` is the token, and the answer is not among them."""

    def __init__(self, service: Service, backend: Backend, engine: sa.Engine) -> None:
        self._service = service
        self._backend = backend
        self._engine = engine
        self.answers: list[httpx.Response] = []
        made = make_token(engine, "operator", secret_sha256=token_format.digest(_SECRET))
        self._operator = token_format.write("operator", made.id, _SECRET)
        plain = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        encrypted = _KEY.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(CANARIES["passphrase"])
        )
        self._plain = plain.decode()
        self._good = {
            "private_key": base64.b64encode(plain).decode(),
            "body": a_pair("canary.example").body,
        }
        self._sealed = {
            **self._good,
            "private_key": base64.b64encode(encrypted).decode(),
            "passphrase": _PASSPHRASE,
        }
        with self._client() as client:
            self._register(client)

    def tell(self) -> None:
        """Requests of users, and errors of every kind."""
        password, key = CANARIES["password"].decode(), self._good["private_key"]
        home, path, good, sealed = self._home, self._path, self._good, self._sealed
        with self._client() as client:
            stored = client.post(path, json=good, headers={"Idempotency-Key": "canary"})
            certificate = stored.headers["Location"]
            self.answers += [
                stored,
                client.post(path, json=good, headers={"Idempotency-Key": "canary"}),
                client.post(path, json={**sealed, "active": True}),
                client.post("/users", json=self._user),
                client.patch(home, json={"password": password, "name": 1}),
                client.patch(home, json={"password": password}),
                client.post(f"{path}/check", json=sealed),
                client.post(path, json={**sealed, "passphrase": f"{_PASSPHRASE}?"}),
                client.post(path, json={**good, "unknown": key}),
                client.post(path, json={**good, "active": _PASSPHRASE}),
                client.post(path, json={**good, "body": self._plain}),
                client.post(path, json=[good]),
                client.post(path, content=f'{{"private_key": "{key}"'),
                client.post(path, json=good, headers={"If-Match": '"another"'}),
                client.post("/users/9223372036854775807/certificates", json=good),
                client.put(certificate, json={**sealed, "allow_lost_hostnames": True}),
                client.post(f"{certificate}/rollback", json={"version": 1}),
                client.patch(f"{certificate}/active", json={"active": True}),
                *(client.get(certificate + more) for more in ("", "/versions")),
                *(client.get(path + query) for query in ("", "?active=true")),
                client.get(f"{home}?access_token={self._operator}&password={password}"),
                *(client.get(one) for one in (home, f"{home}/audit", "/audit", "/tokens")),
                client.get("/metrics"),
            ]
            self._show_credentials(client)
            self._provoke_a_defect(client)

    def crash(self) -> None:
        """Kills fork servers and workers in the middle of a request with secrets."""
        number = self._home.rpartition("/")[2]
        row = f"SELECT id FROM users WHERE id = {number} FOR UPDATE"
        for crash in _CRASHES:
            with self._client() as client, ThreadPoolExecutor(1) as threads:
                until(lambda client=client: _answers(client))
                with held(self._backend, row):
                    lost = threads.submit(client.post, self._path, json=self._sealed)
                    until(lambda: waits(self._backend, self._engine))
                    for fork_server in self._service.fork_servers():
                        fork_server.send_signal(crash)
                    for worker in self._service.workers():
                        worker.send_signal(crash)
                        psutil.wait_procs([worker], 30)
                    with pytest.raises(httpx.TransportError):
                        lost.result()

    def _client(self) -> httpx.Client:
        return self._service.client(headers=bearer(self._operator))

    def _register(self, client: httpx.Client) -> None:
        self._user = a_user(password=CANARIES["password"].decode())
        self.answers.append(client.post("/users", json=self._user))
        self._home = self.answers[-1].headers["Location"]
        self._path = f"{self._home}/certificates"

    def _show_credentials(self, client: httpx.Client) -> None:
        """Right ones, and wrong ones."""
        email, password = self._user["email"], self._user["password"]
        wanted = {"name": "canary", "scopes": ["certificates:read"]}
        made = client.post("/tokens", json=wanted, auth=(email, password))
        self.made = made.json()["token"]
        misspelt = self._operator[:-1] + ("0" if self._operator[-1] != "0" else "1")
        unknown = token_format.write("operator", 2**62, _SECRET)
        for shown in (self.made, misspelt, unknown, password):
            self.answers.append(client.get(self._path, headers=bearer(shown)))
            self.answers.append(client.post("/tokens", json=wanted, headers=bearer(shown)))
        self.answers += [
            client.post("/tokens", json={**wanted, "name": 1}, auth=(email, password)),
            client.post("/tokens", json=wanted, auth=(email, f"{password}?")),
            client.post("/tokens", json=wanted, auth=(password, email)),
            client.get(self._path, auth=(email, password)),
        ]
        # The answer repeats what its own client has sent, as the path that is not there.
        client.get(f"/tokens/{self._operator}")
        self.answers.append(client.delete(f"/tokens/{made.json()['id']}"))

    def _provoke_a_defect(self, client: httpx.Client) -> None:
        """The database rejects a write, an error that the code does not expect."""
        number = int(self._home.rpartition("/")[2])
        entries = client.get(f"{self._home}/audit?limit=1000").json()
        put_in_the_way(self._engine, number, entries[-1]["seq"] + 1)
        self.answers += [
            client.post(self._path, json=self._sealed),
            client.post(self._path, json={**self._sealed, "active": True}),
            client.patch(self._home, json={"name": "x", "password": self._user["password"]}),
        ]
        with self._engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM audit WHERE hash = 'x'"))


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_no_secret_is_found_anywhere(
    debugged: Service, backend: Backend, engine: sa.Engine, folder: Path
) -> None:
    cores = set(Path.cwd().glob("*core*"))
    story = Story(debugged, backend, engine)
    story.tell()
    story.crash()
    statuses = {answer.status_code for answer in story.answers}
    assert statuses >= {200, 201, 202, 204, 400, 401, 403, 404, 409, 412, 422, 500}
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM private_keys")).scalar_one() > 1
        if backend.name == "postgresql":
            connection.execute(sa.text("CHECKPOINT"))

    made = {"made token": story.made.rpartition("_")[2].encode()}
    told = b"".join(f"{answer.headers}{answer.text}".encode() for answer in story.answers)
    log = debugged.log.read_bytes()
    for said in (b"debug", b"Traceback", b"Segmentation fault", b"Aborted"):
        assert said in log
    assert found_in(told, made) == found_in(log, made) == set()
    assert set(Path.cwd().glob("*core*")) == cores
    kept = backend.config().data_dir
    for file in _files(engine, kept):
        # PostgreSQL removes some of its files at any time.
        with suppress(FileNotFoundError):
            assert found_in(_content(file), made) == set(), file
    if url := backend.config().cache_url:
        with redis.Redis.from_url(url) as cache:
            for name in cache.scan_iter():
                assert found_in(name + bytes(cache.dump(name) or b""), made) == set(), name


def _content(file: Path) -> bytes:
    """Read by another process: if this one closed a descriptor of SQLite's files, it would lose its
    own connections' locks on them. Another process would then delete the log that these write."""
    if ".sqlite3" not in file.name:
        return file.read_bytes()
    return subprocess.check_output(["cat", file])


def _files(engine: sa.Engine, kept: Path) -> list[Path]:
    """This database's files, and its server's log. Of a server on another machine there are none
    to be had."""
    if engine.dialect.name == "sqlite":
        return [file for file in kept.rglob("*") if file.is_file()]
    with engine.connect() as connection:
        server = Path(connection.execute(sa.text("SHOW data_directory")).scalar_one())
        number = connection.execute(
            sa.text("SELECT oid FROM pg_database WHERE datname = current_database()")
        ).scalar_one()
    folders = [kept, server / "base" / str(number), server / "pg_wal"]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    log = server.with_name("log")
    return [*files, log] if log.is_file() else files


@pytest.mark.parametrize("name", CANARIES)
def test_the_search_for_secrets_finds_a_planted_one(name: str) -> None:
    canary = CANARIES[name]
    for around in (b"", b"a", b"ab"):
        assert found_in(base64.b64encode(around + canary)), around
    for form in (canary, canary.hex().encode(), repr(canary).encode()):
        assert found_in(b"before" + form + b"after")
