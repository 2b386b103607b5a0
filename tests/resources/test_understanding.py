"""The parsed fields of an upload, its findings, and its rejection."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from falcon.testing import TestClient

from customer_certificates.models import stored_size

from .. import hostile
from ..applications import Clock
from ..conftest import StoredKeys
from ..factories import listed
from ..pki import authority
from ..pki.authority import a_leaf, an_authority
from ..tables import add_certificates, dump
from . import an_upload_of, base64_of, codes, key_der, pem, refusal, self_signed, store

pytestmark = pytest.mark.one_backend

WWW = "www.example.com"
DAY = timedelta(days=1)
SECRET = b"correct horse"
# The chain of a public certificate; the first one is in every application's roots.
ISSUING = an_authority("Issuing", "Root")
PRIVATE_ROOT = an_authority("Private root", "Private root")
PRIVATE = an_authority("Private issuing", "Private root")

TRUSTS: dict[str, tuple[x509.Certificate, ...]] = {
    "public": (a_leaf("Issuing"), ISSUING),
    "private": (a_leaf("Private issuing"), PRIVATE, PRIVATE_ROOT),
    "self_signed": (a_leaf(WWW),),
    "incomplete": (a_leaf("Issuing elsewhere"),),
}
# Uploads with an error each, and its code.
FAULTY: dict[str, dict[str, Any]] = {
    "expired": self_signed(WWW, start=-90 * DAY, end=-DAY),
    "key_mismatch": {**self_signed(WWW), "private_key": base64_of(key_der("another"))},
    "key_invalid": {**self_signed(WWW), "private_key": base64_of(b"no key")},
    "chain_incomplete": an_upload_of(*TRUSTS["incomplete"]),
    "san_missing": an_upload_of(a_leaf(WWW, hostnames=[])),
    "pem_invalid": {**self_signed(WWW), "body": "no certificate at all"},
}


def shown(client: TestClient, user_id: int, upload: dict[str, Any]) -> Any:
    """A certificate that was uploaded, as it is shown."""
    return client.simulate_get(store(client, user_id, upload)).json


def test_all_that_is_understood_is_shown(enforcing: TestClient, owner: int) -> None:
    leaf = a_leaf("Issuing", hostnames=["www.example.com", "*.shop.example.com"])
    upload = an_upload_of(leaf, ISSUING)
    answer = enforcing.simulate_post(f"/users/{owner}/certificates", json=upload)

    told = {
        "id": answer.json["id"],
        "user_id": owner,
        "active": False,
        "servable": True,
        "not_servable_reason": None,
        "trust": "public",
        "hostnames": ["www.example.com", "*.shop.example.com"],
        "not_before": "2026-05-22T12:00:00Z",
        "not_after": "2026-08-20T12:00:00Z",
        "fingerprint_sha256": leaf.fingerprint(hashes.SHA256()).hex(),
        "findings": [],
        "pending": None,
    }
    assert (answer.status_code, answer.json) == (201, told)
    certificate = enforcing.simulate_get(answer.headers["Location"])
    spki = certificate.json["spki_sha256"]
    assert certificate.json == {
        **told,
        "status": "inactive",
        "labels": {},
        "version": 1,
        "subject": "CN=www.example.com",
        "issuer": "CN=Issuing",
        "serial": certificate.json["serial"],
        "key_algorithm": "ECDSA-P-256",
        "signature_algorithm": certificate.json["signature_algorithm"],
        "spki_sha256": spki,
        "body": upload["body"],
        "chain": None,
        "chain_pem": pem(leaf, ISSUING),
        "created_at": "2026-06-01T12:00:00Z",
        "updated_at": "2026-06-01T12:00:00Z",
        "serving": [],
    }
    assert int(certificate.json["serial"], 16) == leaf.serial_number
    assert "SHA256" in certificate.json["signature_algorithm"]
    assert len(bytes.fromhex(spki)) == 32
    assert spki == shown(enforcing, owner, an_upload_of(a_leaf("Issuing"), ISSUING))["spki_sha256"]
    in_list = enforcing.simulate_get(f"/users/{owner}/certificates").json[0]
    assert {**in_list, "serving": []} == certificate.json


@pytest.mark.parametrize("trust", TRUSTS)
def test_it_is_told_whom_a_chain_leads_to(reporting: TestClient, owner: int, trust: str) -> None:
    certificate = shown(reporting, owner, an_upload_of(*TRUSTS[trust]))

    served = [one for one in TRUSTS[trust] if one is not PRIVATE_ROOT]
    assert (certificate["trust"], certificate["chain_pem"]) == (trust, pem(*served))


def test_a_chain_is_served_in_order_and_shown_as_certificates(
    enforcing: TestClient, owner: int
) -> None:
    upper = an_authority("Upper", "Root")
    lower = an_authority("Lower", "Upper")
    leaf = a_leaf("Lower")
    body, chain = "Our certificate\r\n" + pem(leaf), pem(upper, lower).replace("\n", "\r\n")
    certificate = shown(enforcing, owner, {**an_upload_of(leaf), "body": body, "chain": chain})

    assert (certificate["body"], certificate["chain"]) == (pem(leaf), pem(upper, lower))
    assert certificate["chain_pem"] == pem(leaf, lower, upper)
    assert "chain_unordered" in codes(certificate["findings"])
    dropped = [one for one in certificate["findings"] if one["code"] == "text_dropped"]
    assert [(one["field"], one["severity"]) for one in dropped] == [("body", "info")]


def test_text_around_certificates_is_not_stored(
    reporting: TestClient, owner: int, engine: sa.Engine
) -> None:
    leaf, comment = a_leaf(WWW), "# a comment\n" * 4_000
    request = "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"
    broken = "-----BEGIN CERTIFICATE-----\n" + "!" * 17_000 + "\n-----END CERTIFICATE-----\n"
    quoted = '"' + pem(leaf).replace("\n", "\\n") + '"'
    for body, is_dropped in {
        comment + pem(leaf) + comment: True,
        pem(leaf) + request: True,
        broken + pem(leaf): True,
        quoted: False,
        "\n\n" + pem(leaf).replace("\n", "\r\n") + " ": False,
    }.items():
        certificate = shown(reporting, owner, {**an_upload_of(leaf), "body": body, "chain": body})
        assert (certificate["body"], certificate["chain"]) == (pem(leaf), pem(leaf))
        assert ("text_dropped" in codes(certificate["findings"])) == is_dropped
    with engine.connect() as connection:
        sizes = connection.execute(sa.text("SELECT length(body), length(chain) FROM certificates"))
        # Of each of them only the DER.
        assert {size for row in sizes for size in row} == {stored_size(pem(leaf))}


@pytest.mark.parametrize("field", ["body", "chain", "private_key", "pkcs12"])
def test_a_large_text_that_cannot_be_read_is_not_stored(
    reporting: TestClient, owner: int, engine: sa.Engine, field: str
) -> None:
    long = "é" * 8_193 if field in ("body", "chain") else base64_of(b"x" * 16_385)
    upload = {"pkcs12": long} if field == "pkcs12" else {**self_signed(WWW), field: long}
    before = dump(engine)
    for path in ("", "/check"):
        answer = reporting.simulate_post(f"/users/{owner}/certificates{path}", json=upload)
        found = answer.json["findings" if path else "errors"]
        (finding,) = [one for one in found if one["code"] == "unreadable_too_long"]
        assert (finding["field"], finding["severity"]) == (field, "error")
        assert "16 KiB" in finding["detail"]
        assert answer.status_code == (200 if path else 422)
    assert dump(engine) == before


@pytest.mark.parametrize(
    ("start", "end", "active", "status"),
    [
        (-DAY, DAY, True, "active"),
        (-DAY, DAY, False, "inactive"),
        (-2 * DAY, -DAY, True, "expired"),
        (-2 * DAY, -DAY, False, "expired"),
        (DAY, 2 * DAY, True, "not_yet_valid"),
        (DAY, 2 * DAY, False, "not_yet_valid"),
        # Both ends belong to the time of its validity.
        (0 * DAY, DAY, True, "active"),
        (-DAY, 0 * DAY, True, "active"),
    ],
)
def test_a_certificate_has_a_status(
    reporting: TestClient, owner: int, start: timedelta, end: timedelta, active: bool, status: str
) -> None:
    certificate = shown(
        reporting, owner, self_signed(WWW, start=start, end=end) | {"active": active}
    )

    assert (certificate["active"], certificate["status"]) == (active, status)
    assert reporting.simulate_get(f"/users/{owner}/certificates").json == [listed(certificate)]
    found = reporting.simulate_get(f"/users/{owner}/certificates", params={"status": status})
    assert found.json == [listed(certificate)]


def test_what_the_first_version_stored_is_shown_as_unread(
    client: TestClient, engine: sa.Engine, owner: int
) -> None:
    add_certificates(engine, owner, 1)
    (certificate,) = client.simulate_get(f"/users/{owner}/certificates").json

    assert (certificate["trust"], certificate["status"]) == ("unreadable", "active")
    assert (certificate["hostnames"], certificate["findings"]) == ([], [])
    assert certificate["subject"] is certificate["not_after"] is certificate["chain_pem"] is None


@pytest.mark.parametrize("code", FAULTY)
def test_an_error_is_stored_with_what_has_it_where_uploads_are_reported(
    reporting: TestClient, owner: int, code: str
) -> None:
    answer = reporting.simulate_post(f"/users/{owner}/certificates", json=FAULTY[code])

    assert answer.status_code == 201
    found = [finding for finding in answer.json["findings"] if finding["code"] == code]
    assert [finding["severity"] for finding in found] == ["error"]
    certificate = reporting.simulate_get(answer.headers["Location"]).json
    assert certificate["findings"] == answer.json["findings"]
    assert certificate["body"] == FAULTY[code]["body"]


@pytest.mark.parametrize("code", FAULTY)
def test_an_error_is_refused_and_nothing_stored_where_uploads_are_enforced(
    apps: Any, engine: sa.Engine, owner: int, code: str
) -> None:
    certificate = store(apps.enforcing, owner, self_signed("www.example.org"))
    reported = apps.reporting.simulate_post(
        f"/users/{owner}/certificates/check", json=FAULTY[code]
    ).json["findings"]
    before = dump(engine)

    for method, path in (("POST", f"/users/{owner}/certificates"), ("PUT", certificate)):
        answer = apps.enforcing.simulate_request(method, path, json=FAULTY[code])
        assert refusal(answer)[:2] == (422, "invalid")
        assert code in codes(answer.json["errors"])
        assert answer.json["errors"] == reported
    assert dump(engine) == before


def test_all_is_found_at_once_and_errors_come_first(reporting: TestClient, owner: int) -> None:
    leaf = a_leaf("Nobody", hostnames=[], start=-90 * DAY, end=-DAY)
    upload = {**an_upload_of(leaf, ISSUING), "private_key": base64_of(key_der("another"))}
    answer = reporting.simulate_post(f"/users/{owner}/certificates", json=upload)

    found = answer.json["findings"]
    assert codes(found) >= {
        "expired",
        "key_mismatch",
        "san_missing",
        "chain_incomplete",
        "unrelated_certificate",
    }
    order = ["error", "warning", "info"]
    places = [order.index(finding["severity"]) for finding in found]
    assert places == sorted(places)
    assert all(finding["detail"] and finding["hint"] for finding in found)


def test_warnings_are_no_reason_to_refuse(enforcing: TestClient, owner: int) -> None:
    answer = enforcing.simulate_post(
        f"/users/{owner}/certificates", json=self_signed(WWW, end=5 * DAY)
    )

    assert answer.status_code == 201
    assert codes(answer.json["findings"]) == {"untrusted", "expires_soon"}


@pytest.mark.parametrize("mode", ["reporting", "enforcing"])
@pytest.mark.parametrize(
    ("code", "upload"),
    [
        (
            "key_in_body",
            {
                **self_signed(WWW),
                "body": "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n",
            },
        ),
        (
            "key_in_body",
            {
                **self_signed(WWW),
                "chain": "-----BEGIN RSA PRIVATE KEY-----\nQUJD\n-----END RSA PRIVATE KEY-----\n",
            },
        ),
        (
            "key_too_costly",
            {
                **self_signed(WWW),
                "private_key": base64_of(hostile.pbkdf2_key(10**7)),
                "passphrase": "wrong",
            },
        ),
        ("key_too_costly", {"pkcs12": base64_of(hostile.pkcs12_file(10**7)), "passphrase": "x"}),
    ],
)
def test_what_nobody_may_see_or_should_read_is_never_stored(
    apps: Any, engine: sa.Engine, owner: int, mode: str, code: str, upload: dict[str, Any]
) -> None:
    client = getattr(apps, mode)
    certificate = store(client, owner, self_signed("www.example.org"))
    before = dump(engine)

    for method, path in (("POST", f"/users/{owner}/certificates"), ("PUT", certificate)):
        answer = client.simulate_request(method, path, json=upload)
        assert refusal(answer)[:2] == (422, "invalid")
        assert code in codes(answer.json["errors"])
        assert "QUJD" not in answer.text
    checked = client.simulate_post(f"/users/{owner}/certificates/check", json=upload)
    assert (checked.status_code, checked.json["accepted"]) == (200, False)
    assert dump(engine) == before


def test_a_public_chain_is_completed_with_what_anybody_sent(
    enforcing: TestClient, owner: int, stranger: int
) -> None:
    """Link by link: of two that are missing, only the upper one names the next."""
    upper = an_authority("Upper", "Root")
    lower = an_authority("Lower", "Upper")
    path = f"/users/{owner}/certificates"
    leaf = a_leaf("Lower")
    early = enforcing.simulate_post(path, json=an_upload_of(leaf))
    assert refusal(early)[2] == {"body": "chain_incomplete"}

    store(enforcing, stranger, an_upload_of(a_leaf("Upper", "a.example.com"), upper))
    half = enforcing.simulate_post(path, json=an_upload_of(leaf))
    assert refusal(half)[2] == {"body": "chain_incomplete"}

    store(enforcing, stranger, an_upload_of(a_leaf("Lower", "b.example.com"), lower))
    certificate = shown(enforcing, owner, an_upload_of(leaf))
    assert (certificate["trust"], certificate["chain_pem"]) == ("public", pem(leaf, lower, upper))
    assert codes(certificate["findings"]) == {"chain_completed"}
    assert certificate["body"] == pem(leaf)


def test_a_chain_is_completed_although_names_are_written_in_another_way(
    enforcing: TestClient, owner: int, stranger: int
) -> None:
    """RFC 5280, 7.1: case does not distinguish names."""
    leaf = a_leaf("ISSUING", "a.example.com", signer=authority.ec_key("Issuing"))
    store(enforcing, stranger, an_upload_of(a_leaf("Issuing"), ISSUING))

    certificate = shown(enforcing, owner, an_upload_of(leaf))

    assert (certificate["trust"], certificate["chain_pem"]) == ("public", pem(leaf, ISSUING))
    assert codes(certificate["findings"]) == {"chain_completed", "issuer_name_differs"}


def test_a_public_intermediate_stays_when_who_sent_it_goes(
    enforcing: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    for _ in range(2):
        store(enforcing, stranger, an_upload_of(a_leaf("Issuing"), ISSUING))
    assert len(dump(engine)["intermediates"]) == 1
    enforcing.simulate_delete(f"/users/{stranger}")

    assert shown(enforcing, owner, an_upload_of(a_leaf("Issuing")))["trust"] == "public"


def test_a_private_chain_is_completed_only_for_who_sent_it(
    reporting: TestClient, engine: sa.Engine, owner: int, stranger: int
) -> None:
    """Whose authority somebody has is nobody else's business."""
    lower = an_authority("Private lower", "Private issuing")
    whole = an_upload_of(a_leaf("Private lower"), lower, PRIVATE, PRIVATE_ROOT)
    store(reporting, owner, whole)
    leaf = a_leaf("Private lower", "a.example.com")

    owners = shown(reporting, owner, an_upload_of(leaf))
    assert owners["chain_pem"] == pem(leaf, lower, PRIVATE)
    strangers = shown(reporting, stranger, an_upload_of(leaf))
    assert (strangers["trust"], strangers["chain_pem"]) == ("incomplete", pem(leaf))
    reporting.simulate_delete(f"/users/{owner}")
    assert dump(engine)["intermediates"] == []


