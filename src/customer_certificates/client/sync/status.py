"""An agent's status, for people and for Prometheus."""

import os
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from secrets import token_hex

import msgspec
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from .files.directory import Directory
from .files.folder import Folder
from .files.trusted_path import open_of_anyone
from .retry import RetryState

STATUS_FILE = "status.json"


class Status(msgspec.Struct, frozen=True):
    """The agent's status at the time `at`.

    `is_current`: the server serves everything that the service sent by `heard_at`. `problems`
    explain why not. `heard_at` is None until the service responds to this process.
    """

    terminator: str
    format: str
    server: str
    process: int
    at: datetime
    heard_at: datetime | None
    is_current: bool
    certificates: int
    served: int
    hostnames: int
    next_change: datetime | None
    problems: tuple[str, ...]

    def differs_only_in_time_from(self, other: "Status") -> bool:
        """Returns whether the two statuses differ only in their times."""
        return msgspec.structs.replace(self, at=other.at, heard_at=other.heard_at) == other


def write(
    folder: Folder, metrics: Path | None, status: Status, retries: Iterable[RetryState]
) -> None:
    """Writes the status to `folder`, and to `metrics` for node_exporter. Raises OSError."""
    folder.replace_own(
        STATUS_FILE, msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n"
    )
    if metrics:
        _write_metrics(metrics, status, retries)


def read(folder: Path) -> Status:
    """Returns the last written status. Raises OSError, ValueError."""
    with closing(Directory.to_read(folder)) as directory:
        return msgspec.json.decode(directory.read(STATUS_FILE), type=Status)


def _write_metrics(file: Path, status: Status, retries: Iterable[RetryState]) -> None:
    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(f"customer_certificates_sync_{name}", text, registry=registry).set(value)

    heard = status.heard_at.timestamp() if status.heard_at else 0.0
    gauge("current", "Whether the server serves the current certificates.", status.is_current)
    gauge("heard_timestamp_seconds", "Time of the last response of the service.", heard)
    gauge("certificates", "Certificates in the folder.", status.certificates)
    gauge("served", "Certificates that are served.", status.served)
    gauge("hostnames", "Hostnames that are served.", status.hostnames)
    failures = Gauge(
        "customer_certificates_sync_failures",
        "Failures since the agent started.",
        ["doing"],
        registry=registry,
    )
    for retry in retries:
        failures.labels(retry.action).set(retry.failures)
    _replace(file, generate_latest(registry))


def _replace(file: Path, data: bytes) -> None:
    """Replaces `file`, whose folder may belong to another account such as node_exporter's."""
    file = file.absolute()
    with closing(Directory(open_of_anyone(file.parent), file.parent, None)) as directory:
        # Create a file with an unpredictable name, so that no existing link is followed.
        staged = f".{file.name}.{token_hex(8)}"
        try:
            with os.fdopen(directory.create(staged), "wb") as new:
                new.write(data)
                os.fchmod(new.fileno(), 0o644)
            directory.replace(staged, directory, file.name)
        except OSError:
            directory.remove(staged)
            raise
