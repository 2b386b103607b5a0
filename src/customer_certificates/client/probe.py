"""The command `probe`: compares the certificates that servers serve with the expected ones."""

from collections.abc import Sequence
from types import NoneType
from typing import Literal, NamedTuple

import msgspec
from rich.text import Text

from ..gateways.tls_probe import ProbeFailure, served
from ..terminal import escaped, show_json
from .api.connection import Connection, Server
from .api.responses import Lost, Refused, Unreachable
from .probe_address import Address
from .text import NONE, console, print_error, table

_SHOWN = 16
_HEADINGS = ("address", "hostname", "key", "expected", "outcome")
_STYLES = {"served": "green", "lags": "red", "fails": "red"}
_LONGEST_ERROR = 1000
_MOST_ERRORS = 100


class SelectedCertificate(msgspec.Struct, frozen=True):
    """The certificate to serve to clients that accept its key type."""

    key_type: str
    certificate_id: int
    version: int
    fingerprint_sha256: str


class Resolved(msgspec.Struct, frozen=True):
    """The certificates to serve for a hostname."""

    selected: tuple[SelectedCertificate, ...]


class ProbeResult(NamedTuple):
    """A server's behavior for a hostname and a key type.

    `chosen` is the expected certificate, if any. `detail` explains a difference.
    """

    address: Address
    hostname: str
    chosen: SelectedCertificate | None
    outcome: Literal["served", "lags", "fails"]
    detail: str


def run(
    addresses: Sequence[Address], hostnames: Sequence[str], server: Server, *, as_json: bool
) -> int:
    """Returns the exit code: 0 if every server serves the expected certificates, otherwise 1.

    Without `hostnames`, requests each server's own name.
    """
    connection = Connection(server)
    try:
        results = [
            result
            for address in addresses
            for hostname in hostnames or (address.host,)
            for result in _probe(connection, address, hostname)
        ]
        if as_json:
            show_json([_json_of(result) for result in results])
        else:
            console().print(table(_HEADINGS, map(_row, results)))
        for address in addresses:
            own = [result for result in results if result.address == address]
            _report(connection, address, own)
    except (Refused, Unreachable, Lost) as error:
        print_error(str(error))
        return 1
    finally:
        connection.close()
    return int(any(result.outcome != "served" for result in results))


def _probe(connection: Connection, address: Address, hostname: str) -> list[ProbeResult]:
    selected = connection.send(Resolved, "GET", "/resolve", params={"hostname": hostname}).selected
    if not selected:
        detail = "There is no active certificate for this hostname."
        return [ProbeResult(address, hostname, None, "fails", detail)]
    return [_compare(address, hostname, chosen, len(selected) > 1) for chosen in selected]


def _compare(
    address: Address, hostname: str, chosen: SelectedCertificate, has_others: bool
) -> ProbeResult:
    """Compares the served certificate with `chosen`.

    Without others, every client gets `chosen`, whatever key types it accepts.
    """
    try:
        found = served(*address, hostname, chosen.key_type if has_others else None)
    except ProbeFailure as failure:
        return ProbeResult(address, hostname, chosen, "fails", str(failure))
    if found == chosen.fingerprint_sha256:
        return ProbeResult(address, hostname, chosen, "served", "")
    return ProbeResult(address, hostname, chosen, "lags", f"serves {found[:_SHOWN]}…")


def _json_of(result: ProbeResult) -> dict[str, object]:
    return {
        "address": str(result.address),
        "hostname": result.hostname,
        "expected": result.chosen,
        "outcome": result.outcome,
        "detail": result.detail,
    }


def _row(result: ProbeResult) -> tuple[Text | str, ...]:
    expected, key_type = NONE, NONE
    if chosen := result.chosen:
        key_type = chosen.key_type
        expected = f"#{chosen.certificate_id} version {chosen.version}, "
        expected += f"{chosen.fingerprint_sha256[:_SHOWN]}…"
    detail = f" {escaped(result.detail)}" if result.detail else ""
    outcome = Text.assemble((result.outcome, _STYLES[result.outcome]), detail)
    return str(result.address), result.hostname, key_type, expected, outcome


def _report(connection: Connection, address: Address, results: Sequence[ProbeResult]) -> None:
    """Reports the results to the service, under the address as the terminator's name."""
    verified = {
        result.chosen.certificate_id: {
            "certificate_id": result.chosen.certificate_id,
            "version": result.chosen.version,
            "fingerprint_sha256": result.chosen.fingerprint_sha256,
            "verified": True,
        }
        for result in results
        if result.chosen and result.outcome == "served"
    }
    errors = [
        f"{result.hostname}: {result.outcome}: {result.detail}"[:_LONGEST_ERROR]
        for result in results
        if result.outcome != "served"
    ]
    report = {
        "terminator": str(address),
        "format": "probe",
        "served": list(verified.values()),
        "errors": errors[:_MOST_ERRORS],
    }
    connection.send(NoneType, "POST", "/terminators/reports", report)