def test_what_leads_to_no_root_completes_nothing(
    reporting: TestClient, engine: sa.Engine, owner: int
) -> None:
    false = an_authority("Issuing", "Elsewhere")
    store(reporting, owner, an_upload_of(a_leaf("Issuing"), false))

    assert dump(engine)["intermediates"] == []


def test_the_same_certificate_again_is_a_duplicate_of_the_users_own(
    enforcing: TestClient, owner: int, stranger: int
) -> None:
    upload = self_signed(WWW)
    first = store(enforcing, owner, upload)
    again = enforcing.simulate_post(f"/users/{owner}/certificates", json=upload)
    strangers = enforcing.simulate_post(f"/users/{stranger}/certificates", json=upload)

    assert again.status_code == strangers.status_code == 201
    assert "duplicate" not in codes(strangers.json["findings"])
    (duplicate,) = (one for one in again.json["findings"] if one["code"] == "duplicate")
    assert duplicate["severity"] == "warning"
    assert f"certificate {first.rpartition('/')[2]}." in duplicate["detail"]


def test_an_encrypted_key_is_stored_as_any_other_and_its_passphrase_is_not(
    enforcing: TestClient, engine: sa.Engine, stored_keys: StoredKeys, owner: int
) -> None:
    encrypted = authority.ec_key(WWW).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET)
    )
    upload = {**self_signed(WWW), "private_key": base64_of(encrypted)}
    path = f"/users/{owner}/certificates"

    assert refusal(enforcing.simulate_post(path, json=upload))[2] == {
        "private_key": "key_encrypted",
        "body": "untrusted",
    }
    wrong = enforcing.simulate_post(path, json={**upload, "passphrase": "wrong"})
    assert "passphrase_wrong" in codes(wrong.json["errors"])
    assert dump(engine)["certificates"] == []
    store(enforcing, owner, upload, passphrase=SECRET.decode())
    (row,) = dump(engine)["certificates"]
    assert list(stored_keys().values()) == [key_der(WWW)]
    assert SECRET.decode() not in str(row)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        (bytes.decode, "pem_not_encoded"),
        (lambda key: key.decode().replace("\n", "\r\n"), "pem_not_encoded"),
        (lambda key: f"\ufeff{key.decode()}", "pem_not_encoded"),
        (lambda key: base64.urlsafe_b64encode(key).decode().rstrip("="), "base64_unusual"),
        (lambda key: base64.encodebytes(key).decode(), "base64_unusual"),
        (lambda key: base64.b64encode(key).decode().rstrip("="), "base64_unusual"),
    ],
)
def test_a_key_need_not_be_in_standard_base64(
    enforcing: TestClient,
    stored_keys: StoredKeys,
    owner: int,
    written: Callable[[bytes], str],
    code: str,
) -> None:
    key = authority.ec_key(WWW).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = shown(
        enforcing, owner, {**an_upload_of(a_leaf("Issuing"), ISSUING), "private_key": written(key)}
    )

    assert [(one["code"], one["severity"], one["field"]) for one in certificate["findings"]] == [
        (code, "info", "private_key")
    ]
    assert list(stored_keys().values()) == [key_der(WWW)]


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "ECDSA-P-384"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (authority.rsa_key(), "RSA-2048"),
    ],
)
def test_any_kind_of_key_is_read_where_no_file_can_be_opened(
    reporting: TestClient, stored_keys: StoredKeys, owner: int, key: Any, algorithm: str
) -> None:
    """A module that is imported at its first use would be missing in the sandbox."""
    pem_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    leaf = pem(a_leaf("Issuing", key=key), ISSUING)
    certificate = shown(
        reporting, owner, {"body": leaf, "private_key": base64_of(pem_key), "passphrase": "none"}
    )

    assert (certificate["key_algorithm"], certificate["trust"]) == (algorithm, "public")
    assert "error" not in {finding["severity"] for finding in certificate["findings"]}
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert list(stored_keys().values()) == [der]


