from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from customer_certificates.errors import Finding
from customer_certificates.pki.lint.chain import check_chain
from customer_certificates.pki.lint.leaf import check_leaf
from customer_certificates.pki.submission import Trust
from customer_certificates.pki.x509.certificate import Certificate, read

from ...corpus.authority import Authority, draft_authority
from ...corpus.keys import dsa_key, ec_key, spki_of
from ..authority import NOW, a_leaf, an_authority, issue, readable, rsa_key, signed_weakly

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

NULL = b"\x05\x00"
CONTENTS = {
    "1.3.6.1.5.5.7.1.1": bytes.fromhex("3011300f06082b06010505073001 8603613a62"),
    "2.5.29.14": bytes.fromhex("040161"),
    "2.5.29.35": bytes.fromhex("3003800161"),
    "1.3.6.1.5.5.7.1.24": bytes.fromhex("3003020105"),
    "2.5.29.31": bytes.fromhex("300b3009a007a0058603613a62"),
    "2.5.29.32": bytes.fromhex("30063004 06022a03"),
    "2.5.29.33": bytes.fromhex("300a3008 06022a03 06022a03"),
    "2.5.29.36": bytes.fromhex("3003800100"),
    "2.5.29.54": bytes.fromhex("020100"),
}


def findings_of(
    certificate: x509.Certificate, trust: Trust = "public", now: datetime = NOW
) -> tuple[Finding, ...]:
    return check_leaf(readable(certificate), trust, now)


def codes_of(leaf: x509.Certificate, authority: x509.Certificate) -> list[str]:
    return [one.code for one in check_chain(readable(leaf), [readable(authority)], None, NOW)]


def critical_leaf(dotted: str) -> x509.Certificate:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), CONTENTS.get(dotted, NULL))
    return a_leaf("Root", identifiers=False, more=[(unknown, True)])


def only(findings: tuple[Finding, ...], code: str) -> Finding:
    (finding,) = findings
    assert finding.code == code
    assert finding.field == "body"
    assert finding.hint
    return finding


def test_a_good_certificate_has_no_findings() -> None:
    assert findings_of(a_leaf("Intermediate")) == ()


def test_an_expired_certificate_is_found() -> None:
    finding = only(findings_of(a_leaf("Root", end=-2 * DAY)), "expired")

    assert finding.severity == "error"
    assert "expired on 2026-05-30T12:00:00Z, 2 days ago" in finding.detail


def test_a_certificate_is_valid_through_its_last_second() -> None:
    last = NOW + 80 * DAY

    assert only(findings_of(a_leaf("Root"), now=last), "expires_soon")
    assert "0 hours ago" in only(findings_of(a_leaf("Root"), now=last + SECOND), "expired").detail


def test_a_certificate_that_is_not_valid_yet_is_found() -> None:
    finding = only(findings_of(a_leaf("Root", start=DAY)), "not_yet_valid")

    assert finding.severity == "warning"
    assert "not valid until 2026-06-02T12:00:00Z, in 1 day" in finding.detail


@pytest.mark.parametrize(
    ("lifetime", "left", "is_soon"),
    [(90, 30, True), (90, 31, False), (47, 15, True), (47, 16, False), (6, 2, True), (6, 3, False)],
)
def test_a_certificate_that_expires_soon_is_found(lifetime: int, left: int, is_soon: bool) -> None:
    leaf = a_leaf("Root", start=(left - lifetime) * DAY, end=left * DAY)
    findings = findings_of(leaf)

    assert [one.code for one in findings] == ["expires_soon"] * is_soon
    assert not findings or f"in {left} days" in findings[0].detail


@pytest.mark.parametrize(
    ("issued", "days"),
    [
        (datetime(2018, 3, 1, tzinfo=UTC), 825),
        (datetime(2020, 8, 31, 23, 59, 59, tzinfo=UTC), 825),
        (datetime(2020, 9, 1, tzinfo=UTC), 398),
        (datetime(2026, 3, 14, 23, 59, 59, tzinfo=UTC), 398),
        (datetime(2026, 3, 15, tzinfo=UTC), 200),
        (datetime(2027, 3, 15, tzinfo=UTC), 100),
        (datetime(2029, 3, 15, tzinfo=UTC), 47),
    ],
)
def test_the_lifetime_limit_depends_on_the_date_of_issue(issued: datetime, days: int) -> None:
    start = issued - NOW
    # Both ends count: a certificate of 200 days ends a second before the same time of day.
    longest = a_leaf("Root", start=start, end=start + days * DAY - SECOND)
    longer = a_leaf("Root", start=start, end=start + days * DAY)

    assert findings_of(longest, now=issued + DAY) == ()
    finding = only(findings_of(longer, now=issued + DAY), "lifetime_too_long")
    assert finding.severity == "error"
    assert f"valid for more than {days} days. Browsers accept at most {days} days" in finding.detail


