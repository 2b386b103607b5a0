import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gmpy2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from customer_certificates.errors import Finding
from customer_certificates.pki.keys.loading import pkcs8
from customer_certificates.pki.keys.public_keys import PrivateKey, key_algorithm, mismatch, spki_of
from customer_certificates.pki.keys.reading import read_key
from customer_certificates.pki.keys.weak_keys import weakness

from .. import made_by_openssl as made
from ..made_by_hand import an_rsa_key, der_of, pkcs8_rsa, rsa_key, rsa_numbers

PEM, DER = Encoding.PEM, Encoding.DER
PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
P256 = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
KEYS: list[PrivateKey] = [
    P256,
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    an_rsa_key(),
    ed25519.Ed25519PrivateKey.generate(),
    ed448.Ed448PrivateKey.generate(),
]
P256_PEM = P256.private_bytes(PEM, PKCS8, NoEncryption())


def spki(key: PrivateKey | None) -> bytes:
    assert key is not None
    return spki_of(key.public_key())


def codes(findings: tuple[Finding, ...]) -> list[str]:
    assert all(finding.hint for finding in findings)
    return [finding.code for finding in findings]


def forms(key: PrivateKey) -> list[bytes]:
    some = [key.private_bytes(encoding, PKCS8, NoEncryption()) for encoding in (PEM, DER)]
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        some += [key.private_bytes(to, TRADITIONAL, NoEncryption()) for to in (PEM, DER)]
    return some


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key_algorithm(key.public_key()))
def test_every_kind_of_key_is_read_in_every_form(key: PrivateKey) -> None:
    for data in forms(key):
        read = read_key(data, None)

        assert read.findings == ()
        assert spki(read.key) == spki(key)
        assert read.key is not None
        assert mismatch(read.key, key.public_key()) is None
        assert pkcs8(read.key) == pkcs8(key)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key_algorithm(key.public_key()))
@pytest.mark.parametrize("encoding", [PEM, DER])
def test_an_encrypted_key_is_opened_with_its_passphrase(
    key: PrivateKey, encoding: Encoding
) -> None:
    data = key.private_bytes(encoding, PKCS8, BestAvailableEncryption("pässword".encode()))

    assert spki(read_key(data, "pässword").key) == spki(key)
    assert codes(read_key(data, "password").findings) == ["passphrase_wrong"]
    assert codes(read_key(data, None).findings) == ["key_encrypted"]
    assert codes(read_key(data, "").findings) == ["key_encrypted"]


@pytest.mark.parametrize(
    "pem", [made.KEY_ENCRYPTED_OF_OLD, made.KEY_ENCRYPTED_3DES], ids=["DEK-Info", "3DES"]
)
def test_a_key_with_legacy_encryption_is_opened(pem: str) -> None:
    data = pem.encode()

    assert spki(read_key(data, "secret").key) == spki(read_key(made.KEY.encode(), None).key)
    assert codes(read_key(data, "Secret").findings) == ["passphrase_wrong"]
    assert codes(read_key(data, None).findings) == ["key_encrypted"]


@pytest.mark.parametrize(
    "data",
    [
        P256_PEM.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + P256_PEM,
        P256_PEM + P256_PEM,
        made.CERTIFICATE.encode() + P256_PEM + made.CERTIFICATE.encode(),
    ],
)
def test_a_key_is_read_from_common_files(data: bytes) -> None:
    read = read_key(data, None)

    assert spki(read.key) == spki(P256)
    assert read.findings == ()


@pytest.mark.parametrize("pem", [made.KEY_WITH_PARAMETERS, made.KEY_OF_EXPLICIT_CURVE])
def test_a_key_with_curve_parameters_is_read(pem: str) -> None:
    read = read_key(pem.encode(), None)

    assert read.key is not None
    assert key_algorithm(read.key.public_key()) == "ECDSA-P-256"
    assert read.findings == ()


@pytest.mark.parametrize(
    ("data", "passphrase", "code"),
    [
        (P256_PEM.replace(b"\n", rb"\n"), None, "newlines_escaped"),
        (base64.b64encode(P256_PEM), None, "base64_twice"),
        (base64.encodebytes(pkcs8(P256)), None, "base64_twice"),
        (P256_PEM, "secret", "passphrase_unused"),
    ],
)
def test_corrections_are_reported(data: bytes, passphrase: str | None, code: str) -> None:
    read = read_key(data, passphrase)

    assert spki(read.key) == spki(P256)
    assert [(finding.code, finding.severity) for finding in read.findings] == [(code, "info")]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "private_key is empty."),
        (b"no key", "private_key is neither PEM nor DER."),
        (made.CERTIFICATE.encode(), "contains no private key, but «CERTIFICATE»."),
        (base64.b64decode("".join(made.CERTIFICATE.splitlines()[1:-1])), "is a certificate"),
        (spki_of(P256.public_key()), "is a public key, not"),
        (made.P12, "is a PKCS#12 file, not"),
        (b"\x30\x00", "is some other ASN.1, not"),
        (pkcs8(P256)[:-1], "The private key is damaged: it ends too early."),
        (pkcs8(P256) + b"\0", "The private key is damaged: 1 bytes follow the end."),
        (made.DSA_KEY.encode(), "DSA keys cannot be used for TLS."),
        (made.X25519_KEY.encode(), "X25519 keys cannot be used for TLS."),
        (made.RSA_PSS_KEY.encode(), "The key is for RSASSA-PSS only"),
        (made.SECT163_KEY.encode(), "uses an unknown curve"),
        (made.OPENSSH_KEY.encode(), "an OpenSSH key"),
        (P256_PEM + made.KEY.encode(), "contains 2 different private keys (ECDSA-P-256, ECDSA"),
    ],
)
def test_unusable_keys_and_other_data_are_identified(data: bytes, what: str) -> None:
    read = read_key(data, None)

    assert read.key is None
    assert codes(read.findings) == ["key_invalid"]
    assert what in read.findings[0].detail


