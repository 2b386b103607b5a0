"""Converts a validated upload to columns, and reads the row that stores it."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from ...errors import NotFound
from ...models import AS_BODY, CONTENT, Certificate, CertificateVersion, User
from ...pki.submission import ValidationResult

_NOTHING = dict.fromkeys(CONTENT)


def content_of(result: ValidationResult, updated_at: datetime | None = None) -> dict[str, Any]:
    """Returns the columns CONTENT of a validated upload; a first version has no `updated_at`."""
    leaf = msgspec.structs.asdict(result.leaf) if result.leaf else {}
    return {
        **_NOTHING,
        **leaf,
        "body": result.body,
        "chain": result.chain,
        "served_pem": AS_BODY if result.chain_pem == result.body else result.chain_pem,
        "trust": result.trust,
        "findings": msgspec.json.encode(result.findings).decode(),
        "hostnames": msgspec.json.encode(leaf.get("hostnames", ())).decode(),
        "updated_at": updated_at,
        "serve_not_before": result.serve_not_before,
        "serve_not_after": result.serve_not_after,
        "not_servable": result.not_servable,
        "proves_hostnames": result.proves_hostnames,
    }


def content_of_row(row: Certificate | CertificateVersion) -> dict[str, Any]:
    """Returns the columns CONTENT of a row."""
    return {name: getattr(row, name) for name in CONTENT}


def locked_certificate(session: Session, user_id: int, certificate_id: int) -> Certificate:
    """Returns the certificate, read under the lock of its user's row. Raises NotFound."""
    if session.get(User, user_id, with_for_update=True):
        certificate = session.get(Certificate, certificate_id)
        if certificate and certificate.user_id == user_id:
            return certificate
    raise certificate_not_found(user_id, certificate_id)


def certificate_path(user_id: int, certificate_id: int) -> str:
    """Returns the path of the certificate in the API."""
    return f"/users/{user_id}/certificates/{certificate_id}"


def certificate_not_found(user_id: int, certificate_id: int) -> NotFound:
    """Returns the error for a certificate that does not exist or belongs to another user."""
    return NotFound(f"User {user_id} has no certificate {certificate_id}.")
