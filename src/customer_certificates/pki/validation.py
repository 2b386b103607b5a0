"""Validates an upload: findings, trust, and what to store and serve."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import starmap

import msgspec

from ..crypto.secret import Secret
from ..errors import Finding, Severity, capped
from .chain import completion
from .chain.completion import Chain, Roots
from .chain.verification import name_hash
from .keys import public_keys
from .keys.exposed_keys import has_private_key
from .keys.loading import pkcs8
from .keys.pkcs12 import Pkcs12Read, read_pkcs12
from .keys.public_keys import PrivateKey, spki_of
from .keys.reading import KeyRead, read_key
from .keys.weak_keys import weak_primes, weakness
from .lint.chain import check_chain
from .lint.leaf import check_leaf, is_for_servers
from .pem.reader import CERTIFICATE_LABELS, Block, read_pem
from .servability import check_servable, leaf_fault, needed_of
from .submission import (
    ChainCertificate,
    ChainResult,
    Intermediate,
    SentChain,
    Submission,
    Unfinished,
    ValidationResult,
)
from .x509 import certificate as certificates
from .x509.certificate import Certificate

# If a certificate or key in a text cannot be read, the text is stored unchanged up to this size.
MOST_UNREAD_BYTES = 16 * 1024
_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


class Request(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A validation to run."""

    submission: Submission
    now: datetime


