"""The commands for what serves TLS. What they need is imported when they run."""

import socket
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from .certificates import Insecure, read_token, require_private

_Server = Annotated[str, typer.Option(metavar="URL", help="Where the service is.")]
_TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A terminator's token, where the service asks for one. It is read again once refused.",
    ),
]
_HERE = "http://localhost:9000"
# The longest name that the service accepts.
_LONGEST_NAME = 200


class Format(StrEnum):
    """For which kind of terminator."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    PEM = "pem"


def sync(
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", file_okay=False, help="The folder; no other agent may have it."
        ),
    ],
    format: Annotated[Format | None, typer.Option(help="Who reads the folder.")] = None,  # noqa: A002
    server: _Server = _HERE,
    token_file: _TokenFile = None,
    name: Annotated[
        str,
        typer.Option(
            help="The name of this terminator in reports. No other agent may use it.",
            show_default="host/format/folder",
        ),
    ] = "",
    reload: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="What has the server read its configuration again."),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="Checks the server's configuration before that. Must succeed.",
            show_default="`nginx -t` for nginx, where there is a --reload",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(metavar="SOCKET", help="HAProxy's runtime socket: it is told, not reloaded."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="The group that may read the files: nginx's workers."),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Metrics for node_exporter's textfile collector."),
    ] = None,
    insecure: Insecure = False,
    once: Annotated[bool, typer.Option("--once", help="Do what is to be done, then end.")] = False,
    show_status: Annotated[
        bool, typer.Option("--status", help="Say how the agent of DIR is doing, and end.")
    ] = False,
) -> None:
    """Keep a folder equal to what should be served, for nginx, HAProxy or anything that reads PEM.

    Follows the service's feed, and the clock. What is in the folder stays while the service is
    away. Exits with 0 after SIGTERM; --once and --status exit with 1 where something is not served
    as it should be: also if a certificate is left out because the server cannot load it.
    """
    from ..client.sync import command

    if show_status:
        raise typer.Exit(command.show_status(out))
    if format is None:
        raise typer.BadParameter("is missing", param_hint="--format")
    require_private(server, "private keys and the token", insecure=insecure)
    if runtime and format != Format.HAPROXY:
        raise typer.BadParameter("only HAProxy has such a socket", param_hint="--runtime")
    wish = command.Wish(
        format=format.value,
        out=out,
        server=server,
        name=name or default_name(socket.gethostname(), format.value, out),
        check=check or ("nginx -t" if format == Format.NGINX and reload else None),
        reload=reload,
        runtime=runtime,
        group=group,
        metrics=metrics,
    )
    read_token(token_file)
    code = command.run(wish, lambda: _reread(token_file), lambda: datetime.now(UTC), once=once)
    raise typer.Exit(code)


def default_name(host: str, format: str, folder: Path) -> str:  # noqa: A002
    """The name of the agent that keeps `folder` for `format` on `host`."""
    words = "-".join(part for part in folder.absolute().parts if part != "/")
    name = f"{host}/{format}/{words}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{name[: _LONGEST_NAME - 17]}-{digest}"


def probe(
    addresses: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS", help="Servers, as host, host:port or [address]:port."),
    ],
    hostname: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What to ask them for; each for its own name if not."),
    ] = None,
    server: _Server = _HERE,
    token_file: _TokenFile = None,
    insecure: Insecure = False,
) -> None:
    """Ask servers over TLS what they serve, and compare it with what should be.

    For each type of key that there is a certificate with, where there are several. What was seen is
    told to the service. Exits with 1 where anything else is served, or nothing.
    """
    from ..client.probe import read_address, run

    require_private(server, "the token", insecure=insecure or token_file is None)
    try:
        read = [read_address(one) for one in addresses]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ADDRESS") from None
    raise typer.Exit(run(read, hostname or (), server, read_token(token_file)))


def _reread(file: Path | None) -> str | None:
    """The token, while the agent runs: what is wrong with its file may be over in a moment."""
    from ..client.api.responses import Unreachable

    try:
        return read_token(file)
    except typer.BadParameter as error:
        raise Unreachable(f"{file}: {error}") from None
