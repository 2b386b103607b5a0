"""The commands that look after a database. What they need is imported when they run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..config import Config, ConfigError
from ..terminal import say, show
from .target import tell_target

audit = typer.Typer(help="The record of who did what.", no_args_is_help=True)


@audit.command()
def verify(
    user: Annotated[
        int | None,
        typer.Option(metavar="ID", min=0, help="Only this user's chain; 0: what is nobody's."),
    ] = None,
    heads: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", exists=True, help="Signed heads: files, or folders of them."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, help="What signed them, if not this service."),
    ] = None,
) -> None:
    """Find whatever was changed in the audit, taken out of it or put into it; exit with 1 then.

    Without the heads that `audit export` writes, a chain that was written anew as a whole, or cut
    off together with its end, cannot be told from a good one.
    """
    from ..maintenance.audit import verify_audit

    with _configured() as config:
        tell_target(config)
        found = verify_audit(config, user, heads or [], public_key)
    for line in found.unsigned:
        show(f"A head that was not signed with this key: {line[:200]}")
    for what in found.exports:
        show(what)
    for series in found.other_series:
        show(f"Not looked at: the database recorded exports of series {series} elsewhere.")
    for fault in found.report.faults:
        show(f"Chain {fault.chain}, seq {fault.seq}: {fault.what}")
    faults = len(found.report.faults) + len(found.unsigned) + len(found.exports)
    show(
        f"Chains: {found.report.chains}. Entries: {found.report.entries}. "
        f"Signed heads: {found.heads}. Faults: {faults}."
    )
    if faults:
        raise typer.Exit(1)


@audit.command()
def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")],
    quiet: Annotated[bool, typer.Option("--quiet", hidden=True)] = False,
) -> None:
    """Write what the audit's chains end in, signed, and the public key beside it.

    The first time all chains, afterwards those with entries since the newest export in DIR.
    """
    from ..maintenance.audit import export_heads

    with _configured() as config:
        if not quiet:
            tell_target(config)
        show(str(export_heads(config, out)))


def clean() -> None:
    """Remove what was kept for long enough: answers to requests with an Idempotency-Key.

    Also counts again what each user stores, for the quotas, and corrects counters that are wrong.
    """
    from ..maintenance.records import clean as run

    with _configured() as config:
        cleaned = run(config)
    show(f"Kept answers that were removed: {cleaned.kept_answers}.")
    show(f"Counters of users that were corrected: {cleaned.counters}.")


@contextmanager
def _configured() -> Iterator[Config]:
    """The settings. What is wrong with them, or with what they name, ends the command."""
    from ..errors import Unavailable
    from ..gateways.database.schema import SchemaError
    from ..gateways.files.audit_files import AuditFileError

    try:
        yield Config.from_environ()
    except (AuditFileError, ConfigError, SchemaError, Unavailable) as error:
        say(str(error))
        raise typer.Exit(2) from None
