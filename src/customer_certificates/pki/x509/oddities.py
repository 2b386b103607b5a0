"""Findings about malformed parts of a certificate, and the clients that reject it."""

from collections.abc import Iterator, Sequence

from ...errors import Finding
from ..asn1.extensions import NAMES, SUBJECT_ALT_NAME, Extensions, Oddity
from .distinguished_names import DistinguishedName

_AS_ISSUED = "Send the original file from your CA. If this is the original, have it reissued."
_ISSUE_AGAIN = "Have it reissued by a CA that follows RFC 5280."
_NOTHING = "No action needed. Clients accept it."


def unreadable(field: str, number: int, part: str, reason: str) -> Finding:
    """Returns a finding: certificate `number` of `field` cannot be read because of `part`."""
    detail = f"Certificate {number} of {field} cannot be read: {part} is malformed ({reason})."
    return Finding("pem_invalid", field, detail, _AS_ISSUED)


def key_malformed(whose: str, field: str) -> Finding:
    """Returns a finding: the public key of the certificate titled `whose` is malformed."""
    detail = f"The public key of {whose} is malformed, or has an unsupported encoding."
    return Finding("key_invalid", field, detail, _AS_ISSUED)


def about_san(unread: Oddity, field: str) -> Finding:
    """Returns a finding: subjectAltName is `unread`."""
    detail = f"subjectAltName {unread.text}, so the certificate has no hostname."
    return Finding("san_invalid", field, detail, _AS_ISSUED)


def about_extensions(whose: str, field: str, oddities: Sequence[Oddity]) -> Iterator[Finding]:
    """Yields findings about the extensions of the certificate titled `whose`."""
    for oid, text, severity, is_unread in oddities:
        if is_unread and oid == SUBJECT_ALT_NAME:
            continue
        name = NAMES.get(oid, f"Extension {oid}")
        if severity == "info" and not is_unread:
            yield Finding("encoding_odd", field, f"{whose}: {name} {text}.", _NOTHING, "info")
        else:
            detail = f"{whose}: {name} {text}."
            yield Finding("extension_malformed", field, detail, _ISSUE_AGAIN, severity)


def about_version(
    whose: str, field: str, version: int, extensions: Extensions
) -> Iterator[Finding]:
    """Yields a finding if `version` permits no extensions (RFC 5280, 4.1.2.1)."""
    if version < 3 and extensions.raw:
        detail = f"{whose} has extensions, but version {version}. Chrome rejects it."
        yield Finding("version_invalid", field, detail, _ISSUE_AGAIN)


def about_names(
    whose: str, field: str, subject: DistinguishedName, issuer: DistinguishedName
) -> Iterator[Finding]:
    """Yields findings about `subject` and `issuer` of the certificate titled `whose`."""
    for which, name in (("subject", subject), ("issuer", issuer)):
        if name.unreadable:
            detail = f"{whose}: its {which} has {name.unreadable}, so servers cannot load it."
            yield Finding("name_malformed", field, detail, _ISSUE_AGAIN)
        elif name.forbidden:
            detail = f"{whose}: its {which} has {name.forbidden}, which some browsers reject."
            yield Finding("name_malformed", field, detail, _ISSUE_AGAIN, "warning")
        elif name.unusual:
            detail = f"{whose}: its {which} has {name.unusual}, which the standard does not permit."
            yield Finding("encoding_odd", field, detail, _NOTHING, "info")
