"""The command line."""

import sys
from typing import NoReturn

import typer

from .client.commands import import_certificates, inspect_files
from .config import Config, ConfigError
from .key_commands import app as key_commands

app = typer.Typer(
    help="Takes customers' TLS certificates and keys over a JSON API, and knows which are active.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.command()
def serve() -> None:
    """Serve the API. The settings are CC_… variables; README.md lists them."""
    from .server import ListenError, metrics_folder
    from .server import serve as run

    config = _config()
    with metrics_folder():
        from .errors import Unavailable
        from .gateways.master_keys import MasterKeyError
        from .gateways.schema import SchemaError, require_head
        from .keys import KeysError, require_usable

        try:
            require_head(config.database_url)
            require_usable(config)
            run(config)
        except (SchemaError, MasterKeyError, KeysError, Unavailable, ListenError) as error:
            _stop(error)


@app.command()
def migrate() -> None:
    """Bring the database to this version: its schema (alembic upgrade head), then its content."""
    from .app import examine_unread
    from .errors import Unavailable
    from .gateways.master_keys import MasterKeyError
    from .gateways.schema import SchemaError
    from .gateways.schema import migrate as run
    from .keys import seal_unsealed

    config = _config()
    try:
        run(config.database_url)
        examined = examine_unread(config)
        sealed = seal_unsealed(config)
    except (SchemaError, MasterKeyError, Unavailable) as error:
        _stop(error)
    if examined:
        print(f"Certificates of an earlier version that were examined: {examined}.")
    if sealed:
        print(f"Private keys of an earlier version that were sealed: {sealed}.")


@app.command()
def openapi() -> None:
    """Print the description of the API, OpenAPI 3.1 as YAML."""
    import yaml

    from .app import description

    print(yaml.safe_dump(description(), sort_keys=False, allow_unicode=True, width=100), end="")


app.add_typer(key_commands, name="keys", no_args_is_help=True)
app.command("import", no_args_is_help=True)(import_certificates)
app.command("inspect", no_args_is_help=True)(inspect_files)


def main() -> None:
    """The entry point of the command `customer-certificates`."""
    app()


def _config() -> Config:
    try:
        return Config.from_environ()
    except ConfigError as error:
        _stop(error)


def _stop(error: Exception) -> NoReturn:
    print(f"customer-certificates: {error}", file=sys.stderr)
    raise typer.Exit(2)
