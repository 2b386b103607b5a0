"""The command `expiring`: what ends soon, as a table."""

from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.table import Table
from rich.text import Text

from ..terminal import escaped
from .api.client import Api
from .api.responses import Ending, Refused, Unreachable
from .text import console, counted, day, first_of

_SOON_DAYS = 7


def run(now: datetime, days: int, *, server: str, user_id: int, token: str | None) -> int:
    """The exit code: 1 where names lose their certificate within `days`, 2 where nobody says so."""
    try:
        with Api(server, user_id, token) as api:
            found = api.expiring(days)
    except (Refused, Unreachable) as error:
        console(errors=True).print(Text(f"customer-certificates: {escaped(error.detail)}", "red"))
        return 2
    out = console()
    if found:
        out.print(_table(found, now))
    open_ends = sum(not one.covered for one in found)
    covered = (
        f", {len(found) - open_ends} of them covered by others" if open_ends < len(found) else ""
    )
    out.print(f"{counted(len(found), 'certificate')} within {counted(days, 'day')}{covered}.")
    return int(open_ends > 0)


def _table(found: Sequence[Ending], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("hostnames", overflow="fold")
    table.add_column("expires", no_wrap=True)
    table.add_column("then", no_wrap=True)
    for one in found:
        table.add_row(
            str(one.id),
            Text(first_of(one.hostnames)),
            Text(day(one.not_after, now), _style(one, now)),
            "covered" if one.covered else Text("nothing", "red"),
        )
    return table


def _style(one: Ending, now: datetime) -> str:
    if one.covered:
        return ""
    return "red" if (one.not_after - now).days < _SOON_DAYS else "yellow"
