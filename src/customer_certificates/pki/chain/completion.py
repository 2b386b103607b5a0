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
    uploaded, duplicates = _distinct(leaf, others)
    fingerprints = {certificate.fingerprint for certificate in uploaded}
    stored = [certificate for certificate in known if certificate.fingerprint not in fingerprints]
    path = find(leaf, uploaded, stored, roots, at)
    served = path.certificates
    if path.trust == "public" and path.root:
        served += _continued(path.root, served, uploaded, at)
    missing = name_hash(served[-1].issuer) if path.is_missing else None
    findings = (
        *_about_trust(path),
        *_about_order(leaf, uploaded, served, path.root),
        *_about_completion(served, fingerprints),
        *_about_unserved(uploaded, served, path),
        *(_duplicate(certificate) for certificate in duplicates),
    )
    return Chain(served, path.root, path.trust, missing, findings)


def _distinct(
    leaf: Certificate, others: Sequence[Certificate]
) -> tuple[list[Certificate], list[Certificate]]:
    seen = {leaf.fingerprint}
    distinct: list[Certificate] = []
    duplicates: list[Certificate] = []
    for certificate in others:
        (duplicates if certificate.fingerprint in seen else distinct).append(certificate)
        seen.add(certificate.fingerprint)
    return distinct, duplicates


