"""Every case under tests/corpus, examined by the children of a service."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from customer_certificates.gateways.metrics import Metrics
from customer_certificates.gateways.sandbox.pool import SandboxPool
from customer_certificates.pki import examination
from customer_certificates.pki.examination import Examiner, Request
from customer_certificates.pki.keys.public_keys import spki_of
from customer_certificates.pki.pem.reader import read_pem
from customer_certificates.pki.submission import ValidationResult
from customer_certificates.pki.x509 import certificate

from ..corpus.case import CASES, ROOTS, Case, read

SOURCE = Path(examination.__file__).parent
PATHS = sorted(CASES.glob("*.json"))


@pytest.fixture(scope="module")
def corpus_children() -> Iterator[SandboxPool]:
    """As a service has them: they can open no file."""
    count = Metrics(None).sandbox_ended
    with closing(SandboxPool(Examiner, ROOTS.read_bytes(), size=2, on_exit=count)) as children:
        yield children


@pytest.fixture(scope="module")
def in_process() -> Examiner:
    """What the command line's `inspect` runs."""
    return Examiner(ROOTS.read_bytes())


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_what_is_found_is_what_should_be(
    path: Path, corpus_children: SandboxPool, in_process: Examiner
) -> None:
    case = read(path)

    request = examination.encode(Request(case.material, case.now, case.known))
    answered = corpus_children.run(request)
    answer = examination.decode(answered)

    # A child can open no file, and so import nothing at need.
    assert in_process(request) == answered
    assert sorted((one.code, one.severity, one.field) for one in answer.findings) == sorted(
        case.findings
    )
    assert answer.trust == case.trust
    assert (answer.leaf.hostnames if answer.leaf else ()) == case.hostnames
    assert (answer.chain_pem or "").count("-----BEGIN CERTIFICATE-----") == case.served
    assert key_was_read(case, answer) == case.key


def test_there_are_hundreds() -> None:
    assert len(PATHS) >= 200


def test_every_code_occurs() -> None:
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