@pytest.mark.parametrize(
    ("dek_info", "what"),
    [
        ("AES-128-CBC,00", "its initialization vector (DEK-Info) is incomplete"),
        ("AES-128-CBC", "its initialization vector (DEK-Info) is incomplete"),
        ("RC4,00", "with an unsupported algorithm (RC4)"),
    ],
)
def test_the_header_of_an_encrypted_key_is_validated(dek_info: str, what: str) -> None:
    # The library panics, which no `except Exception` stops, at a vector that is too short.
    pem = re.sub("DEK-Info: .*", f"DEK-Info: {dek_info}", made.KEY_ENCRYPTED_OF_OLD)
    (finding,) = read_key(pem.encode(), "secret").findings

    assert finding.code == "key_invalid"
    assert what in finding.detail


def test_a_broken_block_is_named() -> None:
    assert codes(read_key(P256_PEM[:80], None).findings) == ["pem_invalid"]


def test_a_foreign_public_point_is_found() -> None:
    other = P256.private_bytes(DER, TRADITIONAL, NoEncryption())
    stranger = load_pem_private_key(made.KEY.encode(), None)
    assert isinstance(stranger, ec.EllipticCurvePrivateKey)
    own, its = (spki_of(key.public_key())[-65:] for key in (P256, stranger))

    assert codes(read_key(other.replace(own, its), None).findings) == ["key_invalid"]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({0: 2}, "its modulus is not the product of its primes"),
        ({2: 2}, "its two exponents do not match"),
        ({2: -2}, "one of its numbers is not positive"),
        ({3: 2}, "its modulus is not the product of its primes"),
        ({5: 2}, "its exponents for the Chinese remainder theorem are wrong"),
        ({6: 2}, "its exponents for the Chinese remainder theorem are wrong"),
        ({7: 2}, "its coefficient for the Chinese remainder theorem is wrong"),
    ],
)
def test_inconsistent_rsa_numbers_are_found(changes: dict[int, int], what: str) -> None:
    numbers = rsa_numbers()
    for index, change in changes.items():
        numbers[index] = change * 10**1000 if change < 0 else numbers[index] + change
    for der in (rsa_key(*numbers), pkcs8_rsa(rsa_key(*numbers))):
        read = read_key(der, None)

        assert codes(read.findings) == ["key_invalid"]
        assert read.findings[0].detail == f"The private key is damaged: {what}."


def test_a_signature_finds_rsa_primes_that_are_not_prime() -> None:
    p = int(gmpy2.next_prime(3 << 510) * gmpy2.next_prime(5 << 510))
    q = int(gmpy2.next_prime(3 << 1022))
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = [p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]
    read = read_key(rsa_key(*numbers), None)

    assert read.key is not None
    found = mismatch(read.key, read.key.public_key())
    assert found is not None
    assert found.code == "key_mismatch"
    assert "does not match it" in found.detail


def test_an_rsa_key_is_read_unchanged() -> None:
    assert rsa_key(*rsa_numbers()) == der_of(an_rsa_key())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key_algorithm(key.public_key()))
def test_the_key_of_another_certificate_is_found(key: PrivateKey) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    found = mismatch(key, stranger)

    assert found is not None
    assert (found.code, found.field) == ("key_mismatch", "private_key")
    for public_key in (key.public_key(), stranger):
        assert key_algorithm(public_key) in found.detail
        assert hashlib.sha256(spki_of(public_key)).hexdigest()[:16] in found.detail


