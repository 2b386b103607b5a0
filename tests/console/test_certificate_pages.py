"""The pages of certificates without a browser: files, hostile content, other users."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding
from falcon.testing import Result, TestClient

from customer_certificates.console import cookies
from customer_certificates.models import Terminator

from ..credentials import make_session, make_token
from ..factories import a_pair, an_upload
from ..pki import authority
from ..resources import key_der, self_signed

pytestmark = pytest.mark.one_backend

OWN = {"Sec-Fetch-Site": "same-origin"}
PASTED = {"body": a_pair().body, "private_key": a_pair().key_pem.decode()}
HOSTILE = '"><img src=x onerror=alert(1)>'


def send(
    client: TestClient,
    path: str,
    fields: dict[str, str],
    files: dict[str, bytes] | None = None,
    **more: str,
) -> Result:
    """Sends a form as a browser does."""
    parts = [f'name="{name}"\r\n\r\n'.encode() + text.encode() for name, text in fields.items()]
    parts += [
        f'name="{name}"; filename="it"\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
        + content
        for name, content in (files or {}).items()
    ]
    body = b"".join(b"--xx\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    return client.simulate_post(
        path,
        body=body + b"--xx--\r\n",
        headers={**OWN, "Content-Type": "multipart/form-data; boundary=xx", **more},
    )


def upload(client: TestClient, user_id: int, body: dict[str, Any]) -> str:
    """Stores a certificate, and returns its page."""
    answer = client.simulate_post(f"/users/{user_id}/certificates", json=body)
    assert answer.status_code == 201, answer.text
    return f"/console{answer.headers['Location']}"


def test_files_in_der_are_taken(client: TestClient, owner: int) -> None:
    leaf = authority.a_leaf("www.example.com", "www.example.com")
    files = {
        "body_file": leaf.public_bytes(Encoding.DER),
        "private_key_file": key_der("www.example.com"),
    }
    checked = send(client, f"/console/users/{owner}/certificates/check", {}, files)
    stored = send(client, f"/console/users/{owner}/certificates/new", {"activation": "no"}, files)

    assert "self-signed" in checked.text
    assert stored.status_code == 303
    found = client.simulate_get(f"/users/{owner}/certificates").json
    assert [one["hostnames"] for one in found] == [["www.example.com"]]
    assert found[0]["active"] is False


def test_a_pasted_key_in_base64_is_taken_as_the_api_takes_it(
    client: TestClient, owner: int
) -> None:
    pair = a_pair()
    fields = {"body": pair.body, "private_key": pair.private_key}
    checked = send(client, f"/console/users/{owner}/certificates/check", fields)

    assert "ready to upload" in checked.text
    assert pair.private_key not in checked.text


def test_names_in_certificates_are_shown_as_text(client: TestClient, owner: int) -> None:
    hostile = authority.a_leaf(HOSTILE, HOSTILE, hostnames=["www.example.com"])
    body = {
        "body": hostile.public_bytes(Encoding.PEM).decode(),
        "private_key": base64.b64encode(key_der(HOSTILE)).decode(),
    }
    page = upload(client, owner, body)
    checked = send(client, f"/console/users/{owner}/certificates/check", {**body})

    pages = [page, f"{page}/versions", f"{page}/delete", f"{page}/replace", page.rpartition("/")[0]]
    texts = [checked.text, *(client.simulate_get(path).text for path in pages)]
    assert all("<img" not in text for text in texts)
    assert "&lt;img src" in texts[1]


def test_a_certificate_of_another_user_does_not_exist(
    client: TestClient, owner: int, stranger: int
) -> None:
    page = upload(client, owner, an_upload())
    other = page.replace(f"/users/{owner}/", f"/users/{stranger}/")
    answers = [client.simulate_get(other + path) for path in ("", "/versions", "/chain.pem")]
    answers += [
        send(client, other, {"action": "deactivate"}),
        send(client, f"{other}/delete", {}),
        send(client, f"{other}/versions", {"version": "1"}),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert client.simulate_get(page).status_code == 200


def test_only_operators_may_grant_hostnames(
    client: TestClient, closed: TestClient, owner: int, engine: sa.Engine
) -> None:
    secret = make_session(engine, user_id=owner)
    path, cookie = f"/console/users/{owner}/certificates/new", f"{cookies.NAME}={secret}"
    fields = {**PASTED, "grant_hostnames": "yes", "csrf": cookies.csrf_token(secret)}
    of_operator = client.simulate_get(path).text
    of_customer = closed.simulate_get(path, headers={"Cookie": cookie}).text
    refused = send(closed, path, fields, Cookie=cookie)

    assert 'name="grant_hostnames"' in of_operator
    assert 'name="grant_hostnames"' not in of_customer
    assert refused.status_code == 403
    assert "grant_hostnames requires an operator token." in refused.text


def test_terminators_count_if_they_are_live_and_may_serve_the_user(
    client: TestClient, owner: int, stranger: int, engine: sa.Engine
) -> None:
    page = upload(client, owner, {**self_signed("www.example.com"), "active": True})
    certificate = client.simulate_get(page.removeprefix("/console")).json
    served = {name: certificate[name] for name in ("version", "fingerprint_sha256")}
    served["certificate_id"] = certificate["id"]
    serving = {"serves", "serves-limited", "silent"}
    ended = {"revoked", "expired", "changed-token"}
    others = {"free", "limited", "of-stranger", "limited-of-user", "probe"}
    for name in serving | ended | others:
        said = {"terminator": name, "served": [served] if name in serving | ended else []}
        said["format"] = "probe" if name == "probe" else "nginx"
        answer = client.simulate_post("/terminators/reports", json=said)
        assert answer.status_code == 204, answer.text
    limited = make_token(engine, "terminator", hostnames='["www.example.com"]').id
    now = datetime.now(UTC)
    revoked = make_token(engine, "terminator", revoked_at=now).id
    expired = make_token(engine, "terminator", expires_at=now).id
    earlier = make_token(engine, "terminator", revoked_at=now - timedelta(hours=2)).id
    minute_ago = now - timedelta(minutes=1)
    changes: dict[str, dict[str, Any]] = {
        "serves-limited": {"token_id": limited},
        "silent": {"seen_at": datetime.now(UTC) - timedelta(days=2)},
        "limited": {"token_id": limited},
        "of-stranger": {"user_id": stranger},
        "limited-of-user": {"token_id": limited, "user_id": owner},
        "revoked": {"token_id": revoked, "seen_at": minute_ago},
        "expired": {"token_id": expired, "seen_at": minute_ago},
        "changed-token": {"token_id": earlier, "seen_at": minute_ago},
    }
    with engine.begin() as connection:
        for name, values in changes.items():
            connection.execute(sa.update(Terminator).where(Terminator.name == name).values(values))

    # "serves", "serves-limited" and "changed-token" serve it, and "free" could.
    assert "Served by 3 of 4" in client.simulate_get(page).text
