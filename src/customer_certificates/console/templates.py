"""Renders the templates."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

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


def segment(text: object) -> str:
    """Returns `text` as one segment of a path."""
    return quote(str(text), safe="")


def _host(url: str) -> str:
    """Returns the host and the port of a URL."""
    return urlsplit(url).netloc


def _grouped(number: int) -> str:
    """Returns the number with commas between thousands."""
    return f"{number:,}"


def _label_lines(labels: Mapping[str, str]) -> str:
    """Returns labels as lines, like `env=production`."""
    return "\n".join(f"{name}={value}" for name, value in labels.items())


def _size(number: int) -> str:
    """Returns a number of bytes, like `1.5 MiB`."""
    value, unit = float(number), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"


def _ago(time: datetime, now: datetime) -> str:
    """Returns how long ago `time` was, like `5 minutes ago`."""
    seconds = max(int((now - time).total_seconds()), 0)
    if seconds < 60:
        return "just now"
    for unit, length, least in (("day", 86400, 2 * 86400), ("hour", 3600, 3600), ("minute", 60, 0)):
        if seconds >= least:
            number = seconds // length
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


def _only_filled(params: Mapping[str, str]) -> dict[str, str]:
    """Returns the parameters that are not empty."""
    return {name: value for name, value in params.items() if value}


def _page_link(query: Mapping[str, Any], name: str, value: object) -> str:
    """Returns the link to another page of a list with the same search."""
    kept = {key: text for key, text in query.items() if key != "done"}
    return "?" + urlencode({**kept, name: value}, doseq=True)


_GLOBALS: dict[str, Any] = {"asset": static_files.path_of}
_FILTERS: dict[str, Any] = {
    "date": _date,
    "time": _time,
    "days_until": _days_until,
    "segment": segment,
    "grouped": _grouped,
    "label_lines": _label_lines,
    "from_json": msgspec.json.decode,
    "size": _size,
    "ago": _ago,
    "only_filled": _only_filled,
    "page_link": _page_link,
    "host": _host,
}
