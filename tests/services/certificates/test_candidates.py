"""To decide what is served costs the same, however much has been uploaded for the name."""

from typing import Any

import pytest
import sqlalchemy as sa

from customer_certificates.gateways.database import Database
from customer_certificates.gateways.database.prepared import Prepared
from customer_certificates.models import Certificate, CertificateHostname, HostnameClaim
from customer_certificates.services.certificates.candidates import Candidates

from ...tables import add_certificates, add_users

_NAME = "www.example.com"
_WILDCARD = "*.example.com"


def add_named(engine: sa.Engine, user_id: int, name: str, number: int, *, active: bool) -> None:
    ids = add_certificates(engine, user_id, number, active=active)
    row = {"user_id": user_id, "hostname": name, "active": active}
    with engine.begin() as connection:
        connection.execute(
            sa.insert(CertificateHostname), [{**row, "certificate_id": one} for one in ids]
        )


def cost(engine: sa.Engine, statement: Prepared) -> int:
    """How many rows PostgreSQL reads for a statement, or how many steps SQLite makes."""
    values = statement.parameters({"hostname": _NAME, "wildcard": _WILDCARD, "limit": 8})
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            file: Any = connection.connection.dbapi_connection
            steps = 0

            def step() -> None:
                nonlocal steps
                steps += 1

            file.set_progress_handler(step, 1)
            file.execute(statement.sql, values).fetchall()
            file.set_progress_handler(None, 0)
            return steps
        given = ", ".join(
            str(sa.literal(one).compile(engine, compile_kwargs={"literal_binds": True}))
            for one in values
        )
        connection.exec_driver_sql("ANALYZE certificates, certificate_hostnames, hostname_claims")
        connection.exec_driver_sql(f"PREPARE asked AS {statement.sql}")
        explained = connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({given})"
        ).scalar_one()
        connection.exec_driver_sql("DEALLOCATE asked")
        return rows_read(explained[0]["Plan"])


def rows_read(plan: dict[str, Any]) -> int:
    of_one = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter"))
    return int(of_one * plan["Actual Loops"]) + sum(map(rows_read, plan.get("Plans", ())))


@pytest.mark.parametrize("name", [_NAME, _WILDCARD])
def test_uploads_that_are_not_active_do_not_slow_the_choice(
    database: Database, engine: sa.Engine, name: str
) -> None:
    """Neither those of others for a name nor those of its owner."""
    owner, other = add_users(engine, 2)
    with engine.begin() as connection:
        claims = [{"hostname": one, "user_id": owner} for one in (_NAME, _WILDCARD)]
        connection.execute(sa.insert(HostnameClaim), claims)
    add_named(engine, owner, _NAME, 2, active=True)
    candidates = Candidates(database)
    asked = [candidates._served, candidates._serving, candidates._found]
    for user_id in (owner, other):
        add_named(engine, user_id, name, 20, active=False)
    before = [cost(engine, one) for one in asked]
    for user_id in (owner, other):
        add_named(engine, user_id, name, 2000, active=False)

    after = [cost(engine, one) for one in asked]
    assert all(now <= 2 * then for then, now in zip(before, after, strict=True)), (before, after)
    assert len(candidates.served(_NAME)) == 2


def test_whether_it_is_active_is_known_of_each_hostname(
    database: Database, engine: sa.Engine
) -> None:
    """A trigger copies the flag, also if SQL changes the certificate behind the service."""
    (owner,) = add_users(engine, 1)
    with engine.begin() as connection:
        connection.execute(sa.insert(HostnameClaim), {"hostname": _NAME, "user_id": owner})
    add_named(engine, owner, _NAME, 1, active=False)
    candidates = Candidates(database)

    for active in (True, False, True):
        with engine.begin() as connection:
            connection.execute(sa.update(Certificate).values(active=active))
            of_name = connection.execute(sa.select(CertificateHostname.active)).scalars().all()
        assert of_name == [active]
        assert bool(candidates.served(_NAME)) is active
