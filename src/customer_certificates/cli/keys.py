"""The commands that create and rotate master keys."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import StartError
from ..terminal import note, show, show_json
from .options import AsJson
from .settings import configured

app = typer.Typer(help="Create a master key, and rewrap the data keys with it.")


@app.command()
def init(
    path: Annotated[
        Path | None,
        typer.Argument(help="The file to create. By default, the file of CC_MASTER_KEY."),
    ] = None,
) -> None:
    """Create a master key in a new file that only this account can read."""
    from ..gateways.master_keys import make

    with configured() as config:
        address = config.master_key
        if path is None and address.kind != "file":
            detail = f"CC_MASTER_KEY names a key in {address.kind}, not a file."
            raise StartError(f"{detail} Pass a path.")
        file = (path or Path(address.where)).absolute()
        if not make(file, by_default=path is None and address.may_be_made):
            raise StartError(
                f"{file} exists already. Choose another path: a master key is never overwritten."
            )
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

    with configured(shows_target=True) as config:
        _show(run(config, report), as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Count the data keys that each master key wraps.

    Exits with 1 if another master key still wraps data keys. Keep that key in
    CC_PREVIOUS_MASTER_KEYS.
    """
    from ..maintenance.keys import counts

    with configured(shows_target=True) as config:
        _show(counts(config), as_json=as_json)


def _show(counts: dict[str, int], *, as_json: bool) -> None:
    current = next(iter(counts))
    rows = [
        {"master_key_id": key, "data_keys": wrapped, "current": key == current}
        for key, wrapped in counts.items()
    ]
    if as_json:
        show_json(rows)
    else:
        for key, wrapped in counts.items():
            show(f"{wrapped} {key}{' (current)' if key == current else ''}")
    if len(rows) > 1:
        raise typer.Exit(1)
