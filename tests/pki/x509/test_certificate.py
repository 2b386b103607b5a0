import hashlib
import warnings
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import crypto

from customer_certificates.errors import Finding
from customer_certificates.pki.asn1 import der
from customer_certificates.pki.asn1.extensions import RawExtension
from customer_certificates.pki.x509.certificate import Certificate, leaf_view, pem_of, read, title

from ...corpus.authority import Draft, draft_leaf, name, raw_extension
from ...corpus.der import element, sequence
from ...corpus.keys import ec_key
from ..authority import NOW, a_leaf, an_authority, issue, readable, rsa_key

LEAF = a_leaf("Intermediate", "www.example.com", number=0xABC)
DER = LEAF.public_bytes(Encoding.DER)
SAN = "2.5.29.17"


def an_extension(oid: str, value: bytes, is_critical: bool = False) -> x509.Certificate:
    extension = x509.UnrecognizedExtension(ObjectIdentifier(oid), value)
    return a_leaf("Intermediate", hostnames=[], purposes=[], more=[(extension, is_critical)])


def test_a_certificate_is_read() -> None:
    made = readable(LEAF, "chain", 3)

    assert (made.field, made.number, made.der) == ("chain", 3, DER)
    assert made.fingerprint == hashlib.sha256(DER).hexdigest()
    assert made.subject == LEAF.subject.public_bytes()
    assert made.issuer == LEAF.issuer.public_bytes()
    assert made.spki == LEAF.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert made.public_key == LEAF.public_key()
    assert made.hostnames == ("www.example.com",)
    assert (made.extensions.is_ca, made.extensions.path_length) == (False, None)
    assert made.not_before == NOW - timedelta(days=10)
    assert made.not_after == NOW + timedelta(days=80)


def test_a_ca_certificate_is_read() -> None:
    made = readable(an_authority("Root", "Root", path_length=2))

    assert (made.extensions.is_ca, made.extensions.path_length) == (True, 2)
    assert made.extensions.ski
    assert made.extensions.aki == made.extensions.ski


def test_the_visible_fields_of_a_leaf() -> None:
    shown = leaf_view(readable(LEAF))

    assert shown.subject == "CN=www.example.com"
    assert shown.issuer == "CN=Intermediate"
    assert shown.serial == "abc"
    assert shown.hostnames == ("www.example.com",)
    assert shown.not_after == NOW + timedelta(days=80)
    assert shown.spki_sha256 == hashlib.sha256(readable(LEAF).spki).hexdigest()
    assert shown.signature_algorithm == "ecdsa-with-SHA256"


def test_an_rsa_pss_signature_names_its_digest() -> None:
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    builder = x509.CertificateBuilder(
        LEAF.issuer, LEAF.subject, LEAF.public_key(), 1, NOW, NOW + timedelta(days=1)
    )
    made = builder.sign(rsa_key(), SHA256(), rsa_padding=pss)

    assert leaf_view(readable(made)).signature_algorithm == "RSASSA-PSS with SHA256"


def test_a_certificate_is_encoded_as_pem() -> None:
    assert pem_of(DER) == LEAF.public_bytes(Encoding.PEM).decode()


def test_a_certificate_without_a_subject_is_named_by_its_serial_number() -> None:
    assert title(readable(issue("", "Root", number=0xAB))) == "number ab"


def test_control_characters_of_names_are_escaped() -> None:
    made = readable(issue("a\x1b[2J\u202eb\n" + "x" * 50, "Root\x00"))

    assert title(made).startswith("«CN=a\\1B[2J\\E2\\80\\AEb\\0Ax")
    assert leaf_view(made).subject.isprintable()
    assert "\x00" not in leaf_view(made).issuer


def test_a_long_serial_number_is_cut() -> None:
    long = leaf_of(draft_leaf().but(subject=name(), serial=1 << 800_000))

    assert len(title(long)) < 220
    assert len(leaf_view(long).serial) <= 1001


@pytest.mark.parametrize(("content", "can_sign"), [(b"\x02\x07", True), (b"\x03\x07", False)])
def test_unused_bits_of_a_key_usage_are_ignored(content: bytes, can_sign: bool) -> None:
    usage = raw_extension("2.5.29.15", element(0x03, content), critical=True)

    made = leaf_of(draft_leaf(key_usage=usage))

    assert made.extensions.key_usage
    assert (made.extensions.key_usage.key_cert_sign, made.extensions.key_usage.crl_sign) == (
        can_sign,
        False,
    )
    assert [(one.code, one.severity) for one in made.findings] == [("extension_malformed", "error")]


