"""Reads a certificate and the terminators that serve it, in one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, select

from ...gateways.database.prepared import Row
from ...models import Certificate, Serving, Terminator
from .views import SHOWN, CertificateView, ServingView, certificate_view

# Only the first row contains them, because many terminators may serve one certificate.
_LARGE = ("findings", "hostnames", "body", "chain", "chain_pem", "pending")


def with_serving() -> Select[*tuple[Any, ...]]:
    """Selects a certificate (`certificate_id`, `user_id`) with the terminators that serve it.

    There is one row for each terminator, by name, or a single one if there are none.
    """
    row_number = func.row_number().over(order_by=Terminator.name)
    columns = {name: getattr(Certificate, name) for name in SHOWN}
    columns |= {name: case((row_number == 1, columns[name])) for name in _LARGE}
    serves = and_(Serving.certificate_id == Certificate.id, Serving.user_id == Certificate.user_id)
    return (
        select(*columns.values(), Terminator.name, Serving.version, Serving.since, Serving.verified)
        .select_from(Certificate)
        .outerjoin(Serving, and_(serves, Serving.serves))
        .outerjoin(Terminator, Terminator.id == Serving.terminator_id)
        .where(
            Certificate.id == bindparam("certificate_id"),
            Certificate.user_id == bindparam("user_id"),
        )
        .order_by(row_number)
    )


def detail_of(rows: Sequence[Row], as_of: datetime) -> tuple[CertificateView, list[ServingView]]:
    """Returns the certificate and its terminators from at least one row of `with_serving`."""
    size = len(SHOWN)
    serving = [ServingView(*row[size:]) for row in rows if row[size] is not None]
    return certificate_view(rows[0][:size], as_of), serving
