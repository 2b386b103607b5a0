"""The requests to sandbox processes, and uploads that cannot be validated."""

from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from customer_certificates.errors import Invalid, Unavailable
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import ResourceLimitExceeded
from customer_certificates.models import Intermediate
from customer_certificates.pki.chain.verification import name_hash
from customer_certificates.pki.submission import Submission
from customer_certificates.pki.validation import Validator
from customer_certificates.services.certificates.intermediates import Intermediates
from customer_certificates.services.certificates.validation import Validation

from ...pki.authority import NOW as ISSUED
from ...pki.authority import a_leaf, an_authority, ec_key, readable
from ...tables import NOW

pytestmark = pytest.mark.one_backend


class Ending:
    """Children that end at each request in the same way."""

    def __init__(self, ending: Exception) -> None:
        self._ending = ending

    def run(self, _request: bytes) -> bytes:
        raise self._ending


def validation(database: Database, ending: Exception, *, enforce: bool = False) -> Validation:
    children: Any = Ending(ending)
    return Validation(
        children, Intermediates(database), lambda: NOW, Metrics(None), enforce=enforce
    )


class Recording:
    """A validator in this process that keeps the requests."""

    def __init__(self, *roots: str) -> None:
        self._validator = Validator("".join(roots).encode())
        self.requests: list[bytes] = []

    def run(self, request: bytes) -> bytes:
        self.requests.append(request)
        return self._validator(request)


PEM = Submission(body="PEM", private_key=b"key")
PKCS12 = Submission(pkcs12=b"file")


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize(("submission", "field"), [(PEM, "private_key"), (PKCS12, "pkcs12")])
def test_what_uses_up_a_child_is_never_accepted(
    database: Database, enforce: bool, submission: Submission, field: str
) -> None:
    validator = validation(database, ResourceLimitExceeded("cpu"), enforce=enforce)
    result = validator.validate(1, submission)

    (finding,) = result.findings
    assert (finding.code, finding.field, finding.severity) == ("key_too_costly", field, "error")
    assert result.trust == "unreadable"
    assert not validator.accepts(result)
    with pytest.raises(Invalid) as refused:
        validator.accepted(1, submission)
    assert refused.value.errors == result.findings


def test_what_fails_in_a_child_is_refused_without_a_word_of_what_was_sent(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    validator = validation(database, RuntimeError("In a child: KeyError\n  file:1 in f"))
    result = validator.validate(1, Submission(body="PEM", private_key=b"hunter2"))

    assert [finding.code for finding in result.findings] == ["examination_failed"]
    assert not validator.accepts(result)
    assert "In a child: KeyError" in caplog.text
    assert "hunter2" not in caplog.text


def test_where_no_child_is_free_it_may_be_tried_again(database: Database) -> None:
    with pytest.raises(Unavailable):
        validation(database, Unavailable("Not now.", retry_after=1)).validate(1, PEM)


def test_only_certificates_are_sent_again_to_complete_a_chain(
    database: Database, engine: sa.Engine
) -> None:
    upper, lower = an_authority("Upper", "Root"), an_authority("Lower", "Upper")
    leaf = a_leaf("Lower", "www.example.com")
    with engine.begin() as connection:
        for authority in map(readable, (upper, lower)):
            connection.execute(
                sa.insert(Intermediate).values(
                    subject_hash=name_hash(authority.subject),
                    fingerprint_sha256=authority.fingerprint,
                    der=authority.der,
                )
            )
    key = ec_key("www.example.com").private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")
    )
    text = leaf.public_bytes(Encoding.PEM).decode()
    submission = Submission(f"Some text\n{text}", private_key=key, passphrase="open sesame")
    sandbox: Any = Recording(an_authority("Root", "Root").public_bytes(Encoding.PEM).decode())

    result = Validation(
        sandbox, Intermediates(database), lambda: ISSUED, Metrics(None), enforce=False
    ).validate(1, submission)

    first, *others = sandbox.requests
    assert len(others) == 2
    for secret in (key, b"open sesame", b"Some text"):
        assert secret in first
        assert not any(secret in other for other in others)
    assert all(readable(leaf).der in other for other in others)
    assert (result.trust, result.not_servable) == ("public", None)
    assert [finding.code for finding in result.findings] == ["text_dropped", "chain_completed"]
    assert (result.chain_pem or "").count("BEGIN CERTIFICATE") == 3
