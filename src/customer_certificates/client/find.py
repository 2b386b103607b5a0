"""The command `find`: searches the certificates of all users."""

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from ..terminal import show_json
from .api.connection import Server
from .api.fleet import FleetApi
from .api.responses import Found, Refused, Unreachable
from .text import NONE, console, counted, day, first_of, print_error, table

_STYLES = {"active": "green", "expired": "red", "not_yet_valid": "yellow"}


def run(
    now: datetime,
    conditions: Sequence[tuple[str, str]],
    limit: int,
    server: Server,
    *,
    as_json: bool,
) -> int:
    """Returns the exit code: 2 if the request fails.

    `conditions` are the query parameters of the search, with their values.
    """
    try:
        with FleetApi(server) as api:
            found, has_more = api.find(conditions, limit)
    except (Refused, Unreachable) as error:
        print_error(str(error))
        return 2
    if as_json:
        show_json(found)
    else:
        out = console()
        if found:
            out.print(_table(found, now))
        out.print(f"{counted(len(found), 'certificate')} found.")
    if has_more:
        print_error(f"There are more than {limit} certificates. Use --limit to see more.")
    return 0


def _table(found: Sequence[Found], now: datetime) -> object:
    headings = ("user", "id", "hostnames", "issuer", "expires", "status", "servable")
    return table(headings, [_row(certificate, now) for certificate in found])


def _row(certificate: Found, now: datetime) -> list[Text | str]:
    end, status = certificate.not_after, certificate.status
    user = str(certificate.user_id)
    if certificate.external_id:
        user += f" ({certificate.external_id})"
    reason = certificate.not_servable_reason
    return [
        user,
        str(certificate.id),
        first_of(certificate.hostnames),
        certificate.issuer or NONE,
        day(end, now) if end else NONE,
        Text(status.replace("_", " "), _STYLES.get(status, "")),
        Text(reason.replace("_", " "), "red") if reason else "yes",
    ]