@pytest.mark.parametrize(
    "subtree",
    [
        pytest.param(element(0x87, b"\x01\x02\x03"), id="an address of 3 octets"),
        pytest.param(element(0x87, bytes(4) + b"\xff\0\xff\0"), id="a mask with a gap"),
        pytest.param(element(0x82, b"\xe9.example"), id="a name that is not ASCII"),
        pytest.param(element(0x82, b"a") + element(0x80, b"\0"), id="a minimum"),
    ],
)
def test_name_constraints_that_a_browser_cannot_read_are_found(subtree: bytes) -> None:
    permitted = sequence(element(0xA0, sequence(subtree)))

    made = leaf_of(draft_leaf(more=[raw_extension("2.5.29.30", permitted)]))

    assert [(one.code, one.severity) for one in made.findings] == [("extension_malformed", "error")]


def leaf_of(draft: Draft) -> Certificate:
    made = read(draft.signed(ec_key("anybody")), "body", 1)
    assert isinstance(made, Certificate)
    return made


def test_a_long_name_is_cut() -> None:
    long_name = [x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60, _validate=False)] * 50
    builder = x509.CertificateBuilder(
        x509.Name(long_name), x509.Name(long_name), LEAF.public_key(), 1, NOW, NOW
    )
    made = readable(builder.sign(rsa_key(), SHA256()))

    assert len(title(made)) < 210
    assert len(leaf_view(made).subject) <= 1001


@pytest.mark.parametrize(
    "no_certificate", [b"", b"0", b"\x30\x80", b"x" * 100, DER[:-1], DER + b"x"]
)
def test_data_that_is_not_a_certificate_is_reported(no_certificate: bytes) -> None:
    finding = read(no_certificate, "chain", 2)

    assert isinstance(finding, Finding)
    assert (finding.code, finding.field, finding.severity) == ("pem_invalid", "chain", "error")
    assert "Certificate 2 of chain" in finding.detail


@pytest.mark.parametrize(
    "oid",
    [
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.18",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.32",
        "2.5.29.35",
        "2.5.29.36",
        "2.5.29.37",
        "2.5.29.46",
        "2.5.29.54",
        "1.3.6.1.5.5.7.1.1",
        "1.3.6.1.5.5.7.1.11",
        "1.3.6.1.5.5.7.1.24",
        "1.3.6.1.4.1.11129.2.4.2",
    ],
)
@pytest.mark.parametrize("value", [b"", b"\x30", b"\xff" * 9])
def test_a_malformed_extension_is_reported(oid: str, value: bytes) -> None:
    builder = x509.CertificateBuilder(
        LEAF.issuer, LEAF.subject, LEAF.public_key(), 1, NOW, NOW + timedelta(days=1)
    ).add_extension(x509.UnrecognizedExtension(ObjectIdentifier(oid), value), critical=False)
    certificate = builder.sign(rsa_key(), SHA256())

    made = readable(certificate)

    (finding,) = made.san_findings or made.findings
    assert finding.code in ("extension_malformed", "san_invalid")
    assert "cannot be read" in finding.detail
    assert made.extensions.raw == {oid: RawExtension(critical=False, value=value)}
    assert made.subject_text == "CN=www.example.com"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x03\x82\x01\xff", id="no text"),
        pytest.param(b"\x30\x05\x87\x03abc", id="an address of three bytes"),
        pytest.param(b"\x30\x0a\x87\x08abcdefgh", id="an address with a mask that is none"),
        pytest.param(b"\x30\x04\x82\x05ab", id="cut off"),
    ],
)
def test_malformed_alternative_names_are_reported(value: bytes) -> None:
    made = readable(an_extension(SAN, value))

    (finding,) = made.san_findings
    assert (finding.code, finding.severity) == ("san_invalid", "error")
    assert made.hostnames == ()


@pytest.mark.parametrize("tag", [0xA0, 0x81, 0xA3, 0xA4, 0xA5, 0x86, 0x88])
def test_other_types_of_names_are_ignored(tag: int) -> None:
    made = readable(an_extension(SAN, bytes([0x30, 9, tag, 0, 0x82, 5]) + b"a.b.c"))

    assert (made.hostnames, made.san_findings) == (("a.b.c",), ())


