"""Options that several client commands share."""

from pathlib import Path
from typing import Annotated

import typer

LOCAL_SERVER = "http://localhost:9000"

Server = Annotated[
    str, typer.Option(metavar="URL", envvar="CUSTOMER_CERTIFICATES_URL", help="The service's URL.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        envvar="CUSTOMER_CERTIFICATES_TOKEN_FILE",
        help="The file that holds the API token. A service in the profile prd requires a token.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        envvar="CUSTOMER_CERTIFICATES_CA",
        help="Trust only the CA certificates in this PEM file. By default, trust public CAs.",
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help="Allow plain HTTP to another host. Anyone on the network path can read it.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def require_private(server: str, secrets: str, *, insecure: bool) -> None:
    """Rejects a URL that would send `secrets` unencrypted, unless `insecure` allows it."""
    from ..client.api.server_url import is_private, is_usable
    from ..terminal import escaped

    if not is_usable(server):
        raise typer.BadParameter(
            f"{server!r} is not a URL. Use a URL like https://certificates.example.com.",
            param_hint="--server",
        )
    if not (insecure or is_private(server)):
        raise typer.BadParameter(
            f"{escaped(server)} uses plain HTTP to another host. Anyone on the network path could "
            f"read {secrets}. Use https://, or pass --insecure on a trusted network.",
            param_hint="--server",
        )


def read_token(file: Path | None) -> str | None:
    """Returns the token in `file`. Raises BadParameter if `file` does not hold one line of text."""
    if file is None:
        return None
    try:
        # The token becomes part of a header.
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(str(error), param_hint="--token-file") from None
    if not token.isprintable() or not token:
        raise typer.BadParameter(
            "The file must hold one line with a token.", param_hint="--token-file"
        )
    return token


def require_ca(file: Path | None) -> None:
    """Raises BadParameter if `file` does not hold CA certificates in PEM."""
    from ..client.api.connection import tls_context

    try:
        tls_context(file)
    # An SSLError is an OSError.
    except OSError as error:
        raise typer.BadParameter(
            f"{file} holds no usable certificates in PEM: {error}.", param_hint="--ca"
        ) from None
