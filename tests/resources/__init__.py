"""Over Falcon's test client: the contract, without a socket."""

from typing import Any

from falcon.testing import Result

PROBLEM = "urn:customer-certificates:problem:"
MEDIA_TYPES = {"application/problem+json", "application/json"}


def refusal(answer: Result) -> tuple[int, str, dict[str, str]]:
    """The status, the kind and the fields to blame, with codes, of a well-formed refusal."""
    problem: dict[str, Any] = answer.json
    assert answer.headers["Content-Type"] in MEDIA_TYPES
    assert {"type", "title", "status", "detail", "request_id"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    findings = problem.get("errors", [])
    assert all(finding.keys() == {"code", "field", "detail", "hint"} for finding in findings)
    return (
        answer.status_code,
        problem["type"].removeprefix(PROBLEM),
        {finding["field"]: finding["code"] for finding in findings},
    )
