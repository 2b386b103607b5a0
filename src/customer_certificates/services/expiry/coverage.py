"""Finds certificates whose expiry others cover (docs/how-to/expiry-notifications.md)."""

from typing import Any

from sqlalchemy import ColumnElement, Integer, false, literal, literal_column, or_, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.functions import coalesce

from ...gateways.database.sql_functions import from_first_dot
from ...models import Certificate, CertificateHostname

# The most active certificates for a name that are searched for a replacement.
MOST_CANDIDATES = 100


def is_covered() -> Any:
    """Selects whether other certificates cover the expiry of the outer `Certificate`.

    Each of its names must be a name of another active certificate of the user, or be covered by a
    wildcard of one. That certificate must be loadable by servers, and its chain must expire later.
    A version that takes over before the expiry also covers it.
    """
    later = aliased(Certificate)
    others_cover = others_have_all_names(
        later,
        later.active,
        later.not_servable.is_(None),
        coalesce(later.serve_not_after, later.not_after) > Certificate.not_after,
        coalesce(later.serve_not_before, later.not_before) <= Certificate.not_after,
    )
    return others_cover | coalesce(Certificate.activate_at <= Certificate.not_after, false())


def others_have_all_names(other: Any, *conditions: Any) -> ColumnElement[bool]:
    """Returns whether certificates `other` that satisfy the conditions have all hostnames.

    The hostnames are those of the outer `Certificate`, which must have one. For each, certificates
    of the same user for that name, or for the wildcard that covers it, are read: the newest active
    ones of each. A user may have thousands of active certificates for a name, and reading all of
    them for each of them would take minutes.
    """
    name = aliased(CertificateHostname)
    names = select(name.hostname).where(name.certificate_id == Certificate.id)
    missing = names.where(~_any_newest(name, other, conditions))
    return names.correlate(Certificate).exists() & ~missing.correlate(Certificate).exists()


def _any_newest(name: Any, other: Any, conditions: tuple[Any, ...]) -> ColumnElement[bool]:
    """Returns whether a certificate `other` for the hostname `name` satisfies the conditions."""
    wildcard = literal("*").concat(from_first_dot(name.hostname))
    return or_(
        *(_is_any(name, hostname, other, conditions) for hostname in (name.hostname, wildcard))
    )


def _is_any(
    name: Any, hostname: Any, other: Any, conditions: tuple[Any, ...]
) -> ColumnElement[bool]:
    of_user = aliased(CertificateHostname)
    newest = (
        select(of_user.certificate_id)
        .where(
            of_user.user_id == Certificate.user_id,
            # An equality would let PostgreSQL read all certificates of the user, newest first.
            of_user.hostname >= hostname,
            of_user.hostname <= hostname,
            of_user.active,
        )
        .order_by(of_user.hostname.desc(), of_user.certificate_id.desc())
        # A literal, so that PostgreSQL plans for few certificates.
        .limit(literal_column(str(MOST_CANDIDATES), Integer))
        .correlate(Certificate, name)
        .subquery()
    )
    found = select(other.id).join(newest, newest.c.certificate_id == other.id).where(*conditions)
    return found.correlate(Certificate, name).exists()
