"""Builds the chain to serve with a leaf, from uploaded and known certificates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...errors import Finding
from ..submission import Trust
from ..text import shown
from ..x509.certificate import Certificate, title
from .authorities import is_self_issued, may_issue_for_servers
from .path import MOST_DEPTH, Path
from .paths import find
from .trust_store import Roots
from .verification import Anchors, name_hash

__all__ = ["Chain", "Roots", "build"]


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain to serve, leaf first, in order, without the root; and the findings.

    The chain ends in `root`. `missing_issuer` is the hash of the issuer's name
    (`verification.name_hash`) if the issuer of the last of `served` is missing.
    """

    served: tuple[Certificate, ...]
    root: Certificate | None
    trust: Trust
    missing_issuer: str | None
    findings: tuple[Finding, ...]


def build(
    leaf: Certificate,
    others: Sequence[Certificate],
    known: Sequence[Certificate],
    roots: Roots,
    now: datetime,
) -> Chain:
    """Returns the chain of `leaf` at the time `now` (UTC).

    `others` are the other uploaded certificates, in their order. `known` are stored intermediates
    that may complete the chain. An expired leaf gets the chain that it had before it expired.
    """
    at = min(max(now, leaf.not_before), leaf.not_after)
    sent, doubles = _distinct(leaf, others)
    present = {one.fingerprint for one in sent}
    path = find(leaf, sent, [one for one in known if one.fingerprint not in present], roots, at)
    served = path.certificates
    if path.trust == "public" and path.root:
        served += _continued(path.root, served, sent, at)
    missing = name_hash(served[-1].issuer) if path.is_missing else None
    findings = (
        *_about_trust(path),
        *_about_order(leaf, sent, served, path.root),
        *_about_completion(served, present),
        *_about_the_rest(sent, served, path),
        *(_duplicate(one) for one in doubles),
    )
    return Chain(served, path.root, path.trust, missing, findings)


def _distinct(
    leaf: Certificate, others: Sequence[Certificate]
) -> tuple[list[Certificate], list[Certificate]]:
    seen = {leaf.fingerprint}
    distinct: list[Certificate] = []
    doubles: list[Certificate] = []
    for one in others:
        (doubles if one.fingerprint in seen else distinct).append(one)
        seen.add(one.fingerprint)
    return distinct, doubles


def _continued(
    root: Certificate, path: Sequence[Certificate], sent: Sequence[Certificate], at: datetime
) -> tuple[Certificate, ...]:
    """Returns the uploaded path above a public root: its certificate signed by an older root, etc.

    A customer uploads the longer path for clients that do not know the root yet.
    """
    whole = list(path)
    while len(whole) <= MOST_DEPTH:
        above = next(
            (
                one
                for one in sent
                if name_hash(one.subject) == name_hash(whole[-1].issuer)
                and not is_self_issued(one)
                and one not in whole
                and (len(whole) > len(path) or one.spki == root.spki)
                and _continues(whole, one, at)
            ),
            None,
        )
        if above is None:
            break
        whole.append(above)
    return tuple(whole[len(path) :])


def _continues(path: Sequence[Certificate], above: Certificate, at: datetime) -> bool:
    """Returns whether clients that trust `above` accept `path`."""
    anchor = Anchors([above.der], partial=True)
    fault = anchor.fault(path[0].der, [one.der for one in path[1:]], at=at)
    return may_issue_for_servers(above) and fault is None


def _about_trust(path: Path) -> Iterator[Finding]:
    last = path.certificates[-1]
    if path.mismatch:
        yield _about_key_identifiers(*path.mismatch)
    for fault in path.faults:
        yield Finding(
            "chain_broken",
            last.field,
            f"The chain breaks above {title(last)}: {shown(fault, 500)}.",
            "Send the intermediates that your CA gave you with this certificate.",
        )
    if path.faults:
        return
    if path.is_missing:
        issuer = shown(last.issuer_text) or "without a name"
        yield Finding(
            "chain_incomplete",
            last.field,
            f"The issuer of {title(last)} is missing: «{issuer}».",
            "Append the intermediate certificates (your CA's «fullchain» or «CA bundle»). For a"
            " private CA, append its root too.",
        )
    elif path.trust in ("private", "self_signed"):
        origin = (
            "The certificate is self-signed."
            if path.trust == "self_signed"
            else "The certificate is from a private CA."
        )
        yield Finding(
            "untrusted",
            path.certificates[0].field,
            f"{origin} Browsers do not trust it.",
            "No action needed if your clients trust this CA. Otherwise use a public CA.",
            "warning",
        )