def test_private_certificates_have_no_lifetime_limit_of_public_cas() -> None:
    finding = only(findings_of(a_leaf("Root", end=800 * DAY), "private"), "lifetime_too_long")

    assert finding.severity == "info"


@pytest.mark.parametrize("trust", ["private", "self_signed", "incomplete"])
def test_safari_limits_the_lifetime_for_every_ca(trust: Trust) -> None:
    finding = only(findings_of(a_leaf("Root", end=3000 * DAY), trust), "lifetime_too_long")

    assert finding.severity == "warning"
    assert "Safari accepts at most 825 days" in finding.detail


@pytest.mark.parametrize("digest", [hashes.MD5(), hashes.SHA1()], ids=["MD5", "SHA1"])
def test_a_weak_signature_is_found(digest: hashes.HashAlgorithm) -> None:
    weak = signed_weakly(a_leaf("Root", signer=rsa_key()), digest)

    finding = only(findings_of(weak), "signature_weak")

    assert finding.severity == "error"
    assert f"«CN=www.example.com» is signed with {digest.name.upper()}" in finding.detail
    leaf = a_leaf("www.example.com", hostname="b.example")
    assert codes_of(leaf, weak) == ["signature_weak"]


def test_an_expired_intermediate_is_found() -> None:
    expired = readable(an_authority("Intermediate", "Root", end=-DAY), "chain", 1)

    (finding,) = check_chain(readable(a_leaf("Intermediate")), [expired], None, NOW)

    assert (finding.code, finding.field) == ("expired", "chain")
    assert "«CN=Intermediate» expired" in finding.detail


@pytest.mark.parametrize(
    ("leaf_start", "severity"), [(-DAY, "error"), (DAY, "error"), (2 * DAY, "warning")]
)
def test_an_intermediate_must_be_valid_before_the_leaf(
    leaf_start: timedelta, severity: str
) -> None:
    leaf = a_leaf("Intermediate", start=leaf_start)
    early = an_authority("Intermediate", "Root", start=2 * DAY)

    (finding,) = check_chain(readable(leaf), [readable(early)], None, NOW)

    assert (finding.code, finding.severity) == ("not_yet_valid", severity)


def test_an_intermediate_must_outlast_the_leaf() -> None:
    leaf = a_leaf("Intermediate", end=80 * DAY)

    assert codes_of(leaf, an_authority("Intermediate", "Root", end=80 * DAY)) == []
    shorter = an_authority("Intermediate", "Root", end=80 * DAY - SECOND)
    assert codes_of(leaf, shorter) == ["chain_expires_first"]


@pytest.mark.parametrize("is_root", [False, True])
def test_a_weak_ca_key_is_found(is_root: bool) -> None:
    weak = an_authority("Root", "Root", key=rsa_key(1024), signer=rsa_key(1024))
    served, root = ([], readable(weak)) if is_root else ([readable(weak)], None)

    (finding,) = check_chain(readable(a_leaf("Root")), served, root, NOW)

    assert (finding.code, finding.field) == ("key_weak", "body")


@pytest.mark.parametrize(
    ("key", "severity"),
    [
        (ec.derive_private_key(7, ec.SECP224R1()), "error"),
        (ec.derive_private_key(7, ec.SECP192R1()), "error"),
        (ec.derive_private_key(7, ec.SECP256K1()), "error"),
        (dsa_key(), "error"),
        (ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), "warning"),
    ],
)
@pytest.mark.parametrize("is_root", [False, True])
def test_a_ca_key_that_browsers_reject_is_found(key: Any, severity: str, is_root: bool) -> None:
    by = draft_authority("Root", ec_key("Root"), Authority("Root", ec_key("Root")))
    made = read(by.but(spki=spki_of(key)).signed(ec_key("Root")), "body", 2)
    assert isinstance(made, Certificate)
    served, root = ([], made) if is_root else ([made], None)

    (finding,) = check_chain(readable(a_leaf("Root")), served, root, NOW)

    assert (finding.code, finding.severity) == ("key_weak", severity)


def test_a_certificate_without_hostnames_is_found() -> None:
    finding = only(findings_of(a_leaf("Root", hostnames=[])), "san_missing")

    assert finding.severity == "error"
    assert "Clients ignore its common name, «www.example.com»" in finding.detail


def test_a_certificate_without_subject_and_hostnames_is_found() -> None:
    nobody = issue("", "Root", purposes=[ExtendedKeyUsageOID.SERVER_AUTH])

    only(findings_of(nobody), "san_missing")


def test_an_email_address_is_not_a_hostname() -> None:
    only(findings_of(a_leaf("Root", hostnames=[x509.RFC822Name("a@b.c")])), "san_missing")


