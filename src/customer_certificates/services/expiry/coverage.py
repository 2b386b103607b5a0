"""Whether others take over when a certificate ends (docs/how-to/expiry-notifications.md)."""

from typing import Any

from sqlalchemy import false, literal, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.functions import coalesce

from ...gateways.database.sql_functions import from_first_dot
from ...models import Certificate, CertificateHostname


def is_covered() -> Any:
    """In SQL: whether each name of the `Certificate` of the statement around it is a name of
    another active one of the user's that servers can load and whose chain ends later, or is covered
    by a wildcard of one. A version that takes over before the end covers it as well."""
    name, later_name = aliased(CertificateHostname), aliased(CertificateHostname)
    later = aliased(Certificate)
    wildcard = literal("*").concat(from_first_dot(name.hostname))
    taken_over = (
        select(later.id)
        .join_from(later_name, later, later.id == later_name.certificate_id)
        .where(
            later_name.user_id == Certificate.user_id,
            later_name.hostname.in_([name.hostname, wildcard]),
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
