import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, serialize_key_and_certificates
from hypothesis import given, settings
from hypothesis import strategies as st

from customer_certificates.errors import Finding
from customer_certificates.pki.keys.loading import pkcs8
from customer_certificates.pki.keys.pkcs12 import read_keystore, read_pkcs12
from customer_certificates.pki.keys.reading import read_key

from .. import made_by_hand as by_hand
from .. import made_by_openssl as made

KEY = load_pem_private_key(made.KEY.encode(), None)
CERTIFICATE = x509.load_pem_x509_certificate(made.CERTIFICATE.encode())
DER = base64.b64decode("".join(made.CERTIFICATE.splitlines()[1:-1]))
KEY_READ = read_key(made.KEY.encode(), None).key
assert KEY_READ is not None
PKCS8 = pkcs8(KEY_READ)
ENCRYPTED = {
    "PBES2": made.P12,
    "RC2 and 3DES": made.P12_LEGACY,
    "without MAC": made.P12_NO_MAC,
    "BER": made.P12_BER,
}


def codes(findings: tuple[Finding, ...]) -> list[str]:
    assert all(finding.hint for finding in findings)
    return [finding.code for finding in findings]


def pbes(algorithm: PBES, mac: hashes.HashAlgorithm) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(10)
    return builder.key_cert_algorithm(algorithm).hmac_hash(mac).build("pässword".encode())


def serialized(others: list[x509.Certificate], how: KeySerializationEncryption) -> bytes:
    assert isinstance(KEY, ec.EllipticCurvePrivateKey)
    return serialize_key_and_certificates(b"name", KEY, CERTIFICATE, others, how)


@pytest.mark.parametrize("data", ENCRYPTED.values(), ids=ENCRYPTED)
def test_a_file_is_opened_with_its_passphrase(data: bytes) -> None:
    read = read_pkcs12(data, "secret")

    assert read.key is not None
    assert pkcs8(read.key) == PKCS8
    assert read.certificates == (DER,)
    assert read.findings == ()


@pytest.mark.parametrize("data", ENCRYPTED.values(), ids=ENCRYPTED)
def test_a_wrong_or_missing_passphrase_is_reported(data: bytes) -> None:
    for passphrase, code in (("Secret", "passphrase_wrong"), (None, "key_encrypted")):
        read = read_pkcs12(data, passphrase)

        assert (read.key, read.certificates) == (None, ())
        assert [(finding.code, finding.field) for finding in read.findings] == [
            (code, "passphrase")
        ]


@pytest.mark.parametrize(
    "data", [made.P12_NO_PASSPHRASE, made.P12_LEGACY_NO_PASSPHRASE, made.P12_PLAIN]
)
@pytest.mark.parametrize("passphrase", [None, ""])
def test_a_file_without_a_passphrase_is_opened(data: bytes, passphrase: str | None) -> None:
    read = read_pkcs12(data, passphrase)

    assert read.key is not None
    assert read.certificates == (DER,)
    assert read.findings == ()


@pytest.mark.parametrize(
    "algorithm", [PBES.PBESv2SHA256AndAES256CBC, PBES.PBESv1SHA1And3KeyTripleDESCBC]
)
@pytest.mark.parametrize("mac", [hashes.SHA1(), hashes.SHA256(), hashes.SHA512()])
def test_files_of_the_library_are_read(algorithm: PBES, mac: hashes.HashAlgorithm) -> None:
    data = serialized([CERTIFICATE], pbes(algorithm, mac))
    read = read_pkcs12(data, "pässword")

    assert read.key is not None
    assert pkcs8(read.key) == PKCS8
    assert read.certificates == (DER, DER)
    assert read.findings == ()


