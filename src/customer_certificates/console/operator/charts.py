"""The geometry of the charts of the overview."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

from ...services.fleet.summary_views import OfDay

_STEP, _SIZE = 22, 18
_LEFT, _TOP = 36, 20
_WEEKDAYS = ("Mon", "Wed", "Fri", "Sun")


class Cell(NamedTuple):
    """A day in the calendar. `level` is 0 without certificates, and up to 4 for many."""

    x: int
    y: int
    level: int
    day: date
    next_day: date
    number: int


class Text(NamedTuple):
    """A label of the calendar."""

    x: int
    y: int
    text: str


class Calendar(NamedTuple):
    """A column for each week, from Monday down to Sunday."""

    width: int
    height: int
    size: int
    cells: list[Cell]
    texts: list[Text]


def calendar(days: Sequence[OfDay]) -> Calendar:
    """Returns the calendar of consecutive days."""
    first_monday = days[0].date - timedelta(days=days[0].date.weekday())
    most = max(day.certificates for day in days)
    cells, texts, month = list[Cell](), list[Text](), 0
    for number, name in enumerate(_WEEKDAYS):
        texts.append(Text(0, _TOP + 2 * number * _STEP + _SIZE - 5, name))
    for day in days:
        week = (day.date - first_monday).days // 7
        x, y = _LEFT + week * _STEP, _TOP + day.date.weekday() * _STEP
        next_day = day.date + timedelta(days=1)
        level = _level(day.certificates, most)
        cells.append(Cell(x, y, level, day.date, next_day, day.certificates))
        thursday = day.date + timedelta(days=3)
        # The first week of a month is the one with its first Thursday, as in ISO 8601.
        if day.date.weekday() == 0 and thursday.month != month:
            month = thursday.month
            texts.append(Text(x, _TOP - 7, f"{thursday:%b}"))
    width = cells[-1].x + _STEP + 4
    return Calendar(width, _TOP + 7 * _STEP, _SIZE, cells, texts)


def _level(number: int, most: int) -> int:
    """Returns 1 to 4 by the share of the largest number; 0 for none."""
    if most <= 4:
        return number
    return 1 + 3 * number // most if number else 0
