"""The command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from ..server.hardening import forbid_dumps
from ..terminal import say, show, show_json
from .certificates import import_certificates, inspect_files, list_expiring
from .keys import app as key_commands
from .maintenance import audit, purge
from .options import AsJson
from .settings import configured
from .terminators import probe, sync

if TYPE_CHECKING:
    from ..services.access.tokens import Tokens, TokenView
    from ..services.principal import Principal

app = typer.Typer(
    help="Store, validate and deliver customers' TLS certificates.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
tokens = typer.Typer(
    help="Create, list and revoke API tokens (needs database access, not a token).",
    no_args_is_help=True,
)
app.add_typer(tokens, name="token")


def _print_version(value: bool) -> None:
    if value:
        show(f"customer-certificates {version('customer-certificates')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options that come before a command."""


@app.command()
def serve() -> None:
    """Serve the API. Configure it with CC_… variables (see docs/reference/settings.md)."""
    from ..server.main import metrics_folder
    from ..server.main import serve as run

    with configured() as config, metrics_folder():
        from ..app import require_auth_mode
        from ..gateways.database.schema import require_head, require_row_level_security
        from ..maintenance.keys import require_usable

        require_head(config.database_url)
        if config.asks_credentials:
            require_row_level_security(config.database_url)
        require_auth_mode(config)
        require_usable(config)
        run(config)


@app.command()
def worker() -> None:
    """Run a background worker: deliver webhooks, send expiry notices, purge old records.

    `serve` starts one background worker itself. You can run more of them, on any number of hosts.
    """
    from ..background.worker import work as run

    with configured() as config:
        run(config)


@app.command()
def migrate() -> None:
    """Migrate the database's schema to this version."""
    from ..gateways.database.schema import migrate as run

    with configured() as config:
        run(config.database_owner_url, config.database_url)


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 description of the API as YAML."""
    import yaml

    from ..app import description

    show(yaml.safe_dump(description(), sort_keys=False, allow_unicode=True, width=100), end="")


app.command()(purge)
app.add_typer(audit, name="audit")
app.add_typer(key_commands, name="keys", no_args_is_help=True)
app.command("import", no_args_is_help=True)(import_certificates)
app.command("expiring", no_args_is_help=True)(list_expiring)
app.command("inspect", no_args_is_help=True)(inspect_files)
app.command(no_args_is_help=True)(sync)
app.command(no_args_is_help=True)(probe)


@tokens.command("create")
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


@tokens.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List all tokens without their secrets."""
    from .token_table import print_tokens

    views: list[TokenView] = []
    after: int | None = 0
    with _tokens() as service:
        while after is not None:
            page, after = service.page(_command(), None, after, 1000)
            views += page
    if as_json:
        show_json(views)
    else:
        print_tokens(views)


@tokens.command("revoke")
def revoke_token(token_id: Annotated[int, typer.Argument(metavar="ID", min=1)]) -> None:
    """Revoke a token. The service rejects it from the next request on."""
    with _tokens() as service:
        service.revoke(_command(), token_id)
    show(f"Revoked token {token_id}.")


@tokens.command("verify")
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


def main() -> None:
    """Runs the command `customer-certificates`."""
    forbid_dumps()
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("customer_certificates"):
            raise
        say(
            f"this command needs the Python package {error.name}, which is not installed. "
            "Install the service: pip install 'customer-certificates[server]'"
        )
        sys.exit(2)


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
