"""Takes the screenshots of README: the console of a service with demo data, in a real browser.

python -m checks.screenshots
"""

import argparse
import base64
import random
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from playwright.sync_api import Page, sync_playwright

from tests.service import Service, run

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_WIDTH, _HEIGHT = 1280, 780
_OVERVIEW_HEIGHT = 1036
_TERMINATORS = ("edge-fra-1", "edge-fra-2", "edge-iad-1")
_CUSTOMERS = {
    "Bergmann Outdoor": ["bergmann-outdoor.example", "shop.bergmann-outdoor.example"],
    "Café Lumière": ["cafe-lumiere.example", "reservation.cafe-lumiere.example"],
    "Delft Instruments": ["delft-instruments.example", "api.delft-instruments.example"],
    "Harbor Books": [
        "harborbooks.example",
        "www.harborbooks.example",
        "static.harborbooks.example",
    ],
    "Northwind Cycles": ["northwind-cycles.example", "rent.northwind-cycles.example"],
    "Tidewater Clinic": ["tidewater-clinic.example", "portal.tidewater-clinic.example"],
}
# The customer whose certificates are shown: the days until each expires.
_SHOWN = "Harbor Books"
_DAYS = (4, 19, 33, 58, 71, 83)
_MORE_NAMES = ("", "", "login", "orders", "press", "events")

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class _Authority(NamedTuple):
    certificate: x509.Certificate
    key: Key


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m checks.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=_IMAGES, help="where to write them")
    folder: Path = parser.parse_args().folder
    with tempfile.TemporaryDirectory(prefix="screenshots-") as temporary, ExitStack() as stack:
        root = _authority("Example Root X1")
        issuers = [_authority(name, root) for name in ("Example TLS R7", "Example TLS E5")]
        service, operator = stack.enter_context(_service(Path(temporary), root))
        api = stack.enter_context(service.client(headers={"Authorization": f"Bearer {operator}"}))
        users = {name: _register(api, name) for name in _CUSTOMERS}
        served = [_fill(api, users[name], names, issuers) for name, names in _CUSTOMERS.items()]
        _report(api, [one for of_user in served for one in of_user])
        page = stack.enter_context(_page(service))
        page.goto("/console/sign-in")
        page.get_by_text("Operators").click()
        page.get_by_label("Operator token").fill(operator)
        page.get_by_role("button", name="Sign in as an operator").click()
        page.get_by_role("heading", name="Overview").wait_for()
        page.set_viewport_size({"width": _WIDTH, "height": _OVERVIEW_HEIGHT})
        page.screenshot(path=folder / "console-overview.png")
        page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})
        # As a portal opens the console of its user.
        answer = api.post(f"/users/{users[_SHOWN]}/console-links", json={})
        page.goto("/" + _checked(answer)["url"].split("/", 3)[3])
        page.get_by_role("button", name="Open the console").click()
        page.get_by_role("heading", name="Certificates").wait_for()
        page.screenshot(path=folder / "console-certificates.png")


@contextmanager
def _service(folder: Path, root: _Authority) -> Iterator[tuple[Service, str]]:
    """A service of the profile prd, and an operator's token."""
    bundle, master_key = folder / "roots.pem", folder / "master-key"
    bundle.write_bytes(_pem(root.certificate))
    settings = {
        "CC_ENV": "prd",
        "CC_DATABASE_URL": f"sqlite:///{folder / 'demo.sqlite3'}",
        "CC_DATA_DIR": str(folder),
        "CC_MASTER_KEY": f"file:{master_key}",
        "CC_CA_BUNDLE": str(bundle),
        "CC_PRIVATE_ROOTS_PROVE_NAMES": "true",
        "CC_PUBLIC_URL": "https://certificates.example.com",
        "CC_WORKERS": "1",
    }
    run(f"keys init {master_key}", {})
    run("migrate", settings)
    service = Service(settings, folder / "log")
    created = run("token create --operator", settings)
    yield service, created.stdout.split()[-1]
    service.stop()


