"""The settings of a command, and the end of a command that cannot run."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..config import Config, ConfigError
from ..errors import Refusal, StartError
from ..terminal import note, say


@contextmanager
def configured(*, shows_target: bool = False) -> Iterator[Config]:
    """Yields the settings. Ends the command with exit code 2 and a sentence if it cannot run.

    With `shows_target`, prints the profile and the database to standard error first.
    """
    try:
        config = Config.from_environ()
        if shows_target:
            _print_target(config)
        yield config
    except (ConfigError, StartError, Refusal) as error:
        say(str(error))
        raise typer.Exit(2) from None


def _print_target(config: Config) -> None:
    # Commands without a database do not import SQLAlchemy.
    from ..gateways.database import shown_url

    database = shown_url(config.database_url)
    note(f"customer-certificates: profile {config.profile}, database {database}")
