"""Searches all paths from a leaf after OpenSSL rejected the first one.

OpenSSL tries one issuer for each certificate and reports one fault. This search verifies each link
alone, then the lower parts of each path, then the whole path. It returns the best path with all its
faults.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from ..submission import Trust
from ..text import moment
from ..x509.certificate import Certificate, title
from .authorities import is_self_issued, matches_key, may_issue_for_servers
from .links import Link, Links
from .path import MOST_DEPTH, Path
from .refusals import ends_at, sentence
from .trust_store import Roots
from .verification import CRITICAL_EXTENSION, NO_ISSUER, Anchors, Fault, is_self_signed, name_hash

# Real chains need far less. These limits bound the cost of a hostile chain.
_MOST_STEPS = 200
_MOST_VERIFIED = 16

_Mismatch = tuple[Certificate, Certificate] | None


class PathSearch:
    """Searches paths through a pool of certificates, for one leaf."""

    def __init__(self, pool: Sequence[Certificate], roots: Roots, at: datetime) -> None:
        """Prefers the first of the certificates in `pool` that have the same name."""
        self._pool: dict[str, list[Certificate]] = {}
        for certificate in pool:
            self._pool.setdefault(name_hash(certificate.subject), []).append(certificate)
        self._roots = roots
        self._at = at
        self._links = Links()
        self._verifications = _MOST_VERIFIED

    def best(self, leaf: Certificate) -> Path:
        """Returns the best path from `leaf`."""
        best = Path((leaf,), "incomplete", is_missing=True)
        for path in islice(self._walk([leaf], None), _MOST_STEPS):
            if self._worth(path) > self._worth(best):
                best = path
            if path.trust == "public" and self._is_valid(path):
                break
        if is_self_issued(leaf) and len(best.certificates) == 1 and not best.faults:
            fault = f"{title(leaf)} names itself as its issuer, but its key did not sign it"
            return Path((leaf,), "incomplete", faults=(fault,))
        return best

    def _walk(self, path: list[Certificate], mismatch: _Mismatch) -> Iterator[Path]:
        """Yields every path that begins with `path`, the most likely first."""
        last = path[-1]
        goes_on = False
        for root in self._roots.named(last.issuer):
            link = self._links.between(last, root)
            goes_on |= link.holds
            if link.holds:
                yield self._verified(path, root, "public", mismatch or _mismatch(link, last, root))
            else:
                yield _broken(path, link)
        if len(path) > MOST_DEPTH:
            fault = f"it is longer than {MOST_DEPTH} certificates"
            yield Path(tuple(path), "incomplete", faults=(fault,))
            return
        issuers = self._issuers(path)
        for issuer in issuers:
            link = self._links.between(last, issuer)
            goes_on |= link.holds
            found = mismatch or _mismatch(link, last, issuer)
            if not link.holds:
                yield _broken(path, link)
            elif is_self_issued(issuer) and is_self_signed(issuer.der):
                yield self._verified(path, issuer, "private", found)
            else:
                yield from self._walk([*path, issuer], found)
        if not goes_on:
            yield Path(tuple(path), "incomplete", is_missing=True, mismatch=mismatch)

    def _issuers(self, path: list[Certificate]) -> list[Certificate]:
        """Returns the certificates with the issuer's name, the most likely first, without loops."""
        last = path[-1]
        passed = {(certificate.subject, certificate.spki) for certificate in path}
        named = self._pool.get(name_hash(last.issuer), ())
        found = [issuer for issuer in named if (issuer.subject, issuer.spki) not in passed]
        found.sort(
            key=lambda issuer: (not matches_key(last, issuer), not issuer.is_valid(self._at))
        )
        return found

    def _verified(
        self, path: list[Certificate], root: Certificate, trust: Trust, mismatch: _Mismatch
    ) -> Path:
        """Returns `path` with all its faults between the leaf and `root`."""
        self._verifications -= 1
        if self._verifications < 0:
            return Path(tuple(path), "incomplete")
        whole = [*path, root]
        found = _faults(whole, is_private=trust == "private", is_mismatched=mismatch is not None)
        faults = [sentence(fault, whole) for fault in found if fault.number != CRITICAL_EXTENSION]
        ends = [end for fault in found if (end := ends_at(fault)) is not None]
        for depth, authority in enumerate(whole[1:], 1):
            if not may_issue_for_servers(authority):
                fault = "may not issue certificates for servers (extendedKeyUsage)"
                faults.append(f"{title(authority)} {fault}")
                ends.append(depth)
        if not root.is_valid(self._at):
            span = f"from {moment(root.not_before)} to {moment(root.not_after)}"
            faults.append(f"the root {title(root)} is valid {span} only")
        if not found and not faults and mismatch is None:
            return Path(tuple(path), trust, root, is_rooted=True)
        sound = tuple(path[: min(ends, default=len(path))])
        return Path(
            sound,
            "incomplete",
            None if faults else root,
            tuple(dict.fromkeys(faults)),
            mismatch=mismatch,
            is_rooted=True,
        )

    def _worth(self, path: Path) -> tuple[int, bool, int, bool, bool]:
        """Ranks incomplete paths: the longer path first, then the one with a fault."""
        return (
            {"public": 2, "private": 1}.get(path.trust, 0),
            path.is_rooted,
            len(path.certificates),
            bool(path.faults),
            self._is_valid(path),
        )

    def _is_valid(self, path: Path) -> bool:
        return all(certificate.is_valid(self._at) for certificate in path.certificates)


def _faults(whole: Sequence[Certificate], *, is_private: bool, is_mismatched: bool) -> list[Fault]:
    """Returns the faults that OpenSSL finds in `whole`, leaf first and root last, ignoring dates.

    Each lower part is verified separately, so that a fault further up does not hide the others.
    """
    ders = [certificate.der for certificate in whole]
    root = Anchors(ders[-1:], check_self_signature=is_private)
    first = root.fault(ders[0], ders[1:-1])
    if first is None:
        return []
    found: list[Fault | None] = [first] if first.number == CRITICAL_EXTENSION else []
    for place in range(1, len(ders) - 1):
        part = Anchors([ders[place]], partial=True)
        found.append(part.fault(ders[0], ders[1:place], ignore_critical=True))
    found.append(root.fault(ders[0], ders[1:-1], ignore_critical=True))
    faults = dict.fromkeys(fault for fault in found if fault)
    return [fault for fault in faults if not (is_mismatched and fault.number in NO_ISSUER)]


def _mismatch(link: Link, child: Certificate, issuer: Certificate) -> _Mismatch:
    return (child, issuer) if link.is_mismatched else None


def _broken(path: Sequence[Certificate], link: Link) -> Path:
    faults = (link.fault,) if link.fault else ()
    return Path(tuple(path), "incomplete", faults=faults, is_missing=link.is_missing)
