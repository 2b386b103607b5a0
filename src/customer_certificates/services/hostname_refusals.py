"""How a request is refused for hostnames that the user cannot have."""

from collections.abc import Iterator

from ..errors import Conflict, Finding
from ..pki.ownership import Decision

# Findings of one request; the rest is only counted.
_MOST_FINDINGS = 100

_BY_CHALLENGE = "prove control by a challenge: POST /users/{user_id}/hostnames/{name}/challenge."


def require_allowed(decision: Decision, user_id: int, field: str) -> None:
    """Raises Conflict, naming every hostname, if the user cannot have all that were asked for."""
    if decision.is_refused:
        raise refusal(list(_findings(decision, user_id, field)))


def quota_exceeded(most: int, unproven: list[str], field: str) -> Conflict:
    """Returns the refusal for more unproven hostnames than a user may have."""
    return refusal(
        [
            Finding(
                "quota_exceeded",
                field,
                f"{len(unproven)} more hostnames without proof of control would exceed the quota "
                f"hostnames_unproven: {most}.",
                "Use certificates of a public CA or prove control by challenges; an operator can "
                "grant hostnames or raise the quota.",
            )
        ]
    )


def taken(names: list[str], user_id: int, field: str) -> Conflict:
    """Returns the refusal for names that are another user's."""
    return refusal(list(_findings(Decision(taken=names), user_id, field)))


def refusal(findings: list[Finding]) -> Conflict:
    """Returns the refusal for `findings`."""
    if (more := len(findings) - _MOST_FINDINGS) > 0:
        last = Finding(
            "more_findings",
            findings[0].field,
            f"and {more} more hostnames.",
            "Correct these first, or divide the hostnames among several certificates.",
        )
        findings = [*findings[:_MOST_FINDINGS], last]
    return Conflict(
        "The user cannot have all of these hostnames; nothing was changed.", errors=findings
    )


def _findings(decision: Decision, user_id: int, field: str) -> Iterator[Finding]:
    for name in sorted([*decision.taken, *(one.hostname for one in decision.contested)]):
        hint = f"Store the certificate inactive; to get the name, {_BY_CHALLENGE}"
        detail = f"{name} is another user's hostname, or overlaps with one."
        yield _finding("hostname_taken", field, name, user_id, detail, hint)
    for name in sorted(decision.unproven):
        detail = f"{name} is a hostname without proof of control."
        hint = f"Use a certificate of a public CA, or {_BY_CHALLENGE}"
        yield _finding("hostname_unproven", field, name, user_id, detail, hint)
    for name in sorted(decision.reserved):
        detail = f"{name} is reserved."
        hint = "Ask an operator to grant it: PUT /hostnames/{name}."
        yield _finding("hostname_reserved", field, name, user_id, detail, hint)
    for name in sorted(decision.forbidden):
        detail = f"{name} is a wildcard directly under a public suffix, which nobody can have."
        hint = "Use a certificate for a domain of your own."
        yield _finding("hostname_reserved", field, name, user_id, detail, hint)


def _finding(code: str, field: str, name: str, user_id: int, detail: str, hint: str) -> Finding:
    return Finding(code, field, detail, hint.format(name=name, user_id=user_id))
