"""Validates uploads in a sandbox, before anything is stored."""

import logging
from collections.abc import Callable
from datetime import datetime

from ...crypto.secret import Secret
from ...errors import Finding, Invalid
from ...gateways.sandbox.pool import ResourceLimitExceeded, SandboxPool
from ...pki.submission import Submission, ValidationResult
from ...pki.validation import Request, decode, encode
from .intermediates import Intermediates
from .requests import CertificateMaterial

# Web servers' chains do not lack more consecutive intermediates than this.
_LONGEST_COMPLETION = 4
# Uploads whose validation did not complete, that would show a private key in lists, or that are
# large texts without certificates.
_NEVER_STORED = {"key_too_costly", "key_in_body", "examination_failed", "unreadable_too_long"}
_FAILED = Finding(
    "examination_failed",
    "body",
    "The service failed to read this upload. This is a bug in the service.",
    "Send it in another format (the certificate alone, the key as PKCS#8), and report the "
    "bug to the operator.",
)

_log = logging.getLogger(__name__)


class Validation:
    """Validates uploads, and completes their chains with intermediates from earlier uploads."""

    def __init__(
        self,
        children: SandboxPool,
        intermediates: Intermediates,
        now: Callable[[], datetime],
        *,
        enforce: bool,
    ) -> None:
        """`enforce`: rejects uploads with errors. Otherwise they are stored with their findings."""
        self._children = children
        self._intermediates = intermediates
        self._now = now
        self.enforces = enforce

    def examine(self, user_id: int, sent: CertificateMaterial) -> ValidationResult:
        """Returns the result of validating `sent`. Raises Unavailable."""
        material = sent.material()
        now = self._now()
        known: list[bytes] = []
        examined = self._run(material, now, known)
        for _ in range(_LONGEST_COMPLETION):
            if examined.missing_issuer is None:
                break
            found = self._intermediates.find(user_id, examined.missing_issuer, known)
            if not found:
                break
            known += found
            examined = self._run(material, now, known)
        return examined

    def accepts(self, examined: ValidationResult) -> bool:
        """Returns whether the upload would be stored."""
        return not any(
            finding.code in _NEVER_STORED or (self.enforces and finding.severity == "error")
            for finding in examined.findings
        )

    def require(self, examined: ValidationResult) -> None:
        """Raises Invalid with all findings if the upload is not accepted."""
        if not self.accepts(examined):
            errors = sum(finding.severity == "error" for finding in examined.findings)
            raise Invalid(
                f"The certificate was rejected with {errors} error{'s' if errors > 1 else ''}; "
                "nothing was stored.",
                errors=examined.findings,
            )

    def _run(self, material: Submission, now: datetime, known: list[bytes]) -> ValidationResult:
        try:
            return decode(self._children.run(encode(Request(material, now, tuple(known)))))
        except ResourceLimitExceeded:
            return _unread(material, _ended("pkcs12" if material.pkcs12 else "private_key"))
        except RuntimeError as defect:
            # A bug in this service or in a library. The text contains nothing of the upload.
            _log.error("Validation of an upload failed: %s", defect)
            return _unread(material, _FAILED)


def _unread(material: Submission, why: Finding) -> ValidationResult:
    private_key = Secret(material.private_key or material.pkcs12)
    return ValidationResult((why,), "unreadable", material.body, private_key)


def _ended(field: str) -> Finding:
    return Finding(
        "key_too_costly",
        field,
        "Reading this took more than 2 seconds of CPU time or 256 MiB of memory.",
        "Send an ordinary key (RSA of 2048 to 4096 bits, ECDSA P-256 or P-384) and "
        "certificate. If the key is encrypted, decrypt it first.",
    )