def rsa_public(n: int, e: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(e, n).public_key()


def close_primes() -> rsa.RSAPublicKey:
    first = gmpy2.next_prime(3 << 1022)
    return rsa_public(int(first * gmpy2.next_prime(first)))


def small_factor() -> rsa.RSAPublicKey:
    return rsa_public(65521 * ((1 << 2032) + 12345678901))


def roca() -> rsa.RSAPublicKey:
    # As the faulty chips did: a power of 65537 modulo a product of small primes.
    product = 0x924CBA6AE99DFA084537FACC54948DF0C23DA044D8CABE0EDD75BC6
    return rsa_public(without_small_factors((3 << 2046) // product * product + 65537, product))


def biased() -> rsa.RSAPublicKey:
    return rsa_public(without_small_factors((1 << 2048) - 1, -2))


def without_small_factors(number: int, step: int) -> int:
    while gmpy2.gcd(number, gmpy2.primorial(65537)) != 1:
        number += step
    return number


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (
            lambda: rsa_public(an_rsa_key().public_key().public_numbers().n, 3),
            "RSA key is 3. Use 65537.",
        ),
        (
            lambda: rsa_public((1 << 1023) + 643),
            "The RSA key has 1,024 bits. Use 2048, 3072 or 4096.",
        ),
        (
            lambda: rsa_public((1 << 8191) + 1),
            "The RSA key has 8,192 bits. Use 2048, 3072 or 4096.",
        ),
        (close_primes, "too close, so it can be factored quickly (Fermat)"),
        (small_factor, "has a small factor"),
        (roca, "(ROCA, CVE-2017-15361)"),
        (biased, "its modulus is not random"),
        (ec.generate_private_key(ec.SECP256K1()).public_key, "uses the curve secp256k1"),
        (ec.generate_private_key(ec.SECP224R1()).public_key, "uses the curve secp224r1"),
        (ec.generate_private_key(ec.BrainpoolP256R1()).public_key, "curve brainpoolP256r1"),
    ],
)
def test_a_weak_key_is_found(
    make: Callable[[], rsa.RSAPublicKey | ec.EllipticCurvePublicKey], what: str
) -> None:
    found = [finding for finding in weakness(make()) if what in finding.detail]

    assert codes(tuple(found)) == ["key_weak"]
    assert found[0].severity == "error"


def test_p_521_gives_a_warning() -> None:
    (found,) = weakness(ec.generate_private_key(ec.SECP521R1()).public_key())

    assert (found.code, found.severity) == ("key_weak", "warning")


def test_a_key_that_cannot_sign_is_rejected_for_tls() -> None:
    (found,) = weakness(x25519.X25519PrivateKey.generate().public_key())

    assert (found.code, found.detail) == ("key_invalid", "X25519 keys cannot be used for TLS.")


@pytest.mark.parametrize(
    "key", [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()]
)
def test_edwards_curves_give_a_warning(key: PrivateKey) -> None:
    (found,) = weakness(key.public_key())

    assert (found.code, found.severity) == ("key_weak", "warning")
    assert "Chrome and Firefox reject" in found.detail


@pytest.mark.parametrize("key", [KEYS[0], KEYS[1]])
def test_a_strong_key_has_no_findings(key: PrivateKey) -> None:
    assert weakness(key.public_key()) == ()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_key_in_the_blocklist_is_found(tmp_path: Path, damaged: bool) -> None:
    folder = tmp_path / "badkeys"
    folder.mkdir()
    x = P256.public_key().public_numbers().x
    entry = hashlib.sha256(x.to_bytes(32)).digest()[:15] + b"\x07"
    (folder / "blocklist.dat").write_bytes(b"" if damaged else entry)
    (folder / "badkeysdata.json").write_text('{"blocklists": [{"id": 7, "name": "leaked"}]}')
    asked = (
        "import sys; from customer_certificates.pki.keys.reading import read_key;"
        "from customer_certificates.pki.keys.weak_keys import weakness;"
        "key = read_key(sys.stdin.buffer.read(), None).key;"
        "print([finding.detail for finding in weakness(key.public_key())])"
    )
    # Whether the list is there is decided when the module is loaded.
    answer = subprocess.run(
        [sys.executable, "-c", asked],
        input=P256_PEM,
        env={"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )

    expected = [] if damaged else ["The private key is publicly known (badkeys' list «leaked»)."]
    assert answer.stdout.decode().strip() == str(expected)


SEEDS = [
    *(form for key in (P256, an_rsa_key()) for form in forms(key)),
    made.KEY_ENCRYPTED_OF_OLD.encode(),
    made.KEY_ENCRYPTED_3DES.encode(),
    P256.private_bytes(DER, PKCS8, BestAvailableEncryption(b"secret")),
]


@settings(max_examples=50, deadline=None)
@given(st.binary(), st.none() | st.text())
def test_any_bytes_give_a_finding(data: bytes, passphrase: str | None) -> None:
    assert read_key(data, passphrase).findings


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 2000), st.integers(0, 9), st.binary(max_size=4))
def test_a_mutated_key_gives_a_key_or_a_finding(
    seed: bytes, at: int, removed: int, added: bytes
) -> None:
    at %= len(seed)
    read = read_key(seed[:at] + added + seed[at + removed :], "secret")

    assert read.key or read.findings
    if read.key:
        mismatch(read.key, P256.public_key())
        mismatch(read.key, read.key.public_key())
        weakness(read.key.public_key())


@pytest.mark.parametrize("unit", [b"0\x80", b"0\x82\xff\xff", b"\0", b"-----BEGIN A-----\n", b"A"])
def test_a_large_malformed_input_gives_a_finding(unit: bytes) -> None:
    data = (unit * (262_144 // len(unit)))[:262_144]

    assert read_key(data, "secret").findings
