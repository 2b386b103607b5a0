"""The commands that create and rotate master keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..config import Config, ConfigError
from ..terminal import note, say, show, show_json
from .options import AsJson
from .target import print_target

app = typer.Typer(help="Create a master key, and rotate data keys to it.")


@app.command()
def init(
    path: Annotated[
        Path | None,
        typer.Argument(help="The file to create. By default, the file of CC_MASTER_KEY."),
    ] = None,
) -> None:
    """Create a master key in a new file that only this account can read."""
    from ..gateways.master_keys import make

    with _explained():
        address = Config.from_environ().master_key
        if path is None and address.kind != "file":
            _stop(f"CC_MASTER_KEY names a key in {address.kind}, not a file. Pass a path.")
        file = (path or Path(address.where)).absolute()
        if not make(file, by_default=path is None and address.may_be_made):
            _stop(f"{file} exists already. Choose another path: a master key is never overwritten.")
    show(f"CC_MASTER_KEY=file:{file}")
    note(
        "Keep a copy of the file, apart from the backups of the database. Without the file, no "
        "private key can be decrypted."
    )


@app.command()
def rewrap(
    progress: Annotated[bool, typer.Option(help="Print the progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rewrap every data key with CC_MASTER_KEY. You can stop the command and run it again.

    The service keeps running. Exits with 1 if another master key still wraps data keys.
    """
    from ..maintenance.keys import rewrap as run

    def report(done: int, total: int) -> None:
        if progress:
            note(f"{done} of {total}")

    with _explained():
        config = Config.from_environ()
        print_target(config)
        _show(run(config, report), as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Count the data keys that each master key wraps.

    Exits with 1 if another key than CC_MASTER_KEY still wraps data keys. Do not retire it yet.
    """
    from ..maintenance.keys import counts

    with _explained():
        config = Config.from_environ()
        print_target(config)
        _show(counts(config), as_json=as_json)


def _show(counts: dict[str, int], *, as_json: bool) -> None:
    (current, number), *others = counts.items()
    if as_json:
        show_json(
            [
                {"master_key_id": key, "data_keys": wrapped, "current": key == current}
                for key, wrapped in counts.items()
            ]
        )
    else:
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
