"""Describes in sentences why OpenSSL rejects a path."""

from collections.abc import Sequence

from ..x509.certificate import Certificate, title
from .verification import CRITICAL_EXTENSION, NAME_CONSTRAINTS, UNREADABLE, Fault

_NO_AUTHORITY = "is not a certificate authority (basicConstraints)"
_NO_AUTHORITY_FAULTS = {24, 79}
_MAY_NOT_SIGN = 32
_PATH_TOO_LONG = 25

# X509_V_ERR_… of <openssl/x509_vfy.h>, as clauses about the certificate at fault.
_REASONS = {
    **dict.fromkeys(_NO_AUTHORITY_FAULTS, _NO_AUTHORITY),
    UNREADABLE: "cannot be loaded by OpenSSL",
    1: "has a key or an extension that OpenSSL cannot read",
    3: "has a public key that OpenSSL cannot read",
    6: "has a public key that OpenSSL cannot read",
    13: "has a start date that is malformed",
    14: "has an end date that is malformed",
    _PATH_TOO_LONG: "has more CAs below it than its path length allows",
    _MAY_NOT_SIGN: "may not sign certificates (keyUsage has no keyCertSign)",
    40: "is a proxy certificate, which TLS clients do not accept",
    41: "has a malformed extension",
    42: "has a malformed policy extension",
    46: "has IP addresses (RFC 3779) that its issuers do not have",
    47: "has a name that the name constraints of its issuers do not permit (nameConstraints)",
    48: "has a name that the name constraints of its issuers exclude (nameConstraints)",
    49: "is issued under name constraints with a minimum or maximum, which no client supports",
    51: "is issued under name constraints of a type that OpenSSL does not support",
    52: "is issued under malformed name constraints (nameConstraints)",
    53: "has a name that cannot be compared with the name constraints of its issuers",
    94: "has explicit curve parameters instead of a named curve, which clients reject",
}


def sentence(fault: Fault, path: Sequence[Certificate]) -> str:
    """Returns the fault of `path`, leaf first, including the root, as a sentence."""
    blamed = path[min(fault.depth, len(path) - 1)]
    if fault.number == _PATH_TOO_LONG and blamed.extensions.path_length is not None:
        beneath = path[1 : fault.depth]
        return (
            f"{title(blamed)} allows {blamed.extensions.path_length} CAs below it, and there are"
            f" {len(beneath)}"
        )
    if fault.number in _NO_AUTHORITY_FAULTS and blamed.extensions.is_ca:
        return f"{title(blamed)} {_REASONS[_MAY_NOT_SIGN]}"
    reason = _REASONS.get(fault.number, f"is rejected by OpenSSL (error {fault.number})")
    return f"{title(blamed)} {reason}"


def ends_at(fault: Fault) -> int | None:
    """Returns how many certificates of the path, leaf first, remain if an issuer is at fault.

    None if no issuer is at fault. A violated name constraint is the fault of the name, and does not
    affect the links. A critical extension does not either, and has its own finding.
    """
    is_links = fault.number not in NAME_CONSTRAINTS | {CRITICAL_EXTENSION}
    return fault.depth if fault.depth and is_links else None
