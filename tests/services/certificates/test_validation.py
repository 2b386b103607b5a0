"""What becomes of an upload that cannot be examined."""

import base64
from typing import Any

import pytest

from customer_certificates.errors import Invalid, Unavailable
from customer_certificates.gateways.database import Database
from customer_certificates.gateways.sandbox.pool import ResourceLimitExceeded
from customer_certificates.services.certificates.intermediates import Intermediates
from customer_certificates.services.certificates.requests import CertificateMaterial
from customer_certificates.services.certificates.validation import Validation

from ...tables import NOW

pytestmark = pytest.mark.one_backend


class Ending:
    """Children that end at each request in the same way."""

    def __init__(self, ending: Exception) -> None:
        self._ending = ending

    def run(self, _request: bytes) -> bytes:
        raise self._ending


def inspection(database: Database, ending: Exception, *, enforce: bool = False) -> Validation:
    children: Any = Ending(ending)
    return Validation(children, Intermediates(database), lambda: NOW, enforce=enforce)


PEM = CertificateMaterial(body="PEM", private_key="a2V5")
PKCS12 = CertificateMaterial(pkcs12="ZmlsZQ==")


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize(("sent", "field"), [(PEM, "private_key"), (PKCS12, "pkcs12")])
def test_what_uses_up_a_child_is_never_accepted(
    database: Database, enforce: bool, sent: CertificateMaterial, field: str
) -> None:
    inspected = inspection(database, ResourceLimitExceeded("cpu"), enforce=enforce)
    examined = inspected.examine(1, sent)

    (finding,) = examined.findings
    assert (finding.code, finding.field, finding.severity) == ("key_too_costly", field, "error")
    assert examined.trust == "unreadable"
    assert not inspected.accepts(examined)
    with pytest.raises(Invalid) as refused:
        inspected.require(examined)
    assert refused.value.errors == examined.findings


def test_what_fails_in_a_child_is_refused_without_a_word_of_what_was_sent(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    inspected = inspection(database, RuntimeError("In a child: KeyError\n  file:1 in f"))
    as_sent = base64.b64encode(b"hunter2").decode()
    examined = inspected.examine(1, CertificateMaterial(body="PEM", private_key=as_sent))

    assert [finding.code for finding in examined.findings] == ["examination_failed"]
    assert not inspected.accepts(examined)
    assert "In a child: KeyError" in caplog.text
    assert "hunter2" not in caplog.text
    assert as_sent not in caplog.text


def test_where_no_child_is_free_it_may_be_tried_again(database: Database) -> None:
    with pytest.raises(Unavailable):
        inspection(database, Unavailable("Not now.", retry_after=1)).examine(1, PEM)
