"""Selects the certificate for a hostname. The service and its agents share this code."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from .names.hostnames import wildcard_of
from .submission import NotServable, Trust

# Why no server may get a certificate, in the order of the checks.
NotServableReason = Literal[
    "unreadable",
    "no_key",
    "not_loadable",
    "expired",
    "not_yet_valid",
    "chain_expired",
    "chain_not_yet_valid",
]
# Why a certificate was not selected, in the order of the checks.
Reason = Literal[
    "inactive",
    "other_owner",
    NotServableReason,
    "other_key_type",
    "less_exact",
    "less_trusted",
    "ends_sooner",
    "older",
]

_TRUSTS: dict[Trust, int] = {
    "public": 4,
    "private": 3,
    "self_signed": 2,
    "incomplete": 1,
    "unreadable": 0,
}
# Preference between equal certificates: the cheapest handshake that all clients support.
_PREFERRED = ("ecdsa", "rsa", "ed25519")
_COMPARED: tuple[Reason, ...] = ("less_exact", "less_trusted", "ends_sooner", "older")
_INSTANT = timedelta(microseconds=1)


class Candidate(NamedTuple):
    """The current state of a certificate.

    `hostnames` are normalized; its user owns those in `owned` (None: all). The dates, and
    `key_type` (see `key_type_of`), are None if the certificate could not be read. `has_key`: a
    private key is stored for it. The whole chain is valid from `serve_not_before` to
    `serve_not_after`; None: the certificate's own dates apply. `not_servable`: why no server can
    load it.
    """

    certificate_id: int
    user_id: int
    version: int
    active: bool
    hostnames: Collection[str]
    not_before: datetime | None
    not_after: datetime | None
    trust: Trust
    key_type: str | None
    has_key: bool
    serve_not_before: datetime | None = None
    serve_not_after: datetime | None = None
    not_servable: NotServable | None = None
    owned: Collection[str] | None = None

    @property
    def owned_hostnames(self) -> Collection[str]:
        """The hostnames for which the certificate may be served."""
        return self.hostnames if self.owned is None else self.owned

    @property
    def served_from(self) -> datetime | None:
        """The first instant at which the certificate can be served."""
        return self.serve_not_before or self.not_before

    @property
    def served_until(self) -> datetime | None:
        """The last instant at which the certificate can be served."""
        return self.serve_not_after or self.not_after

    @property
    def this_version(self) -> tuple[int, int]:
        """The ids of the certificate and its version."""
        return self.certificate_id, self.version


class Rejection(NamedTuple):
    """A certificate that is not selected for the name, and the reason.

    `superseded_by` is the certificate that was better; None if the certificate would not be served
    in any case.
    """

    candidate: Candidate
    reason: Reason
    superseded_by: Candidate | None


class Decision(NamedTuple):
    """The selected certificates by key type, and all other certificates for the name."""

    selected: dict[str, Candidate]
    rejected: list[Rejection]


def key_type_of(key_algorithm: str) -> str:
    """Returns `ecdsa` for "ECDSA-P-256", `rsa` for "RSA-2048", `ed25519` for "Ed25519"."""
    return key_algorithm.partition("-")[0].lower()


def decide(
    hostname: str, candidates: Iterable[Candidate], at: datetime, key_type: str | None = None
) -> Decision:
    """Returns the decision for `hostname` (normalized) at the instant `at`.

    One certificate is selected for each key type, or for `key_type` only. The owner is determined
    first, and only the owner's certificates are compared, whatever their key types (see
    `owner_of`). They must be active and servable at `at` (see `why_not_servable`). An exact name
    beats a wildcard; then the higher trust wins, then the later expiry, then the newer id.
    Candidates for other hostnames are ignored.
    """
    rejected, groups = list[Rejection](), dict[str, list[Candidate]]()
    names = {hostname, wildcard_of(hostname)}
    matching = [candidate for candidate in candidates if not names.isdisjoint(candidate.hostnames)]
    owner = owner_of(hostname, matching)
    for candidate in matching:
        reason = _unfit(hostname, candidate, owner, at, key_type)
        if reason or candidate.key_type is None:
            rejected.append(Rejection(candidate, reason or "unreadable", None))
        else:
            groups.setdefault(candidate.key_type, []).append(candidate)
    selected = {}
    for kind, group in groups.items():
        chosen = selected[kind] = max(group, key=lambda candidate: _rank(hostname, candidate))
        rejected += [
            Rejection(candidate, _reason(hostname, candidate, chosen), chosen)
            for candidate in group
            if candidate is not chosen
        ]
    return Decision(selected, rejected)


def owner_of(hostname: str, candidates: Iterable[Candidate]) -> int | None:
    """Returns the id of the user who owns `hostname` (normalized); None if nobody does.

    Of the users with an active certificate for it, this is the owner of the exact name, otherwise
    the owner of the wildcard. That certificate need not be servable: nobody else's is served
    instead.
    """
    owners = {
        name: candidate.user_id
        for candidate in candidates
        if candidate.active
        for name in candidate.owned_hostnames
    }
    return owners.get(hostname, owners.get(wildcard_of(hostname)))


def best(
    hostname: str, selected: Mapping[str, Candidate], accepted: Collection[str] | None = None
) -> Candidate | None:
    """Returns the best certificate for a client that accepts the key types `accepted`.

    None: all key types. An exact name and higher trust count more than the key type. A client that
    can get a public RSA certificate does not get a self-signed ECDSA one.
    """
    usable = [kind for kind in selected if accepted is None or kind in accepted]
    chosen = max(
        usable,
        key=lambda kind: (*_rank(hostname, selected[kind])[:2], -_preference(kind)),
        default=None,
    )
    return selected[chosen] if chosen is not None else None


def next_change(candidates: Iterable[Candidate], at: datetime) -> datetime | None:
    """Returns the first instant after `at` at which a selection may change; None: never."""
    instants = [
        instant
        for candidate in candidates
        for instant in (
            candidate.served_from,
            candidate.served_until and _after(candidate.served_until),
        )
        if instant and instant > at
    ]
    return min(instants, default=None)


def why_not_servable(candidate: Candidate, at: datetime) -> NotServableReason | None:
    """Returns why no server may get `candidate` at the instant `at`; None if servers may.

    The result does not depend on `active`.
    """
    if candidate.trust == "unreadable":
        return "unreadable"
    if not candidate.has_key:
        return "no_key"
    if candidate.not_servable:
        return candidate.not_servable
    if candidate.not_after and at > candidate.not_after:
        return "expired"
    if candidate.not_before and at < candidate.not_before:
        return "not_yet_valid"
    if candidate.served_until and at > candidate.served_until:
        return "chain_expired"
    if candidate.served_from and at < candidate.served_from:
        return "chain_not_yet_valid"
    return None


def _unfit(
    hostname: str, candidate: Candidate, owner: int | None, at: datetime, key_type: str | None
) -> Reason | None:
    if not candidate.active:
        return "inactive"
    if candidate.user_id != owner or not _is_owned(hostname, candidate):
        return "other_owner"
    if reason := why_not_servable(candidate, at):
        return reason
    return "other_key_type" if key_type not in (None, candidate.key_type) else None


def _is_owned(hostname: str, candidate: Candidate) -> bool:
    owned = candidate.owned_hostnames
    return hostname in owned or wildcard_of(hostname) in owned


def _rank(hostname: str, candidate: Candidate) -> tuple[bool, int, float, int]:
    """Returns the values to compare, in the order of _COMPARED."""
    is_exact = hostname in candidate.owned_hostnames
    end = candidate.served_until.timestamp() if candidate.served_until else 0.0
    return is_exact, _TRUSTS[candidate.trust], end, candidate.certificate_id


def _reason(hostname: str, rejected: Candidate, chosen: Candidate) -> Reason:
    ranks = zip(_COMPARED, _rank(hostname, rejected), _rank(hostname, chosen), strict=True)
    return next(reason for reason, worse, better in ranks if worse < better)


def _preference(key_type: str) -> int:
    return _PREFERRED.index(key_type) if key_type in _PREFERRED else len(_PREFERRED)


def _after(end: datetime) -> datetime:
    """Returns the first instant after a validity that includes `end`."""
    return end + _INSTANT if end < datetime.max.replace(tzinfo=end.tzinfo) else end
