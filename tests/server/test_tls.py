"""HTTPS: protocol versions, valid files, and renewed files."""

import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509

from customer_certificates.gateways.database.schema import migrate
from customer_certificates.gateways.master_keys import make
from customer_certificates.server.tls_files import TlsFileError, read_pair

from ..factories import Pair, a_pair
from ..service import Service, run
from ..terminators import accepts_all

WAIT_SECONDS = 60
FIRST, SECOND = a_pair("first.example.com"), a_pair("second.example.com")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate's file and its key's."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(FIRST.body)
    key.touch(0o600)
    key.write_bytes(FIRST.key_pem)
    return certificate, key


@pytest.fixture
def settings(files: tuple[Path, Path], tmp_path: Path) -> dict[str, str]:
    return {
        "CC_DATA_DIR": str(tmp_path / "data"),
        "CC_TLS_CERTIFICATE": str(files[0]),
        "CC_TLS_KEY": str(files[1]),
    }


@pytest.fixture
def secure(
    settings: dict[str, str], tmp_path: Path, migrated: Callable[[Path], None]
) -> Iterator[Service]:
    migrated(Path(settings["CC_DATA_DIR"]))
    service = Service(settings, tmp_path / "service.log")
    yield service
    service.kill()


def test_behind_a_proxy_only_https_requests_are_served(tmp_path: Path) -> None:
    """Headers of the client and of its proxy both count."""
    key, database = tmp_path / "master-key", f"sqlite:///{tmp_path}/certificates.sqlite3"
    make(key)
    migrate(database, database)
    settings = {
        "CC_ENV": "prd",
        "CC_DATA_DIR": str(tmp_path),
        "CC_DATABASE_URL": database,
        "CC_MASTER_KEY": f"file:{key}",
        "CC_TRUSTED_PROXIES": "127.0.0.1",
    }
    service = Service(settings, tmp_path / "service.log")
    try:
        with service.client() as client:

            def status(*protocols: str, path: str = "/users") -> int:
                headers = [("X-Forwarded-Proto", one) for one in protocols]
                return client.get(path, headers=headers).status_code

            assert status("https") == 401
            assert status("https", "https") == 401
            for protocols in ((), ("http",), ("https", "http"), ("http", "https"), ("",)):
                assert status(*protocols) == 403, protocols
            assert status(path="/healthcheck") == 200
            assert status("http", path="/healthcheck") == 403
    finally:
        service.kill()


def greeted(service: Service, **limits: ssl.TLSVersion) -> ssl.SSLSocket:
    """A new connection."""
    context = accepts_all()
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, version in limits.items():
        setattr(context, name, version)
    address = urlsplit(service.url)
    return context.wrap_socket(
        socket.create_connection((address.hostname, address.port or 0), WAIT_SECONDS)
    )


def test_only_tls_1_2_and_newer_are_accepted(secure: Service) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with greeted(secure, minimum_version=version, maximum_version=version) as connection:
            assert connection.selected_alpn_protocol() == "http/1.1"
    with httpx.Client(trust_env=False) as plain, pytest.raises(httpx.TransportError):
        plain.get(secure.url.replace("https", "http") + "/livez")
    with secure.client() as client:
        assert client.get("/livez").json() == {"api": 1}
    assert secure.stop() == 0


def test_unusable_files_stop_the_start_with_one_line(
    settings: dict[str, str],
    files: tuple[Path, Path],
    tmp_path: Path,
    migrated: Callable[[Path], None],
) -> None:
    migrated(Path(settings["CC_DATA_DIR"]))
    (open_to_all := tmp_path / "open.pem").write_bytes(FIRST.key_pem)
    open_to_all.chmod(0o644)
    (other := tmp_path / "other.pem").write_bytes(SECOND.key_pem)
    other.chmod(0o600)
    wrong = [
        ("CC_TLS_KEY", "chmod 600", {"CC_TLS_KEY": str(open_to_all)}),
        ("CC_TLS_KEY", "does not match the first certificate", {"CC_TLS_KEY": str(other)}),
        ("CC_TLS_KEY", "cannot be read", {"CC_TLS_KEY": str(tmp_path / "none.pem")}),
        ("CC_TLS_KEY", "Set both or neither", {"CC_TLS_KEY": ""}),
        ("CC_TLS_CERTIFICATE", "no certificate", {"CC_TLS_CERTIFICATE": str(files[1])}),
        ("CC_TLS_CERTIFICATE", "cannot be read", {"CC_TLS_CERTIFICATE": str(tmp_path)}),
    ]
    for variable, reason, change in wrong:
        ended = run("serve", {**settings, **change})

        assert ended.returncode == 2, ended
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert variable in ended.stderr
        assert reason in ended.stderr
        assert "PRIVATE KEY" not in ended.stderr


