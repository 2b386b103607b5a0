"""Checks with OpenSSL whether one certificate is the issuer of another."""

from typing import NamedTuple

from ..x509.certificate import Certificate, title
from .authorities import is_affordable
from .refusals import sentence
from .verification import (
    BAD_SIGNATURE,
    NAME_CONSTRAINTS,
    NO_ISSUER,
    RESOURCES,
    Anchors,
    Fault,
    without_key_identifier,
)

_MAY_NOT_SIGN = 32


class Link(NamedTuple):
    """The result of a check of a link.

    `fault` says why the link is invalid; None if it is valid or was not checked. `is_missing`:
    another certificate with the issuer's name might be the issuer. `is_mismatched`: the link is
    valid, but the key identifiers differ, so OpenSSL does not follow it.
    """

    holds: bool
    fault: str | None = None
    is_missing: bool = False
    is_mismatched: bool = False


class Links:
    """Verifies each link once, and at most `most` links."""

    def __init__(self, most: int = 50) -> None:
        self._left = most
        self._known: dict[tuple[str, str], Link] = {}

    def between(self, child: Certificate, issuer: Certificate) -> Link:
        """Returns whether `issuer`, which has the name of the issuer of `child`, signed it."""
        if not is_affordable(issuer):
            return Link(False, f"{title(issuer)} has a key that clients do not accept")
        link = child.fingerprint, issuer.fingerprint
        if link not in self._known:
            self._left -= 1
            if self._left < 0:
                return Link(False)
            self._known[link] = _verify(child, issuer)
        return self._known[link]


def _verify(child: Certificate, issuer: Certificate) -> Link:
    fault = _fault(child.der, issuer.der)
    if fault is None:
        return Link(True)
    if fault.number in NO_ISSUER:
        if issuer.extensions.key_usage and not issuer.extensions.key_usage.key_cert_sign:
            return Link(False, sentence(Fault(_MAY_NOT_SIGN, 1), [child, issuer]))
        if child.is_signed_by(issuer):
            return _although_signed(child, issuer)
    if fault.number in BAD_SIGNATURE | NO_ISSUER:
        reason = f"{title(issuer)} has the issuer's name, but its key did not sign {title(child)}"
        return Link(False, reason, is_missing=True)
    return Link(False, sentence(fault, [child, issuer]))


def _although_signed(child: Certificate, issuer: Certificate) -> Link:
    """Returns why OpenSSL rejects `issuer` as the issuer of `child`, which its key signed."""
    is_malformed = any(
        finding.code == "extension_malformed" and finding.severity == "error"
        for finding in child.findings
    )
    remaining = _fault(without_key_identifier(child.der), issuer.der)
    # Without its key identifier, the child has other content, so its signature is invalid.
    if remaining and remaining.number in BAD_SIGNATURE and not is_malformed:
        return Link(True, is_mismatched=True)
    whose = f"{title(child)}, or of its issuer {title(issuer)}"
    return Link(False, f"OpenSSL cannot use an extension of {whose}")


def _fault(child: bytes, issuer: bytes) -> Fault | None:
    """Returns the fault of the link itself. The leaf's names and addresses are checked later."""
    fault = Anchors([issuer], partial=True).fault(child, ignore_critical=True)
    return None if fault and fault.number in NAME_CONSTRAINTS | {RESOURCES} else fault