def test_a_pkcs12_file_is_certificate_and_key(
    enforcing: TestClient, stored_keys: StoredKeys, owner: int
) -> None:
    leaf = a_leaf("Issuing")
    file = pkcs12.serialize_key_and_certificates(
        b"ours", authority.ec_key(WWW), leaf, [ISSUING], BestAvailableEncryption(SECRET)
    )
    upload = {"pkcs12": base64_of(file), "passphrase": SECRET.decode()}
    certificate = shown(enforcing, owner, upload)

    assert (certificate["trust"], certificate["chain_pem"]) == ("public", pem(leaf, ISSUING))
    assert certificate["body"] == pem(leaf, ISSUING)
    assert list(stored_keys().values()) == [key_der(WWW)]
    store(enforcing, owner, upload | {"active": True})


def test_pkcs12_and_pem_are_not_taken_together(reporting: TestClient, owner: int) -> None:
    answer = reporting.simulate_post(
        f"/users/{owner}/certificates", json={**self_signed(WWW), "pkcs12": "QUJD"}
    )

    assert refusal(answer) == (
        422,
        "invalid",
        {"body": "conflicting_fields", "private_key": "conflicting_fields"},
    )


@pytest.mark.parametrize("name", ["a\x00b", "\ud7ff\ue000", "x" * 64, 'a=b,c+d\\"<>;'])
def test_any_name_can_be_stored(reporting: TestClient, owner: int, name: str) -> None:
    leaf = authority.issue(name, "Issuer " + name[:8], hostnames=[WWW])
    certificate = shown(reporting, owner, an_upload_of(leaf))

    assert certificate["hostnames"] == [WWW]
    assert certificate["subject"].startswith("CN=")


def test_an_expired_certificate_is_told_when_it_is_shown_not_when_it_was_uploaded(
    enforcing: TestClient, clock: Clock, owner: int
) -> None:
    path = store(enforcing, owner, self_signed(WWW))
    before = enforcing.simulate_get(path)
    clock.now += 81 * DAY
    after = enforcing.simulate_get(path, headers={"If-None-Match": before.headers["ETag"]})

    assert (before.json["status"], after.json["status"]) == ("inactive", "expired")
    assert after.json["findings"] == before.json["findings"]
