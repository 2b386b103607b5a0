"""A refused form is shown again without secrets."""

import base64
from collections.abc import Callable
from html import unescape

import pytest
from falcon.testing import TestClient

from ..factories import Pair, a_pair
from .visitor import Visitor

pytestmark = pytest.mark.one_backend

_MARKED = "-----BEGIN {0}-----\n{1}-----END {0}-----\n"


def _as_certificate(pair: Pair) -> str:
    return _MARKED.format("CERTIFICATE", base64.encodebytes(pair.key_der).decode())


def _both_in_one_block(pair: Pair) -> str:
    certificate = base64.b64decode("".join(pair.body.split("\n")[1:-2]))
    return _MARKED.format("CERTIFICATE", base64.encodebytes(certificate + pair.key_der).decode())


PASTED: dict[str, Callable[[Pair], str]] = {
    "combined": lambda pair: pair.body + pair.key_pem.decode(),
    "the key first, without a line end": lambda pair: pair.key_pem.decode().strip() + pair.body,
    "the key alone": lambda pair: pair.key_pem.decode(),
    "base64 of DER": lambda pair: pair.private_key,
    "base64 before a certificate": lambda pair: f"{pair.private_key}\n{pair.body}",
    "base64 of PEM": lambda pair: base64.b64encode(pair.key_pem).decode(),
    "a quoted text": lambda pair: repr(pair.body + pair.key_pem.decode()),
    "the key without its END": lambda pair: pair.body + pair.key_pem.decode().split("-----END")[0],
    "a damaged label": lambda pair: pair.key_pem.decode().replace("PRIVATE", "PRIVAT"),
    "the key in the block of a certificate": _as_certificate,
    "both in one block": _both_in_one_block,
}


@pytest.mark.parametrize("field", ["body", "chain"])
@pytest.mark.parametrize("pasted", PASTED)
def test_a_key_among_certificates_is_not_sent_back(
    client: TestClient, owner: int, pasted: str, field: str
) -> None:
    pair = a_pair("www.example.com", "RSA-2048")
    text = PASTED[pasted](pair)
    # The service refuses the time, so that no other refusal is needed.
    fields = {"body": pair.body, field: text, "activation": "later", "activate_at": "2001-01-01"}
    answers = [
        Visitor(client).post(f"/console/users/{owner}/certificates/{page}", **fields)
        for page in ("new", "check")
    ]

    assert answers[0].status_code in (400, 422)
    lines = [pair.private_key[at : at + 40] for at in range(0, len(pair.private_key) - 40, 20)]
    for answer in answers:
        shown = unescape(answer.text)
        squeezed = "".join(shown.split()).replace("\\n", "")
        assert not [line for line in lines if line in squeezed]
        assert base64.b64encode(pair.key_pem).decode() not in squeezed
        assert "PRIVATE KEY" not in shown


def test_certificates_are_sent_back(client: TestClient, owner: int) -> None:
    pair = a_pair()
    text = f"subject=www.example.com\n{pair.body}{pair.key_pem.decode()}"
    answer = Visitor(client).post(f"/console/users/{owner}/certificates/new", body=text)

    assert answer.status_code == 400
    assert pair.body in unescape(answer.text)
    assert "subject=" not in answer.text


@pytest.mark.parametrize("secret", ["ccert_operator_1_ABCDEF", "whsec_ABCDEF", " WHSEC_ABCDEF"])
def test_a_token_in_another_field_is_not_sent_back(closed: TestClient, secret: str) -> None:
    visitor = Visitor(closed)
    visitor.get("/console/sign-in")
    answer = visitor.post("/console/sign-in", email=secret, password="wrong password")

    assert answer.status_code in (401, 422)
    assert "ABCDEF" not in answer.text
