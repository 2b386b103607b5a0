"""When a new version may take over from the present one, and what a refusal says. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..errors import Conflict, Finding, Invalid
from ..models import Certificate
from ..pki.winners import Candidate, key_type_of, why_not_servable
from .hostnames import lost, names_of
from .servability import explained
from .views import PendingView

_OVERRIDE = 'or send "allow_lost_hostnames": true to do it anyway.'


def candidate_of_content(content: Mapping[str, Any], certificate: Certificate | None) -> Candidate:
    """A candidate with the columns CONTENT, whose key is stored with it; `certificate` is the one
    that has them or is to have them, None for a new one."""
    algorithm = content["key_algorithm"]
    return Candidate(
        certificate.id if certificate else 0,
        certificate.user_id if certificate else 0,
        certificate.version if certificate else 1,
        certificate.active if certificate else False,
        names_of(content["hostnames"]),
        content["not_before"],
        content["not_after"],
        content["trust"],
        algorithm and key_type_of(algorithm),
        True,
        content["serve_not_before"],
        content["serve_not_after"],
        content["not_servable"],
    )


def requested_time(activate_at: datetime | None, now: datetime, *, active: bool) -> datetime | None:
    """`activate_at` in UTC. Raises Invalid if it is not in the future, or comes with `active`."""
    if activate_at is None:
        return None
    try:
        at = activate_at.astimezone(UTC)
    except OverflowError:
        at = None
    findings = []
    if at is None or at <= now:
        findings.append(
            Finding(
                "invalid_value",
                "activate_at",
                f"activate_at must be in the future; it is {now:%Y-%m-%dT%H:%M:%SZ} now.",
                "Send a later time, or leave it out.",
            )
        )
    if active:
        findings.append(
            Finding(
                "conflicting_fields",
                "activate_at",
                '"active": true activates the certificate at once, activate_at later.',
                "Send one or the other.",
            )
        )
    if findings:
        raise Invalid("activate_at cannot be accepted; nothing was stored.", errors=findings)
    return at


def require_served_at(
    new: Candidate, at: datetime, findings: Sequence[Finding], field: str = "activate_at"
) -> None:
    """Raises Conflict, with all `findings` about it, if `new` would not be served at `at`."""
    if errors := _not_served_at(new, at, field):
        raise Conflict(
            "The certificate would not be served at that time; nothing was changed.",
            errors=[*errors, *findings],
        )


def require_takeover(
    present: Candidate,
    new: Candidate,
    start: datetime,
    now: datetime,
    findings: Iterable[Finding],
    field: str,
    *,
    allowed: bool,
) -> None:
    """Raises Conflict if hostnames would be without a working certificate because `new` takes over
    from `present` at `start`, unless that is `allowed`. All `findings` about `new` come with it.

    What is scheduled must be servable at `start` in any case.
    """
    errors: list[Finding] = []
    if not allowed:
        errors += [_lost(name, field) for name in lost(present.hostnames, new.hostnames)]
    is_protected = is_served(present, now)
    if start > now or (is_protected and not allowed):
        errors += _not_served_at(new, start, field)
    if is_protected and not allowed and (end := present.served_until) and start > end:
        errors.append(_gap(end, start, field))
    if errors:
        raise Conflict(
            "The new certificate cannot take over from the present one; nothing was changed.",
            errors=[*errors, *findings],
        )


def require_pending_keeps(
    certificate: Certificate, content: Mapping[str, Any], *, allowed: bool
) -> None:
    """Raises Conflict if the pending version lacks hostnames that a rollback to `content` brings
    back, unless that is `allowed`: its cutover would take them off the air."""
    if allowed or certificate.pending is None:
        return
    view = msgspec.json.decode(certificate.pending, type=PendingView)
    if view.version == certificate.version:
        return
    agreed = lost(names_of(certificate.hostnames), view.hostnames)
    names = lost(names_of(content["hostnames"]), view.hostnames)
    if names := [one for one in names if one not in agreed]:
        raise Conflict(
            "The pending version is not for all hostnames of that one; nothing was changed.",
            errors=[
                Finding(
                    "hostnames_lost",
                    "version",
                    f"{name} is a name of that version, and not of the pending one.",
                    'Cancel the cutover first, or send "allow_lost_hostnames": true.',
                )
                for name in names
            ],
        )


def is_served(one: Candidate, now: datetime) -> bool:
    """Whether servers are given it, as far as it depends on `one` alone."""
    return one.active and why_not_servable(one, now) is None


def start_of(new: Candidate, activate_at: datetime | None, now: datetime) -> datetime:
    """When `new` takes over: at the time that was asked for, or as soon as it is valid."""
    return activate_at or max(now, new.served_from or now)


def _not_served_at(new: Candidate, at: datetime, field: str) -> list[Finding]:
    reason = why_not_servable(new, at)
    if reason is None:
        return []
    return [
        Finding(
            "would_not_be_served",
            field,
            f"TLS servers would not be given it at {at:%Y-%m-%dT%H:%M:%SZ}. "
            f"{explained(new, reason)}",
            f"Send a certificate that can be served then, {_OVERRIDE}"
            if field == "body"
            else "Choose another time, or another certificate.",
        )
    ]


def _gap(end: datetime, start: datetime, field: str) -> Finding:
    return Finding(
        "present_expires_first",
        field,
        f"The present certificate is good until {end:%Y-%m-%dT%H:%M:%SZ}, and the new one takes "
        f"over at {start:%Y-%m-%dT%H:%M:%SZ}: nothing would be served in between.",
        f"Send a certificate that takes over earlier, {_OVERRIDE}",
    )


def _lost(name: str, field: str) -> Finding:
    return Finding(
        "hostnames_lost",
        field,
        f"{name} is a name of the present certificate, and not of the new one.",
        f"Send a certificate for all of them, {_OVERRIDE}",
    )
