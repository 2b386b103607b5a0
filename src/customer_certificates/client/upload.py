"""Certificates on their way into the service, several at once."""

import base64
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import Finding
from ..pki.certificates import pem_of
from ..pki.keys import pkcs8
from .answers import Refused, Stored, Unreachable
from .api import AT_ONCE, Api
from .collect import Candidate

Outcome = Literal["uploaded", "already there", "would be uploaded", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one certificate.

    `certificate_id`, `trust`: as the service has them, where it does. `findings` are the service's.
    `problem`: why it is not as it was asked for, in words, or nothing.
    """

    candidate: Candidate
    outcome: Outcome
    certificate_id: int | None = None
    trust: str | None = None
    findings: tuple[Finding, ...] = ()
    is_active: bool = False

    @property
    def is_failure(self) -> bool:
        """Whether it is not as it was asked for."""
        return self.outcome in ("refused", "failed") or bool(self.problem)

    problem: str = ""


def upload_all(
    api: Api, candidates: Sequence[Candidate], *, dry_run: bool, activate: bool
) -> Generator[Result, None, None]:
    """Uploads what is not there yet, and yields what became of each, as it does.

    `dry_run` only asks what would be said, `activate` has each certificate served as well.
    """
    take = _check if dry_run else _upload
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(_guarded, take, api, one, activate) for one in candidates]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # Ctrl-C: what is under way is finished, nothing else is begun.
            api.stop("It was interrupted.")
            pool.shutdown(cancel_futures=True)
            raise


def _guarded(
    take: Callable[[Api, Candidate, bool], Result], api: Api, candidate: Candidate, activate: bool
) -> Result:
    try:
        return take(api, candidate, activate)
    except Refused as refused:
        return Result(candidate, "refused", findings=refused.findings, problem=refused.detail)
    except Unreachable as unreachable:
        return Result(candidate, "failed", problem=unreachable.detail)


def _upload(api: Api, candidate: Candidate, activate: bool) -> Result:
    fingerprint = candidate.certificate.fingerprint
    there = api.find(fingerprint)
    stored = there or api.upload(fingerprint, _payload(candidate))
    result = _stored(candidate, stored, "already there" if there else "uploaded")
    if activate and not stored.active:
        return _activated(api, result, stored.id)
    return result


def _activated(api: Api, result: Result, certificate_id: int) -> Result:
    # Not asked for with the upload: a hostname that is another's must not lose us the upload.
    try:
        api.activate(certificate_id)
    except Refused as refused:
        findings = (*refused.findings, *result.findings)
        return replace(result, findings=findings, problem=f"not active: {refused.detail}")
    except Unreachable as unreachable:
        return replace(result, problem=f"not active: {unreachable.detail}")
    return replace(result, is_active=True)


def _check(api: Api, candidate: Candidate, activate: bool) -> Result:
    if there := api.find(candidate.certificate.fingerprint):
        return _stored(candidate, there, "already there")
    checked = api.check(_payload(candidate))
    problem = ""
    if activate and checked.hostnames.taken:
        names = ", ".join(checked.hostnames.taken)
        problem = f"would not be active: another user has {names}"
    return Result(
        candidate,
        "would be uploaded" if checked.accepted else "refused",
        trust=checked.trust,
        findings=checked.findings,
        problem=problem,
    )


def _stored(candidate: Candidate, stored: Stored, outcome: Outcome) -> Result:
    return Result(
        candidate, outcome, stored.id, stored.trust, stored.findings, is_active=stored.active
    )


def _payload(candidate: Candidate) -> dict[str, Any]:
    """The upload. Written anew, so that no key that stood beside a certificate is shown with it."""
    payload = {
        "body": pem_of(candidate.certificate.der),
        "private_key": base64.b64encode(pkcs8(candidate.private_key)).decode(),
    }
    if candidate.chain:
        payload["chain"] = "".join(pem_of(one.der) for one in candidate.chain)
    return payload
