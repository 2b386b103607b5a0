"""The client commands of operators, over the certificates of all users."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from .option_groups import with_option_groups
from .options import AsJson, ServiceOptions

_WHEN = "a date, a time with a time zone (RFC 3339), or days from now, like 30d"
_SERVABLE = "Find only certificates that a server may serve now, or only the others."


@dataclass(frozen=True, kw_only=True)
class _Conditions:
    hostname: Annotated[
        str | None, typer.Option(metavar="NAME", help="A hostname, or one that a wildcard covers.")
    ] = None
    issuer: Annotated[
        str | None, typer.Option(metavar="NAME", help="The issuer, exactly as it is shown.")
    ] = None
    serial: Annotated[
        str | None, typer.Option(metavar="HEX", help="The serial number in hexadecimal.")
    ] = None
    spki: Annotated[
        str | None, typer.Option(metavar="HEX", help="The SHA-256 of the public key (SPKI).")
    ] = None
    fingerprint: Annotated[
        str | None, typer.Option(metavar="HEX", help="The SHA-256 of the certificate.")
    ] = None
    status: Annotated[
        str | None,
        typer.Option(metavar="STATUS", help="active, inactive, expired or not_yet_valid."),
    ] = None
    trust: Annotated[
        str | None,
        typer.Option(
            metavar="TRUST", help="public, private, self_signed, incomplete or unreadable."
        ),
    ] = None
    servable: Annotated[
        bool | None, typer.Option("--servable/--not-servable", help=_SERVABLE, show_default=False)
    ] = None
    expires_before: Annotated[
        str | None, typer.Option(metavar="WHEN", help=f"Expires before this: {_WHEN}.")
    ] = None
    expires_after: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Expires at this time or later.")
    ] = None
    user: Annotated[int | None, typer.Option(metavar="ID", min=1, help="The user's id.")] = None
    external_id: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The user's external id.")
    ] = None
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A label. Can be repeated: all labels must match."),
    ] = None

    def parameters(self, now: datetime) -> list[tuple[str, str]]:
        """Returns the query parameters of the conditions that were given."""
        given = {
            **vars(self),
            "servable": None if self.servable is None else str(self.servable).lower(),
            "expires_before": _time(self.expires_before, now),
            "expires_after": _time(self.expires_after, now),
            "label": None,
        }
        one = [(name, str(value)) for name, value in given.items() if value is not None]
        return one + [("label", label) for label in self.label or ()]


@with_option_groups
def find(
    conditions: _Conditions,
    connection: ServiceOptions,
    limit: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, help="The most certificates to print.")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Find certificates of all users that meet all conditions.

    Exits with 2 if the request to the service fails.
    """
    from ..client.find import run

    server, now = connection.to_server(), datetime.now(UTC)
    raise typer.Exit(run(now, conditions.parameters(now), limit, server, as_json=as_json))


def _time(text: str | None, now: datetime) -> str | None:
    """Returns the time for the service, which reports an invalid one."""
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,4}d", text):
        return (now + timedelta(days=int(text[:-1]))).isoformat()
    return f"{text}T00:00:00Z" if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else text
