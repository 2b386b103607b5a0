"""The commands for certificates that are there. What they need is imported when they run."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

_Passphrases = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Passphrases of encrypted keys and PKCS#12 files, one a line, tried in turn.",
    ),
]
_TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="The token to show, where the service asks for one.",
    ),
]
_Server = Annotated[str, typer.Option(metavar="URL", help="Where the service is.")]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Allow plain HTTP to another host: anybody on the way reads."),
]
_HERE = "http://localhost:9000"


def import_certificates(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", exists=True, help="Files, or folders to search."),
    ],
    user: Annotated[int, typer.Option(metavar="ID", min=1, help="Whose certificates they are.")],
    server: _Server = _HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, upload nothing.")
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate", help="Have what is uploaded served at once.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Renew in place: replace the stored certificate for the same hostnames.",
        ),
    ] = False,
    passphrase_file: _Passphrases = None,
    token_file: _TokenFile = None,
    insecure: Insecure = False,
) -> None:
    """Upload the certificates and keys in files and folders.

    Reads the folders of certbot, acme.sh, lego, Caddy, dehydrated and getssl, and single PEM, DER,
    PKCS#12 and PKCS#7 files. Certificates and keys are paired by public key. You can run it again:
    a certificate is not uploaded twice. The exit code is 1 if anything failed.
    """
    from ..client.importing.command import run
    from ..client.importing.upload import UploadOptions

    require_private(server, "private keys and the token", insecure=insecure)
    code = run(
        paths,
        _read_passphrases(passphrase_file),
        datetime.now(UTC),
        server=server,
        user_id=user,
        options=UploadOptions(dry_run=dry_run, activate=activate, replace=replace),
        token=read_token(token_file),
    )
    raise typer.Exit(code)


def list_expiring(
    user: Annotated[int, typer.Option(metavar="ID", min=1, help="Whose certificates they are.")],
    within: Annotated[
        str, typer.Option(metavar="DAYS", help="In how many days they end, like 30d.")
    ] = "30d",
    server: _Server = _HERE,
    token_file: _TokenFile = None,
    insecure: Insecure = False,
) -> None:
    """Say which active certificates end soon, or have ended.

    Exits with 1 where there are any whose hostnames no other certificate takes over, with 2 where
    the service cannot be asked.
    """
    from ..client.expiring import run

    require_private(server, "the token", insecure=insecure or token_file is None)
    days = within.removesuffix("d")
    if not (days.isascii() and days.isdigit() and len(days) <= 4):
        raise typer.BadParameter(f"{within!r} is no number of days like 30d", param_hint="--within")
    token = read_token(token_file)
    now = datetime.now(UTC)
    raise typer.Exit(run(now, int(days), server=server, user_id=user, token=token))


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
            metavar="FILE", exists=True, dir_okay=False, help="The private key that should fit."
        ),
    ] = None,
    passphrase_file: _Passphrases = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say what certificates are, and what is wrong with them.

    Needs neither the service nor a network. Exits with 1 where an error is found.
    """
    from ..client.inspecting.command import run

    passphrases = _read_passphrases(passphrase_file)
    raise typer.Exit(run(files, key, passphrases, datetime.now(UTC), as_json=as_json))


def require_private(server: str, secrets: str, *, insecure: bool) -> None:
    """Refuses a URL to which `secrets` would go in clear, unless that is allowed (`insecure`)."""
    from ..client.api.server_url import is_private, is_usable
    from ..terminal import escaped

    if not is_usable(server):
        raise typer.BadParameter(f"{server!r} is no URL", param_hint="--server")
    if not (insecure or is_private(server)):
        raise typer.BadParameter(
            f"{escaped(server)} is plain HTTP to another host: anybody on the way could read "
            f"{secrets}. Use https://, or --insecure if nobody else is on that network.",
            param_hint="--server",
        )


def _read_passphrases(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text("utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--passphrase-file") from None


def read_token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        # It becomes a part of a header.
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--token-file") from None
    if not token.isprintable() or not token:
        raise typer.BadParameter("it is not one line with a token", param_hint="--token-file")
    return token
