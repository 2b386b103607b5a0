"""What becomes of an upload that cannot be validated."""

from typing import Any

import pytest

from customer_certificates.errors import Invalid, Unavailable
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.sandbox.pool import ResourceLimitExceeded
from customer_certificates.pki.submission import Submission
from customer_certificates.services.certificates.intermediates import Intermediates
from customer_certificates.services.certificates.validation import Validation

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
    return Validation(children, Intermediates(database), lambda: NOW, enforce=enforce)


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
