"""Finds the best path from a leaf to a root. OpenSSL builds and verifies it."""

from collections.abc import Sequence
from datetime import datetime

from ..submission import Trust
from ..x509.certificate import Certificate
from .authorities import is_affordable, is_self_issued, may_issue_for_servers
from .path import MOST_DEPTH, Path
from .path_search import PathSearch
from .trust_store import Roots
from .verification import Anchors, is_self_signed


def find(
    leaf: Certificate,
    uploaded: Sequence[Certificate],
    stored: Sequence[Certificate],
    roots: Roots,
    at: datetime,
) -> Path:
    """Returns the best path from `leaf` at the time `at`.

    The path ends in a public root, otherwise in a root among `uploaded`, otherwise it is
    incomplete. Certificates in `uploaded` are preferred to those in `stored`.
    """
    if is_self_issued(leaf) and is_affordable(leaf) and is_self_signed(leaf.der):
        return Path((leaf,), "self_signed", leaf)
    pool = [certificate for certificate in (*uploaded, *stored) if is_affordable(certificate)]
    return (
        _without_fault(roots.verify(leaf, pool, at), "public")
        or _without_fault(_verify_privately(leaf, pool, at), "private")
        # OpenSSL reports only the first fault of the first path.
        or PathSearch([*uploaded, *stored], roots, at).best(leaf)
    )


def _verify_privately(
    leaf: Certificate, pool: Sequence[Certificate], at: datetime
) -> tuple[Certificate, ...] | None:
    """Returns OpenSSL's path to a self-signed certificate in `pool`, including both ends."""
    own = [certificate.der for certificate in pool if is_self_issued(certificate)]
    if not own:
        return None
    anchors = Anchors(own, check_self_signature=True)
    answer = anchors.path(leaf.der, [certificate.der for certificate in pool], at=at)
    if answer is None:
        return None
    by_der = {certificate.der: certificate for certificate in pool}
    return (leaf, *(by_der[der] for der in answer[1:]))


def _without_fault(whole: tuple[Certificate, ...] | None, trust: Trust) -> Path | None:
    """Returns the verified path, unless clients reject it for other reasons."""
    if whole is None or not all(map(may_issue_for_servers, whole[1:])):
        return None
    *path, root = whole
    return Path(tuple(path), trust, root) if len(path) <= MOST_DEPTH + 1 else None
