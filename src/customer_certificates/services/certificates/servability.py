"""Explains why a certificate cannot be served."""

from datetime import datetime

from ...errors import Conflict, Finding
from ...models import Certificate
from ...pki.selection import Candidate, NotServableReason, Reason, why_not_servable
from .candidates import candidate_of_certificate

WHY: dict[Reason, str] = {
    "unreadable": "The certificate could not be read.",
    "no_key": "It has no usable private key: none could be read, or the key belongs to another "
    "certificate.",
    "not_loadable": "TLS servers cannot load it with its key, or their handshakes fail.",
    "expired": "It expired on {not_after:%Y-%m-%d}.",
    "not_yet_valid": "It is not valid before {not_before:%Y-%m-%d}.",
    "chain_expired": "A certificate of its chain expired on {serve_not_after:%Y-%m-%d}.",
    "chain_not_yet_valid": "A certificate of its chain is not valid before "
    "{serve_not_before:%Y-%m-%d}.",
}
# A certificate may be activated before it is valid. It is served as soon as it is valid.
_IN_TIME: set[NotServableReason] = {"not_yet_valid", "chain_not_yet_valid"}


def explained(candidate: Candidate, reason: NotServableReason) -> str:
    """Returns the explanation of `reason` for `candidate`."""
    return WHY[reason].format(**candidate._asdict())


def require_servable(certificate: Certificate, now: datetime) -> None:
    """Raises Conflict if no server can serve `certificate`, now or later."""
    candidate = candidate_of_certificate(certificate)
    reason = why_not_servable(candidate, now)
    if reason and reason not in _IN_TIME:
        hint = "Replace the certificate, then activate it. Its findings explain the problem."
        finding = Finding("not_servable", "active", explained(candidate, reason), hint)
        raise Conflict("The certificate cannot be served; nothing was changed.", errors=[finding])
