"""Validates an upload: findings, trust, and what to store and serve."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ..crypto.secret import Secret
from ..errors import Finding, Severity, capped
from .chain import completion
from .chain.completion import Roots
from .chain.verification import name_hash
from .keys import public_keys
from .keys.exposed_keys import has_private_key
from .keys.loading import pkcs8
from .keys.pkcs12 import Pkcs12Read, read_pkcs12
from .keys.public_keys import PrivateKey, spki_of
from .keys.reading import KeyRead, read_key
from .keys.weak_keys import weak_primes, weakness
from .lint import chain as chain_checks
from .lint import leaf as checks
from .lint.leaf import is_for_servers
from .pem.reader import CERTIFICATE_LABELS, Block, read_pem
from .servability import check_servable, needed_of
from .submission import Intermediate, NotServable, Submission, ValidationResult
from .x509 import certificate as certificates
from .x509.certificate import Certificate

# If a certificate or key in a text cannot be read, the text is stored unchanged up to this size.
MOST_UNREAD_BYTES = 16 * 1024
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


class Request(msgspec.Struct, frozen=True, array_like=True):
    """A validation to run. `known` are intermediates (DER) that may complete the chain."""

    material: Submission
    now: datetime
    known: tuple[bytes, ...] = ()


class Examiner:
    """Validates encoded requests, as a sandbox process receives them."""

    def __init__(self, roots_pem: bytes, proving_pem: bytes | None = None) -> None:
        """`roots_pem` has the publicly trusted CA certificates.

        Certificates under those that are also in `proving_pem` prove control of their hostnames
        (None: under all of them).
        """
        self._roots = Roots.from_pem(roots_pem, proving_pem)

    def __call__(self, request: bytes) -> bytes:
        """Returns an encoded ValidationResult for an encoded Request."""
        asked = _requests.decode(request)
        return encode(examine(asked.material, asked.now, self._roots, asked.known))


class TrustedRoots(msgspec.Struct, frozen=True, array_like=True):
    """The CA certificates for the Examiner of a sandbox process."""

    roots_pem: bytes
    proving_pem: bytes


def examiner_of(roots: bytes) -> Examiner:
    """Returns the Examiner for encoded TrustedRoots."""
    given = msgspec.msgpack.decode(roots, type=TrustedRoots)
    return Examiner(given.roots_pem, given.proving_pem)


def _revealed(secret: object) -> bytes:
    """Encodes a secret for the pipe, which only the parent worker can read."""
    if isinstance(secret, Secret):
        return secret.reveal()
    raise NotImplementedError


encode = msgspec.msgpack.Encoder(enc_hook=_revealed).encode
_requests = msgspec.msgpack.Decoder(Request)
decode = msgspec.msgpack.Decoder(ValidationResult, dec_hook=lambda _, key: Secret(key)).decode


def examine(
    material: Submission, now: datetime, roots: Roots, known: Sequence[bytes] = ()
) -> ValidationResult:
    """Returns the validation result of `material` at the time `now`. Never raises.

    A key or certificate made for that purpose can still take much time or memory. Costs that are
    known in advance are checked first, and the input is rejected.
    """
    sent = _read(material)
    findings = list(sent.findings)
    private_key = Secret(pkcs8(sent.key) if sent.key else material.private_key or material.pkcs12)
    field = "pkcs12" if material.pkcs12 else "body"
    key_field = "pkcs12" if material.pkcs12 else "private_key"
    leaf, doubts = _choose_leaf(sent.certificates, sent.key, field, is_all=sent.is_all)
    findings += doubts
    if sent.key is None and len(private_key.reveal()) > MOST_UNREAD_BYTES:
        findings.append(_too_long(key_field))
    if leaf is None:
        return ValidationResult(
            _in_order(findings), "unreadable", sent.body, private_key, chain=sent.chain
        )
    not_servable: NotServable | None = "no_key"
    if sent.key and leaf.public_key:
        mismatch = public_keys.mismatch(sent.key, leaf.public_key, key_field)
        findings += [mismatch] if mismatch else []
        not_servable = "no_key" if mismatch else None
    others = [one for one in sent.certificates if one is not leaf]
    completing = [one for der in known if isinstance(one := _read_known(der), Certificate)]
    chain = completion.build(leaf, others, completing, roots, now)
    findings += chain.findings
    findings += checks.check_leaf(leaf, chain.trust, now)
    findings += chain_checks.check_chain(leaf, chain.served[1:], chain.root, now)
    findings += [finding for one in chain.served for finding in one.findings]
    if leaf.public_key:
        unloadable = check_servable(chain.served, None if not_servable else sent.key)
        findings += unloadable
        not_servable = "not_loadable" if unloadable else not_servable
    weak = weakness(leaf.public_key, key_field) if leaf.public_key else ()
    if sent.key and not weak:
        # The public key shows no weakness. The private key shows how its primes were generated.
        weak = weak_primes(sent.key, key_field)
    findings += weak
    verified = chain.trust in ("public", "private")
    needed = needed_of(chain.served, roots)
    return ValidationResult(
        _in_order(findings),
        chain.trust,
        sent.body,
        private_key,
        certificates.leaf_view(leaf),
        "".join(certificates.pem_of(one.der) for one in chain.served),
        tuple(map(_intermediate, chain.served[1:])) if verified else (),
        chain.missing_issuer,
        max(one.not_before for one in needed),
        min(one.not_after for one in needed),
        not_servable,
        _proves_hostnames(leaf, chain, roots),
        sent.chain,
    )


def _proves_hostnames(leaf: Certificate, chain: completion.Chain, roots: Roots) -> bool:
    """Returns whether a public CA issued `leaf` for servers. The chain is verified already."""
    return (
        chain.trust == "public"
        and chain.root is not None
        and roots.proves_hostnames(chain.root)
        and not leaf.is_ca
        and is_for_servers(leaf)
    )


@dataclass(frozen=True, slots=True)
class _Sent:
    # The text to store for each field.
    body: str
    chain: str | None
    certificates: list[Certificate]
    key: PrivateKey | None
    findings: list[Finding]
    # False if a certificate could not be read.
    is_all: bool


def _read(material: Submission) -> _Sent:
    """Reads `material`. Findings about the key alone come last."""
    chain = None
    key_read: Pkcs12Read | KeyRead
    if material.pkcs12:
        key_read = read_pkcs12(material.pkcs12, material.passphrase)
        body = "".join(certificates.pem_of(der) for der in key_read.certificates)
        blocks = [Block("CERTIFICATE", der) for der in key_read.certificates]
        found, findings = _certificates(blocks, "pkcs12")
    else:
        key_read = read_key(material.private_key, material.passphrase)
        found, findings, body = _read_text(material.body, "body")
    if material.chain.strip():
        in_chain, faults, chain = _read_text(material.chain, "chain")
        found, findings = found + in_chain, findings + faults
    is_all = not any(finding.code == "pem_invalid" for finding in findings)
    return _Sent(
        body,
        chain,
        found,
        key_read.key,
        [*findings, *key_read.findings, *material.findings],
        is_all,
    )


def _read_text(text: str, field: str) -> tuple[list[Certificate], list[Finding], str]:
    """Returns the certificates in a text, the findings, and the text to store."""
    read = read_pem(text, field)
    found, faults = _certificates(read.blocks, field)
    is_shown = has_private_key(read, {one.der for one in found})
    findings = [_key_shown(field)] if is_shown else []
    findings += [*read.findings, *faults]
    is_long = len(text.encode("utf-8", "replace")) > MOST_UNREAD_BYTES
    is_read = not any(one.code == "pem_invalid" for one in findings)
    if found and (is_read or is_long):
        # Nothing is stored of a text that contains a private key.
        if not is_shown and (read.has_other_text or len(found) < len(read.blocks)):
            findings.append(_text_dropped(field))
        text = "".join(certificates.pem_of(one.der) for one in found)
    elif is_long:
        findings.append(_too_long(field))
    return found, findings, text


def _certificates(blocks: Sequence[Block], field: str) -> tuple[list[Certificate], list[Finding]]:
    found, findings = list[Certificate](), list[Finding]()
    number = 0
    for block in blocks:
        if block.label in CERTIFICATE_LABELS:
            number += 1
            read = certificates.read(block.der, field, number)
            if isinstance(read, Finding):
                findings.append(read)
            else:
                found.append(read)
        elif not block.label.endswith("PRIVATE KEY"):
            findings.append(_ignored(block.label, field))
    return found, findings


def _intermediate(one: Certificate) -> Intermediate:
    return Intermediate(name_hash(one.subject), one.fingerprint, one.der)


def _read_known(der: bytes) -> Certificate | Finding:
    return certificates.read(der, "chain", 0)


def _choose_leaf(
    found: Sequence[Certificate], key: PrivateKey | None, field: str, *, is_all: bool
) -> tuple[Certificate | None, list[Finding]]:
    """Returns the certificate to serve first.

    This is the one that matches the key, or else the only one that is not a CA certificate.
    `is_all` is False if some certificates could not be read: the leaf may be one of those.
    """
    distinct = list({one.fingerprint: one for one in reversed(found)}.values())[::-1]
    spki = spki_of(key.public_key()) if key else None
    ends = [one for one in distinct if not one.is_ca]
    with_key = [one for one in distinct if spki and one.key_spki == spki]
    candidates = with_key or ends
    if len(candidates) > 1:
        latest = max(candidates, key=lambda one: one.not_after)
        return latest, [_multiple_leaves(candidates, bool(with_key), field)]
    if candidates:
        return candidates[0], []
    # A single CA certificate may be meant to be served: self-signed ones often are.
    if not is_all:
        return None, []
    if len(distinct) == 1:
        return distinct[0], []
    return None, [_no_leaf(distinct, field)] if distinct else []


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Returns the findings by severity, without duplicates.

    The key and the certificate may have the same finding.
    """
    once = dict.fromkeys(findings)
    return capped(sorted(once, key=lambda finding: _ORDER[finding.severity]))


