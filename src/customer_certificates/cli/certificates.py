"""The client commands for certificates. Each imports its dependencies when it runs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .options import (
    LOCAL_SERVER,
    AsJson,
    CaFile,
    Insecure,
    Server,
    TokenFile,
    read_token,
    require_ca,
    require_private,
)

_Passphrases = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Passphrases for encrypted keys and PKCS#12 files, one per line.",
    ),
]
_User = Annotated[
    int, typer.Option(metavar="ID", min=1, help="The ID of the user who owns the certificates.")
]


def import_certificates(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="Files, or folders to search.")
    ],
    user: _User,
    server: Server = LOCAL_SERVER,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate every certificate, but upload nothing.")
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate", help="Activate every uploaded certificate.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Renew in place: replace the stored certificate for the same hostnames.",
        ),
    ] = False,
    passphrase_file: _Passphrases = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Upload the certificates and keys in files and folders.

    Reads the folders of certbot, acme.sh, lego, Caddy, dehydrated and getssl, and single PEM, DER,
    PKCS#12 and PKCS#7 files. Pairs certificates and keys by public key. You can run the command
    again: it never uploads a certificate twice.

    Exits with 1 if anything failed or, with --dry-run, would fail.
    """
    from ..client.importing.command import run
    from ..client.importing.upload import UploadOptions

    require_private(server, "private keys and the token", insecure=insecure)
    require_ca(ca)
    code = run(
        paths,
        _read_passphrases(passphrase_file),
        datetime.now(UTC),
        server=server,
        user_id=user,
        options=UploadOptions(dry_run=dry_run, activate=activate, replace=replace),
        token=read_token(token_file),
        ca=ca,
        as_json=as_json,
    )
    raise typer.Exit(code)


def list_expiring(
    user: _User,
    within: Annotated[
        str, typer.Option(metavar="DAYS", help="List certificates that expire in this many days.")
    ] = "30d",
    server: Server = LOCAL_SERVER,
    token_file: TokenFile = None,
    ca: CaFile = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List active certificates that expire soon or have expired.

    Exits with 1 if one of them has no replacement for its hostnames. Exits with 2 if the service
    does not answer the request.
    """
    from ..client.expiring import run

    require_private(server, "the token", insecure=insecure or token_file is None)
    require_ca(ca)
    days = within.removesuffix("d")
    if not (days.isascii() and days.isdigit() and len(days) <= 4):
        raise typer.BadParameter(
            f"{within!r} is not a number of days. Use a value like 30d.", param_hint="--within"
        )
    code = run(
        datetime.now(UTC),
        int(days),
        server=server,
        user_id=user,
        token=read_token(token_file),
        ca=ca,
        as_json=as_json,
    )
    raise typer.Exit(code)


def inspect_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="Certificates, chains and keys."
        ),
    ],
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The private key. Report an error if it does not match the certificate.",
        ),
    ] = None,
    passphrase_file: _Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Describe certificates, and list the problems found in them.

    Needs neither the service nor a network. Exits with 1 if there is an error.
    """
    from ..client.inspecting.command import run

    passphrases = _read_passphrases(passphrase_file)
    raise typer.Exit(run(files, key, passphrases, datetime.now(UTC), as_json=as_json))


def _read_passphrases(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text("utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--passphrase-file") from None
