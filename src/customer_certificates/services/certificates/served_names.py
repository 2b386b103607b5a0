"""Protects hostnames that terminators serve from accidental loss of their certificate."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select

from ...errors import Conflict, Finding
from ...gateways.database import Database, Transaction, int_param, text_param
from ...gateways.database.sql_functions import as_json, items_of, names_of
from ...models import Certificate, CertificateHostname, PrivateKey, Serving, Terminator
from ...pki.names.hostnames import wildcard_of
from ..hostnames.preview import lost
from .candidates import DECIDING, OF_KEY, candidate_of
from .versions.renewal_rules import is_served

# A terminator that has not reported for longer is not live.
_LIVE = timedelta(hours=24)


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

    def require_kept(
        self, session: Transaction, certificate: Certificate, field: str, *, allowed: bool
    ) -> None:
        """Raises Conflict if the change would leave a served hostname without a certificate.

        This is so if a live terminator serves this active certificate, and no other certificate is
        served for one of its hostnames. `allowed` skips the check.
        """
        if allowed or not certificate.active:
            return
        is_live = Terminator.seen_at >= self._now() - _LIVE
        live_reports = (
            select(Serving.version)
            .join(Terminator, Terminator.id == Serving.terminator_id)
            .where(Serving.certificate_id == certificate.id, Serving.serves, is_live)
        )
        if session.scalar(live_reports.limit(1)) is None:
            return
        if names := self._names_without_another(session, certificate):
            raise Conflict(
                "A TLS terminator serves this certificate, and some of its hostnames have no other "
                "certificate; nothing was changed.",
                errors=[_lost(name, field) for name in names],
            )

    def _names_without_another(self, session: Transaction, certificate: Certificate) -> list[str]:
        names = names_of(certificate.hostnames)
        rows = session.run(
            self._other_candidates,
            user_id=certificate.user_id,
            certificate_id=certificate.id,
            hostnames=as_json([*{*names, *map(wildcard_of, names)}]),
        )
        now = self._now()
        served = [name for name, *row in rows if is_served(candidate_of(tuple(row), (name,)), now)]
        return lost(names, served)


def _lost(name: str, field: str) -> Finding:
    detail = (
        f"{name} is served with this certificate, and no other active certificate is valid for it."
    )
    hint = "Activate another certificate for it first, or set allow_lost_hostnames to true."
    return Finding("hostnames_lost", field, detail, hint)