class Completion(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A chain to complete. `known` are intermediates (DER) that may complete it."""

    sent: SentChain
    now: datetime
    known: tuple[bytes, ...]


class Description(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Certificates in PEM whose visible fields are asked for."""

    certificates_pem: str


class Validator:
    """Validates encoded requests, as a sandbox process receives them."""

    def __init__(self, roots_pem: bytes, proving_pem: bytes | None = None) -> None:
        """`roots_pem` has the publicly trusted CA certificates.

        Certificates under those that are also in `proving_pem` prove control of their hostnames
        (None: under all of them).
        """
        self._roots = Roots.from_pem(roots_pem, proving_pem)

    def __call__(self, request: bytes) -> bytes:
        """Returns the encoded result for an encoded Request, Completion or Description."""
        decoded = _requests.decode(request)
        if isinstance(decoded, Description):
            return encode(describe(decoded.certificates_pem))
        if isinstance(decoded, Request):
            return encode(validate(decoded.submission, decoded.now, self._roots))
        return encode(complete_chain(decoded.sent, decoded.known, decoded.now, self._roots))


class TrustedRoots(msgspec.Struct, frozen=True, array_like=True):
    """The CA certificates for the Validator of a sandbox process."""

    roots_pem: bytes
    proving_pem: bytes


def validator_of(roots: bytes) -> Validator:
    """Returns the Validator for encoded TrustedRoots."""
    decoded = msgspec.msgpack.decode(roots, type=TrustedRoots)
    return Validator(decoded.roots_pem, decoded.proving_pem)


def _revealed(secret: object) -> bytes:
    """Encodes a secret for the pipe, which only the parent worker can read."""
    if isinstance(secret, Secret):
        return secret.reveal()
    raise NotImplementedError


encode = msgspec.msgpack.Encoder(enc_hook=_revealed).encode
_requests = msgspec.msgpack.Decoder(Request | Completion | Description)
decode = msgspec.msgpack.Decoder(ValidationResult, dec_hook=lambda _, key: Secret(key)).decode
decode_description = msgspec.msgpack.Decoder(list[ChainCertificate]).decode
_decode_chain = msgspec.msgpack.Decoder(ChainResult).decode


def validate(submission: Submission, now: datetime, roots: Roots) -> ValidationResult:
    """Returns the validation result of `submission` at the time `now`. Never raises.

    Input with a cost that is known in advance is rejected. Other hostile input can still take much
    time or memory.
    """
    upload = _read(submission)
    key = upload.key
    private_key = Secret(pkcs8(key) if key else submission.private_key or submission.pkcs12)
    field = "pkcs12" if submission.pkcs12 else "body"
    key_field = "pkcs12" if submission.pkcs12 else "private_key"
    leaf, leaf_findings = _choose_leaf(upload, field)
    findings = [*upload.findings, *leaf_findings]
    if key is None and len(private_key.reveal()) > MOST_UNREAD_BYTES:
        findings.append(_too_long(key_field))
    result = ValidationResult(
        findings=_in_order(findings),
        trust="unreadable",
        body=upload.body,
        private_key=private_key,
        chain=upload.chain,
    )
    if leaf is None:
        return result
    mismatch = _mismatch(leaf, key, key_field)
    servable_key = key if leaf.public_key and not mismatch else None
    whole = [leaf, *(sent for sent in upload.certificates if sent is not leaf)]
    sent = SentChain(
        tuple((sent.der, sent.field, sent.number) for sent in whole),
        leaf_fault(leaf, servable_key) if leaf.public_key else None,
        servable_key is not None,
    )
    before, after = (*findings, *mismatch), tuple(_weak_key(leaf, key, key_field))
    unfinished = Unfinished(sent, before, after)
    chain = completion.build(leaf, whole[1:], (), roots, now)
    result = msgspec.structs.replace(result, leaf=certificates.leaf_view(leaf))
    return _with_chain(result, unfinished, _chain_result(leaf, sent, chain, now, roots))


def complete_chain(
    sent: SentChain, known: Sequence[bytes], now: datetime, roots: Roots
) -> ChainResult:
    """Returns the result about a chain with `known` intermediates (DER). Never raises."""
    leaf, *others = _readable(sent.certificates)
    stored = _readable((der, "chain", 0) for der in known)
    chain = completion.build(leaf, others, stored, roots, now)
    return _chain_result(leaf, sent, chain, now, roots)


def describe(certificates_pem: str) -> list[ChainCertificate]:
    """Returns the visible fields of the certificates in a text, in their order. Never raises."""
    found, _ = _certificates(read_pem(certificates_pem, "body").blocks, "body")
    return [certificates.chain_view(certificate) for certificate in found]


def completed(result: ValidationResult, answer: bytes) -> ValidationResult:
    """Returns an unfinished result with an encoded ChainResult, the answer to a Completion."""
    unfinished = result.unfinished
    return _with_chain(result, unfinished, _decode_chain(answer)) if unfinished else result


def _with_chain(
    result: ValidationResult, unfinished: Unfinished, chain: ChainResult
) -> ValidationResult:
    findings = [*unfinished.before, *chain.findings, *unfinished.after]
    changes = msgspec.structs.asdict(chain) | {"findings": _in_order(findings)}
    still = unfinished if chain.missing_issuer else None
    return msgspec.structs.replace(result, **changes, unfinished=still)


def _readable(sent: Iterable[tuple[bytes, str, int]]) -> list[Certificate]:
    read = starmap(certificates.read, sent)
    return [certificate for certificate in read if isinstance(certificate, Certificate)]


def _chain_result(
    leaf: Certificate, sent: SentChain, chain: Chain, now: datetime, roots: Roots
) -> ChainResult:
    unloadable = (
        check_servable(chain.served, sent.fault, has_key=sent.has_key) if leaf.public_key else ()
    )
    begin, end = _serve_window(chain, roots)
    return ChainResult(
        findings=(*_lint(leaf, chain, now), *unloadable),
        trust=chain.trust,
        chain_pem="".join(certificates.pem_of(certificate.der) for certificate in chain.served),
        intermediates=_intermediates(chain),
        missing_issuer=chain.missing_issuer,
        serve_not_before=begin,
        serve_not_after=end,
        not_servable="not_loadable" if unloadable else None if sent.has_key else "no_key",
        proves_hostnames=_proves_hostnames(leaf, chain, roots),
    )


def _mismatch(leaf: Certificate, key: PrivateKey | None, field: str) -> list[Finding]:
    found = public_keys.mismatch(key, leaf.public_key, field) if key and leaf.public_key else None
    return [found] if found else []


def _lint(leaf: Certificate, chain: Chain, now: datetime) -> Iterator[Finding]:
    yield from chain.findings
    yield from check_leaf(leaf, chain.trust, now)
    yield from check_chain(leaf, chain.served[1:], chain.root, now)
    for certificate in chain.served:
        yield from certificate.findings


def _weak_key(leaf: Certificate, key: PrivateKey | None, field: str) -> Sequence[Finding]:
    weak = weakness(leaf.public_key, field) if leaf.public_key else ()
    # The public key may show no weakness. The private key shows how its primes were generated.
    return weak_primes(key, field) if key and not weak else weak


def _serve_window(chain: Chain, roots: Roots) -> tuple[datetime, datetime]:
    """Returns the first and last time at which all needed certificates are valid."""
    needed = needed_of(chain.served, roots)
    begin = max(certificate.not_before for certificate in needed)
    return begin, min(certificate.not_after for certificate in needed)


def _intermediates(chain: Chain) -> tuple[Intermediate, ...]:
    """Returns the intermediates of a verified chain, which may complete other chains."""
    if chain.trust not in ("public", "private"):
        return ()
    return tuple(
        Intermediate(name_hash(authority.subject), authority.fingerprint, authority.der)
        for authority in chain.served[1:]
    )


def _proves_hostnames(leaf: Certificate, chain: Chain, roots: Roots) -> bool:
    """Returns whether a public CA issued `leaf` for servers. The chain is verified already."""
    return (
        chain.trust == "public"
        and chain.root is not None
        and roots.proves_hostnames(chain.root)
        and not leaf.extensions.is_ca
        and is_for_servers(leaf)
    )


@dataclass(frozen=True, slots=True)
class _Upload:
    """A submission as read. `body` and `chain` are the texts to store.

    `is_complete` is False if a certificate could not be read. Findings about the key come last.
    """

    body: str
    chain: str | None
    certificates: list[Certificate]
    key: PrivateKey | None
    findings: list[Finding]
    is_complete: bool


def _read(submission: Submission) -> _Upload:
    chain = None
    key_read: Pkcs12Read | KeyRead
    if submission.pkcs12:
        key_read = read_pkcs12(submission.pkcs12, submission.passphrase)
        body = "".join(certificates.pem_of(der) for der in key_read.certificates)
        blocks = [Block("CERTIFICATE", der) for der in key_read.certificates]
        found, findings = _certificates(blocks, "pkcs12")
    else:
        key_read = read_key(submission.private_key, submission.passphrase)
        found, findings, body = _read_text(submission.body, "body")
    if submission.chain.strip():
        in_chain, chain_findings, chain = _read_text(submission.chain, "chain")
        found, findings = found + in_chain, findings + chain_findings
    is_complete = not any(finding.code == "pem_invalid" for finding in findings)
    findings = [*findings, *key_read.findings, *submission.findings]
    return _Upload(body, chain, found, key_read.key, findings, is_complete)


def _read_text(text: str, field: str) -> tuple[list[Certificate], list[Finding], str]:
    """Returns the certificates in a text, the findings, and the text to store."""
    read = read_pem(text, field)
    found, faults = _certificates(read.blocks, field)
    is_shown = has_private_key(read, {certificate.der for certificate in found})
    findings = [_key_shown(field)] if is_shown else []
    findings += [*read.findings, *faults]
    is_long = len(text.encode("utf-8", "replace")) > MOST_UNREAD_BYTES
    is_read = not any(finding.code == "pem_invalid" for finding in findings)
    if found and (is_read or is_long):
        # Nothing is stored of a text that contains a private key.
        if not is_shown and (read.has_other_text or len(found) < len(read.blocks)):
            findings.append(_text_dropped(field))
        text = "".join(certificates.pem_of(certificate.der) for certificate in found)
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


def _choose_leaf(upload: _Upload, field: str) -> tuple[Certificate | None, list[Finding]]:
    """Returns the certificate to serve first, or None; and findings about the choice.

    This is the certificate that matches the key, or else the only one that is not a CA certificate.
    """
    # Of equal certificates, the first one counts.
    by_fingerprint = {found.fingerprint: found for found in reversed(upload.certificates)}
    distinct = list(by_fingerprint.values())[::-1]
    spki = spki_of(upload.key.public_key()) if upload.key else None
    leaves = [certificate for certificate in distinct if not certificate.extensions.is_ca]
    with_key = [certificate for certificate in distinct if spki and certificate.key_spki == spki]
    candidates = with_key or leaves
    if len(candidates) > 1:
        latest = max(candidates, key=lambda candidate: candidate.not_after)
        return latest, [_multiple_leaves(candidates, bool(with_key), field)]
    if candidates:
        return candidates[0], []
    # A single CA certificate may be meant to be served: self-signed ones often are. If a
    # certificate could not be read, that one may be the leaf.
    if not upload.is_complete:
        return None, []
    if len(distinct) == 1:
        return distinct[0], []
    return None, [_no_leaf(distinct, field)] if distinct else []


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Returns the findings by severity, without duplicates."""
    # The key and the certificate may have the same finding.
    distinct = dict.fromkeys(findings)
    return capped(sorted(distinct, key=lambda finding: _ORDER[finding.severity]))


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
        f"{', '.join(leaf.hostnames[:3]) or 'no hostname'} until {leaf.not_after:%Y-%m-%d}"
        for leaf in candidates[:5]
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
