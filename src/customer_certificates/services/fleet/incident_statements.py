"""The statements that find the certificates of an incident, and the state of each."""

from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    union,
)
from sqlalchemy.orm import aliased

from ...gateways.database import int_param, text_param, time_param
from ...gateways.database.sql_functions import ids_of, items_of
from ...models import Certificate, CertificateVersion, Event, Serving, User
from ...models.certificate import MOST_ISSUER_CHARACTERS, MOST_SERIAL_CHARACTERS
from ..expiry.coverage import others_have_all_names

Kind = Literal["issuer", "spki", "serials"]
# Whether other active certificates have all hostnames, and whether a probe received each of them.
NOT_COVERED, COVERED, COVERED_BY_VERIFIED = 0, 1, 2


def affected_ids(kind: Kind) -> Any:
    """Selects the ids of certificates with a version that matches and has not expired."""
    current = select(Certificate.id.label("id")).where(_is_affected(Certificate, kind))
    others = select(CertificateVersion.certificate_id).where(_is_affected(CertificateVersion, kind))
    ids = union(current, others).subquery()
    return (
        select(ids.c.id)
        .where(ids.c.id > int_param("after"))
        .order_by(ids.c.id)
        .limit(int_param("limit"))
    )


def states(kind: Kind) -> Any:
    """Selects the state of the certificates with the `ids`, by id."""
    is_affected = _is_affected(Certificate, kind)
    verified = select(func.max(Serving.version)).where(
        Serving.certificate_id == Certificate.id, Serving.serves, Serving.verified.is_(True)
    )
    is_inactive = and_(is_affected, ~Certificate.active)
    return (
        select(
            Certificate.id,
            Certificate.user_id,
            User.external_id,
            Certificate.hostnames,
            Certificate.active,
            Certificate.version,
            Certificate.serial,
            Certificate.not_after,
            is_affected,
            *_latest_other_version(kind),
            verified.scalar_subquery(),
            _is_still_served(is_affected, kind),
            _coverage(is_inactive, kind),
        )
        .join(User, User.id == Certificate.user_id)
        .where(Certificate.id.in_(ids_of("ids")))
        .order_by(Certificate.id)
    )


def _latest_other_version(kind: Kind) -> list[Any]:
    """Returns the number, serial number and expiry of the latest other version that matches."""
    latest = (
        select(CertificateVersion)
        .where(_is_affected_version(kind))
        .order_by(CertificateVersion.version.desc())
        .limit(1)
    )
    names = ("version", "serial", "not_after")
    return [
        latest.with_only_columns(getattr(CertificateVersion, name)).scalar_subquery()
        for name in names
    ]


def _is_affected_version(kind: Kind) -> ColumnElement[bool]:
    of_this = CertificateVersion.certificate_id == Certificate.id
    return and_(of_this, _is_affected(CertificateVersion, kind))


def last_event_before() -> Any:
    """Selects the id of the last event before `since`, or no row."""
    return select(Event.id).where(Event.at < time_param("since")).order_by(Event.id.desc()).limit(1)


def notified_ids() -> Any:
    """Selects the certificates of the `user_ids` that have an event since `since`.

    Its id is greater than `event_id`.
    """
    return (
        select(Event.certificate_id)
        .where(
            Event.user_id.in_(ids_of("user_ids")),
            Event.id > int_param("event_id"),
            Event.notify,
            Event.at >= time_param("since"),
        )
        .distinct()
    )


def _is_affected(content: Any, kind: Kind) -> ColumnElement[bool]:
    """Returns whether a certificate or version matches and has not expired."""
    not_expired: ColumnElement[bool] = content.not_after >= time_param("now")
    return and_(_matches(content, kind), not_expired)


def _matches(content: Any, kind: Kind) -> ColumnElement[bool]:
    if kind == "spki":
        is_spki: ColumnElement[bool] = content.spki_sha256 == text_param("spki")
        return is_spki
    if kind == "issuer":
        # The indexes are partial, and have the condition on the length.
        return and_(
            content.issuer == text_param("issuer"),
            _is_short(content.issuer, MOST_ISSUER_CHARACTERS),
            # Its issuer is only a text that its owner chose.
            content.trust != literal_column("'self_signed'"),
        )
    serials = items_of(text_param("serials"))
    return and_(
        content.serial.in_(select(serials.c.value)),
        _is_short(content.serial, MOST_SERIAL_CHARACTERS),
    )


def _is_short(column: Any, most: int) -> ColumnElement[bool]:
    return func.length(column) <= literal_column(str(most))


def _is_still_served(is_affected: Any, kind: Kind) -> ColumnElement[bool]:
    """Returns whether a terminator serves a version that matches."""
    served = select(Serving.version).where(Serving.certificate_id == Certificate.id, Serving.serves)
    current = served.where(Serving.version == Certificate.version).exists()
    earlier = (
        served.join(
            CertificateVersion,
            and_(
                CertificateVersion.certificate_id == Serving.certificate_id,
                CertificateVersion.version == Serving.version,
            ),
        )
        .where(_is_affected_version(kind))
        .correlate(Certificate)
        .exists()
    )
    return or_(and_(is_affected, current), earlier)


def _coverage(is_inactive: Any, kind: Kind) -> ColumnElement[int]:
    """Returns NOT_COVERED, COVERED or COVERED_BY_VERIFIED."""
    return case(
        # The search for verified certificates takes as long again.
        (not_(and_(is_inactive, _is_covered(kind, verified=False))), NOT_COVERED),
        (_is_covered(kind, verified=True), COVERED_BY_VERIFIED),
        else_=COVERED,
    )


def _is_covered(kind: Kind, *, verified: bool) -> ColumnElement[bool]:
    """Returns whether other active certificates of the user have all hostnames.

    They must be servable now and not match. `verified`: a probe of a terminator received each.
    """
    other, now = aliased(Certificate), time_param("now")
    conditions = [
        other.id != Certificate.id,
        other.active,
        other.not_servable.is_(None),
        func.coalesce(other.serve_not_before, other.not_before) <= now,
        func.coalesce(other.serve_not_after, other.not_after) >= now,
        func.coalesce(_matches(other, kind), false()).is_(false()),
    ]
    if verified:
        serving = select(Serving.version).where(
            Serving.certificate_id == other.id,
            Serving.version == other.version,
            Serving.serves,
            Serving.verified.is_(True),
        )
        conditions.append(serving.correlate(other).exists())
    return others_have_all_names(other, *conditions)