def test_an_expired_certificate_is_served_with_a_warning(files: tuple[Path, Path]) -> None:
    today = datetime.now(UTC)

    assert read_pair(files, today).warning is None
    assert "expired on" in str(read_pair(files, today + timedelta(days=365)).warning)
    assert "not valid before" in str(read_pair(files, today - timedelta(days=365)).warning)


def test_a_key_with_a_passphrase_is_rejected(files: tuple[Path, Path]) -> None:
    files[1].write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")

    with pytest.raises(TlsFileError, match="no unencrypted private key"):
        read_pair(files, datetime.now(UTC))


def test_a_chain_that_openssl_rejects_is_rejected(files: tuple[Path, Path]) -> None:
    """A worker process could not load it."""
    files[0].write_text(FIRST.body + a_pair("Small CA", "RSA-1024").body)

    with pytest.raises(TlsFileError, match="CA_KEY_TOO_SMALL"):
        read_pair(files, datetime.now(UTC))


def test_a_key_of_another_type_does_not_match(files: tuple[Path, Path]) -> None:
    files[1].write_bytes(a_pair("other.example.com", "RSA-2048").key_pem)

    with pytest.raises(TlsFileError, match="does not match the first certificate"):
        read_pair(files, datetime.now(UTC))


def test_a_renewed_pair_is_loaded_without_a_failed_request(
    secure: Service, files: tuple[Path, Path]
) -> None:
    """While clients ask all the time, on new connections and on kept ones. A pair that does not fit
    is said, and the one before goes on, also in a worker that starts then."""
    before = secure.workers()
    with asking(secure) as failures:
        replace(files, SECOND)
        within_time(lambda: served(secure) == "second.example.com")
        within_time(lambda: not any(worker in secure.workers() for worker in before))
    assert failures == []
    assert len(secure.workers()) == 2

    replace(files, FIRST, key_of=SECOND)
    within_time(lambda: "does not match the first certificate" in secure.log.read_text())
    secure.workers()[0].kill()
    within_time(lambda: secure.log.read_text().count("ended unexpectedly") == 1)
    within_time(lambda: len(secure.workers()) == 2)
    assert {served(secure) for _ in range(8)} == {"second.example.com"}
    assert "PRIVATE KEY" not in secure.log.read_text()

    secure.popen.send_signal(signal.SIGHUP)
    assert secure.stop() == 0


def replace(files: tuple[Path, Path], pair: Pair, key_of: Pair | None = None) -> None:
    """As renewal tools do: replaces each file atomically, one after the other."""
    for path, content in zip(files, (pair.body.encode(), (key_of or pair).key_pem), strict=True):
        new = path.with_suffix(".new")
        new.touch(0o600)
        new.write_bytes(content)
        new.replace(path)


def served(service: Service) -> str:
    """The certificate that a new connection gets."""
    with greeted(service) as connection:
        leaf = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    (name,) = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(name.value)


@contextmanager
def asking(service: Service) -> Iterator[list[Exception]]:
    """The failures of two clients with new connections, and of two with persistent ones."""
    ended = Event()
    failures: list[Exception] = []

    def ask(keep: bool) -> None:
        client = service.client()
        # Breathing in between: clients at full speed would take the processor from the service.
        while not ended.wait(0.01):
            try:
                assert client.get("/users").status_code == 200
            except (httpx.TransportError, AssertionError) as error:
                failures.append(error)
            if not keep:
                client.close()
                client = service.client()
        client.close()

    with ThreadPoolExecutor(4) as threads:
        for keep in (True, True, False, False):
            threads.submit(ask, keep)
        try:
            yield failures
        finally:
            ended.set()


def within_time(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
