"""The result of an import as JSON."""

from collections.abc import Sequence

from ..text import path_text
from .pairing import Collected
from .upload import Result


def as_json(collected: Collected, results: Sequence[Result]) -> dict[str, object]:
    """Returns the certificates with their outcomes, and the files not uploaded."""
    return {
        "certificates": [_certificate(result) for result in results],
        "not_uploaded": [
            {"file": path_text(file.path), "reason": file.reason, "failed": file.is_failure}
            for file in collected.not_uploaded
        ],
        "skipped": [
            {"file": path_text(path), "reason": reason} for path, reason in collected.skipped
        ],
    }


def _certificate(result: Result) -> dict[str, object]:
    leaf = result.candidate.certificate
    return {
        "files": [path_text(path) for path in result.candidate.files],
        "hostnames": leaf.hostnames,
        "not_after": leaf.not_after,
        "fingerprint_sha256": leaf.fingerprint,
        "outcome": result.outcome,
        "certificate_id": result.certificate_id,
        "active": result.is_active,
        "trust": result.trust,
        "problem": result.problem or None,
        "findings": result.findings,
    }
