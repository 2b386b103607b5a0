"""Every case in tests/corpus, validated in sandbox processes."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.pki import validation
from customer_certificates.pki.keys.public_keys import spki_of
from customer_certificates.pki.pem.reader import read_pem
from customer_certificates.pki.submission import ValidationResult
from customer_certificates.pki.validation import Completion, Request, Validator
from customer_certificates.pki.x509 import certificate

from ..corpus.case import CASES, ROOTS, Case, read

SOURCE = Path(validation.__file__).parent
PATHS = sorted(CASES.glob("*.json"))


@pytest.fixture(scope="module")
def corpus_children() -> Iterator[SandboxPool]:
    """Sandbox processes as in a service. They can open no file."""
    on_exit = Metrics(None).sandbox_ended
    with closing(SandboxPool(Validator, ROOTS.read_bytes(), size=2, on_exit=on_exit)) as children:
        yield children


@pytest.fixture(scope="module")
def in_process() -> Validator:
    """The validator that `inspect` runs."""
    return Validator(ROOTS.read_bytes())


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_each_case_has_the_expected_findings(
    path: Path, corpus_children: SandboxPool, in_process: Validator
) -> None:
    case = read(path)

    def answer_to(request: Request | Completion) -> bytes:
        encoded = validation.encode(request)
        answered = corpus_children.run(encoded)
        # A child can open no file, and so import nothing at need.
        assert in_process(encoded) == answered
        return answered

    answer = validation.decode(answer_to(Request(case.material, case.now)))
    if case.known and answer.unfinished:
        request = Completion(answer.unfinished.sent, case.now, case.known)
        answer = validation.completed(answer, answer_to(request))

    assert sorted((one.code, one.severity, one.field) for one in answer.findings) == sorted(
        case.findings
    )
    assert answer.trust == case.trust
    assert (answer.leaf.hostnames if answer.leaf else ()) == case.hostnames
    assert (answer.chain_pem or "").count("-----BEGIN CERTIFICATE-----") == case.served
    assert key_was_read(case, answer) == case.key


def test_the_corpus_has_hundreds_of_cases() -> None:
    assert len(PATHS) >= 200


def test_the_corpus_has_every_finding() -> None:
    """Codes are written as `Finding("code", …`, or as a name in capitals."""
    source = "".join(path.read_text() for path in SOURCE.glob("*.py"))
    codes = set(re.findall(r'Finding\(\s*"([a-z0-9_]+)"', source))
    occurring = {code for path in PATHS for code, _, _ in read(path).findings}

    assert codes - occurring == set()


def key_was_read(case: Case, answer: ValidationResult) -> bool:
    """Whether what is to be stored is a private key that was understood; if so, and unless it is
    found to be another's, it must be the leaf's."""
    if answer.private_key.reveal() == (case.material.private_key or case.material.pkcs12) and any(
        one.field in ("private_key", "pkcs12") and one.severity == "error"
        for one in answer.findings
        if one.code not in ("key_mismatch", "key_weak")
    ):
        return False
    try:
        key = load_der_private_key(
            answer.private_key.reveal(), None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError):  # TypeError: it is encrypted
        return False
    if answer.chain_pem and not any(one.code == "key_mismatch" for one in answer.findings):
        block = read_pem(answer.chain_pem, "body").blocks[0]
        leaf = certificate.read(block.der, "body", 1)
        assert isinstance(leaf, certificate.Certificate)
        # A malformed public key is nobody's.
        assert leaf.key_spki in (spki_of(key.public_key()), None)
    return True