def _about_key_identifiers(child: Certificate, issuer: Certificate) -> Finding:
    return Finding(
        "aki_mismatch",
        child.field,
        f"The authorityKeyIdentifier of {title(child)} does not match {title(issuer)}, whose key"
        " signed it. Clients that use OpenSSL (curl, Python, PHP) reject the chain. Browsers"
        " accept it.",
        "Have the certificate reissued with the key identifier of its issuer.",
        "warning",
    )


def _about_order(
    leaf: Certificate,
    sent: Sequence[Certificate],
    served: Sequence[Certificate],
    root: Certificate | None,
) -> Iterator[Finding]:
    """Returns a finding if clients could not follow the chain in the uploaded order."""
    places = {one.fingerprint: place for place, one in enumerate(sent)}
    wanted = [one.fingerprint for one in (*served[1:], *([root] if root else []))]
    found = [places[one] for one in wanted if one in places]
    is_leaf_late = any(_place(one) < _place(leaf) for one in sent if one.fingerprint in wanted)
    if is_leaf_late or found != sorted(found):
        yield Finding(
            "chain_unordered",
            (sent[found[0]] if found else leaf).field,
            "The certificates are not in order: "
            + ", then ".join(title(one) for one in served)
            + ".",
            "No action needed. The service serves them in this order.",
            "info",
        )


def _place(one: Certificate) -> tuple[bool, int]:
    """Returns the position in the upload. The field chain comes last."""
    return one.field == "chain", one.number


def _about_completion(served: Sequence[Certificate], present: set[str]) -> Iterator[Finding]:
    added = [title(one) for one in served[1:] if one.fingerprint not in present]
    if added:
        yield Finding(
            "chain_completed",
            served[0].field,
            "The service added certificates from earlier uploads to the chain:"
            f" {', '.join(added)}.",
            "No action needed. Prefer to send the whole chain.",
            "info",
        )


def _about_the_rest(
    sent: Sequence[Certificate], served: Sequence[Certificate], path: Path
) -> Iterator[Finding]:
    whole = [*served, *([path.root] if path.root else [])]
    identities = {_identity(one) for one in whole[1:]}
    rest = [one for one in sent if one not in served]
    alternatives = _alternatives(rest, identities, served[-1].issuer)
    for one in rest:
        if is_self_issued(one) and _identity(one) in identities:
            yield _left_out(
                one, "root_dropped", ("is a root, which clients either have or do not trust")
            )
        elif one.fingerprint not in alternatives:
            yield Finding(
                "unrelated_certificate",
                one.field,
                f"{title(one)} (certificate {one.number} of {one.field}) does not belong to the"
                " chain and is not served.",
                "Leave it out, or upload it separately.",
                "warning",
            )
        elif not path.faults:  # those are reported already
            yield _left_out(one, "chain_alternative", "belongs to an alternative path to a root")


def _identity(one: Certificate) -> tuple[str, bytes]:
    return name_hash(one.subject), one.spki


def _alternatives(
    rest: Sequence[Certificate], identities: set[tuple[str, bytes]], above: bytes
) -> set[str]:
    """Returns the fingerprints of those of `rest` that belong to an alternative path.

    These are other forms of certificates of the path, and certificates that continue from such a
    form or from the end of the path, whose issuer is named `above`.
    """
    found = {one.fingerprint for one in rest if _identity(one) in identities}
    # The names are hashed only once: hashing a large name is slow.
    named = [(one.fingerprint, name_hash(one.subject), name_hash(one.issuer)) for one in rest]
    issuers = {name_hash(above)} | {issuer for one, _, issuer in named if one in found}
    while more := [
        (one, issuer) for one, subject, issuer in named if subject in issuers and one not in found
    ]:
        found |= {one for one, _ in more}
        issuers |= {issuer for _, issuer in more}
    return found


def _left_out(one: Certificate, code: str, why: str) -> Finding:
    return Finding(code, one.field, f"{title(one)} {why}, and is not served.", "Nothing.", "info")


def _duplicate(one: Certificate) -> Finding:
    return Finding(
        "duplicate",
        one.field,
        f"{title(one)} was sent twice. Certificate {one.number} of {one.field} is ignored.",
        "No action needed. It is served once.",
        "info",
    )
