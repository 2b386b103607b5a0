"""The client commands for certificates. Each imports its dependencies when it runs."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .option_groups import with_option_groups
from .options import AsJson, ServiceOptions, existing_file

if TYPE_CHECKING:
    from ..client.importing.upload import UploadOptions

_Passphrases = Annotated[
    Path | None,
    existing_file(
        "--passphrase-file", help="Passphrases for encrypted keys and PKCS#12 files, one per line."
    ),
]
_User = Annotated[
    int, typer.Option(metavar="ID", min=1, help="The ID of the user who owns the certificates.")
]


@dataclass(frozen=True, kw_only=True)
class _ImportOptions:
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate every certificate, but upload nothing.")
    ] = False
    activate: Annotated[
        bool, typer.Option("--activate", help="Activate every uploaded certificate.")
    ] = False
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Renew in place: replace the stored certificate for the same hostnames.",
        ),
    ] = False
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A label for every certificate. Can be repeated."),
    ] = None

    def to_upload(self) -> "UploadOptions":
        """Returns the options of the import. Raises BadParameter."""
        from ..client.importing.upload import UploadOptions

        labels = tuple(self.label or ())
        for label in labels:
            if "=" not in label:
                detail = f"{label!r} is not a label. Use a value like env=production."
                raise typer.BadParameter(detail, param_hint="--label")
        return UploadOptions(self.dry_run, self.activate, self.replace, labels)


@with_option_groups
def import_certificates(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", exists=True, help="Files, or folders to search.")
    ],
    user: _User,
    options: _ImportOptions,
    connection: ServiceOptions,
    passphrase_file: _Passphrases = None,
    as_json: AsJson = False,
) -> None:
    """Upload the certificates and keys in files and folders.

    Reads the folders of certbot, acme.sh, lego, Caddy, dehydrated and getssl, and single PEM, DER,
    PKCS#12 and PKCS#7 files. Pairs certificates and keys by public key. You can run the command
    again: it never uploads a certificate twice.

    Exits with 1 if anything failed or, with --dry-run, would fail.
    """
    from ..client.importing.command import run

    server = connection.to_server(with_keys=True)
    now, passphrases = datetime.now(UTC), _read_passphrases(passphrase_file)
    upload = options.to_upload()
    raise typer.Exit(run(paths, passphrases, now, server, user, upload, as_json=as_json))


@with_option_groups
def list_expiring(
    connection: ServiceOptions,
    user: Annotated[
        int | None,
        typer.Option(
            metavar="ID", min=1, help="List only the certificates of the user with this ID."
        ),
    ] = None,
    within: Annotated[
        str, typer.Option(metavar="DAYS", help="List certificates that expire in this many days.")
    ] = "30d",
    as_json: AsJson = False,
) -> None:
    """List active certificates that expire soon or have expired, of all users or of one.

    Without --user, the token must be an operator's.

    Exits with 1 if one of them has no replacement for its hostnames. Exits with 2 if the request to
    the service fails.
    """
    from ..client.expiring import run

    server = connection.to_server()
    days = within.removesuffix("d")
    if not (days.isascii() and days.isdigit() and len(days) <= 4):
        detail = f"{within!r} is not a number of days. Use a value like 30d."
        raise typer.BadParameter(detail, param_hint="--within")
    raise typer.Exit(run(datetime.now(UTC), int(days), server, user, as_json=as_json))


def inspect_files(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="Certificates, chains and keys."
        ),
    ],
    key: Annotated[
        Path | None,
        existing_file(
            help="The private key. Report an error if it does not match the certificate."
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
    except OSError as error:
        detail = f"{file} cannot be read: {error.strerror}."
        raise typer.BadParameter(detail, param_hint="--passphrase-file") from None
    except UnicodeDecodeError:
        detail = f"{file} is not text in UTF-8."
        raise typer.BadParameter(detail, param_hint="--passphrase-file") from None
