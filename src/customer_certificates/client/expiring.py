"""The command `expiring`: lists certificates that expire soon."""

from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.table import Table
from rich.text import Text

from ..terminal import show_json
from .api.client import Api
from .api.connection import Server
from .api.fleet import FleetApi
from .api.responses import Expiring, ExpiringOfUser, Refused, Unreachable
from .text import console, counted, day, first_of, print_error

_SOON_DAYS = 7


def run(now: datetime, days: int, server: Server, user_id: int | None, *, as_json: bool) -> int:
    """Returns the exit code: 1 if hostnames lose their certificate, 2 if the request fails.

    Without `user_id`, lists the certificates of all users.
    """
    try:
        found = _expiring(server, user_id, days)
    except (Refused, Unreachable) as error:
        print_error(str(error))
        return 2
    uncovered = sum(not certificate.covered for certificate in found)
    if as_json:
        show_json(found)
        return int(uncovered > 0)
    out = console()
    if found:
        out.print(_table(found, now))
    covered = f" Replaced by others: {len(found) - uncovered}." if uncovered < len(found) else ""
    number, period = counted(len(found), "certificate"), counted(days, "day")
    verb = "expires" if len(found) == 1 else "expire"
    out.print(f"{number} {verb} within {period}.{covered}")
    return int(uncovered > 0)


def _expiring(server: Server, user_id: int | None, days: int) -> Sequence[Expiring]:
    if user_id is None:
        with FleetApi(server) as fleet:
            return fleet.expiring(days)
    with Api(server, user_id) as api:
        return api.expiring(days)


def _table(found: Sequence[Expiring], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    if isinstance(found[0], ExpiringOfUser):
        table.add_column("user", justify="right", no_wrap=True)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("hostnames", overflow="fold")
    table.add_column("expires", no_wrap=True)
    table.add_column("replacement", no_wrap=True)
    for certificate in found:
        user = [str(certificate.user_id)] if isinstance(certificate, ExpiringOfUser) else []
        table.add_row(
            *user,
            str(certificate.id),
            Text(first_of(certificate.hostnames)),
            Text(day(certificate.not_after, now), _style(certificate, now)),
            "yes" if certificate.covered else Text("none", "red"),
        )
    return table


def _style(certificate: Expiring, now: datetime) -> str:
    if certificate.covered:
        return ""
    return "red" if (certificate.not_after - now).days < _SOON_DAYS else "yellow"
