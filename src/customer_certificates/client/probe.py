"""The command `probe`: whether what should be served is what is served."""

from collections.abc import Sequence
from types import NoneType
from typing import Literal, NamedTuple

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from ..gateways.tls_probe import ProbeFailure, served
from ..terminal import escaped
from .api.connection import Connection
from .api.responses import Lost, Refused, Unreachable
from .text import NONE, console

_SHOWN = 16
_STYLES = {"served": "green", "lags": "red", "fails": "red"}
_LONGEST_ERROR = 1000
_MOST_ERRORS = 100


class Address(NamedTuple):
    """Where a server terminates TLS."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Winner(msgspec.Struct, frozen=True):
    """What should be served to who takes keys of its type."""

    key_type: str
    certificate_id: int
    version: int
    fingerprint_sha256: str


class Resolved(msgspec.Struct, frozen=True):
    """What should be served for a name."""

    winners: tuple[Winner, ...]


class Seen(NamedTuple):
    """What a server does for a name and a type of key. `winner` is what it should serve, if
    anything; `detail` says what it does instead."""

    address: Address
    hostname: str
    winner: Winner | None
    outcome: Literal["served", "lags", "fails"]
    detail: str


def read_address(text: str) -> Address:
    """`host`, `host:port`, `[address]:port` or an IPv6 address; port 443 unless named.

    Raises ValueError.
    """
    host, port = text, "443"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no address")
    return Address(host, int(port))


def run(
    addresses: Sequence[Address], hostnames: Sequence[str], server: str, token: str | None
) -> int:
    """The exit code: 0 where everything is served that should be, else 1.

    Without `hostnames` each address is asked for its own name.
    """
    warnings = console(errors=True)
    connection = Connection(server, token)
    try:
        seen = [
            one
            for address in addresses
            for hostname in hostnames or (address.host,)
            for one in _look(connection, address, hostname)
        ]
        console().print(_table(seen))
        for address in addresses:
            _report(connection, address, [one for one in seen if one.address == address])
    except (Refused, Unreachable, Lost) as error:
        warnings.print(Text(f"customer-certificates: {escaped(error.detail)}", "red"))
        return 1
    finally:
        connection.close()
    return int(any(one.outcome != "served" for one in seen))


def _look(connection: Connection, address: Address, hostname: str) -> list[Seen]:
    winners = connection.send(Resolved, "GET", "/resolve", params={"hostname": hostname}).winners
    if not winners:
        return [Seen(address, hostname, None, "fails", "Nothing should be served for this name.")]
    return [_compare(address, hostname, winner, len(winners) > 1) for winner in winners]


def _compare(address: Address, hostname: str, winner: Winner, has_rivals: bool) -> Seen:
    """Where it is the only winner, any client is to get it."""
    try:
        found = served(*address, hostname, winner.key_type if has_rivals else None)
    except ProbeFailure as failure:
        return Seen(address, hostname, winner, "fails", str(failure))
    if found == winner.fingerprint_sha256:
        return Seen(address, hostname, winner, "served", "")
    return Seen(address, hostname, winner, "lags", f"serves {found[:_SHOWN]}…")


def _table(seen: Sequence[Seen]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("address", "hostname", "key", "should serve", "outcome"):
        table.add_column(heading, overflow="fold")
    for one in seen:
        winner, key = NONE, NONE
        if one.winner:
            key = escaped(one.winner.key_type)
            winner = f"#{one.winner.certificate_id} version {one.winner.version}, "
            winner += f"{escaped(one.winner.fingerprint_sha256[:_SHOWN])}…"
        outcome = Text.assemble(
            (one.outcome, _STYLES[one.outcome]), f" {escaped(one.detail)}" if one.detail else ""
        )
        cells = (str(one.address), one.hostname, key, winner)
        table.add_row(*(Text(escaped(cell)) for cell in cells), outcome)
    return table


def _report(connection: Connection, address: Address, seen: Sequence[Seen]) -> None:
    """Tells the service what was seen to be served; a terminator is called by its address."""
    verified = {
        one.winner.certificate_id: {
            "certificate_id": one.winner.certificate_id,
            "version": one.winner.version,
            "fingerprint_sha256": one.winner.fingerprint_sha256,
            "verified": True,
        }
        for one in seen
        if one.winner and one.outcome == "served"
    }
    errors = [
        f"{one.hostname}: {one.outcome}: {one.detail}"[:_LONGEST_ERROR]
        for one in seen
        if one.outcome != "served"
    ]
    report = {
        "terminator": str(address),
        "format": "probe",
        "served": list(verified.values()),
        "errors": errors[:_MOST_ERRORS],
    }
    connection.send(NoneType, "POST", "/terminators/reports", report)
