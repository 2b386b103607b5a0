"""The commands that maintain a database. Each imports its dependencies when it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import Config, ConfigError
from ..terminal import say, show, show_json
from .options import AsJson
from .target import tell_target

if TYPE_CHECKING:
    from ..maintenance.audit import Verified

audit = typer.Typer(help="Verify and export the audit log.", no_args_is_help=True)


@audit.command()
def verify(
    user: Annotated[
        int | None,
        typer.Option(
            metavar="ID",
            min=0,
            help="Verify only this user's chain. 0 is the chain of the service.",
        ),
    ] = None,
    heads: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", exists=True, help="Signed heads: files, or folders of them."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            help="The public key of the heads, if another service signed them.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find changed, removed or inserted entries in the audit log. Exits with 1 if there are any.

    Pass the signed heads that `audit export` writes. Without them, the command cannot detect a
    chain that was rewritten as a whole or truncated.
    """
    from ..maintenance.audit import verify_audit

    with _configured() as config:
        tell_target(config)
        found = verify_audit(config, user, heads or [], public_key)
    faults = len(found.report.faults) + len(found.unsigned) + len(found.exports)
    if as_json:
        show_json(_plain(found))
    else:
        for line in found.unsigned:
            show(f"A head that this key did not sign: {line[:200]}")
        for what in found.exports:
            show(what)
        for series in found.other_series:
            show(f"Not verified: the exports of series {series}. Pass their folder with --heads.")
        for fault in found.report.faults:
            show(f"Chain {fault.chain}, seq {fault.seq}: {fault.what}")
        show(
            f"Chains: {found.report.chains}. Entries: {found.report.entries}. "
            f"Signed heads: {found.heads}. Faults: {faults}."
        )
    if faults:
        raise typer.Exit(1)


def _plain(found: "Verified") -> dict[str, object]:
    """Returns the JSON output for `found`."""
    return {
        "chains": found.report.chains,
        "entries": found.report.entries,
        "signed_heads": found.heads,
        "faults": [
            {"chain": fault.chain, "seq": fault.seq, "detail": fault.what}
            for fault in found.report.faults
        ],
        "unsigned_heads": [line[:200] for line in found.unsigned],
        "export_faults": list(found.exports),
        "unverified_series": list(found.other_series),
    }


@audit.command()
def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")],
    quiet: Annotated[bool, typer.Option("--quiet", hidden=True)] = False,
) -> None:
    """Export the signed heads of the audit log's chains, with the public key.

    The first export holds all chains. Later ones hold the chains with entries since the newest
    export in DIR.
    """
    from ..maintenance.audit import export_heads

    with _configured() as config:
        if not quiet:
            tell_target(config)
        show(str(export_heads(config, out)))


def purge() -> None:
    """Purge old idempotency records and rate counts, and correct the quota counters."""
    from ..maintenance.records import purge as run

    with _configured() as config:
        purged = run(config)
    show(f"Purged idempotency records: {purged.responses}.")
    show(f"Corrected quota counters: {purged.counters}.")


@contextmanager
def _configured() -> Iterator[Config]:
    """Yields the settings. Ends the command if a setting cannot be used."""
    from ..errors import Unavailable
    from ..gateways.database.schema import SchemaError
    from ..gateways.files.audit_files import AuditFileError

    try:
        yield Config.from_environ()
    except (AuditFileError, ConfigError, SchemaError, Unavailable) as error:
        say(str(error))
        raise typer.Exit(2) from None
