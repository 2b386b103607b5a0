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
from . import findings as told
from .formats import Plain
from .loading import form_or_fault, load
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
    decoded = unwrapped(data)
    if decoded is not None:
        data = decoded
        findings.append(told.base64_twice(field))
    blocks, faults = _key_blocks(data, field)
    findings += faults
    forms = [form_or_fault(block, field) for block in blocks]
    sealed = [form for form in forms if isinstance(form, Encryption)]
    if too_costly := cost_limits.too_costly(sealed, field):
        return KeyRead(None, (*findings, too_costly))
    loaded = [
        form if isinstance(form, Finding) else load(block, form, passphrase, field)
        for block, form in zip(blocks, forms, strict=True)
    ]
    if passphrase and forms and all(isinstance(form, Plain) for form in forms):
        findings.append(told.passphrase_unused(field))
    return KeyRead(*the_one(loaded, findings, field))


def the_one(
    loaded: Iterable[PrivateKey | Finding], findings: Iterable[Finding], field: str
) -> tuple[PrivateKey | None, tuple[Finding, ...]]:
    """Returns the only key of `loaded`, None if keys differ, and all findings."""
    keys: dict[bytes, PrivateKey] = {}
    told_of = list(findings)
    for one in loaded:
        if isinstance(one, Finding):
            told_of.append(one)
        else:
            keys[spki_of(one.public_key())] = one
    if len(keys) > 1:
        names = [key_algorithm(key.public_key()) for key in keys.values()]
        told_of.append(told.several(names, field))
        return None, tuple(told_of)
    return next(iter(keys.values()), None), tuple(told_of)


def unarmoured(data: bytes) -> bytes | None:
    """Returns the decoded `data` if it is base64, with or without line ends; otherwise None."""
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except ValueError:
        return None


def unwrapped(data: bytes) -> bytes | None:
    """Returns the DER or PEM that `data` has in base64; None for any other data."""
    if data[:1] == b"\x30" or is_pem(data):
        return None
    decoded = unarmoured(data)
    if decoded and (decoded[:1] == b"\x30" or is_pem(decoded)):
        return decoded
    return None


def _key_blocks(data: bytes, field: str) -> tuple[tuple[Block, ...], tuple[Finding, ...]]:
    if not data.strip():
        return (), (told.invalid(f"{field} is empty.", told.GET_IT_AGAIN, field),)
    if not is_pem(data):
        return (Block("", data),), ()
    read = read_blocks(data.decode("utf-8", "replace"), field)
    # Duplicates must not cost twice.
    blocks = tuple(dict.fromkeys(one for one in read.blocks if one.label.endswith("PRIVATE KEY")))
    if blocks or any(finding.severity == "error" for finding in read.findings):
        return blocks, read.findings
    labels = list(dict.fromkeys(block.label for block in read.blocks))
    found = f", but {listed(labels)}" if labels else ""
    missing = told.invalid(f"{field} contains no private key{found}.", told.GET_IT_AGAIN, field)
    return (), (*read.findings, missing)
