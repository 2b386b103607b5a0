"""Explains which certificate is served for a hostname, and why others are not."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from ...field_docs import doc
from ...pki.names.hostnames import address_of, wildcard_of
from ...pki.selection import (
    Candidate,
    NotServableReason,
    Reason,
    Rejection,
    decide,
    why_not_servable,
)
from ...pki.submission import FINGERPRINT, NOT_AFTER, NOT_BEFORE, Trust
from ..certificates.candidates import Candidates
from ..certificates.servability import WHY
from ..certificates.views import NOT_SERVABLE_REASON, SERVABLE
from ..principal import Principal

KeyType = Literal["ecdsa", "rsa", "ed25519"]

_FOR_ADDRESSES = (
    "Clients send no name (SNI) for an IP address, so a server chooses by the local address "
    "of the connection. Caddy does if it sends local_ip; Traefik always does. nginx and "
    "HAProxy serve the certificate only as a listener's default. See docs/how-to."
)
_WHY: dict[Reason, str] = {
    **WHY,
    "inactive": "It is not active.",
    "other_owner": "Its user does not own the hostname.",
    "other_key_type": "Its key type is not the requested one.",
    "less_exact": "It matches by a wildcard; certificate {to} has the exact hostname.",
    "less_trusted": "Certificate {to} has a higher trust level ({its_trust}; this one: {trust}).",
    "ends_sooner": "Certificate {to} expires later.",
    "older": "Certificate {to} is equally good and newer.",
}


class SelectedCertificate(msgspec.Struct):
    """The certificate that is served to clients that support its key type."""

    key_type: Annotated[str, doc("The type of its key.", "ecdsa")]
    certificate_id: Annotated[int, doc("The certificate.", 1, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    version: Annotated[int, doc("The version of the certificate.", 1, ge=1)]
    matches: Annotated[str, doc("Its hostname or wildcard that matches.", "*.a.org")]
    trust: Annotated[Trust, doc("The trust level of the certificate.", "public")]
    not_before: Annotated[datetime | None, NOT_BEFORE]
    not_after: Annotated[datetime | None, NOT_AFTER]
    fingerprint_sha256: Annotated[str | None, FINGERPRINT]


class RejectedCertificate(msgspec.Struct):
    """A certificate that matches the hostname, but is not served."""

    certificate_id: Annotated[int, doc("The certificate.", 2, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    version: Annotated[int, doc("The version of the certificate.", 1, ge=1)]
    key_type: Annotated[str | None, doc("The type of its key. null: unknown.")]
    matches: Annotated[str, doc("Its hostname that matches.")]
    reason: Annotated[Reason, doc("Why it is not served, as a code.", "expired")]
    detail: Annotated[str, doc("The reason in words.", "It expired on 2026-11-01.")]
    superseded_by: Annotated[int | None, doc("The certificate that is served instead, if any.")]
    servable: Annotated[bool, SERVABLE]
    not_servable_reason: Annotated[NotServableReason | None, NOT_SERVABLE_REASON]


class Resolved(msgspec.Struct):
    """The certificates that are served for a hostname at a given time."""

    hostname: Annotated[str, doc("The normalized hostname.", "www.a.org")]
    at: Annotated[datetime, doc("The time for which this was decided.", tz=True)]
    selected: Annotated[
        list[SelectedCertificate], doc("One for each key type. Empty: none is served.")
    ]
    rejected: Annotated[
        list[RejectedCertificate],
        doc("The owner's active certificates, then the newest others: some hundreds."),
    ]
    note: Annotated[str | None, doc("For an IP address: the servers that can serve it.")]


@dataclass(frozen=True, slots=True)
class Resolver:
    """Selects certificates by the same rules as terminators (pki/selection.py)."""

    candidates: Candidates
    clock: Callable[[], datetime]

    def resolve(self, principal: Principal, hostname: str, key_type: KeyType | None) -> Resolved:
        """Resolves the normalized `hostname`; a terminator sees only what is in its scope."""
        now, scope = self.clock(), principal.terminator_scope
        found = self.candidates.of(hostname) if scope.has_name(hostname) else []
        fingerprints = {item.candidate.certificate_id: item.fingerprint_sha256 for item in found}
        # The owner is decided among all users, before the scope hides some of them.
        selected, rejected = decide(hostname, [item.candidate for item in found], now, key_type)
        return Resolved(
            hostname,
            now,
            [
                _selected(hostname, candidate, fingerprints[candidate.certificate_id])
                for _, candidate in sorted(selected.items())
                if scope.has_user(candidate.user_id)
            ],
            [
                _rejected(hostname, rejection, now)
                for rejection in rejected
                if scope.has_user(rejection.candidate.user_id)
            ],
            _FOR_ADDRESSES if address_of(hostname) else None,
        )


def _selected(hostname: str, candidate: Candidate, fingerprint: str | None) -> SelectedCertificate:
    return SelectedCertificate(
        candidate.key_type or "",
        candidate.certificate_id,
        candidate.user_id,
        candidate.version,
        _match(hostname, candidate),
        candidate.trust,
        candidate.not_before,
        candidate.not_after,
        fingerprint,
    )


def _rejected(hostname: str, rejection: Rejection, now: datetime) -> RejectedCertificate:
    candidate, reason, other = rejection
    not_servable = why_not_servable(candidate, now)
    other_id, other_trust = (other.certificate_id, other.trust) if other else (None, None)
    return RejectedCertificate(
        candidate.certificate_id,
        candidate.user_id,
        candidate.version,
        candidate.key_type,
        _match(hostname, candidate),
        reason,
        _WHY[reason].format(**candidate._asdict(), to=other_id, its_trust=other_trust),
        other_id,
        not_servable is None,
        not_servable,
    )


def _match(hostname: str, candidate: Candidate) -> str:
    names = candidate.owned_hostnames or candidate.hostnames
    return hostname if hostname in names else wildcard_of(hostname)
