"""The counters that a certificate belongs to, as expressions of SQL.

A counter is a function of the stored row alone, never of the current time. Thus the removal of a
certificate reduces the counter that its upload increased, however much later.
"""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_

from ...gateways.database.sql_functions import seconds_of
from ...models import Certificate
from ...models.certificate import MOST_ISSUER_CHARACTERS

DAY_SECONDS = 86_400
# `expires_on` of certificates without dates.
NO_DAY = -10_000_000
_EPOCH = date(1970, 1, 1)
# The columns of SummaryDates that identify a counter.
DATES = ("active", "reason", "expires_on", "valid_from", "chain_valid_from", "chain_expires")
# The values of SummaryValue.dimension.
DIMENSIONS = ("issuer", "key_algorithm", "trust")


def dates(source: Any) -> list[ColumnElement[Any]]:
    """Returns the counter in SummaryDates (DATES) of a Certificate or SummaryChange.

    A time that had passed when the version was uploaded has no effect. A chain's dates have none
    within the certificate's own.
    """
    stored_at = _stored_at(source)
    valid_from, expires = source.not_before, source.not_after
    chain_valid_from, chain_expires = source.serve_not_before, source.serve_not_after
    chain_waits = and_(
        chain_valid_from > stored_at, or_(valid_from.is_(None), chain_valid_from > valid_from)
    )
    reason = case(
        (source.trust == literal("unreadable"), literal("unreadable")),
        else_=func.coalesce(source.not_servable, literal("")),
    )
    values = (
        source.active,
        reason,
        func.coalesce(_day_of(expires), literal(NO_DAY)),
        _seconds_if(valid_from > stored_at, valid_from),
        _seconds_if(chain_waits, chain_valid_from),
        _seconds_if(or_(expires.is_(None), chain_expires < expires), chain_expires),
    )
    return [value.label(name) for name, value in zip(DATES, values, strict=True)]


def value(source: Any, dimension: str) -> ColumnElement[str]:
    """Returns the value of a Certificate or SummaryChange in a dimension; empty: none."""
    column = getattr(source, dimension)
    if dimension == "issuer" and source is Certificate:
        column = func.substr(column, 1, MOST_ISSUER_CHARACTERS)
    text: ColumnElement[str] = func.coalesce(column, literal(""))
    return text.label("value")


def flags(counter: Any, valid_by: Any, expired_by: Any) -> ColumnElement[int]:
    """Returns the state of a counter (columns DATES) at a time, in bits: see STATE.

    `valid_by` is the time's last whole second before or at it, `expired_by` the first one after.
    """
    chain_expired = and_(counter.chain_expires != literal(0), counter.chain_expires < expired_by)
    conditions = (
        counter.active,
        counter.valid_from > valid_by,
        chain_expired,
        counter.chain_valid_from > valid_by,
    )
    bits = [
        case((condition, literal(2**bit)), else_=literal(0))
        for bit, condition in enumerate(conditions)
    ]
    return sum(bits[1:], start=bits[0])


# The names of the bits of `flags`, from the lowest one on.
STATE = ("active", "not_yet_valid", "chain_expired", "chain_not_yet_valid")


def day_of(at: datetime) -> int:
    """Returns the number of a time's day in UTC, as in `expires_on`."""
    return (at.date() - _EPOCH).days


def date_of(day: int) -> date:
    """Returns the date of a day's number."""
    return _EPOCH + timedelta(days=day)


def _stored_at(source: Any) -> Any:
    if source is Certificate:
        return func.coalesce(Certificate.updated_at, Certificate.created_at)
    return source.stored_at


def _day_of(at: Any) -> Any:
    return seconds_of(at) // literal(DAY_SECONDS)


def _seconds_if(condition: Any, at: Any) -> Any:
    return case((condition, func.coalesce(seconds_of(at), literal(0))), else_=literal(0))
