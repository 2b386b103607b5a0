"""Counts expiring certificates without a replacement, a few at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from time import monotonic
from typing import Any

from sqlalchemy import Integer, case, literal_column, or_, select, true

from ...errors import Unavailable
from ...gateways.database import Database, time_param
from ...gateways.database.sql_functions import days_between
from ...models import Certificate
from ..expiry.coverage import is_covered
from ..pages import Cursor, after_values, comes_after

_READ_AT_ONCE = 500
_MOST_PAGES = 4
_LEAST_PAUSE_SECONDS = 60.0
# A sweep works for at most a fifth of the time.
_PAUSE_FACTOR = 4
_EXPIRED_WITHIN = timedelta(days=30)
# Certificates with a shorter lifetime are always about to expire.
_LEAST_DAYS = 10
_WINDOWS = {"1d": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
EXPIRED = "expired"
WINDOWS = (EXPIRED, *_WINDOWS)
_NEEDS_NONE = or_(
    Certificate.trust == literal_column("'self_signed'"),
    Certificate.trust == literal_column("'unreadable'"),
    Certificate.not_servable.is_not(None),
    days_between(Certificate.not_before, Certificate.not_after) < literal_column(str(_LEAST_DAYS)),
)


@dataclass(slots=True)
class Sweep:
    """A sweep over the certificates. `counts` is complete at its end.

    `as_of` is when it began, `last` the place of the last certificate that was read.
    """

    as_of: datetime
    last: Cursor
    began: float = field(default_factory=monotonic)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WINDOWS, 0))

    def add(self, not_after: datetime) -> None:
        """Counts a certificate without a replacement."""
        left = not_after - self.as_of
        if left < timedelta():
            self.counts[EXPIRED] += 1
            return
        for window, length in _WINDOWS.items():
            self.counts[window] += left <= length


class Replacements:
    """Reads all certificates that expire soon or have just expired, by expiry.

    It does not count those that browsers reject anyway, and those with a short lifetime: any user
    can upload such a certificate, and would trigger the operators' alarms.

    A large fleet has hundreds of thousands of them, and each needs a search for certificates with
    the same hostnames. So `advance` reads some pages, and the next call continues.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._now = now
        # PostgreSQL plans for the number of certificates in the statement.
        column = case((_NEEDS_NONE, true()), else_=is_covered())
        self._page = cache(lambda size: database.prepare(_page(size, column), tenant=None))
        self._next = database.prepare(_page(1, _NEEDS_NONE), tenant=None)
        self._size = _READ_AT_ONCE
        self._sweep: Sweep | None = None
        self._continues_at = 0.0

    def advance(self) -> Sweep | None:
        """Reads some pages. Returns the sweep if they were the last ones, otherwise None.

        Raises Unavailable; a call after a pause continues with a smaller page.
        """
        if monotonic() < self._continues_at:
            return None
        self._continues_at = monotonic() + _LEAST_PAUSE_SECONDS
        if self._sweep is None:
            now = self._now()
            self._sweep = Sweep(now, Cursor(now - _EXPIRED_WITHIN, 0))
        sweep = self._sweep
        until = sweep.as_of + _WINDOWS["30d"]
        for _ in range(_MOST_PAGES):
            rows, is_last = self._read(until=until, **after_values(sweep.last))
            for not_after, certificate_id, is_covered_ in rows:
                sweep.last = Cursor(not_after, certificate_id)
                if not is_covered_:
                    sweep.add(not_after)
            if is_last:
                self._sweep = None
                took = monotonic() - sweep.began
                self._continues_at = monotonic() + max(_LEAST_PAUSE_SECONDS, _PAUSE_FACTOR * took)
                return sweep
        self._continues_at = 0.0
        return None

    def _read(self, **place: Any) -> tuple[list[Any], bool]:
        """Returns the next rows, and whether they are the last ones.

        If the statement fails, the next one reads half as many. A single certificate that cannot be
        read in time counts as one without a replacement: no user's certificates stop the sweep.
        """
        size = self._size
        try:
            rows = self._page(size)(**place)
        except Unavailable:
            self._size = max(size // 2, 1)
            if size > 1:
                raise
            # This fails if the whole database is unavailable.
            return self._next(**place), False
        self._size = min(2 * size, _READ_AT_ONCE)
        return rows, len(rows) < size


def _page(size: int, column: Any) -> Any:
    """Selects the next certificates by expiry, with the column."""
    is_next = comes_after(Certificate.not_after, Certificate.id)
    return (
        select(Certificate.not_after, Certificate.id, column)
        .where(Certificate.active, Certificate.not_after <= time_param("until"), is_next)
        .order_by(Certificate.not_after, Certificate.id)
        # A literal, so that PostgreSQL plans for few certificates. For many, it would hash all
        # hostnames first.
        .limit(literal_column(str(size), Integer))
    )
