"""Options that several client commands share."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..client.api.connection import Server

existing_file = partial(typer.Option, metavar="FILE", exists=True, dir_okay=False)
LOCAL_SERVER = "http://localhost:9000"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """The options of commands that send requests to the service."""

    server: Annotated[
        str,
        typer.Option(metavar="URL", envvar="CUSTOMER_CERTIFICATES_URL", help="The service's URL."),
    ] = LOCAL_SERVER
    token_file: Annotated[
        Path | None,
        existing_file(
            envvar="CUSTOMER_CERTIFICATES_TOKEN_FILE",
            help="The file with the API token. A service in the profile prd requires a token.",
        ),
    ] = None
    ca: Annotated[
        Path | None,
        existing_file(
            envvar="CUSTOMER_CERTIFICATES_CA",
            help="Trust only the CA certificates in this PEM file. By default, trust public CAs.",
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Allow plain HTTP to another host. Anyone on the network path can read it.",
        ),
    ] = False

    def to_server(self, *, with_keys: bool = False) -> "Server":
        """Returns the server. `with_keys`: private keys are sent to it or fetched from it.

        Raises BadParameter if an option cannot be used, or if plain HTTP would expose secrets.
        """
        from ..client.api.connection import Server

        secrets = "the token" if self.token_file else None
        self._require_private("private keys and the token" if with_keys else secrets)
        self._require_ca()
        return Server(self.server, read_token(self.token_file), self.ca)

    def _require_private(self, secrets: str | None) -> None:
        from ..client.api.server_url import is_private, is_usable
        from ..terminal import escaped

        if not is_usable(self.server):
            raise typer.BadParameter(
                f"{self.server!r} is not a URL. Use a URL like https://certificates.example.com.",
                param_hint="--server",
            )
        if secrets and not (self.insecure or is_private(self.server)):
            raise typer.BadParameter(
                f"{escaped(self.server)} uses plain HTTP to another host. Anyone on the "
                f"network path could read {secrets}. Use https://, or pass --insecure on a trusted "
                "network.",
                param_hint="--server",
            )

    def _require_ca(self) -> None:
        from ..client.api.connection import tls_context

        try:
            tls_context(self.ca)
        # An SSLError is an OSError.
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or ""
            reason = reason.lower().replace("_", " ")
            raise typer.BadParameter(
                f"{self.ca} has no usable certificates ({reason}). Pass CA certificates in PEM.",
                param_hint="--ca",
            ) from None


def read_token(file: Path | None) -> str | None:
    """Returns the token in `file`. Raises BadParameter if `file` does not hold one line of text."""
    if file is None:
        return None
    try:
        # The token becomes part of a header.
        token = file.read_text("ascii").strip()
    except OSError as error:
        detail = f"{file} cannot be read: {error.strerror}."
        raise typer.BadParameter(detail, param_hint="--token-file") from None
    except UnicodeDecodeError:
        token = ""
    if not token.isprintable() or not token:
        detail = f"{file} must hold one line with a token."
        raise typer.BadParameter(detail, param_hint="--token-file")
    return token
