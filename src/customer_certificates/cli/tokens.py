"""The commands of API tokens."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ..client.text import NONE, console, table
from ..terminal import show, show_json
from .options import AsJson
from .settings import configured

if TYPE_CHECKING:
    from ..services.access.tokens import Tokens, TokenView
    from ..services.principal import Principal

app = typer.Typer(help="Create, list and revoke API tokens (needs database access, not a token).")


@app.command("create")
def create_token(
    operator: Annotated[
        bool,
        typer.Option(
            "--operator",
            help="Create an operator token. Operators create all other tokens through the API.",
        ),
    ] = False,
    name: Annotated[
        str, typer.Option(help="A note on the purpose of the token.")
    ] = "created on the command line",
    expires_in_days: Annotated[
        int, typer.Option(metavar="DAYS", min=1, max=365, help="Days until the token expires.")
    ] = 90,
) -> None:
    """Create an operator token and print it. The token cannot be shown again.

    Works only in the profile prd: the profiles lcl and tst require no tokens.
    """
    if not operator:
        detail = "The command creates operator tokens only. Pass --operator."
        raise typer.BadParameter(detail, param_hint="--operator")
    from ..services.access.tokens import NewToken

    new = NewToken(name=name, kind="operator", expires_in_days=expires_in_days)
    with _tokens(creates=True) as service:
        show(service.create(_command(), new).token)


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List all tokens without their secrets."""
    views: list[TokenView] = []
    after: int | None = 0
    with _tokens() as service:
        while after is not None:
            page, after = service.page(_command(), None, after, 1000)
            views += page
    if as_json:
        show_json(views)
    else:
        _print_tokens(views)


@app.command("revoke")
def revoke_token(token_id: Annotated[int, typer.Argument(metavar="ID", min=1)]) -> None:
    """Revoke a token. The service rejects it from the next request on."""
    with _tokens() as service:
        service.revoke(_command(), token_id)
    show(f"Revoked token {token_id}.")


@app.command("verify")
def verify_token() -> None:
    """Check the checksum of the token on standard input. Does not contact the service.

    Exits with 1 if the token is malformed.
    """
    from ..crypto.token_format import read

    parts = read(sys.stdin.readline().strip())
    if parts is None:
        show("Malformed token. Check that you copied all of it.")
        raise typer.Exit(1)
    show(f"Well-formed {parts.kind} token {parts.id}: the checksum is correct.")


@contextmanager
def _tokens(*, creates: bool = False) -> Iterator["Tokens"]:
    from ..composition import Services
    from ..gateways.database.modes import require_credentials
    from ..gateways.database.schema import require_head

    with configured(shows_target=True) as config:
        require_head(config.database_url)
        if creates:
            require_credentials(
                config.database_url, config.profile, asks_credentials=config.asks_credentials
            )
        with Services.of_command(config, threads=1) as services:
            yield services.tokens


def _command() -> "Principal":
    from ..services.principal import Principal

    return Principal("command", "", "")


def _print_tokens(tokens: "Sequence[TokenView]") -> None:
    """Prints a row for each token."""
    if not tokens:
        console().print("There are no tokens.")
        return
    headings = ("id", "kind", "user", "name", "expires", "last used", "revoked")
    console().print(table(headings, map(_row, tokens)))


def _row(token: "TokenView") -> tuple[str, ...]:
    moments = map(_day, (token.expires_at, token.last_used_at, token.revoked_at))
    return str(token.id), token.kind, str(token.user_id or NONE), token.name, *moments


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else NONE
