"""Counts the certificates of all users, from counters."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import ceil, floor
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, case, func, literal, null, select, union_all
from sqlalchemy.types import Text

from ...gateways.database import Database, int_param, time_param
from ...gateways.database.prepared import Row
from ...models import Certificate, SummaryChange, SummaryDates, SummaryValue
from .summary_buckets import DATES, DIMENSIONS, NO_DAY, STATE, date_of, dates, day_of, flags, value
from .summary_views import (
    ByDays,
    ByServability,
    ByStatus,
    ByTrust,
    OfDay,
    OfIssuer,
    OfKeyAlgorithm,
    SummaryView,
)

_TOP = 20
_LAST_DAY = 90
# The last day of each range, and its field of ByDays.
_RANGES = (
    (-1, "expired"),
    (7, "days_0_to_7"),
    (30, "days_8_to_30"),
    (60, "days_31_to_60"),
    (_LAST_DAY, "days_61_to_90"),
)
_DATES, _EXPIRED_TODAY = "dates", "expired today"


class _Group(NamedTuple):
    """Certificates in the same state. `days` until they expire: -1 if expired, None if unknown."""

    reason: str
    days: int | None
    state: int
    number: int

    def has(self, name: str) -> bool:
        return bool(self.state >> STATE.index(name) & 1)

    @property
    def status(self) -> str:
        if self.days == -1:
            return "expired"
        if self.has("not_yet_valid"):
            return "not_yet_valid"
        return "active" if self.has("active") else "inactive"

    @property
    def servability(self) -> str:
        """Returns why no server may serve them, in the order of `why_not_servable`."""
        if self.reason or self.status in ("expired", "not_yet_valid"):
            return self.reason or self.status
        if self.has("chain_expired"):
            return "chain_expired"
        return "chain_not_yet_valid" if self.has("chain_not_yet_valid") else "servable"

    @property
    def range(self) -> str:
        if self.days is None:
            return "unreadable"
        return next((name for last, name in _RANGES if self.days <= last), "over_90_days")


class Summary:
    """Sums the counters, and the changes that the worker has not added yet.

    One statement reads both. Thus it is exact at any time, also while a worker adds changes.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        self._read = database.prepare(_summary(), tenant=None)

    def read(self, now: datetime | None = None) -> SummaryView:
        """Returns the numbers, with the status of each certificate at `now`. Raises Unavailable.

        `now` must not be before the last upload: the counters have no dates that had passed then.
        """
        now = now or self._now()
        today = day_of(now)
        rows = self._read(
            valid_by=floor(now.timestamp()),
            expired_by=ceil(now.timestamp()),
            today=today,
            before_today=today - 1,
            last_day=today + _LAST_DAY,
            after_last_day=today + _LAST_DAY + 1,
            midnight=now.replace(hour=0, minute=0, second=0, microsecond=0),
            now=now,
        )
        groups = _groups(rows, today)
        total = sum(group.number for group in groups)
        active = [group for group in groups if group.has("active")]
        issuers, keys, trusts = (_top(rows, dimension) for dimension in DIMENSIONS)
        return SummaryView(
            as_of=now,
            certificates=total,
            status=ByStatus(**_sums((group.status, group.number) for group in groups)),
            days=ByDays(**_sums((group.range, group.number) for group in groups)),
            active_days=ByDays(**_sums((group.range, group.number) for group in active)),
            servable=ByServability(**_sums((group.servability, group.number) for group in active)),
            trust=ByTrust(**dict(trusts)),
            issuers=[OfIssuer(name or None, number) for name, number in issuers],
            other_issuers=total - sum(number for _, number in issuers),
            key_algorithms=[OfKeyAlgorithm(name or None, number) for name, number in keys],
            other_key_algorithms=total - sum(number for _, number in keys),
            expiries=_expiries(active, today),
        )


