"""Over Falcon's test client: the contract, without a socket."""

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from falcon.testing import Result, TestClient

from ..pki import authority

PROBLEM = "urn:customer-certificates:problem:"
MEDIA_TYPES = {"application/problem+json", "application/json"}


def refusal(answer: Result) -> tuple[int, str, dict[str, str]]:
    """The status, the kind and the fields to blame, with codes, of a well-formed refusal."""
    problem: dict[str, Any] = answer.json
    assert answer.headers["Content-Type"] in MEDIA_TYPES
    assert {"type", "title", "status", "detail", "request_id"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    findings = problem.get("errors", [])
    assert all(
        finding.keys() == {"code", "field", "severity", "detail", "hint"} for finding in findings
    )
    return (
        answer.status_code,
        problem["type"].removeprefix(PROBLEM),
        {finding["field"]: finding["code"] for finding in findings},
    )


def pem(*certificates: x509.Certificate) -> str:
    """The certificates, one after the other."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def key_der(name: str) -> bytes:
    """The authority's key of that name, as it is stored."""
    return der_of(authority.ec_key(name))


def der_of(key: PrivateKeyTypes) -> bytes:
    """A private key as it is stored."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def an_upload_of(*certificates: x509.Certificate, **changes: Any) -> dict[str, Any]:
    """An upload of a certificate of the test CA, with its chain."""
    name = certificates[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    key = base64_of(key_der(str(name)))
    return {"body": pem(*certificates), "private_key": key, **changes}


def self_signed(*hostnames: str, **faults: Any) -> dict[str, Any]:
    """An upload of a new self-signed certificate for `hostnames`."""
    faults = {"hostnames": hostnames, **faults}
    return an_upload_of(authority.a_leaf(hostnames[0], hostnames[0], **faults))


def store(client: TestClient, user_id: int, upload: dict[str, Any], **changes: Any) -> str:
    """Uploads it, and gives the path of the certificate."""
    answer = client.simulate_post(f"/users/{user_id}/certificates", json={**upload, **changes})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def codes(findings: list[dict[str, str]]) -> set[str]:
    """The codes of findings."""
    return {finding["code"] for finding in findings}
