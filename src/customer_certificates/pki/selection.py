"""Which certificate is served for a hostname. The service and its agents decide by this alike."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from .names.hostnames import wildcard_of
from .submission import NotServable, Trust

# Why no server can be given a certificate, in the order in which it is looked at.
NotServableReason = Literal[
    "opaque",
    "no_key",
    "not_loadable",
    "expired",
    "not_yet_valid",
    "chain_expired",
    "chain_not_yet_valid",
]
# Why a certificate is not the one that is served, in the order in which it is looked at.
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
    "opaque": 0,
}
# Where several kinds of keys would do equally: what costs a handshake least and all clients know.
_PREFERRED = ("ecdsa", "rsa", "ed25519")
_COMPARED: tuple[Reason, ...] = ("less_exact", "less_trusted", "ends_sooner", "older")
_INSTANT = timedelta(microseconds=1)


class Candidate(NamedTuple):
    """A certificate as it stands.

    `hostnames` are normalised; of those, its user owns the ones in `owned` (None: all). The dates,
    and `key_type` (as `key_type_of` says it), are None where it could not be read; `has_key`: a
    private key is stored for it. All of its chain is valid from `serve_not_before` to
    `serve_not_after`; None: the certificate's own dates hold. `not_servable`: why no server can
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
        """The hostnames that it may be served for."""
        return self.hostnames if self.owned is None else self.owned

    @property
    def served_from(self) -> datetime | None:
        """The first instant at which it can be served."""
        return self.serve_not_before or self.not_before

    @property
    def served_until(self) -> datetime | None:
        """The last instant at which it can be served."""
        return self.serve_not_after or self.not_after

    @property
    def this_version(self) -> tuple[int, int]:
        """Which certificate it is, and which version of it."""
        return self.certificate_id, self.version


class Loser(NamedTuple):
    """A certificate that is not served for the name, why, and to which other one it lost (None:
    whichever there were, it would not be served)."""

    candidate: Candidate
    reason: Reason
    to: Candidate | None


class Decision(NamedTuple):
    """The winners by key type, and all others that are for the name."""

    winners: dict[str, Candidate]
    losers: list[Loser]


def key_type_of(key_algorithm: str) -> str:
    """`ecdsa` of "ECDSA-P-256", `rsa` of "RSA-2048", `ed25519` of "Ed25519"."""
    return key_algorithm.partition("-")[0].lower()


def decide(
    hostname: str, candidates: Iterable[Candidate], at: datetime, key_type: str | None = None
) -> Decision:
    """What is served for `hostname` (normalised) at the instant `at`: one certificate for each key
    type, or for `key_type` alone.

    The owner is settled first, and only the owner's certificates are compared, whatever their key
    types (see `owner_of`). Of those that are active and servable at `at` (see `why_not_servable`),
    an exact name beats a wildcard; then the greater trust wins, then the later end, then the newer
    id. Candidates that are not for the name are passed over.
    """
    losers, groups = list[Loser](), dict[str, list[Candidate]]()
    names = {hostname, wildcard_of(hostname)}
    matching = [one for one in candidates if not names.isdisjoint(one.hostnames)]
    owner = owner_of(hostname, matching)
    for one in matching:
        reason = _unfit(hostname, one, owner, at, key_type)
        if reason or one.key_type is None:
            losers.append(Loser(one, reason or "opaque", None))
        else:
            groups.setdefault(one.key_type, []).append(one)
    winners = {}
    for kind, group in groups.items():
        winner = winners[kind] = max(group, key=lambda one: _rank(hostname, one))
        losers += [
            Loser(one, _why(hostname, one, winner), winner) for one in group if one is not winner
        ]
    return Decision(winners, losers)


def owner_of(hostname: str, candidates: Iterable[Candidate]) -> int | None:
    """The id of the user who owns `hostname` (normalised): of those with an active certificate for
    it, the owner of the exact name, else the owner of the wildcard. None: nobody.

    It does not matter whether that certificate can be served: nobody else is served in its place.
    """
    owners = {name: one.user_id for one in candidates if one.active for name in one.owned_hostnames}
    return owners.get(hostname, owners.get(wildcard_of(hostname)))


def best(
    hostname: str, winners: Mapping[str, Candidate], accepted: Collection[str] | None = None
) -> Candidate | None:
    """The one winner for who takes only one, of the key types `accepted` (None: all).

    An exact name and greater trust count for more than the kind of key: who could be served a
    public RSA certificate is not served a self-signed one for being ECDSA.
    """
    usable = [one for kind, one in winners.items() if accepted is None or kind in accepted]
    return max(
        usable,
        key=lambda one: (*_rank(hostname, one)[:2], -_preference(one.key_type or "")),
        default=None,
    )


def next_change(candidates: Iterable[Candidate], at: datetime) -> datetime | None:
    """The first instant after `at` at which time alone may change a winner; None: none will."""
    instants = [
        instant
        for one in candidates
        for instant in (one.served_from, one.served_until and _after(one.served_until))
        if instant and instant > at
    ]
    return min(instants, default=None)


def why_not_servable(one: Candidate, at: datetime) -> NotServableReason | None:
    """Why no server may be given `one` at the instant `at`, active or not; None: one may."""
    if one.trust == "opaque":
        return "opaque"
    if not one.has_key:
        return "no_key"
    if one.not_servable:
        return one.not_servable
    if one.not_after and at > one.not_after:
        return "expired"
    if one.not_before and at < one.not_before:
        return "not_yet_valid"
    if one.served_until and at > one.served_until:
        return "chain_expired"
    if one.served_from and at < one.served_from:
        return "chain_not_yet_valid"
    return None


def _unfit(
    hostname: str, one: Candidate, owner: int | None, at: datetime, key_type: str | None
) -> Reason | None:
    if not one.active:
        return "inactive"
    if one.user_id != owner or not _is_owned(hostname, one):
        return "other_owner"
    if reason := why_not_servable(one, at):
        return reason
    return "other_key_type" if key_type not in (None, one.key_type) else None


def _is_owned(hostname: str, one: Candidate) -> bool:
    owned = one.owned_hostnames
    return hostname in owned or wildcard_of(hostname) in owned


def _rank(hostname: str, one: Candidate) -> tuple[bool, int, float, int]:
    """What is compared, in the order of _COMPARED."""
    end = one.served_until.timestamp() if one.served_until else 0.0
    return hostname in one.owned_hostnames, _TRUSTS[one.trust], end, one.certificate_id


def _why(hostname: str, loser: Candidate, winner: Candidate) -> Reason:
    mine, its = _rank(hostname, loser), _rank(hostname, winner)
    return next(
        reason for reason, less, more in zip(_COMPARED, mine, its, strict=True) if less < more
    )


def _preference(key_type: str) -> int:
    return _PREFERRED.index(key_type) if key_type in _PREFERRED else len(_PREFERRED)


def _after(end: datetime) -> datetime:
    """The first instant at which what is valid through `end` is not."""
    return end + _INSTANT if end < datetime.max.replace(tzinfo=end.tzinfo) else end