def _groups(rows: Sequence[Row], today: int) -> list[_Group]:
    groups = list[_Group]()
    for kind, name, day, state, number in rows:
        if kind == _DATES:
            groups.append(_Group(name, None if day == NO_DAY else day - today, state, number))
        elif kind == _EXPIRED_TODAY:
            # The counters have days only: they count with those that expire later today.
            groups += [_Group(name, 0, state, -number), _Group(name, -1, state, number)]
    return groups


def _top(rows: Sequence[Row], dimension: str) -> list[tuple[str, int]]:
    """Returns the values with the most certificates, and their numbers."""
    values = [(name, number) for kind, name, *_, number in rows if kind == dimension and number]
    return sorted(values, key=lambda found: (-found[1], found[0]))[:_TOP]


def _sums(numbers: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums = Counter[str]()
    for name, number in numbers:
        sums[name] += number
    return sums


def _expiries(active: Sequence[_Group], today: int) -> list[OfDay]:
    days = Counter[int | None]()
    for group in active:
        days[group.days] += group.number
    return [OfDay(date_of(today + day), days[day]) for day in range(_LAST_DAY + 1)]


def _summary() -> Any:
    """Selects (kind, name, day, state, number) of all groups, of one state of the database."""
    # Used several times, so the databases read the changes only once.
    changes = select(
        *dates(SummaryChange),
        *(value(SummaryChange, dimension).label(dimension) for dimension in DIMENSIONS),
        SummaryChange.amount.label("number"),
    ).cte("changes")
    columns = [*DATES, "number"]
    all_dates = union_all(
        select(*(getattr(SummaryDates, name) for name in columns)),
        select(*(changes.c[name] for name in columns)),
    )
    today = select(*dates(Certificate), literal(1, BigInteger).label("number")).where(
        Certificate.not_after >= time_param("midnight"), Certificate.not_after < time_param("now")
    )
    return union_all(
        _grouped(_DATES, all_dates.subquery("all_dates")),
        _grouped(_EXPIRED_TODAY, today.subquery("today")),
        *(part for dimension in DIMENSIONS for part in _values(dimension, changes)),
    )


def _grouped(kind: str, counters: Any) -> Any:
    """Selects the sums of counters, by all that matters now."""
    expires_on = counters.c.expires_on
    day = case(
        (expires_on == literal(NO_DAY), expires_on),
        (expires_on < int_param("today"), int_param("before_today")),
        (expires_on > int_param("last_day"), int_param("after_last_day")),
        else_=expires_on,
    )
    state = flags(counters.c, int_param("valid_by"), int_param("expired_by"))
    reduced = select(
        counters.c.reason, day.label("day"), state.label("state"), counters.c.number
    ).subquery()
    return select(
        literal(kind, Text).label("kind"),
        reduced.c.reason,
        reduced.c.day,
        reduced.c.state,
        func.sum(reduced.c.number).cast(BigInteger).label("number"),
    ).group_by(reduced.c.reason, reduced.c.day, reduced.c.state)


def _values(dimension: str, changes: Any) -> tuple[Any, Any]:
    """Selects the values with the most certificates: those without changes, and those with."""
    changed_value = changes.c[dimension]
    changed = (
        select(
            changed_value.label("value"),
            func.sum(changes.c.number).cast(BigInteger).label("amount"),
        )
        .group_by(changed_value)
        .subquery()
    )
    is_of = SummaryValue.dimension == literal(dimension)
    number, text = SummaryValue.number, SummaryValue.value
    unchanged = (
        select(text.label("value"), number.label("number"))
        .where(is_of, text.not_in(select(changed.c.value)))
        .order_by(number.desc(), text.desc())
    )
    total = (changed.c.amount + func.coalesce(number, literal(0))).label("number")
    with_changes = (
        select(changed.c.value, total)
        .outerjoin(SummaryValue, is_of & (text == changed.c.value))
        .order_by(total.desc(), changed.c.value.desc())
    )
    return _named(dimension, unchanged), _named(dimension, with_changes)


def _named(dimension: str, values: Any) -> Any:
    top = values.limit(_TOP).subquery()
    nothing = null().cast(BigInteger)
    return select(literal(dimension, Text), top.c.value, nothing, nothing, top.c.number)
