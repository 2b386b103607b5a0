"""Finds certificates whose expiry others cover (docs/how-to/expiry-notifications.md)."""

from typing import Any

from sqlalchemy import false, literal, literal_column, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.functions import coalesce

from ...gateways.database.sql_functions import from_first_dot
from ...models import Certificate, CertificateHostname


def is_covered() -> Any:
    """Selects whether other certificates cover the expiry of the outer `Certificate`.

    Each of its names must be a name of another active certificate of the user, or be covered by a
    wildcard of one. That certificate must be loadable by servers, and its chain must expire later.
    A version that takes over before the expiry also covers it.
    """
    name, later_name = aliased(CertificateHostname), aliased(CertificateHostname)
    later = aliased(Certificate)
    # In a subquery that PostgreSQL does not merge (OFFSET): under row-level security, functions of
    # a column may not choose rows of an index, and so all hostnames of the user would be read.
    wildcard = literal("*").concat(from_first_dot(name.hostname)).label("wildcard")
    names = (
        select(name.hostname, wildcard)
        .where(name.certificate_id == Certificate.id)
        .correlate(Certificate)
        .offset(literal_column("0"))
        .subquery()
    )
    taken_over = (
        select(later.id)
        .join_from(later_name, later, later.id == later_name.certificate_id)
        .where(
            later_name.user_id == Certificate.user_id,
            later_name.hostname.in_([names.c.hostname, names.c.wildcard]),
            later.active,
            later.not_servable.is_(None),
            coalesce(later.serve_not_after, later.not_after) > Certificate.not_after,
            coalesce(later.serve_not_before, later.not_before) <= Certificate.not_after,
        )
        .correlate(Certificate, names)
        .exists()
    )
    all_names = select(literal_column("1")).select_from(names)
    others_cover = (
        all_names.correlate(Certificate).exists()
        & ~all_names.where(~taken_over).correlate(Certificate).exists()
    )
    return others_cover | coalesce(Certificate.activate_at <= Certificate.not_after, false())
