"""What is wrong with the certificates above a leaf, or will be before it expires."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from ..errors import Finding
from .authorities import LEAST_RSA_BITS, is_unknown_to_browsers, too_few_bits
from .certificate_checks import expired, not_yet_valid, unhandled_extensions, weak_signature
from .certificates import Certificate, title
from .public_keys import key_algorithm
from .wording import moment


def check_chain(
    leaf: Certificate,
    authorities: Sequence[Certificate],
    root: Certificate | None,
    now: datetime,
) -> tuple[Finding, ...]:
    """What is wrong at the time `now` (UTC) with the `authorities` that are served with `leaf`,
    and with the `root` that they lead to."""
    findings = [
        finding
        for authority in authorities
        for finding in (
            *_validity(leaf, authority, now),
            *weak_signature(authority),
            *_key(authority, authority.field),
            *unhandled_extensions(authority, authority.field),
        )
    ]
    if root and root is not leaf:
        findings += [*_key(root, leaf.field), *unhandled_extensions(root, leaf.field)]
    return tuple(findings)


def _validity(leaf: Certificate, authority: Certificate, now: datetime) -> Iterator[Finding]:
    if now > authority.not_after:
        yield expired(authority, now)
        return
    if now < authority.not_before:
        # If the leaf begins later still, the chain is good when it is needed.
        is_in_time = authority.not_before <= leaf.not_before
        yield not_yet_valid(authority, now, "warning" if is_in_time else "error")
    if authority.not_after < leaf.not_after:
        yield Finding(
            "chain_expires_first",
            authority.field,
            f"{title(authority)} expires on {moment(authority.not_after)}, before the certificate"
            f" that it belongs to, on {moment(leaf.not_after)}.",
            "Replace the chain, or renew the certificate, before that.",
            "warning",
        )


def _key(authority: Certificate, field: str) -> Iterator[Finding]:
    if bits := too_few_bits(authority):
        yield Finding(
            "key_weak",
            field,
            f"{title(authority)} has an RSA key of {bits:,} bits; clients accept"
            f" {LEAST_RSA_BITS:,} and more.",
            "Have your certificate issued by a CA with a stronger key.",
        )
    elif authority.public_key and is_unknown_to_browsers(authority):
        yield Finding(
            "key_weak",
            field,
            f"{title(authority)} has a key of the kind {key_algorithm(authority.public_key)}."
            " Chrome and Firefox refuse what such a key signed; clients that use OpenSSL accept"
            " it.",
            "Have your certificate issued by a CA with an RSA or ECDSA P-256 key.",
            "warning",
        )