def test_a_name_that_clients_do_not_match_is_found() -> None:
    findings = findings_of(a_leaf("Root", hostnames=["good.example", "b ad.example"]))

    assert only(findings, "san_invalid").severity == "error"


@pytest.mark.parametrize(("trust", "codes"), [("public", ["eku_missing"]), ("private", [])])
def test_a_public_certificate_without_a_purpose_is_found(trust: Trust, codes: list[str]) -> None:
    findings = findings_of(a_leaf("Root", purposes=[]), trust)

    assert [one.code for one in findings] == codes
    assert all(one.severity == "warning" for one in findings)


def test_a_certificate_for_another_purpose_is_found() -> None:
    finding = only(
        findings_of(a_leaf("Root", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]), "private"),
        "eku_missing",
    )

    assert finding.severity == "error"
    assert "1.3.6.1.5.5.7.3.2" in finding.detail


def test_any_purpose_does_not_include_servers() -> None:
    anything, server = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.SERVER_AUTH
    finding = only(findings_of(a_leaf("Root", purposes=[anything])), "eku_missing")

    assert finding.severity == "error"
    assert "Firefox" in finding.detail
    assert findings_of(a_leaf("Root", purposes=[anything, server])) == ()


@pytest.mark.parametrize("trust", ["public", "private", "self_signed", "incomplete"])
@pytest.mark.parametrize(
    ("dotted", "code", "severity"),
    [
        ("1.2.3.4", "extension_critical", "error"),
        ("1.3.6.1.5.5.7.1.1", "extension_critical", "error"),
        ("2.5.29.14", "extension_critical", "error"),
        ("2.5.29.35", "extension_critical", "error"),
        ("1.3.6.1.5.5.7.1.24", "extension_critical", "error"),
        ("2.5.29.31", "extension_critical", "error"),
        ("1.3.6.1.4.1.11129.2.4.3", "precertificate", "error"),
    ],
)
def test_a_critical_extension_that_clients_do_not_process_is_found(
    dotted: str, code: str, severity: str, trust: Trust
) -> None:
    leaf = critical_leaf(dotted)

    (finding,) = [one for one in findings_of(leaf, trust) if one.code == code]

    assert finding.severity == severity
    assert (dotted in finding.detail) is (code == "extension_critical")
    assert code in codes_of(a_leaf("Root"), leaf)


@pytest.mark.parametrize("dotted", ["2.5.29.32", "2.5.29.36", "2.5.29.33", "2.5.29.54"])
def test_critical_policies_are_processed(dotted: str) -> None:
    assert "extension_critical" not in codes_of(a_leaf("Root"), critical_leaf(dotted))


@pytest.mark.parametrize(
    ("trust", "severity"), [("public", "error"), ("private", "error"), ("self_signed", "warning")]
)
def test_a_ca_certificate_as_leaf_is_found(trust: Trust, severity: str) -> None:
    authority = a_leaf("Root", constraints=False, more=[(x509.BasicConstraints(True, None), True)])

    finding = only(findings_of(authority, trust), "is_ca")

    assert finding.severity == severity


@pytest.mark.parametrize("key", [None, rsa_key()], ids=["ECDSA", "RSA"])
def test_a_key_usage_without_signatures_is_found(key: RSAPrivateKey | None) -> None:
    finding = only(findings_of(a_leaf("Root", signs=False, key=key)), "key_usage_invalid")

    assert finding.severity == "error"
    assert "Chrome rejects" in finding.detail


def test_a_key_usage_without_tls_is_found() -> None:
    authority = issue("www.example.com", "Root", ca=True, hostnames=["www.example.com"])

    findings = findings_of(authority, "self_signed")

    assert "All TLS clients reject the certificate" in next(
        one.detail for one in findings if one.code == "key_usage_invalid"
    )


def test_a_key_of_an_unknown_type_is_found() -> None:
    der = a_leaf("Root", key=ed25519.Ed25519PrivateKey.generate()).public_bytes(Encoding.DER)
    made = read(der.replace(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x7f"), "body", 1)
    assert isinstance(made, Certificate)

    assert "1.3.101.127" in only(check_leaf(made, "public", NOW), "key_invalid").detail


def test_all_findings_are_returned_together() -> None:
    worst = a_leaf(
        "Root", ca=True, hostnames=[], purposes=[], start=-900 * DAY, end=-DAY, signer=rsa_key()
    )

    findings = findings_of(signed_weakly(worst, hashes.SHA1()))

    assert [one.code for one in findings] == [
        "expired",
        "lifetime_too_long",
        "signature_weak",
        "san_missing",
        "eku_missing",
        "is_ca",
        "key_usage_invalid",
    ]
