"""The client commands for TLS terminators. Each imports its dependencies when it runs."""

import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .option_groups import with_option_groups
from .options import AsJson, ServiceOptions, read_token

if TYPE_CHECKING:
    from ..client.sync.command import SyncOptions

# The longest name that the service accepts.
_LONGEST_NAME = 200


class Format(StrEnum):
    """The server software that reads the folder."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    PEM = "pem"


@dataclass(frozen=True, kw_only=True)
class _FolderOptions:
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", file_okay=False, help="The folder to write. Only one agent may use it."
        ),
    ]
    format: Annotated[
        Format | None, typer.Option(help="The server software that reads the folder.")
    ] = None
    name: Annotated[
        str,
        typer.Option(
            help="The name of this terminator in reports. It must be unique.",
            show_default="host/format/folder",
        ),
    ] = ""
    reload: Annotated[
        str | None, typer.Option(metavar="CMD", help="The command that reloads the server.")
    ] = None
    check: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="The command that tests the configuration before a reload.",
            show_default="nginx -t for nginx, with --reload",
        ),
    ] = None
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="SOCKET",
            help="The runtime socket of HAProxy. Update HAProxy through it, without a reload.",
        ),
    ] = None
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="The group that may read the files.")
    ] = None
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write metrics for node_exporter's textfile collector."),
    ] = None


@with_option_groups
def sync(
    options: _FolderOptions,
    connection: ServiceOptions,
    once: Annotated[
        bool, typer.Option("--once", help="Update the folder once, then exit. Do not retry.")
    ] = False,
    show_status: Annotated[
        bool, typer.Option("--status", help="Print the status of the agent of DIR, then exit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a folder up to date with the active certificates, for nginx, HAProxy or PEM readers.

    Follows the service's feed. Keeps the files while the service is unreachable. Exits with 0 after
    SIGTERM.

    --once and --status exit with 1 if a certificate is not served as it should be. This includes
    certificates that the server cannot load. --json applies to --status.
    """
    from ..client.sync import command

    if show_status:
        raise typer.Exit(command.show_status(options.out, as_json=as_json))
    if as_json:
        raise typer.BadParameter("Use --json together with --status.", param_hint="--json")
    complete = _sync_options(options, connection)
    token_file = connection.token_file
    code = command.run(complete, lambda: _reread(token_file), lambda: datetime.now(UTC), once=once)
    raise typer.Exit(code)


def _sync_options(options: _FolderOptions, connection: ServiceOptions) -> "SyncOptions":
    """Returns the options with the defaults of the format. Raises BadParameter."""
    from ..client.sync.command import SyncOptions

    if options.format is None:
        detail = "A format is required. Use nginx, haproxy or pem."
        raise typer.BadParameter(detail, param_hint="--format")
    server = connection.to_server(with_keys=True)
    if options.runtime and options.format != Format.HAPROXY:
        detail = "Only HAProxy has a runtime socket. Use --format haproxy."
        raise typer.BadParameter(detail, param_hint="--runtime")
    check = "nginx -t" if options.format == Format.NGINX and options.reload else None
    given: dict[str, Any] = asdict(options) | {
        "format": options.format.value,
        "name": options.name or default_name(socket.gethostname(), options.format, options.out),
        "check": options.check or check,
    }
    return SyncOptions(**given, server=server.url, ca=server.ca)


def default_name(host: str, format: str, folder: Path) -> str:  # noqa: A002
    """Returns the name of the agent that writes `folder` for `format` on `host`."""
    words = "-".join(part for part in folder.absolute().parts if part != "/")
    name = f"{host}/{format}/{words}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{name[: _LONGEST_NAME - 17]}-{digest}"


@with_option_groups
def probe(
    addresses: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS", help="Servers, as host, host:port or [IPv6]:port."),
    ],
    connection: ServiceOptions,
    hostname: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The hostname to request. By default, request each server's own name.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Connect to servers over TLS, and compare their certificates with the expected ones.

    Probes every key type if a hostname has certificates with several. Reports the results to the
    service. Exits with 1 if a server does not serve an expected certificate.
    """
    from ..client.probe import run
    from ..client.probe_address import read_address

    server = connection.to_server()
    try:
        parsed = [read_address(address) for address in addresses]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ADDRESS") from None
    raise typer.Exit(run(parsed, hostname or (), server, as_json=as_json))


def _reread(file: Path | None) -> str | None:
    """Returns the token for a running agent, which retries if the file is unusable."""
    from ..client.api.responses import Unreachable

    try:
        return read_token(file)
    except typer.BadParameter as error:
        raise Unreachable(f"{file}: {error}") from None
