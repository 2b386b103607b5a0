"""Validates uploads in a sandbox, before anything is stored."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from ...crypto.secret import Secret
from ...errors import Finding, Invalid, TooManyRequests, Unavailable
from ...gateways.metrics import Metrics
from ...gateways.sandbox.pool import ResourceLimitExceeded, SandboxPool
from ...pki.submission import ChainCertificate, Submission, ValidationResult
from ...pki.validation import (
    Completion,
    Description,
    Request,
    completed,
    decode,
    decode_description,
    encode,
)
from .intermediates import Intermediates

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
        sandbox: SandboxPool,
        intermediates: Intermediates,
        now: Callable[[], datetime],
        metrics: Metrics,
        *,
        enforce: bool,
    ) -> None:
        """`enforce`: rejects uploads with errors. Otherwise they are stored with their findings."""
        self._sandbox = sandbox
        self._intermediates = intermediates
        self._now = now
        self._metrics = metrics
        self.enforces = enforce

    def accepted(self, user_id: int, submission: Submission) -> ValidationResult:
        """Returns the result of `validate`, for an upload that may be stored.

        Raises Invalid with all findings if it is not accepted, Unavailable.
        """
        result = self.validate(user_id, submission)
        self._metrics.upload(result.findings)
        if not self.accepts(result):
            errors = sum(finding.severity == "error" for finding in result.findings)
            raise Invalid(
                f"The certificate was rejected with {errors} error{'s' if errors > 1 else ''}; "
                "nothing was stored.",
                errors=result.findings,
            )
        return result

    def accepts(self, result: ValidationResult) -> bool:
        """Returns whether the upload would be stored."""
        return not any(
            finding.code in _NEVER_STORED or (self.enforces and finding.severity == "error")
            for finding in result.findings
        )

    def validate(self, user_id: int, submission: Submission) -> ValidationResult:
        """Returns the result of a validation, with a chain as complete as possible.

        Raises Unavailable.
        """
        now = self._now()
        known: list[bytes] = []
        result = self._run(submission, Request(submission, now), decode)
        for _ in range(_LONGEST_COMPLETION):
            if result.unfinished is None or result.missing_issuer is None:
                break
            issuers = self._intermediates.find(user_id, result.missing_issuer, known)
            if not issuers:
                break
            known += issuers
            # Only certificates are sent again, not the key.
            request = Completion(result.unfinished.sent, now, tuple(known))
            result = self._run(submission, request, partial(completed, result))
        return result

    def chain_of(self, chain_pem: str | None) -> list[ChainCertificate]:
        """Returns the certificates of a chain, leaf first.

        Returns none if they cannot be read, or not now: other facts about them are stored.
        """
        if chain_pem is None:
            return []
        try:
            return decode_description(self._sandbox.run(encode(Description(chain_pem))))
        except (ResourceLimitExceeded, TooManyRequests, Unavailable):
            return []
        except RuntimeError as defect:
            _log.error("Reading the certificates of a chain failed: %s", defect)
            return []

    def _run(
        self,
        submission: Submission,
        request: Request | Completion,
        decoder: Callable[[bytes], ValidationResult],
    ) -> ValidationResult:
        try:
            return decoder(self._sandbox.run(encode(request)))
        except ResourceLimitExceeded:
            return _unread(
                submission, _too_costly("pkcs12" if submission.pkcs12 else "private_key")
            )
        except RuntimeError as defect:
            # A bug in this service or in a library. The text contains nothing of the upload.
            _log.error("Validation of an upload failed: %s", defect)
            return _unread(submission, _FAILED)


def _unread(submission: Submission, finding: Finding) -> ValidationResult:
    private_key = Secret(submission.private_key or submission.pkcs12)
    return ValidationResult(
        findings=(finding,), trust="unreadable", body=submission.body, private_key=private_key
    )


def _too_costly(field: str) -> Finding:
    return Finding(
        "key_too_costly",
        field,
        "Reading this took more than 2 seconds of CPU time or 256 MiB of memory.",
        "Send an ordinary key (RSA of 2048 to 4096 bits, ECDSA P-256 or P-384) and certificate. If "
        "the key is encrypted, decrypt it first.",
    )
