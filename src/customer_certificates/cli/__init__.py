"""The command line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..config import Config, ConfigError
from ..server.hardening import forbid_dumps
from ..terminal import say, show
from .certificates import import_certificates, inspect_files, list_expiring
from .keys import app as key_commands
from .maintenance import audit, clean
from .target import tell_target
from .terminators import probe, sync

if TYPE_CHECKING:
    from ..services.access.tokens import Tokens
    from ..services.principal import Caller

app = typer.Typer(
    help="Takes customers' TLS certificates and keys over a JSON API, and knows which are active.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
tokens = typer.Typer(
    help="Tokens: made, listed, revoked; who has the database needs none itself.",
    no_args_is_help=True,
)
app.add_typer(tokens, name="token")


@app.command()
def serve() -> None:
    """Serve the API. The settings are CC_… variables; docs/reference/settings.md lists them."""
    from ..server.main import ListenError, metrics_folder
    from ..server.main import serve as run

    config = _config()
    with metrics_folder():
        from ..app import enter_mode
        from ..composition.keys import KeysError, require_usable
        from ..errors import Unavailable
        from ..gateways.database.modes import ModeError
        from ..gateways.database.schema import SchemaError, require_head, require_walled
        from ..gateways.master_keys import MasterKeyError
        from ..server.tls_files import TlsFileError

        try:
            require_head(config.database_url)
            if config.asks_credentials:
                require_walled(config.database_url)
            enter_mode(config)
            require_usable(config)
            run(config)
        except (
            SchemaError,
            ModeError,
            MasterKeyError,
            KeysError,
            Unavailable,
            ListenError,
            TlsFileError,
        ) as error:
            _stop(error)


@app.command()
def work() -> None:
    """Tell webhooks of events, and clean up; `serve` has one such worker already.

    Any number of them may run, on any number of hosts.
    """
    from ..background.worker import work as run
    from ..errors import Unavailable
    from ..gateways.database.schema import SchemaError
    from ..gateways.master_keys import MasterKeyError

    config = _config()
    try:
        run(config)
    except (SchemaError, MasterKeyError, Unavailable) as error:
        _stop(error)


@app.command()
def migrate() -> None:
    """Bring the database to this version: its schema (alembic upgrade head), then its content."""
    from ..composition.examinations import examine_proofs, examine_serve_windows, examine_unread
    from ..composition.keys import expect_remains, seal_unsealed
    from ..composition.maintenance import count_usage
    from ..errors import Unavailable
    from ..gateways.database.schema import SchemaError
    from ..gateways.database.schema import migrate as run
    from ..gateways.master_keys import MasterKeyError

    config = _config()
    try:
        run(config.database_owner_url, config.database_url)
        expect_remains(config)
        examined = examine_unread(config)
        sealed = seal_unsealed(config, say)
        examined += examine_serve_windows(config)
        examined += examine_proofs(config)
        if examined or sealed:
            count_usage(config)
    except (SchemaError, MasterKeyError, Unavailable) as error:
        _stop(error)
    if examined:
        show(f"Certificates of an earlier version that were examined: {examined}.")
    if sealed:
        show(f"Private keys of an earlier version that were sealed: {sealed}.")


@app.command()
def openapi() -> None:
    """Print the description of the API, OpenAPI 3.1 as YAML."""
    import yaml

    from ..app import description

    show(yaml.safe_dump(description(), sort_keys=False, allow_unicode=True, width=100), end="")


app.command()(clean)
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
        bool, typer.Option("--operator", help="Operators make all other tokens over the API.")
    ] = False,
    name: Annotated[str, typer.Option(help="What it is for.")] = "made on the command line",
    expires_in_days: Annotated[int, typer.Option(min=1, max=365)] = 90,
) -> None:
    """Make an operator's token, the first one for example, and print it: this once.

    Refused where no token is asked for: the profiles lcl and tst.
    """
    if not operator:
        raise typer.BadParameter("only operators' tokens are made here", param_hint="--operator")
    from ..services.access.tokens import NewToken

    new = NewToken(name=name, kind="operator", expires_in_days=expires_in_days)
    with _tokens(creates=True) as service:
        show(service.create(_command(), new).token)


@tokens.command("list")
def list_tokens() -> None:
    """Print all tokens, one JSON object a line, without their secrets."""
    import msgspec

    after: int | None = 0
    with _tokens() as service:
        while after is not None:
            views, after = service.page(_command(), None, after, 1000)
            for view in views:
                show(msgspec.json.encode(view).decode())


@tokens.command("revoke")
def revoke_token(token_id: Annotated[int, typer.Argument(metavar="ID", min=1)]) -> None:
    """Revoke a token: it opens nothing from the next request on."""
    with _tokens() as service:
        service.revoke(_command(), token_id)
    show(f"Token {token_id} is revoked.")


@tokens.command("verify")
def verify_token() -> None:
    """Say whether the token on standard input is whole, by its checksum. Asks nobody.

    Exits with 1 where it is not.
    """
    from ..crypto.token_format import read

    parts = read(sys.stdin.readline().strip())
    if parts is None:
        show("This is no token of Customer Certificates, or not a whole one.")
        raise typer.Exit(1)
    show(f"This is {parts.kind} token {parts.id}; its checksum holds.")


def main() -> None:
    """The entry point of the command `customer-certificates`."""
    forbid_dumps()
    app()


def _config() -> Config:
    try:
        return Config.from_environ()
    except ConfigError as error:
        _stop(error)


@contextmanager
def _tokens(*, creates: bool = False) -> Iterator["Tokens"]:
    from ..composition.maintenance import tokens_of
    from ..errors import Refusal
    from ..gateways.database.modes import ModeError, require_credentials
    from ..gateways.database.schema import SchemaError, require_head

    config = _config()
    tell_target(config)
    try:
        require_head(config.database_url)
        if creates:
            require_credentials(
                config.database_url, config.profile, asks_credentials=config.asks_credentials
            )
        with tokens_of(config) as service:
            yield service
    except (SchemaError, ModeError, Refusal) as error:
        _stop(error)


def _command() -> "Caller":
    from ..services.principal import Caller

    return Caller("command", "", "")


def _stop(error: Exception) -> NoReturn:
    say(str(error))
    raise typer.Exit(2)
