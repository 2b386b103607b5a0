"""The search for certificates that replace an expiring one, among many of the same user."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from customer_certificates.models import Certificate, CertificateHostname
from customer_certificates.services.expiry.coverage import MOST_CANDIDATES, is_covered

from ...conftest import Backend
from ...tables import NOW, add_certificates, add_users
from ..certificates.test_candidates import rows_read


@pytest.mark.one_backend("postgresql")
def test_other_hostnames_of_the_user_are_not_read(backend: Backend, engine: sa.Engine) -> None:
    """Row-level security lets only some conditions choose rows of an index."""
    (user,) = add_users(engine, 1)
    _add_certificates(engine, user, 20)
    before = _rows_read(backend, engine)
    _add_certificates(engine, user, 2000)

    after = _rows_read(backend, engine)

    assert 0 < after <= 2 * before


@pytest.mark.one_backend("postgresql")
def test_few_of_many_certificates_for_a_name_are_read(backend: Backend, engine: sa.Engine) -> None:
    """Reading each of them for each of them would take minutes."""
    (user,) = add_users(engine, 1)
    _add_certificates(engine, user, 3000, "a.example")

    assert 0 < _rows_read(backend, engine) <= 5 * MOST_CANDIDATES


def _add_certificates(
    engine: sa.Engine, user: int, number: int, hostname: str | None = None
) -> None:
    dates = {"not_before": NOW, "not_after": NOW + timedelta(days=7)}
    added = add_certificates(engine, user, number, **dates)
    rows = [
        {"user_id": user, "hostname": hostname or f"{each}.example", "certificate_id": each}
        for each in added
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(CertificateHostname), rows)
        connection.exec_driver_sql("ANALYZE certificates, certificate_hostnames")


def _rows_read(backend: Backend, engine: sa.Engine) -> int:
    """Returns how many rows the service's role reads for one certificate."""
    first = sa.select(sa.func.min(Certificate.id)).scalar_subquery()
    query = sa.select(is_covered()).where(Certificate.id == first)
    text = query.compile(engine, compile_kwargs={"literal_binds": True})
    role = sa.make_url(backend.database_url).username
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        connection.exec_driver_sql("SELECT set_config('cc.tenant', '*', true)")
        explained = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {str(text).replace('%', '%%')}"
        ).scalar_one()
    return rows_read(explained[0]["Plan"])
