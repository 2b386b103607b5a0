"""Finds certificates whose expiry others cover (docs/how-to/expiry-notifications.md)."""

from typing import Any

from sqlalchemy import false, literal, select, union_all
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
    wanted = name_and_wildcard(name)
    taken_over = (
        select(later.id)
        .select_from(wanted)
        .join(later_name, later_name.hostname == wanted.c.hostname)
        .join(later, later.id == later_name.certificate_id)
        .where(
            later_name.user_id == Certificate.user_id,
            later.active,
            later.not_servable.is_(None),
            coalesce(later.serve_not_after, later.not_after) > Certificate.not_after,
            coalesce(later.serve_not_before, later.not_before) <= Certificate.not_after,
        )
        .correlate(Certificate, name)
        .exists()
    )
    names = select(name.hostname).where(name.certificate_id == Certificate.id)
    others_cover = (
        names.correlate(Certificate).exists()
        & ~names.where(~taken_over).correlate(Certificate).exists()
    )
    return others_cover | coalesce(Certificate.activate_at <= Certificate.not_after, false())


def name_and_wildcard(name: Any) -> Any:
    """Selects the hostname of the outer `name`, and the wildcard that covers it.

    This is a table, not a list for IN: under row-level security, PostgreSQL searches an index only
    for values that were computed before.
    """
    wildcard = literal("*").concat(from_first_dot(name.hostname))
    both = (select(name.hostname.label("hostname")), select(wildcard))
    return union_all(*(one.correlate(name) for one in both)).subquery()
