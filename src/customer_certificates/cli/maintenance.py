"""The commands that maintain a database. Each imports its dependencies when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal import show, show_json
from .options import AsJson
from .settings import configured

if TYPE_CHECKING:
    from ..maintenance.audit import Verified

audit = typer.Typer(help="Verify and export the audit log.", no_args_is_help=True)


_Heads = Annotated[
    list[Path] | None,
    typer.Option(metavar="PATH", exists=True, help="Signed heads: files, or folders of them."),
]
_PublicKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        help="The public key of the heads, if another service signed them.",
    ),
]


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
    heads: _Heads = None,
    public_key: _PublicKey = None,
    as_json: AsJson = False,
) -> None:
    """Find changed, removed or inserted entries in the audit log. Exits with 1 if there are any.

    Pass the signed heads that `audit export` writes. Without them, the command cannot detect
    that a whole chain was rewritten, or that its end was cut off.
    """
    from ..maintenance.audit import verify_audit

    with configured(shows_target=True) as config:
        verified = verify_audit(config, user, heads or [], public_key)
    faults = len(verified.report.faults) + len(verified.unsigned) + len(verified.exports)
    if as_json:
        show_json(_json_of(verified))
    else:
        _print_faults(verified)
        show(
            f"Chains: {verified.report.chains}. Entries: {verified.report.entries}. "
            f"Signed heads: {verified.heads}. Faults: {faults}."
        )
    if faults:
        raise typer.Exit(1)


def _print_faults(verified: "Verified") -> None:
    for line in verified.unsigned:
        show(f"A head that this key did not sign: {line[:200]}")
    for fault in verified.exports:
        show(fault)
    for series in verified.other_series:
        show(f"Not verified: the exports of series {series}. Pass their folder with --heads.")
    for entry in verified.report.faults:
        show(f"Chain {entry.chain}, seq {entry.seq}: {entry.what}")


def _json_of(verified: "Verified") -> dict[str, object]:
    return {
        "chains": verified.report.chains,
        "entries": verified.report.entries,
        "signed_heads": verified.heads,
        "faults": [
            {"chain": fault.chain, "seq": fault.seq, "detail": fault.what}
            for fault in verified.report.faults
        ],
        "unsigned_heads": [line[:200] for line in verified.unsigned],
        "export_faults": list(verified.exports),
        "unverified_series": list(verified.other_series),
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

    with configured(shows_target=not quiet) as config:
        show(str(export_heads(config, out)))


def purge() -> None:
    """Purge old idempotency records and rate counts, and correct counters."""
    from ..maintenance.records import purge as run

    with configured() as config:
        purged = run(config)
    show(f"Purged idempotency records: {purged.responses}.")
    show(f"Corrected quota counters: {purged.counters}.")
    show(f"Corrected summary counters: {purged.summary_counters}.")
