"""Why OpenSSL refuses a path, in our own sentences."""

from collections.abc import Sequence

from ..x509.certificate import Certificate, title
from .verification import CRITICAL_EXTENSION, NAME_CONSTRAINTS, UNREADABLE, Fault

_NO_AUTHORITY = "is not a certificate authority (basicConstraints)"
_NO_AUTHORITY_FAULTS = {24, 79}
_MAY_NOT_SIGN = 32
_PATH_TOO_LONG = 25

# X509_V_ERR_… of <openssl/x509_vfy.h>: what is wrong with the certificate to blame.
_REASONS = {
    **dict.fromkeys(_NO_AUTHORITY_FAULTS, _NO_AUTHORITY),
    UNREADABLE: "cannot be loaded by OpenSSL",
    1: "has a key or an extension that OpenSSL cannot read",
    3: "has a public key that OpenSSL cannot read",
    6: "has a public key that OpenSSL cannot read",
    13: "has a start date that is malformed",
    14: "has an end date that is malformed",
    _PATH_TOO_LONG: "has more authorities beneath it than its path length allows",
    _MAY_NOT_SIGN: "may not sign certificates (keyUsage has no keyCertSign)",
    40: "is a proxy certificate, which TLS clients do not accept",
    41: "has a malformed extension",
    42: "has a malformed policy extension",
    46: "has addresses (RFC 3779) that its issuers do not have",
    47: "has a name that the name constraints of its issuers do not permit (nameConstraints)",
    48: "has a name that the name constraints of its issuers exclude (nameConstraints)",
    49: "is issued under name constraints with a minimum or maximum, which no client supports",
    51: "is issued under name constraints of a kind that OpenSSL does not support",
    52: "is issued under malformed name constraints (nameConstraints)",
    53: "has a name that cannot be compared with the name constraints of its issuers",
    94: "has an elliptic curve written out in place of its name, which clients do not accept",
}


def sentence(fault: Fault, path: Sequence[Certificate]) -> str:
    """What is wrong with `path`, leaf first, the root included."""
    blamed = path[min(fault.depth, len(path) - 1)]
    if fault.number == _PATH_TOO_LONG and blamed.path_length is not None:
        beneath = path[1 : fault.depth]
        return (
            f"{title(blamed)} allows {blamed.path_length} authorities beneath it, and there are"
            f" {len(beneath)}"
        )
    if fault.number in _NO_AUTHORITY_FAULTS and blamed.is_ca:
        return f"{title(blamed)} {_REASONS[_MAY_NOT_SIGN]}"
    reason = _REASONS.get(fault.number, f"is refused by OpenSSL (error {fault.number})")
    return f"{title(blamed)} {reason}"


def ends_at(fault: Fault) -> int | None:
    """How many certificates of the path, leaf first, stand if the fault is an issuer's; else None.

    A violated name constraint is the fault of the name, and leaves all links as they are. So does a
    critical extension, which has a finding of its own.
    """
    is_links = fault.number not in NAME_CONSTRAINTS | {CRITICAL_EXTENSION}
    return fault.depth if fault.depth and is_links else None