@contextmanager
def _page(service: Service) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"]
        )
        # The browser accepts the session cookie, which is for HTTPS, from localhost.
        url = service.url.replace("127.0.0.1", "localhost")
        yield browser.new_page(
            base_url=url, viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="light"
        )
        browser.close()


def _register(api: httpx.Client, name: str) -> int:
    email = f"{name.split()[0].lower().encode('ascii', 'ignore').decode()}@customers.example"
    password = secrets.token_urlsafe(24)
    answer = api.post("/users", json={"name": name, "email": email, "password": password})
    return int(_checked(answer)["id"])


def _fill(
    api: httpx.Client, user_id: int, names: list[str], issuers: list[_Authority]
) -> list[dict[str, Any]]:
    """Uploads certificates of the user, and returns them as terminators report them."""
    # The same data each time.
    chance = random.Random(names[0])
    served = []
    for number, days in enumerate(_DAYS):
        is_listed = number < len(names)
        hostnames = [names[number] if is_listed else f"{_MORE_NAMES[number]}.{names[0]}"]
        days = days if names == _CUSTOMERS[_SHOWN] else chance.randint(2, 85)
        issuer = chance.choice(issuers)
        key = _key("RSA" if chance.random() < 0.3 else "EC")
        leaf = _issue(hostnames[0], key, issuer, days, hostnames)
        body = (_pem(leaf) + _pem(issuer.certificate)).decode()
        labels = {"env": chance.choice(["production", "production", "staging"])}
        upload = {"body": body, "private_key": _sent(key), "active": True, "labels": labels}
        view = _checked(api.post(f"/users/{user_id}/certificates", json=upload))
        served.append(
            {
                "certificate_id": view["id"],
                "version": 1,
                "fingerprint_sha256": leaf.fingerprint(hashes.SHA256()).hex(),
            }
        )
    return served


def _report(api: httpx.Client, served: list[dict[str, Any]]) -> None:
    """Reports as the agents of the terminators do: one of them lacks the newest certificates."""
    new = {"name": "screenshots", "kind": "terminator"}
    token = _checked(api.post("/tokens", json=new))["token"]
    for number, name in enumerate(_TERMINATORS):
        report = {
            "terminator": name,
            "format": "nginx",
            "served": served[: len(served) - number * 2],
        }
        headers = {"Authorization": f"Bearer {token}"}
        _checked(api.post("/terminators/reports", json=report, headers=headers))


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code >= 300:
        raise SystemExit(f"{answer.request.url}: {answer.status_code} {answer.text}")
    content: dict[str, Any] = answer.json() if answer.content else {}
    return content


def _authority(name: str, by: _Authority | None = None) -> _Authority:
    key = _key("EC")
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = by or _Authority(
        _certificate(own, own, key, key, 3650).sign(key, hashes.SHA256()), key
    )
    built = _certificate(own, issuer.certificate.subject if by else own, key, issuer.key, 3650)
    return _Authority(built.sign(issuer.key, hashes.SHA256()), key)


def _issue(
    name: str, key: Key, by: _Authority, days: int, hostnames: list[str]
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in hostnames])
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    builder = _certificate(subject, by.certificate.subject, key, by.key, days, is_ca=False)
    builder = builder.add_extension(alternatives, critical=False)
    return builder.add_extension(purposes, critical=False).sign(by.key, hashes.SHA256())


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Key, signer: Key, days: int, *, is_ca: bool = True
) -> x509.CertificateBuilder:
    """A certificate that is not signed yet. A leaf is valid for 90 days."""
    end = datetime.now(UTC) + timedelta(days=days, hours=12)
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=7300 if is_ca else 90))
        .not_valid_after(end)
        .add_extension(usage, critical=True)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )


def _key(kind: str) -> Key:
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _sent(key: Key) -> str:
    """The private key as the API takes it."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return base64.b64encode(pem).decode()


if __name__ == "__main__":
    main()