def _key_shown(field: str) -> Finding:
    return Finding(
        "key_in_body",
        field,
        f"{field} contains a private key. Everyone who may read the certificate could read the"
        " key.",
        "Send certificates in body and chain, and the key in private_key.",
    )


def _text_dropped(field: str) -> Finding:
    return Finding(
        "text_dropped",
        field,
        f"{field} has text or blocks besides its certificates. Only the certificates are stored.",
        "No action needed, unless a certificate is missing from the result.",
        "info",
    )


def _too_long(field: str) -> Finding:
    what = "private key" if field in ("private_key", "pkcs12") else "certificate"
    return Finding(
        "unreadable_too_long",
        field,
        f"{field} is longer than {MOST_UNREAD_BYTES // 1024} KiB, and contains no readable {what}.",
        f"Send a readable {what}. Other findings say what is wrong with this one.",
    )


def _ignored(label: str, field: str) -> Finding:
    return Finding(
        "block_ignored",
        field,
        f"{field} has a block «{label[:60]}», which is not a certificate.",
        "No action needed. The block is not served.",
        "info",
    )


def _no_leaf(found: Sequence[Certificate], field: str) -> Finding:
    return Finding(
        "no_leaf",
        field,
        f"All {len(found)} certificates are CA certificates, and none matches the private key.",
        "Add the certificate that was issued for your hostnames (often cert.pem or domain.crt).",
    )


def _multiple_leaves(candidates: Sequence[Certificate], with_key: bool, field: str) -> Finding:
    names = "; ".join(
        f"{', '.join(one.hostnames[:3]) or 'no hostname'} until {one.not_after:%Y-%m-%d}"
        for one in candidates[:5]
    )
    reason = (
        "match the private key"
        if with_key
        else "are leaf certificates, and none matches the private key"
    )
    return Finding(
        "multiple_leaves",
        field,
        f"{len(candidates)} certificates {reason}: {names}.",
        "Upload each certificate separately, with its own private key.",
    )
