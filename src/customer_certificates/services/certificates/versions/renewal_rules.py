"""Decides when a new version may replace the current one, and explains rejections. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ....errors import Conflict, Finding, Invalid
from ....gateways.database.sql_functions import names_of
from ....models import Certificate
from ....pki.selection import Candidate, why_not_servable
from ...hostnames.preview import lost
from ..candidates import candidate_of_content
from ..servability import explained
from ..views import PendingView

_OVERRIDE = 'or send "allow_lost_hostnames": true to do it anyway.'
_CANCEL = f"Cancel the cutover first, {_OVERRIDE}"


def requested_time(activate_at: datetime | None, now: datetime, *, active: bool) -> datetime | None:
    """Returns `activate_at` in UTC.

    Raises Invalid if it is not in the future, or comes with `active`.
    """
    if activate_at is None:
        return None
    try:
        at = activate_at.astimezone(UTC)
    except OverflowError:
        at = None
    findings = []
    if at is None or at <= now:
        detail = f"activate_at must be in the future. The time is now {_time(now)}."
        hint = "Send a later time, or omit it."
        findings.append(Finding("invalid_value", "activate_at", detail, hint))
    if active:
        detail = (
            '"active": true and activate_at exclude each other: the first activates the '
            "certificate now, the second later."
        )
        hint = "Send only one of them."
        findings.append(Finding("conflicting_fields", "activate_at", detail, hint))
    if findings:
        raise Invalid("activate_at is invalid; nothing was stored.", errors=findings)
    return at


def require_served_at(
    new: Candidate, at: datetime, findings: Sequence[Finding], field: str = "activate_at"
) -> None:
    """Raises Conflict, with all `findings`, if `new` could not be served at `at`."""
    if errors := _not_served_at(new, at, field):
        raise Conflict(
            "The certificate could not be served at that time; nothing was changed.",
            errors=[*errors, *findings],
        )


def require_takeover(
    current: Candidate,
    new: Candidate,
    start: datetime,
    now: datetime,
    findings: Iterable[Finding],
    field: str,
    *,
    allowed: bool,
    subject: str = "The new certificate",
) -> None:
    """Raises Conflict if hostnames would be left without a working certificate.

    `new` replaces `current` at `start`. The error has all `findings` about `new`. `allowed` skips
    the check, but a scheduled version must be servable at `start` in any case.
    """
    errors: list[Finding] = []
    if not allowed:
        errors += [_lost(name, field) for name in lost(current.hostnames, new.hostnames)]
    is_protected = is_served(current, now, start)
    if start > now or (is_protected and not allowed):
        errors += _not_served_at(new, start, field)
    if is_protected and not allowed and (end := current.served_until) and start > end:
        errors.append(_gap(end, start, field))
    if errors:
        raise Conflict(
            f"{subject} cannot replace the current one; nothing was changed.",
            errors=[*errors, *findings],
        )


def require_pending_keeps(
    certificate: Certificate, content: Mapping[str, Any], *, allowed: bool
) -> None:
    """Raises Conflict if the pending version cannot follow a rollback to `content`.

    This is so if the pending version lacks hostnames of `content`, or takes over only after
    `content` has expired. `allowed` skips the check.
    """
    if allowed or certificate.pending is None:
        return
    pending = msgspec.json.decode(certificate.pending, type=PendingView)
    if pending.version == certificate.version:
        return
    lost_anyway = lost(names_of(certificate.hostnames), pending.hostnames)
    errors = [
        _pending_lacks(name)
        for name in lost(names_of(content["hostnames"]), pending.hostnames)
        if name not in lost_anyway
    ]
    end = candidate_of_content(content, certificate).served_until
    if certificate.active and end and pending.activate_at > end:
        errors.append(_pending_too_late(end, pending.activate_at))
    if errors:
        raise Conflict(
            "The pending version cannot replace the requested one; nothing was changed.",
            errors=errors,
        )


def is_served(candidate: Candidate, now: datetime, until: datetime | None = None) -> bool:
    """Returns whether servers may serve the certificate between `now` and `until`.

    Other certificates are not considered.
    """
    begin = max(now, candidate.served_from or now)
    is_servable = why_not_servable(candidate, begin) is None
    return candidate.active and begin <= (until or now) and is_servable


def start_of(
    new: Candidate, activate_at: datetime | None, now: datetime, *, allowed: bool
) -> datetime:
    """Returns when `new` takes over: at the requested time, or as soon as it is valid.

    If it cannot be served even then and that is `allowed`, it takes over at once.
    """
    if activate_at:
        return activate_at
    start = max(now, new.served_from or now)
    return now if allowed and why_not_servable(new, start) else start


def _not_served_at(new: Candidate, at: datetime, field: str) -> list[Finding]:
    reason = why_not_servable(new, at)
    if reason is None:
        return []
    detail = f"TLS servers could not serve it at {_time(at)}. {explained(new, reason)}"
    hint = f"Choose one that can be served at that time, {_OVERRIDE}"
    if field == "activate_at":
        hint = "Choose another time, or another certificate."
    return [Finding("would_not_be_served", field, detail, hint)]


def _gap(end: datetime, start: datetime, field: str) -> Finding:
    return Finding(
        "present_expires_first",
        field,
        f"The current certificate expires at {_time(end)}, but {_successor(field)} takes "
        f"over at {_time(start)}. Nothing would be served in between.",
        f"Choose a certificate that takes over earlier, {_OVERRIDE}",
    )


def _pending_lacks(name: str) -> Finding:
    detail = f"{name} is a hostname of the requested version, but not of the pending one."
    return Finding("hostnames_lost", "version", detail, _CANCEL)


def _pending_too_late(end: datetime, start: datetime) -> Finding:
    return Finding(
        "present_expires_first",
        "version",
        f"The requested version expires at {_time(end)}, but the pending one takes over at "
        f"{_time(start)}. Nothing would be served in between.",
        _CANCEL,
    )


def _lost(name: str, field: str) -> Finding:
    detail = f"{name} is a hostname of the current certificate, but not of {_successor(field)}."
    hint = f"Choose a certificate with all hostnames, {_OVERRIDE}"
    return Finding("hostnames_lost", field, detail, hint)


def _successor(field: str) -> str:
    return "that version" if field == "version" else "the new certificate"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
