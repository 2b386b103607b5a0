"""Checks of a leaf certificate alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography.x509.oid import ExtendedKeyUsageOID

from ...errors import Finding, Severity
from ..asn1.extensions import SUBJECT_ALT_NAME
from ..submission import Trust
from ..text import moment, shown
from ..x509.certificate import Certificate, title
from .certificate import (
    days,
    expired,
    not_yet_valid,
    tls_features,
    unhandled_extensions,
    weak_signature,
)

_DAY = timedelta(days=1)
_SOON = timedelta(days=30)
# Safari's limit for certificates of any CA issued since July 2019 (support.apple.com/103769).
_MOST_DAYS_IN_SAFARI = 825
_SINCE_IN_SAFARI = datetime(2019, 7, 1, tzinfo=UTC)
_SHORT_LIVED = timedelta(days=60)

# The longest lifetime of a public certificate by date of issue, newest first. CA/Browser Forum,
# Baseline Requirements 6.3.2, ballots SC-022, SC-031 and SC-081v3.
_MOST_DAYS = (
    (datetime(2029, 3, 15, tzinfo=UTC), 47),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
    (datetime(2020, 9, 1, tzinfo=UTC), 398),
    (datetime(2018, 3, 1, tzinfo=UTC), 825),
)

# An empty name in DER.
_NOBODY = b"\x30\x00"
_FOR_A_SHORTER_TIME = "Have it issued for a shorter time, and automate renewals."
_FOR_SERVERS = ExtendedKeyUsageOID.SERVER_AUTH
_FOR_OCSP = ExtendedKeyUsageOID.OCSP_SIGNING
_FOR_ANYTHING = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def check_leaf(leaf: Certificate, trust: Trust, now: datetime) -> tuple[Finding, ...]:
    """Yields findings about `leaf` at the time `now` (UTC), given the `trust` of its chain."""
    return (
        *_validity(leaf, now),
        *_lifetime(leaf, trust),
        *weak_signature(leaf),
        *_names(leaf),
        *_purpose(leaf, trust),
        *_role(leaf, trust),
        *_key(leaf),
        *unhandled_extensions(leaf, leaf.field),
        *tls_features(leaf),
    )


def _validity(leaf: Certificate, now: datetime) -> Iterator[Finding]:
    if leaf.not_after < leaf.not_before:
        detail = (
            f"The certificate expires on {moment(leaf.not_after)}, before it becomes valid on"
            f" {moment(leaf.not_before)}."
        )
        hint = "Have it reissued. It is never valid."
        yield Finding("validity_invalid", leaf.field, detail, hint)
    if now > leaf.not_after:
        yield expired(leaf, now)
    elif now < leaf.not_before:
        # The certificate may be stored now and served later.
        yield not_yet_valid(leaf, now, "warning")
    if not leaf.is_valid(now):
        return
    remaining = leaf.not_after - now
    lifetime = leaf.not_after - leaf.not_before
    if remaining <= (lifetime / 3 if lifetime < _SHORT_LIVED else _SOON):
        detail = f"The certificate expires on {moment(leaf.not_after)}, in {days(remaining)}."
        hint = "Renew it and replace this certificate with the new one."
        yield Finding("expires_soon", leaf.field, detail, hint, "warning")


def _lifetime(leaf: Certificate, trust: Trust) -> Iterator[Finding]:
    most = next((limit for since, limit in _MOST_DAYS if leaf.not_before >= since), None)
    # The validity includes both dates (RFC 5280, 4.1.2.5).
    lifetime = leaf.not_after - leaf.not_before + timedelta(seconds=1)
    is_refused = leaf.not_before >= _SINCE_IN_SAFARI and lifetime > _MOST_DAYS_IN_SAFARI * _DAY
    if trust != "public" and is_refused:
        detail = (
            f"The certificate is valid for {days(lifetime)}. Safari accepts at most "
            f"{_MOST_DAYS_IN_SAFARI} days from any CA."
        )
        yield Finding("lifetime_too_long", leaf.field, detail, _FOR_A_SHORTER_TIME, "warning")
    elif most is not None and lifetime > most * _DAY:
        over = "more than " if lifetime.days == most else ""
        yield Finding(
            "lifetime_too_long",
            leaf.field,
            f"The certificate is valid for {over}{days(lifetime)}. Browsers accept at most {most}"
            f" days for public certificates issued on {moment(leaf.not_before)}.",
            _FOR_A_SHORTER_TIME,
            "error" if trust == "public" else "info",
        )


def _names(leaf: Certificate) -> Iterator[Finding]:
    yield from leaf.san_findings
    san = leaf.extensions.raw.get(SUBJECT_ALT_NAME)
    if leaf.subject == _NOBODY and san and not san.critical:
        detail = (
            "The subject is empty and subjectAltName is not critical. Chrome rejects the"
            " certificate."
        )
        hint = "Have it reissued with a common name, or with subjectAltName critical."
        yield Finding("san_invalid", leaf.field, detail, hint)
    if not leaf.hostnames and not leaf.san_findings:
        name = leaf.common_name
        ignored = "the common name" if name is None else f"its common name, «{shown(name)}»"
        detail = (
            "The certificate has no hostname or IP address in subjectAltName. Clients ignore"
            f" {ignored}."
        )
        hint = "Have it reissued with its hostnames in subjectAltName (RFC 9525)."
        yield Finding("san_missing", leaf.field, detail, hint)


def is_for_servers(leaf: Certificate) -> bool:
    """Returns whether OpenSSL accepts `leaf` for the purpose serverAuth."""
    eku = leaf.extensions.eku
    return leaf.extensions.is_netscape_server and (eku is None or _FOR_SERVERS in eku)


def _purpose(leaf: Certificate, trust: Trust) -> Iterator[Finding]:
    if not leaf.extensions.is_netscape_server:
        detail = (
            "Netscape's certificate type does not include TLS servers. OpenSSL rejects the"
            " certificate."
        )
        yield _eku_invalid(leaf, detail)
    eku = leaf.extensions.eku
    if eku and _FOR_OCSP in eku:
        detail = "The certificate may also sign OCSP responses. Firefox rejects it."
        yield _eku_invalid(leaf, detail)
    if eku is None:
        if trust == "public":
            yield _eku_missing(leaf, "The certificate does not state its purpose", "warning")
    elif _FOR_ANYTHING in eku and _FOR_SERVERS not in eku:
        detail = "The certificate is for any purpose, which Firefox and OpenSSL do not accept"
        yield _eku_missing(leaf, detail, "error")
    elif _FOR_SERVERS not in eku:
        purposes = shown(", ".join(sorted(purpose.dotted_string for purpose in eku)))
        yield _eku_missing(leaf, f"The certificate is for {purposes}, not for servers", "error")


def _eku_invalid(leaf: Certificate, detail: str) -> Finding:
    return Finding("eku_invalid", leaf.field, detail, "Have it reissued for TLS servers only.")


def _eku_missing(leaf: Certificate, clause: str, severity: Severity) -> Finding:
    detail = f"{clause} (extendedKeyUsage has no serverAuth)."
    return Finding("eku_missing", leaf.field, detail, "Have it reissued for TLS servers.", severity)


def _role(leaf: Certificate, trust: Trust) -> Iterator[Finding]:
    if leaf.extensions.is_ca:
        yield Finding(
            "is_ca",
            leaf.field,
            f"{title(leaf)} is a CA certificate. Some clients reject servers that send one as"
            " their own.",
            "Send the certificate that was issued for your hostnames. For a self-signed"
            " certificate, set basicConstraints CA:FALSE.",
            "warning" if trust == "self_signed" else "error",
        )
    usage = leaf.extensions.key_usage
    if usage and not usage.digital_signature:
        is_for_keys = usage.key_encipherment or usage.key_agreement
        rejected = "Chrome rejects" if is_for_keys else "All TLS clients reject"
        detail = f"The keyUsage lacks digitalSignature. {rejected} the certificate."
        hint = "Have it reissued with keyUsage digitalSignature."
        yield Finding("key_usage_invalid", leaf.field, detail, hint)


def _key(leaf: Certificate) -> Iterator[Finding]:
    is_reported = any(finding.code == "key_invalid" for finding in leaf.findings)
    if leaf.public_key is None and not is_reported:
        detail = f"The type of the public key is unknown ({leaf.key_oid})."
        hint = "Have it reissued for an RSA or ECDSA key."
        yield Finding("key_invalid", leaf.field, detail, hint)
