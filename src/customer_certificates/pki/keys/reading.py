"""Reads a private key in any common form."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import Finding
from ..asn1.pbe import Encryption
from ..pem.markers import is_pem
from ..pem.reader import Block, read_blocks
from ..text import listed
from . import cost_limits
from . import findings as key_findings
from .formats import PlainKey
from .loading import format_or_finding, load
from .public_keys import PrivateKey, key_algorithm, spki_of


@dataclass(frozen=True, slots=True)
class KeyRead:
    """The key, None if there is none to use, and the findings."""

    key: PrivateKey | None
    findings: tuple[Finding, ...]


def read_key(data: bytes, passphrase: str | None, field: str = "private_key") -> KeyRead:
    """Returns the private key in `data`, PEM or DER. Never raises.

    Reads PKCS#8 (RFC 5958, RFC 7468), PKCS#1 (RFC 8017) and SEC 1 (RFC 5915), also encrypted. PEM
    may have other blocks around the key. Findings: `key_invalid`, `key_encrypted`,
    `passphrase_wrong`, `key_too_costly`, `key_weak` (not loaded because of its size),
    `pem_invalid`, and as information `base64_twice`, `newlines_escaped`, `passphrase_unused`. A key
    may come with findings.
    """
    findings: list[Finding] = []
    decoded = unwrap_base64(data)
    if decoded is not None:
        data = decoded
        findings.append(key_findings.base64_twice(field))
    blocks, pem_findings = _key_blocks(data, field)
    findings += pem_findings
    formats = [format_or_finding(block, field) for block in blocks]
    encryptions = [found for found in formats if isinstance(found, Encryption)]
    if too_costly := cost_limits.too_costly(encryptions, field):
        return KeyRead(None, (*findings, too_costly))
    loaded = [
        found if isinstance(found, Finding) else load(block, found, passphrase, field)
        for block, found in zip(blocks, formats, strict=True)
    ]
    if passphrase and formats and all(isinstance(found, PlainKey) for found in formats):
        findings.append(key_findings.passphrase_unused(field))
    return KeyRead(*only_key(loaded, findings, field))


def only_key(
    loaded: Iterable[PrivateKey | Finding], findings: Iterable[Finding], field: str
) -> tuple[PrivateKey | None, tuple[Finding, ...]]:
    """Returns the only key of `loaded`, None if keys differ, and all findings."""
    keys: dict[bytes, PrivateKey] = {}
    all_findings = list(findings)
    for key in loaded:
        if isinstance(key, Finding):
            all_findings.append(key)
        else:
            keys[spki_of(key.public_key())] = key
    if len(keys) > 1:
        algorithms = [key_algorithm(key.public_key()) for key in keys.values()]
        return None, (*all_findings, key_findings.several(algorithms, field))
    return next(iter(keys.values()), None), tuple(all_findings)


def unwrap_base64(data: bytes) -> bytes | None:
    """Returns the DER or PEM that `data` has in base64; None for any other data."""
    if data[:1] == b"\x30" or is_pem(data):
        return None
    try:
        decoded = base64.b64decode(b"".join(data.split()), validate=True)
    except ValueError:
        return None
    return decoded if decoded[:1] == b"\x30" or is_pem(decoded) else None


def _key_blocks(data: bytes, field: str) -> tuple[tuple[Block, ...], tuple[Finding, ...]]:
    if not data.strip():
        return (), (key_findings.invalid(f"{field} is empty.", key_findings.GET_IT_AGAIN, field),)
    if not is_pem(data):
        return (Block("", data),), ()
    read = read_blocks(data.decode("utf-8", "replace"), field)
    # Duplicates must not cost twice.
    key_blocks = (block for block in read.blocks if block.label.endswith("PRIVATE KEY"))
    blocks = tuple(dict.fromkeys(key_blocks))
    if blocks or any(finding.severity == "error" for finding in read.findings):
        return blocks, read.findings
    labels = list(dict.fromkeys(block.label for block in read.blocks))
    found = f", but {listed(labels)}" if labels else ""
    detail = f"{field} contains no private key{found}."
    missing = key_findings.invalid(detail, key_findings.GET_IT_AGAIN, field)
    return (), (*read.findings, missing)
