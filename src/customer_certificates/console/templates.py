"""Renders the templates."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from . import static_files

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, values: Mapping[str, Any]) -> str:
    """Returns the text of the template with these values."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "Environment":
    # The first page imports Jinja, because it takes 0.2 s and 2 MB of each process.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("customer_certificates.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= _GLOBALS
    environment.filters |= _FILTERS
    return environment


def _date(time: datetime | None) -> str:
    """Returns the date in UTC, like `2026-11-28`."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d}"


def _time(time: datetime | None) -> str:
    """Returns the time in UTC, like `2026-11-28 09:30`."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def _days_until(time: datetime | None, now: datetime) -> int | None:
    """Returns the whole days from `now`; negative: it has passed."""
    return None if time is None else (time - now).days


def _segment(text: object) -> str:
    """Returns `text` as one segment of a path."""
    return quote(str(text), safe="")


def _host(url: str) -> str:
    """Returns the host and the port of a URL."""
    return urlsplit(url).netloc


def _grouped(number: int) -> str:
    """Returns the number with commas between thousands."""
    return f"{number:,}"


_GLOBALS: dict[str, Any] = {"asset": static_files.path_of}
_FILTERS: dict[str, Any] = {
    "date": _date,
    "time": _time,
    "days_until": _days_until,
    "segment": _segment,
    "grouped": _grouped,
    "host": _host,
}
