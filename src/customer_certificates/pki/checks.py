"""What is wrong with a certificate by itself, or will be soon."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import Finding, Severity
from .certificates import Certificate, title
from .links import LEAST_RSA_BITS, has_weak_signature, too_few_bits
from .material import Trust
from .wording import moment, shown

_SOON = timedelta(days=30)
_SHORT_LIVED = timedelta(days=60)

# How long a public certificate may be valid, by the day it was issued; the newest first.
# CA/Browser Forum, Baseline Requirements 6.3.2, as ballots SC-022, SC-031 and SC-081v3 have it.
_MOST_DAYS = (
    (datetime(2029, 3, 15, tzinfo=UTC), 47),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
    (datetime(2020, 9, 1, tzinfo=UTC), 398),
    (datetime(2018, 3, 1, tzinfo=UTC), 825),
)

_FOR_SERVERS = ExtendedKeyUsageOID.SERVER_AUTH
_FOR_ANYTHING = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
_SIGNS_ONLY = (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)


def check_leaf(leaf: Certificate, trust: Trust, now: datetime) -> tuple[Finding, ...]:
    """What is wrong with `leaf` at the time `now` (UTC), given whom its chain leads to."""
    return (
        *_validity(leaf, now),
        *_lifetime(leaf, trust),
        *_signature(leaf),
        *_names(leaf),
        *_purpose(leaf, trust),
        *_role(leaf, trust),
        *_key(leaf),
    )


def check_chain(authorities: Sequence[Certificate], now: datetime) -> tuple[Finding, ...]:
    """What is wrong at the time `now` (UTC) with the `authorities` that are served with a leaf."""
    return tuple(
        finding
        for authority in authorities
        for finding in (
            *_in_force(authority, now),
            *_signature(authority),
            *_authority_key(authority),
        )
    )


def _validity(leaf: Certificate, now: datetime) -> Iterator[Finding]:
    if leaf.not_after < leaf.not_before:
        yield Finding(
            "validity_invalid",
            leaf.field,
            f"It ends on {moment(leaf.not_after)}, before it begins on {moment(leaf.not_before)}.",
            "Have it issued again; it is valid at no time.",
        )
    yield from _in_force(leaf, now)
    if not leaf.is_valid(now):
        return
    left = leaf.not_after - now
    lifetime = leaf.not_after - leaf.not_before
    if left <= (lifetime / 3 if lifetime < _SHORT_LIVED else _SOON):
        yield Finding(
            "expires_soon",
            leaf.field,
            f"It expires on {moment(leaf.not_after)}, in {_days(left)}.",
            "Renew it, and replace this certificate with the new one.",
            "warning",
        )


def _in_force(certificate: Certificate, now: datetime) -> Iterator[Finding]:
    whose = title(certificate)
    if now > certificate.not_after:
        yield Finding(
            "expired",
            certificate.field,
            f"{whose} expired on {moment(certificate.not_after)},"
            f" {_days(now - certificate.not_after)} ago.",
            "Renew it and send the new one; of an authority's, send the one that is current.",
        )
    elif now < certificate.not_before:
        yield Finding(
            "not_yet_valid",
            certificate.field,
            f"{whose} is valid from {moment(certificate.not_before)} on,"
            f" in {_days(certificate.not_before - now)}.",
            "Activate it no sooner than that, or have the clock of its authority looked at.",
            "warning",
        )


def _lifetime(leaf: Certificate, trust: Trust) -> Iterator[Finding]:
    most = next((days for since, days in _MOST_DAYS if leaf.not_before >= since), None)
    # Both ends belong to the validity (RFC 5280, 4.1.2.5).
    lifetime = leaf.not_after - leaf.not_before + timedelta(seconds=1)
    if most is not None and lifetime > timedelta(days=most):
        over = "more than " if lifetime.days == most else ""
        yield Finding(
            "lifetime_too_long",
            leaf.field,
            f"It is valid for {over}{_days(lifetime)}; browsers accept {most} days of public"
            f" certificates issued on {moment(leaf.not_before)}.",
            "Have it issued for a shorter time, and renew it automatically.",
            "error" if trust == "public" else "info",
        )


def _signature(certificate: Certificate) -> Iterator[Finding]:
    made_with = certificate.digest
    if made_with and has_weak_signature(certificate):
        yield Finding(
            "signature_weak",
            certificate.field,
            f"{title(certificate)} is signed with {made_with.name.upper()}, which can be forged.",
            "Have it issued again with SHA-256 or better.",
        )


def _authority_key(authority: Certificate) -> Iterator[Finding]:
    if bits := too_few_bits(authority):
        yield Finding(
            "key_weak",
            authority.field,
            f"{title(authority)} has an RSA key of {bits:,} bits; clients accept"
            f" {LEAST_RSA_BITS:,} and more.",
            "Have your certificate issued by an authority with a stronger key.",
        )


def _names(leaf: Certificate) -> Iterator[Finding]:
    yield from leaf.san_findings
    if not leaf.hostnames and not leaf.san_findings:
        names = leaf.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        common = f" Its common name, «{shown(str(names[0].value))}»," if names else " A common name"
        yield Finding(
            "san_missing",
            leaf.field,
            f"It has no hostname or IP address in subjectAltName.{common} is not looked at.",
            "Have it issued again with its hostnames in subjectAltName (RFC 9525).",
        )


def _purpose(leaf: Certificate, trust: Trust) -> Iterator[Finding]:
    if leaf.eku is None:
        if trust == "public":
            yield _eku_missing(leaf, "It does not say what it is for", "warning")
    elif not leaf.eku & {_FOR_SERVERS, _FOR_ANYTHING}:
        purposes = ", ".join(sorted(one.dotted_string for one in leaf.eku))
        yield _eku_missing(leaf, f"It is for {shown(purposes)}, and not for servers", "error")


def _eku_missing(leaf: Certificate, what: str, severity: Severity) -> Finding:
    return Finding(
        "eku_missing",
        leaf.field,
        f"{what} (extendedKeyUsage has no serverAuth).",
        "Have it issued again for TLS servers.",
        severity,
    )


def _role(leaf: Certificate, trust: Trust) -> Iterator[Finding]:
    if leaf.is_ca:
        yield Finding(
            "is_ca",
            leaf.field,
            f"{title(leaf)} is a certificate authority's own; some clients refuse servers that"
            " show one.",
            "Send the certificate that was issued for your hostnames; of a self-signed one,"
            " make it with basicConstraints CA:FALSE.",
            "warning" if trust == "self_signed" else "error",
        )
    if leaf.key_usage and not leaf.key_usage.digital_signature:
        yield Finding(
            "key_usage_invalid",
            leaf.field,
            "Its keyUsage has no digitalSignature, so it cannot be used with TLS 1.3"
            + ("." if isinstance(leaf.public_key, _SIGNS_ONLY) else ", or with ephemeral keys."),
            "Have it issued again with keyUsage digitalSignature.",
            "warning",
        )


def _key(leaf: Certificate) -> Iterator[Finding]:
    if leaf.public_key is None:
        algorithm = leaf.x509.public_key_algorithm_oid.dotted_string
        yield Finding(
            "key_invalid",
            leaf.field,
            f"Its key is of a kind that is not known here ({algorithm}).",
            "Have it issued again for an RSA or ECDSA key.",
        )


def _days(span: timedelta) -> str:
    days = span.days
    if days == 0:
        hours = span.seconds // 3600
        return f"{hours} hour{'s' * (hours != 1)}"
    return f"{days} day{'s' * (days != 1)}"
