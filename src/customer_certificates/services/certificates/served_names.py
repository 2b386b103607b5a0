"""Protects hostnames that terminators serve from accidental loss of their certificate."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from ...errors import Conflict, Finding
from ...gateways.database import Database, Transaction, int_param, text_param, time_param
from ...gateways.database.prepared import Prepared, Row
from ...gateways.database.sql_functions import as_json, items_of, names_of
from ...models import Certificate, CertificateHostname, PrivateKey, Serving, Terminator
from ...pki.names.hostnames import wildcard_of
from ..hostnames.preview import Replaced, lost
from .candidates import DECIDING, OF_KEY, candidate_of
from .versions.renewal_rules import is_served

# A terminator that has not reported for longer is not live.
_LIVE = timedelta(hours=24)
# Runs a statement with its parameters by name.
_Run = Callable[..., list[Row]]


class ServedNames:
    """Finds hostnames that only one certificate serves."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        names = items_of(text_param("hostnames"))
        self._other_candidates = database.prepare(
            select(CertificateHostname.hostname, *DECIDING)
            .join(Certificate, Certificate.id == CertificateHostname.certificate_id)
            .outerjoin(PrivateKey, OF_KEY)
            .where(
                CertificateHostname.user_id == int_param("user_id"),
                CertificateHostname.hostname.in_(select(names.c.value)),
                Certificate.active,
                Certificate.id != int_param("certificate_id"),
            )
        )
        self._live_reports = database.prepare(
            select(Serving.version)
            .join(Terminator, Terminator.id == Serving.terminator_id)
            .where(
                Serving.certificate_id == int_param("certificate_id"),
                Serving.serves,
                Terminator.seen_at >= time_param("since"),
            )
            .limit(1)
        )

    def require_kept(
        self, session: Transaction, certificate: Certificate, field: str, *, allowed: bool
    ) -> None:
        """Raises Conflict if the change would leave a served hostname without a certificate.

        This is so if a live terminator serves this active certificate, and no other certificate is
        served for one of its hostnames. `allowed` skips the check.
        """
        if allowed or not certificate.active:
            return
        names = names_of(certificate.hostnames)
        if lost_names := self._lost(session.run, certificate.user_id, certificate.id, names):
            raise Conflict(
                "A TLS terminator serves this certificate, and some of its hostnames have no other "
                "certificate; nothing was changed.",
                errors=[_finding(name, field) for name in lost_names],
            )

    def lost_without(self, user_id: int, active: Replaced) -> list[str]:
        """Returns the hostnames for which `require_kept` would refuse a change now."""
        return self._lost(_run, user_id, active.id, active.hostnames)

    def _lost(
        self, run: _Run, user_id: int, certificate_id: int, names: Sequence[str]
    ) -> list[str]:
        of_certificate = {"user_id": user_id, "certificate_id": certificate_id}
        now = self._now()
        if not run(self._live_reports, **of_certificate, since=now - _LIVE):
            return []
        asked = as_json([*{*names, *map(wildcard_of, names)}])
        rows = run(self._other_candidates, **of_certificate, hostnames=asked)
        served = [name for name, *row in rows if is_served(candidate_of(tuple(row), (name,)), now)]
        return lost(names, served)


def _run(prepared: Prepared, **values: Any) -> list[Row]:
    """Runs a statement outside any transaction."""
    return prepared(**values)


def _finding(name: str, field: str) -> Finding:
    detail = (
        f"{name} is served with this certificate, and no other active certificate is valid for it."
    )
    hint = "Activate another certificate for it first, or set allow_lost_hostnames to true."
    return Finding("hostnames_lost", field, detail, hint)
