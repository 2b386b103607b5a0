"""Checks of the CA certificates above a leaf, now and until the leaf expires."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

from ...errors import Finding
from ..asn1.extensions import POLICY_CONSTRAINTS
from ..chain.authorities import LEAST_RSA_BITS, is_key_refused, too_few_bits
from ..chain.verification import POLICY_REQUIRED, Anchors
from ..keys.public_keys import key_algorithm
from ..text import moment
from ..x509.certificate import Certificate, title
from .certificate import expired, not_yet_valid, tls_features, unhandled_extensions, weak_signature

_BY_ANOTHER = "Have your certificate issued by a CA with an RSA, P-256 or P-384 key."
# Firefox's limit.
_MOST_AUTHORITIES = 6


def check_chain(
    leaf: Certificate, authorities: Sequence[Certificate], root: Certificate | None, now: datetime
) -> tuple[Finding, ...]:
    """Yields findings about a chain at the time `now` (UTC).

    `authorities` are the CA certificates that are served with `leaf`. The chain ends in `root`.
    """
    findings = [
        finding
        for authority in authorities
        for finding in (
            *_validity(leaf, authority, now),
            *weak_signature(authority),
            *_key(authority, authority.field),
            *unhandled_extensions(authority, authority.field),
            *tls_features(authority),
        )
    ]
    if root and root is not leaf:
        findings += [*_key(root, leaf.field), *unhandled_extensions(root, leaf.field)]
    if len(authorities) > _MOST_AUTHORITIES:
        findings.append(_too_long(leaf, len(authorities)))
    findings += _names(leaf, authorities)
    if root and any(
        POLICY_CONSTRAINTS in certificate.extensions.raw for certificate in (*authorities, root)
    ):
        findings += _policies(leaf, authorities, root)
    return tuple(findings)


def _too_long(leaf: Certificate, count: int) -> Finding:
    detail = f"There are {count} intermediates. Firefox accepts at most {_MOST_AUTHORITIES}."
    hint = "Have your certificate issued by a CA that is closer to the root."
    return Finding("chain_too_long", leaf.field, detail, hint)


def _policies(
    leaf: Certificate, authorities: Sequence[Certificate], root: Certificate
) -> Iterator[Finding]:
    anchor = Anchors([root.der], partial=True, check_policies=True)
    fault = anchor.fault(leaf.der, [authority.der for authority in authorities])
    if fault and fault.number == POLICY_REQUIRED:
        detail = (
            "A CA requires a certificate policy (policyConstraints) that the certificates below"
            " it do not have. Chrome rejects the chain."
        )
        hint = "Have it reissued with a policy that its CAs permit."
        yield Finding("policy_missing", leaf.field, detail, hint)


def _names(leaf: Certificate, authorities: Sequence[Certificate]) -> Iterator[Finding]:
    for child, issuer in pairwise((leaf, *authorities)):
        if child.issuer != issuer.subject:
            detail = (
                f"The issuer name of {title(child)} is encoded differently than the subject of"
                f" {title(issuer)} (string type, case or spaces). Firefox does not find the"
                " issuer. Other clients do."
            )
            hint = "Have it reissued with the name encoded as in the CA certificate."
            yield Finding("issuer_name_differs", child.field, detail, hint, "warning")


def _validity(leaf: Certificate, authority: Certificate, now: datetime) -> Iterator[Finding]:
    if now > authority.not_after:
        yield expired(authority, now)
        return
    if now < authority.not_before:
        # If the leaf is not valid before that, the chain is valid by the time it is needed.
        is_in_time = authority.not_before <= leaf.not_before
        yield not_yet_valid(authority, now, "warning" if is_in_time else "error")
    if authority.not_after < leaf.not_after:
        detail = (
            f"{title(authority)} expires on {moment(authority.not_after)}, before the leaf, which"
            f" expires on {moment(leaf.not_after)}."
        )
        hint = "Replace the chain or renew the certificate before that date."
        yield Finding("chain_expires_first", authority.field, detail, hint, "warning")


def _key(authority: Certificate, field: str) -> Iterator[Finding]:
    if bits := too_few_bits(authority):
        detail = (
            f"{title(authority)} has an RSA key of {bits:,} bits. Clients require at least"
            f" {LEAST_RSA_BITS:,}."
        )
        yield Finding("key_weak", field, detail, _BY_ANOTHER)
    elif is_key_refused(authority):
        key = authority.public_key
        is_edwards = isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
        kind = key_algorithm(key) if key else authority.key_oid
        detail = (
            f"{title(authority)} has a {kind} key. Browsers reject certificates signed with such"
            " keys."
        )
        yield Finding("key_weak", field, detail, _BY_ANOTHER, "warning" if is_edwards else "error")
