import base64

import pytest

from customer_certificates.errors import Finding
from customer_certificates.pki.keys.pkcs12 import read_pkcs12
from customer_certificates.pki.keys.reading import read_key

from .. import made_by_hand as made
from .. import made_by_openssl

# None of these may be started on: any would take the suite minutes, or all its memory.
COSTLY_KEYS = {
    # Two blocks of SHA-1 make a key of 256 bits; the old ciphers need a key and a vector.
    made.encrypted_key(made.pbes2(made.pbkdf2(10**7))): "takes 20,000,000 iterations",
    made.encrypted_key(made.pbes2(made.pbkdf2(2**4000))): "takes more than 1,000,000,000,000,000",
    made.encrypted_key(made.pkcs12_pbe(10**7)): "takes 30,000,000 iterations",
    made.encrypted_key(made.pbes2(made.scrypt(2**25, 8, 1))): "takes 32,768 MiB of memory",
    made.encrypted_key(made.pbes2(made.scrypt(2, 2**30, 1))): "takes 262,144 MiB of memory",
    made.encrypted_key(made.pbes2(made.scrypt(2**14, 8, 2**20))): "cost N·r·p = 137,438,953,472",
}
BIG = (1 << 8191) | 1
WEAK_KEYS = {
    made.rsa_key(BIG): "The RSA key has 8,192 bits",
    made.pkcs8_rsa(made.rsa_key(BIG**2)): "The RSA key has 16,383 bits",
    made.rsa_key(BIG**80): "The RSA key has 655,281 bits",
    made.rsa_key(2**510): "The RSA key has 511 bits",
    made.rsa_key(2**2047 + 1, 2**4000 + 1): "exponent of the RSA key has 4001 bits",
    made.rsa_key(2**2047 + 1, 65536): "exponent of the RSA key is 65536",
    made.rsa_key(2**2047 + 1, -5): "exponent of the RSA key is -5",
}


def the(findings: tuple[Finding, ...]) -> tuple[str, str]:
    (finding,) = findings
    assert finding.hint
    return finding.code, finding.detail


@pytest.mark.parametrize(("der", "what"), COSTLY_KEYS.items())
@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_a_costly_key_is_not_decrypted(der: bytes, what: str, passphrase: str | None) -> None:
    read = read_key(der, passphrase)
    code, detail = the(read.findings)

    assert read.key is None
    assert code == "key_too_costly"
    assert what in detail


@pytest.mark.parametrize(("der", "what"), WEAK_KEYS.items())
def test_an_rsa_key_of_absurd_size_is_not_loaded(der: bytes, what: str) -> None:
    read = read_key(der, None)
    code, detail = the(read.findings)

    assert read.key is None
    assert code == "key_weak"
    assert what in detail


def test_the_costs_of_several_keys_are_added_up() -> None:
    blocks = b""
    for iterations in (400_000, 400_001, 400_002):
        der = made.encrypted_key(made.pbes2(made.pbkdf2(iterations)))
        encoded = base64.b64encode(der)
        label = b"ENCRYPTED PRIVATE KEY-----\n"
        blocks += b"-----BEGIN " + label + encoded + b"\n-----END " + label

    assert the(read_key(blocks, "secret").findings)[0] == "key_too_costly"


def test_a_key_with_an_impossible_cost_is_rejected() -> None:
    for derivation in (made.scrypt(3, 8, 1), made.scrypt(2**17, 1, 1), made.pbkdf2(0)):
        read = read_key(made.encrypted_key(made.pbes2(derivation)), "secret")

        assert the(read.findings)[0] == "key_invalid"


@pytest.mark.parametrize(
    "data",
    [
        made.pkcs12(made.safe(), mac=made.mac(10**7)),
        made.pkcs12(made.encrypted_safe(made.pkcs12_pbe(10**7))),
        made.pkcs12(made.encrypted_safe(made.pbes2(made.pbkdf2(10**7)))),
        made.pkcs12(
            made.safe(made.bag(made.SHROUDED_KEY_BAG, made.encrypted_key(made.pkcs12_pbe(10**7))))
        ),
        made.pkcs12(made.encrypted_safe(made.pkcs12_pbe(600_000)), mac=made.mac(600_000)),
    ],
)
def test_a_costly_pkcs12_file_is_not_decrypted(data: bytes) -> None:
    assert the(read_pkcs12(data, "secret").findings)[0] == "key_too_costly"
    assert the(read_pkcs12(data, None).findings)[0] == "key_too_costly"


SHROUDED = made.bag(made.SHROUDED_KEY_BAG, made.encrypted_key(made.pkcs12_pbe(200_000)))


@pytest.mark.parametrize(
    ("data", "iterations"),
    [
        (made.pkcs12(made.safe(), mac=made.mac(1_000_001)), "1,000,001"),
        (made.pkcs12(made.encrypted_safe(made.pkcs12_pbe(400_000))), "1,200,000"),
        (made.pkcs12(made.safe(SHROUDED), mac=made.mac(500_000)), "1,100,000"),
        (made.pkcs12(made.safe(SHROUDED, SHROUDED)), "1,200,000"),
        (
            made.pkcs12(made.encrypted_safe(made.pkcs12_pbe(200_000)), made.safe(SHROUDED)),
            "1,200,000",
        ),
        (made.pkcs12(made.encrypted_safe(made.pbes2(made.pbkdf2(600_000)))), "1,200,000"),
    ],
)
def test_every_derivation_of_a_pkcs12_file_counts(data: bytes, iterations: str) -> None:
    code, detail = the(read_pkcs12(data, "secret").findings)

    assert code == "key_too_costly"
    assert f"takes {iterations} iterations" in detail


def test_without_a_passphrase_a_second_guess_that_costs_too_much_is_omitted() -> None:
    data = made.pkcs12(made.safe(), mac=made.mac(600_000))

    assert the(read_pkcs12(data, None).findings)[0] == "key_encrypted"


def test_the_cost_of_a_key_inside_an_encrypted_safe_counts() -> None:
    hidden = made.bag(made.SHROUDED_KEY_BAG, made.encrypted_key(made.pkcs12_pbe(10**7)))
    data = made.pkcs12(made.sealed(made.sequence(hidden), "secret"))

    assert the(read_pkcs12(data, "secret").findings)[0] == "key_too_costly"


def test_a_large_rsa_key_in_a_pkcs12_file_is_not_loaded() -> None:
    key = made.pkcs8_rsa(made.rsa_key(BIG))

    found = read_pkcs12(made.pkcs12(made.safe(made.bag(made.KEY_BAG, key))), None).findings
    assert "key_weak" in [finding.code for finding in found]


def test_usual_costs_are_accepted() -> None:
    assert read_key(made_by_openssl.KEY_ENCRYPTED_SCRYPT.encode(), "secret").key