def test_a_file_with_pbmac1_is_read() -> None:
    content = by_hand.sequence(by_hand.safe(by_hand.bag(by_hand.KEY_BAG, PKCS8)))
    data = by_hand.pkcs12(
        by_hand.safe(by_hand.bag(by_hand.KEY_BAG, PKCS8)), mac=by_hand.pbmac1(content, b"secret")
    )

    assert read_pkcs12(data, "secret").key is not None
    assert codes(read_pkcs12(data, "Secret").findings) == ["passphrase_wrong"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (made.P12_NO_KEY, ["key_invalid"]),
        (made.P12_NO_CERTIFICATE, ["no_leaf"]),
        (by_hand.pkcs12(by_hand.safe()), ["key_invalid", "no_leaf"]),
    ],
)
def test_a_missing_key_or_certificate_is_reported(data: bytes, found: list[str]) -> None:
    assert codes(read_pkcs12(data, "secret").findings) == found


def test_a_keystore_has_all_its_keys_and_an_upload_only_one() -> None:
    others = [pkcs8(ec.derive_private_key(number, ec.SECP256R1())) for number in (7, 8)]
    bags = [by_hand.bag(by_hand.KEY_BAG, key) for key in (PKCS8, *others, PKCS8)]
    file = by_hand.pkcs12(by_hand.safe(*bags))

    assert [pkcs8(key) for key in read_keystore(file, None).keys] == [PKCS8, *others]
    read = read_pkcs12(file, None)
    assert read.key is None
    assert codes(read.findings) == ["no_leaf", "key_invalid"]
    assert "3 different private keys" in read.findings[1].detail


def test_a_hundred_certificates_are_read() -> None:
    read = read_pkcs12(serialized([CERTIFICATE] * 100, NoEncryption()), None)

    assert len(read.certificates) == 100
    assert codes(read.findings) == ["pem_invalid"]


def test_double_base64_is_decoded() -> None:
    read = read_pkcs12(base64.encodebytes(made.P12), "secret")

    assert read.key is not None
    assert [(finding.code, finding.severity) for finding in read.findings] == [
        ("base64_twice", "info")
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "pkcs12 is empty."),
        (made.KEY.encode(), "pkcs12 is PEM."),
        (DER, "is not a readable PKCS#12 file: "),
        (made.P12[:-1], "is not a readable PKCS#12 file: it ends too early."),
        (
            by_hand.pkcs12(by_hand.encrypted_safe(by_hand.sequence(by_hand.oid(by_hand.RSA)))),
            "is encrypted with an unsupported algorithm (1.2.840.113549.1.1.1).",
        ),
    ],
)
def test_other_data_is_identified(data: bytes, what: str) -> None:
    (finding,) = read_pkcs12(data, None).findings

    assert (finding.code, finding.field) == ("key_invalid", "pkcs12")
    assert what in finding.detail


def test_safes_may_be_nested_to_a_limit() -> None:
    nested = by_hand.bag(by_hand.KEY_BAG, PKCS8)
    for _ in range(5):
        nested = by_hand.bag(by_hand.SAFE_BAG, by_hand.sequence(nested))
    assert read_pkcs12(by_hand.pkcs12(by_hand.safe(nested)), None).key is not None

    for _ in range(5):
        nested = by_hand.bag(by_hand.SAFE_BAG, by_hand.sequence(nested))
    (finding,) = read_pkcs12(by_hand.pkcs12(by_hand.safe(nested)), None).findings
    assert "nested too deeply" in finding.detail


@settings(max_examples=50, deadline=None)
@given(st.binary(), st.none() | st.text())
def test_any_bytes_give_a_finding(data: bytes, passphrase: str | None) -> None:
    assert read_pkcs12(data, passphrase).findings


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([*ENCRYPTED.values(), made.P12_PLAIN]),
    st.integers(0, 2000),
    st.integers(0, 9),
    st.binary(max_size=4),
)
def test_a_mutated_file_gives_a_key_or_a_finding(
    seed: bytes, at: int, removed: int, added: bytes
) -> None:
    at %= len(seed)
    read = read_pkcs12(seed[:at] + added + seed[at + removed :], "secret")

    assert read.key or read.findings


@pytest.mark.parametrize("unit", [b"0\x80", b"0\x82\xff\xff", b"\0", b"$\x80"])
def test_a_large_malformed_input_gives_a_finding(unit: bytes) -> None:
    data = (unit * (262_144 // len(unit)))[:262_144]

    assert read_pkcs12(data, "secret").findings
