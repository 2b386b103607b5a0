"""Checks for every certificate of a chain."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography.x509.oid import ExtensionOID

from ...errors import Finding, Severity
from ..asn1.signatures import algorithm_name
from ..chain.authorities import has_accepted_signature, has_weak_signature
from ..text import moment
from ..x509.certificate import Certificate, title

_WITH_SHA_256 = "Have it reissued with a SHA-256, SHA-384 or SHA-512 signature."
_STATUS_REQUEST = 5
_POISON = "1.3.6.1.4.1.11129.2.4.3"

# Critical extensions that Chrome, Firefox and OpenSSL all process.
_PROCESSED = {
    oid.dotted_string
    for oid in (
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.INHIBIT_ANY_POLICY,
    )
}
# Critical extensions that OpenSSL processes and Chrome does not (docs/reference/clients.md): CRL
# distribution points, Netscape's certificate type, resources of RFC 3779, id-pkix-ocsp-nocheck.
_PROCESSED_BY_OPENSSL = {
    "2.5.29.31",
    "2.16.840.1.113730.1.1",
    "1.3.6.1.5.5.7.1.7",
    "1.3.6.1.5.5.7.1.8",
    "1.3.6.1.5.5.7.48.1.5",
}
_NAMES = {
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.35": "authorityKeyIdentifier",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
}


def expired(certificate: Certificate, now: datetime) -> Finding:
    """Returns the finding `expired`: `not_after` of `certificate` is before `now`."""
    return Finding(
        "expired",
        certificate.field,
        f"{title(certificate)} expired on {moment(certificate.not_after)}, "
        f"{days(now - certificate.not_after)} ago.",
        "Renew it and send the new certificate. If a CA certificate expired, send the current one.",
    )


def not_yet_valid(certificate: Certificate, now: datetime, severity: Severity) -> Finding:
    """Returns the finding `not_yet_valid`: `not_before` of `certificate` is after `now`."""
    detail = (
        f"{title(certificate)} is not valid until {moment(certificate.not_before)}, in"
        f" {days(certificate.not_before - now)}."
    )
    hint = "Activate it after that date. If the date is wrong, ask your CA to check its clock."
    return Finding("not_yet_valid", certificate.field, detail, hint, severity)


def weak_signature(certificate: Certificate) -> Iterator[Finding]:
    """Yields `signature_weak` or `signature_unsupported` for the signature of a certificate.

    `signature_weak`: the digest is MD5 or SHA-1. `signature_unsupported`: browsers do not accept
    the algorithm.
    """
    digest = certificate.signature.digest
    if digest and has_weak_signature(certificate):
        detail = f"{title(certificate)} is signed with {digest.name.upper()}, which can be forged."
        yield Finding("signature_weak", certificate.field, detail, _WITH_SHA_256)
    elif not has_accepted_signature(certificate):
        algorithm = algorithm_name(certificate.signature.oid, digest)
        detail = f"{title(certificate)} is signed with {algorithm}, which browsers do not accept."
        yield Finding("signature_unsupported", certificate.field, detail, _WITH_SHA_256)
    elif certificate.signature.has_odd_parameters:
        detail = (
            f"{title(certificate)} has parameters in its ECDSA signature, which the standard"
            " forbids. Chrome rejects it."
        )
        yield Finding("signature_unsupported", certificate.field, detail, _WITH_SHA_256)


def tls_features(certificate: Certificate) -> Iterator[Finding]:
    """Yields findings for required TLS features (RFC 7633), which Firefox enforces."""
    if certificate.extensions.tls_features - {_STATUS_REQUEST}:
        detail = (
            f"{title(certificate)} requires a TLS feature other than OCSP stapling. Firefox"
            " rejects it."
        )
        hint = "Have it reissued without the extension tlsFeature."
        yield Finding("tls_feature_unknown", certificate.field, detail, hint)
    elif certificate.extensions.tls_features:
        yield Finding(
            "must_staple",
            certificate.field,
            f"{title(certificate)} requires OCSP stapling. Firefox rejects it from a server that"
            " does not staple.",
            "Enable OCSP stapling on the server, or have it reissued without the extension"
            " tlsFeature.",
            "warning",
        )


def unhandled_extensions(certificate: Certificate, field: str) -> Iterator[Finding]:
    """Yields a finding for each critical extension that a client rejects (RFC 5280, 4.2)."""
    for oid, extension in certificate.extensions.raw.items():
        if not extension.critical:
            continue
        if oid == _POISON:
            detail = (
                f"{title(certificate)} is a precertificate for Certificate Transparency logs (RFC"
                " 6962). All clients reject it."
            )
            hint = "Send the final certificate from your CA. It has the same serial number."
            yield Finding("precertificate", field, detail, hint)
        elif oid not in _PROCESSED:
            clients = "Browsers" if oid in _PROCESSED_BY_OPENSSL else "Clients"
            name = f"{_NAMES[oid]} ({oid})" if oid in _NAMES else oid
            detail = (
                f"{clients} reject {title(certificate)}: they do not process its critical"
                f" extension {name}."
            )
            hint = "Have it reissued without the extension, or with the extension not critical."
            yield Finding("extension_critical", field, detail, hint)


def days(span: timedelta) -> str:
    """Returns `span` in days, or in hours if it is shorter than a day."""
    if span.days == 0:
        hours = span.seconds // 3600
        return f"{hours} hour{'s' * (hours != 1)}"
    return f"{span.days} day{'s' * (span.days != 1)}"
