"""HTTPS: what is spoken, and from which files it starts."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from customer_certificates.config import Config
from customer_certificates.gateways.schema import migrate
from customer_certificates.gateways.tls_files import TlsFileError, check_pair

from .factories import a_pair
from .service import Service, run

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
def secure(settings: dict[str, str], tmp_path: Path) -> Iterator[Service]:
    url = Config.from_environ({"CC_ENV": "tst", **settings}).database_url
    migrate(url, url)
    service = Service(settings, tmp_path / "service.log")
    yield service
    service.kill()


def greeted(service: Service, **limits: ssl.TLSVersion) -> ssl.SSLSocket:
    """A new connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, version in limits.items():
        setattr(context, name, version)
    address = urlsplit(service.url)
    return context.wrap_socket(
        socket.create_connection((address.hostname, address.port or 0), WAIT_SECONDS)
    )


def test_tls_1_2_and_newer_are_spoken_and_nothing_else(secure: Service) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with greeted(secure, minimum_version=version, maximum_version=version) as connection:
            assert connection.selected_alpn_protocol() == "http/1.1"
    with httpx.Client(trust_env=False) as plain, pytest.raises(httpx.TransportError):
        plain.get(secure.url.replace("https", "http") + "/livez")
    with secure.client() as client:
        assert client.get("/livez").json() == {"api": 1}
    assert secure.stop() == 0


def test_files_that_cannot_be_used_stop_the_start_with_one_line(
    settings: dict[str, str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    url = Config.from_environ({"CC_ENV": "tst", **settings}).database_url
    migrate(url, url)
    (open_to_all := tmp_path / "open.pem").write_bytes(FIRST.key_pem)
    open_to_all.chmod(0o644)
    (other := tmp_path / "other.pem").write_bytes(SECOND.key_pem)
    other.chmod(0o600)
    wrong = [
        ("CC_TLS_KEY", "chmod 600", {"CC_TLS_KEY": str(open_to_all)}),
        ("CC_TLS_KEY", "is not the key of", {"CC_TLS_KEY": str(other)}),
        ("CC_TLS_KEY", "cannot be read", {"CC_TLS_KEY": str(tmp_path / "none.pem")}),
        ("CC_TLS_KEY", "together", {"CC_TLS_KEY": ""}),
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


def test_one_that_has_expired_is_served_with_a_warning(files: tuple[Path, Path]) -> None:
    today = datetime.now(UTC)

    assert check_pair(files, today) is None
    assert "expired on" in str(check_pair(files, today + timedelta(days=365)))
    assert "not valid before" in str(check_pair(files, today - timedelta(days=365)))


def test_a_key_with_a_passphrase_is_refused(files: tuple[Path, Path]) -> None:
    files[1].write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")

    with pytest.raises(TlsFileError, match="no unencrypted private key"):
        check_pair(files, datetime.now(UTC))