def _continued(
    root: Certificate, path: Sequence[Certificate], uploaded: Sequence[Certificate], at: datetime
) -> tuple[Certificate, ...]:
    """Returns the uploaded path above a public root: its certificate signed by an older root, etc.

    A customer uploads the longer path for clients that do not know the root yet.
    """
    whole = list(path)
    while len(whole) <= MOST_DEPTH:
        above = next(
            (
                certificate
                for certificate in uploaded
                if name_hash(certificate.subject) == name_hash(whole[-1].issuer)
                and not is_self_issued(certificate)
                and certificate not in whole
                and (len(whole) > len(path) or certificate.spki == root.spki)
                and _continues(whole, certificate, at)
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
    fault = anchor.fault(path[0].der, [certificate.der for certificate in path[1:]], at=at)
    return may_issue_for_servers(above) and fault is None


def _about_trust(path: Path) -> Iterator[Finding]:
    last = path.certificates[-1]
    if path.mismatch:
        yield _about_key_identifiers(*path.mismatch)
    for fault in path.faults:
        detail = f"The chain breaks above {title(last)}: {shown(fault, 500)}."
        hint = "Send the intermediates that your CA gave you with this certificate."
        yield Finding("chain_broken", last.field, detail, hint)
    if path.faults:
        return
    if path.is_missing:
        issuer = shown(last.issuer_text) or "without a name"
        detail = f"The issuer of {title(last)} is missing: «{issuer}»."
        hint = (
            "Append the intermediate certificates (your CA's «fullchain» or «CA bundle»). For a"
            " private CA, append its root too."
        )
        yield Finding("chain_incomplete", last.field, detail, hint)
    elif path.trust in ("private", "self_signed"):
        origin = "self-signed" if path.trust == "self_signed" else "from a private CA"
        detail = f"The certificate is {origin}. Browsers do not trust it."
        hint = "No action needed if your clients trust this CA. Otherwise use a public CA."
        yield Finding("untrusted", path.certificates[0].field, detail, hint, "warning")


def _about_key_identifiers(child: Certificate, issuer: Certificate) -> Finding:
    detail = (
        f"The authorityKeyIdentifier of {title(child)} does not match {title(issuer)}, whose key"
        " signed it. Clients that use OpenSSL (curl, Python, PHP) reject the chain. Browsers"
        " accept it."
    )
    hint = "Have the certificate reissued with the key identifier of its issuer."
    return Finding("aki_mismatch", child.field, detail, hint, "warning")


def _about_order(
    leaf: Certificate,
    uploaded: Sequence[Certificate],
    served: Sequence[Certificate],
    root: Certificate | None,
) -> Iterator[Finding]:
    """Returns a finding if clients could not follow the chain in the uploaded order."""
    order = {certificate.fingerprint: place for place, certificate in enumerate(uploaded)}
    above = [*served[1:], *([root] if root else [])]
    found = [order[issuer.fingerprint] for issuer in above if issuer.fingerprint in order]
    is_leaf_late = any(_place(uploaded[place]) < _place(leaf) for place in found)
    if is_leaf_late or found != sorted(found):
        detail = f"The certificates are not in order: {', then '.join(map(title, served))}."
        hint = "No action needed. The service serves them in this order."
        misplaced = uploaded[found[0]] if found else leaf
        yield Finding("chain_unordered", misplaced.field, detail, hint, "info")


def _place(certificate: Certificate) -> tuple[bool, int]:
    """Returns the position in the upload. The field chain comes last."""
    return certificate.field == "chain", certificate.number


def _about_completion(served: Sequence[Certificate], uploaded: set[str]) -> Iterator[Finding]:
    added = [title(issuer) for issuer in served[1:] if issuer.fingerprint not in uploaded]
    if added:
        detail = (
            f"The service added certificates from earlier uploads to the chain: {', '.join(added)}."
        )
        hint = "No action needed. Prefer to send the whole chain."
        yield Finding("chain_completed", served[0].field, detail, hint, "info")


def _about_unserved(
    uploaded: Sequence[Certificate], served: Sequence[Certificate], path: Path
) -> Iterator[Finding]:
    above = [*served[1:], *([path.root] if path.root else [])]
    identities = set(map(_identity, above))
    unserved = [certificate for certificate in uploaded if certificate not in served]
    alternatives = _alternatives(unserved, identities, served[-1].issuer)
    for certificate in unserved:
        if is_self_issued(certificate) and _identity(certificate) in identities:
            reason = "is a root, which clients either have or do not trust"
            yield _unserved(certificate, "root_dropped", reason)
        elif certificate.fingerprint not in alternatives:
            detail = f"{_numbered(certificate)} does not belong to the chain and is not served."
            hint = "Leave it out, or upload it separately."
            yield Finding("unrelated_certificate", certificate.field, detail, hint, "warning")
        elif not path.faults:  # those are reported already
            reason = "belongs to an alternative path to a root"
            yield _unserved(certificate, "chain_alternative", reason)


def _identity(certificate: Certificate) -> tuple[str, bytes]:
    return name_hash(certificate.subject), certificate.spki


def _alternatives(
    unserved: Sequence[Certificate], identities: set[tuple[str, bytes]], issuer_name: bytes
) -> set[str]:
    """Returns the fingerprints of those of `unserved` that belong to an alternative path.

    These are other forms of certificates of the path, and certificates that continue from such a
    form or from the end of the path, whose issuer has `issuer_name`.
    """
    # The names are hashed only once: hashing a large name is slow.
    identified = [
        (*_identity(extra), name_hash(extra.issuer), extra.fingerprint) for extra in unserved
    ]
    found = {fingerprint for name, spki, _, fingerprint in identified if (name, spki) in identities}
    issuers = {issuer for _, _, issuer, fingerprint in identified if fingerprint in found}
    issuers.add(name_hash(issuer_name))
    while added := [extra for extra in identified if extra[0] in issuers and extra[3] not in found]:
        issuers.update(issuer for _, _, issuer, _ in added)
        found.update(fingerprint for _, _, _, fingerprint in added)
    return found


def _unserved(certificate: Certificate, code: str, reason: str) -> Finding:
    detail = f"{title(certificate)} {reason}, and is not served."
    return Finding(code, certificate.field, detail, "No action needed.", "info")


def _duplicate(certificate: Certificate) -> Finding:
    detail = f"{_numbered(certificate)} was sent twice and is served once."
    return Finding("duplicate", certificate.field, detail, "No action needed.", "info")


def _numbered(certificate: Certificate) -> str:
    return f"{title(certificate)} (certificate {certificate.number} of {certificate.field})"
