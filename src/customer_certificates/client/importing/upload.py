"""Uploads certificates, several at once."""

import base64
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...errors import Finding
from ...pki.keys.loading import pkcs8
from ...pki.keys.public_keys import key_algorithm
from ...pki.selection import key_type_of
from ...pki.x509.certificate import pem_of
from ..api.client import AT_ONCE, Api
from ..api.responses import Hostnames, Refused, Stored, Unreachable, ValidatedUpload
from .pairing import Candidate

Outcome = Literal[
    "uploaded",
    "renewed",
    "scheduled",
    "already there",
    "newer is there",
    "would be uploaded",
    "would be renewed",
    "would be uploaded with errors",
    "would be renewed with errors",
    "would be refused",
    "refused",
    "failed",
]
_FAILURES: tuple[Outcome, ...] = ("would be refused", "refused", "failed")


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """The options of an import.

    `dry_run`: validate without storing. `activate`: activate each certificate. `replace`: renew the
    stored certificate for the same hostnames instead of adding another. `labels`: those of each
    certificate, like `env=production`; a renewal keeps its labels if there are none.
    """

    dry_run: bool = False
    activate: bool = False
    replace: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one certificate.

    `certificate_id` and `trust` come from the service, if it stored the certificate. `findings` are
    the service's. `problem` explains a failure; it is empty without one.
    """

    candidate: Candidate
    outcome: Outcome
    certificate_id: int | None = None
    trust: str | None = None
    findings: tuple[Finding, ...] = ()
    is_active: bool = False
    problem: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether the certificate is not stored or active as requested."""
        return self.outcome in _FAILURES or bool(self.problem)


def upload_all(
    api: Api, candidates: Sequence[Candidate], options: UploadOptions
) -> Generator[Result, None, None]:
    """Uploads certificates that are not stored yet, and yields each outcome."""
    process = _validate if options.dry_run else _upload
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [
            pool.submit(_attempt, process, api, candidate, options) for candidate in candidates
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # After Ctrl-C, uploads in progress finish, and no other begins.
            api.stop("The import was interrupted.")
            pool.shutdown(cancel_futures=True)
            raise


def _attempt(
    process: Callable[[Api, Candidate, UploadOptions], Result],
    api: Api,
    candidate: Candidate,
    options: UploadOptions,
) -> Result:
    try:
        return process(api, candidate, options)
    except Refused as refused:
        return Result(candidate, "refused", findings=refused.findings, problem=str(refused))
    except Unreachable as unreachable:
        return Result(candidate, "failed", problem=str(unreachable))


def _upload(api: Api, candidate: Candidate, options: UploadOptions) -> Result:
    fingerprint = candidate.certificate.fingerprint
    stored = api.find(fingerprint)
    predecessor = _predecessor(api, candidate) if options.replace and not stored else None
    if stored:
        result = _result(candidate, stored, "already there")
    elif predecessor and _is_newer(predecessor, candidate):
        return _result(candidate, predecessor, "newer is there")
    elif predecessor:
        renewed = api.replace(predecessor.id, fingerprint, _payload(candidate, options))
        result = _renewed(candidate, renewed)
    else:
        result = _result(
            candidate, api.upload(fingerprint, _payload(candidate, options)), "uploaded"
        )
    if options.activate and not result.is_active and result.certificate_id:
        return _activated(api, result, result.certificate_id)
    return result


def _predecessor(api: Api, candidate: Candidate) -> Stored | None:
    leaf = candidate.certificate
    key_type = key_type_of(key_algorithm(candidate.private_key.public_key()))
    return api.find_predecessor(leaf.hostnames, key_type)


def _is_newer(stored: Stored, candidate: Candidate) -> bool:
    """Returns whether `stored` expires no earlier than `candidate`.

    An old backup must never replace a newer certificate.
    """
    return stored.not_after is not None and stored.not_after >= candidate.certificate.not_after


def _activated(api: Api, result: Result, certificate_id: int) -> Result:
    # A separate request: a hostname of another user must not make the upload fail.
    try:
        api.activate(certificate_id)
    except Refused as refused:
        findings = (*refused.findings, *result.findings)
        return replace(result, findings=findings, problem=f"not active: {refused}")
    except Unreachable as unreachable:
        return replace(result, problem=f"not active: {unreachable}")
    return replace(result, is_active=True)


def _validate(api: Api, candidate: Candidate, options: UploadOptions) -> Result:
    if stored := api.find(candidate.certificate.fingerprint):
        return _result(candidate, stored, "already there")
    predecessor = _predecessor(api, candidate) if options.replace else None
    if predecessor and _is_newer(predecessor, candidate):
        return _result(candidate, predecessor, "newer is there")
    validated = api.validate(_payload(candidate, options), predecessor.id if predecessor else None)
    problem = _activation_problem(validated.hostnames) if options.activate else ""
    return Result(
        candidate,
        _expected_outcome(validated, is_renewal=predecessor is not None),
        predecessor.id if predecessor else None,
        trust=validated.trust,
        findings=validated.findings,
        problem=problem,
    )


def _expected_outcome(validated: ValidatedUpload, *, is_renewal: bool) -> Outcome:
    """Returns the outcome of an upload with this result.

    Some services store certificates with errors.
    """
    if not validated.accepted:
        return "would be refused"
    if any(finding.severity == "error" for finding in validated.findings):
        return "would be renewed with errors" if is_renewal else "would be uploaded with errors"
    return "would be renewed" if is_renewal else "would be uploaded"


def _activation_problem(hostnames: Hostnames) -> str:
    """Returns why the certificate would not be activated, or an empty string."""
    reasons = {
        "another user owns": hostnames.taken,
        "no proof of control over": hostnames.unproven,
        "an operator must grant": hostnames.reserved,
    }
    found = [f"{reason} {', '.join(names)}" for reason, names in reasons.items() if names]
    return f"would not be active: {'; '.join(found)}" if found else ""


def _result(candidate: Candidate, stored: Stored, outcome: Outcome) -> Result:
    return Result(
        candidate, outcome, stored.id, stored.trust, stored.findings, is_active=stored.active
    )


def _renewed(candidate: Candidate, stored: Stored) -> Result:
    """Returns the result of a renewal.

    The service schedules a certificate that is not valid yet.
    """
    result = _result(candidate, stored, "renewed")
    pending = stored.pending
    if pending and pending.fingerprint_sha256 == candidate.certificate.fingerprint:
        result = replace(result, outcome="scheduled", trust=None, findings=pending.findings)
    return result


def _payload(candidate: Candidate, options: UploadOptions) -> dict[str, Any]:
    """Returns the request body.

    Encodes the key again, so that no other key in the file is sent.
    """
    payload: dict[str, Any] = {
        "body": pem_of(candidate.certificate.der),
        "private_key": base64.b64encode(pkcs8(candidate.private_key)).decode(),
    }
    if candidate.chain:
        payload["chain"] = "".join(pem_of(issuer.der) for issuer in candidate.chain)
    if options.labels:
        payload["labels"] = dict(label.split("=", 1) for label in options.labels)
    return payload