def test_a_name_that_is_not_ascii_is_reported_and_the_rest_is_read() -> None:
    made = readable(an_extension(SAN, b"\x30\x0b\x82\x02\xc3\xa4\x82\x05a.b.c"))

    assert made.hostnames == ("a.b.c",)
    assert "ASCII" in made.san_findings[0].detail


def test_an_unreadable_key_is_reported_and_the_rest_is_read() -> None:
    spki = readable(LEAF).spki
    made = read(DER.replace(spki, spki[:-64] + bytes(64)), "body", 1)

    assert isinstance(made, Certificate)
    assert [finding.code for finding in made.findings] == ["key_invalid"]
    assert (made.public_key, made.hostnames) == (None, ("www.example.com",))


def test_a_key_of_an_unknown_type_is_left_out() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    der = a_leaf("Root", key=key).public_bytes(Encoding.DER)
    made = read(der.replace(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x7f"), "body", 1)

    assert isinstance(made, Certificate)
    assert made.public_key is None
    assert leaf_view(made).key_algorithm == "1.3.101.127"


def test_a_bundle_labeled_as_a_certificate_is_reported() -> None:
    """Windows puts BEGIN CERTIFICATE around PKCS#7 too."""
    bundle = pkcs7.serialize_certificates(
        [a_leaf("Root"), an_authority("Root", "Root")], Encoding.DER
    )

    found = read(bundle, "body", 1)

    assert isinstance(found, Finding)
    assert "PKCS#7" in found.detail


def test_oddities_cause_no_warnings() -> None:
    made = DER.replace(b"\x02\x02\x0a\xbc", b"\x02\x02\xfa\xbc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = read(made, "body", 1)

    assert isinstance(certificate, Certificate)
    assert leaf_view(certificate).serial == "-544"


@pytest.mark.parametrize("tag", [*range(11, 16), *range(18, 31), der.BIT_STRING, der.OCTET_STRING])
@pytest.mark.parametrize(
    "octets",
    [b"abcd", b"a", b"a*&@", "ü".encode(), b"\0\x10\xff\xff", b"\xd8\0\xd8\0", b"\xff" * 4],
)
def test_an_unloadable_subject_is_found_as_by_openssl(tag: int, octets: bytes) -> None:
    name = a_subject(tag, octets)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "www.example.com")])
    made = LEAF.tbs_certificate_bytes.replace(subject.public_bytes(), name)
    assert made.startswith(b"0\x82")
    made = b"0\x82" + (len(made) - 4).to_bytes(2) + made[4:]
    whole = made + b"0\x0a\x06\x08*\x86H\xce=\x04\x03\x02" + b"\x03\x02\x00\x00"
    whole = b"0\x82" + len(whole).to_bytes(2) + whole

    ours = read(whole, "body", 1)

    assert isinstance(ours, Certificate)
    told = any((one.code, one.severity) == ("name_malformed", "error") for one in ours.findings)
    assert told is not openssl_loads(whole)


def a_subject(tag: int, octets: bytes) -> bytes:
    """A name with one attribute, the common name, with its own type."""
    value = bytes([tag, len(octets)]) + octets
    attribute = b"\x06\x03\x55\x04\x03" + value
    inner = bytes([0x30, len(attribute)]) + attribute
    one = bytes([0x31, len(inner)]) + inner
    return bytes([0x30, len(one)]) + one


def openssl_loads(certificate: bytes) -> bool:
    try:
        crypto.load_certificate(crypto.FILETYPE_ASN1, certificate)
    except crypto.Error:
        return False
    return True


@given(st.integers(0, len(DER) * 8 - 1), st.integers(0, len(DER) * 8 - 1))
def test_no_flipped_bit_raises(first: int, second: int) -> None:
    damaged = bytearray(DER)
    for bit in (first, second):
        damaged[bit // 8] ^= 1 << bit % 8
    made = read(bytes(damaged), "body", 1)

    assert isinstance(made, Finding) or leaf_view(made)


@given(st.integers(0, len(DER) - 1), st.integers(0, 20), st.binary(max_size=20))
def test_no_replaced_piece_raises(at: int, length: int, piece: bytes) -> None:
    made = read(DER[:at] + piece + DER[at + length :], "body", 1)

    assert isinstance(made, Finding) or leaf_view(made)
