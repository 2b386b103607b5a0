"""The command line."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ..server.hardening import forbid_dumps
from ..terminal import say, show
from .certificates import import_certificates, inspect_files, list_expiring
from .fleet import find
from .keys import app as key_commands
from .maintenance import audit, purge
from .settings import configured
from .terminators import probe, sync
from .tokens import app as tokens

app = typer.Typer(
    help="Store, validate and deliver customers' TLS certificates.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


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
app.add_typer(tokens, name="token", no_args_is_help=True)
app.command("import", no_args_is_help=True)(import_certificates)
app.command("expiring")(list_expiring)
app.command(no_args_is_help=True)(find)
app.command("inspect", no_args_is_help=True)(inspect_files)
app.command(no_args_is_help=True)(sync)
app.command(no_args_is_help=True)(probe)


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
