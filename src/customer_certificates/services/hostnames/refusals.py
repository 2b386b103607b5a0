"""Errors for hostnames that the user cannot claim."""

from collections.abc import Iterator

from ...errors import Conflict, Finding
from ...pki.names.ownership import Decision

_BY_CHALLENGE = "prove control by a challenge: POST /users/{user_id}/hostnames/{name}/challenge."


def require_allowed(decision: Decision, user_id: int, field: str) -> None:
    """Raises Conflict, with every hostname, if the user cannot claim all of them."""
    if decision.is_refused:
        raise _refusal(decision, user_id, field)


def taken(names: list[str], user_id: int, field: str) -> Conflict:
    """Returns the error for hostnames of another user."""
    return _refusal(Decision(taken=names), user_id, field)


def _refusal(decision: Decision, user_id: int, field: str) -> Conflict:
    return Conflict(
        "The user cannot claim all of these hostnames; nothing was changed.",
        errors=list(_findings(decision, user_id, field)),
    )


def _findings(decision: Decision, user_id: int, field: str) -> Iterator[Finding]:
    for name in sorted([*decision.taken, *(claim.hostname for claim in decision.contested)]):
        hint = f"Store the certificate inactive. To get the hostname, {_BY_CHALLENGE}"
        detail = f"{name} is another user's hostname, or overlaps with one."
        yield _finding("hostname_taken", field, name, user_id, detail, hint)
    for name in sorted(decision.unproven):
        detail = f"Control of {name} is not proven."
        hint = f"Use a certificate of a public CA, or {_BY_CHALLENGE}"
        yield _finding("hostname_unproven", field, name, user_id, detail, hint)
    for name in sorted(decision.reserved):
        detail = f"{name} is reserved."
        hint = "Ask an operator to grant it: PUT /hostnames/{name}."
        yield _finding("hostname_reserved", field, name, user_id, detail, hint)
    for name in sorted(decision.forbidden):
        detail = f"{name} is a wildcard directly under a public suffix, which nobody can own."
        hint = "Use a certificate for a domain that you own."
        yield _finding("hostname_reserved", field, name, user_id, detail, hint)


def _finding(code: str, field: str, name: str, user_id: int, detail: str, hint: str) -> Finding:
    return Finding(code, field, detail, hint.format(name=name, user_id=user_id))
