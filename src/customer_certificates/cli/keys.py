"""The commands that make and exchange master keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..config import Config, ConfigError
from ..terminal import note, say, show
from .target import tell_target

app = typer.Typer(help="Make a master key, and take data keys from one to another.")


@app.command()
def init(
    path: Annotated[
        Path | None, typer.Argument(help="The new file; by default the one of CC_MASTER_KEY.")
    ] = None,
) -> None:
    """Make a master key in a new file, which only this account may read."""
    from ..gateways.master_keys import make

    with _explained():
        address = Config.from_environ().master_key
        if path is None and address.kind != "file":
            _stop(f"CC_MASTER_KEY is {address.kind}'s; name the file to make.")
        file = (path or Path(address.where)).absolute()
        if not make(file, by_default=path is None and address.may_be_made):
            _stop(f"{file} is there already; a master key is not overwritten.")
    show(f"CC_MASTER_KEY=file:{file}")
    note(
        "Keep a copy of it apart from the database's backups: "
        "without it no private key can be opened."
    )


@app.command()
def rewrap(
    progress: Annotated[bool, typer.Option(help="Say how many are done.")] = False,
) -> None:
    """Have CC_MASTER_KEY wrap every data key. It may be stopped and run again.

    The service goes on meanwhile. Exits with 1 where some are left on another master key.
    """
    from ..maintenance.keys import rewrap as run

    def told(done: int, of: int) -> None:
        if progress:
            note(f"{done} of {of}")

    with _explained():
        config = Config.from_environ()
        tell_target(config)
        _show(run(config, told))


@app.command()
def status() -> None:
    """Count the data keys that each master key wraps.

    Exits with 1 while some are on another than CC_MASTER_KEY: it cannot be retired yet.
    """
    from ..maintenance.keys import counts

    with _explained():
        config = Config.from_environ()
        tell_target(config)
        _show(counts(config))


def _show(counts: dict[str, int]) -> None:
    (current, number), *others = counts.items()
    show(f"{number} {current} (current)")
    for master_key_id, left in others:
        show(f"{left} {master_key_id}")
    if others:
        raise typer.Exit(1)


@contextmanager
def _explained() -> Iterator[None]:
    from ..errors import Unavailable
    from ..gateways.master_keys import MasterKeyError
    from ..maintenance.keys import KeysError

    try:
        yield
    except (ConfigError, MasterKeyError, KeysError, Unavailable) as error:
        _stop(str(error))


def _stop(reason: str) -> None:
    say(reason)
    raise typer.Exit(2)
