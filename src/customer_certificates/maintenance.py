"""What the commands do that look after a database: its audit, and what is kept too long."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from .config import Config
from .crypto.signatures import Signer, Verifier, new_key
from .gateways.audit_files import (
    AuditFileError,
    last_export,
    private_key,
    read_heads,
    write_heads,
)
from .gateways.database import Database
from .gateways.metrics import Metrics
from .gateways.schema import require_head
from .services.audit_heads import AuditHeads, SignedHead, heads_of
from .services.audit_verification import AuditVerification, Report
from .services.registrations import Registrations
from .services.repeats import Repeats
from .services.usage import Usage


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: `heads` were signed, the lines `unsigned` were not."""

    report: Report
    heads: int
    unsigned: Sequence[str]


def verify_audit(
    config: Config, user: int | None, heads: Sequence[Path], public_key: Path | None
) -> Verified:
    """Whether the audit of a user, or of all, is as it was written and as it was signed.

    `public_key` is what the heads were signed with, by default this service's own key. Raises
    SchemaError, Unavailable, AuditFileError.
    """
    signed: list[SignedHead] = []
    unsigned: list[str] = []
    if heads:
        verifier = _verifier(public_key) if public_key else Verifier(_signer(config).public_pem)
        signed, unsigned = heads_of(read_heads(heads), verifier)
    with _database(config) as database:
        report = AuditVerification(database).run(user, signed)
    return Verified(report, len(signed), unsigned)


def export_heads(config: Config, folder: Path) -> Path:
    """Writes a file of what chains end in, and gives its path: the first time all chains,
    afterwards those with entries since the newest file in `folder`.

    Raises SchemaError, Unavailable, AuditFileError.
    """
    signer = _signer(config)
    with _database(config) as database:
        lines = AuditHeads(database, _now).signed(signer, last_export(folder))
        return write_heads(folder, _now(), lines, signer.public_pem)


class Cleaned(NamedTuple):
    """How many kept answers were removed, and how many counters of users were wrong."""

    kept_answers: int
    counters: int


def clean(config: Config) -> Cleaned:
    """Removes kept answers and counts of registrations that are too old, and counts anew what users
    store. Raises SchemaError, Unavailable."""
    with _database(config) as database:
        Registrations(database, _now).clean()
        return Cleaned(Repeats(database, _now).clean(), Usage(database).recount())


def count_usage(config: Config) -> int:
    """Counts anew what users store; returns how many counters were wrong. Raises SchemaError,
    Unavailable."""
    with _database(config) as database:
        return Usage(database).recount()


@contextmanager
def _database(config: Config) -> Iterator[Database]:
    require_head(config.database_url)
    database = Database(config.database_url, Metrics(None), threads=1)
    try:
        yield database
    finally:
        database.close()


def _signer(config: Config) -> Signer:
    return Signer(config.audit_key_pem or private_key(config.data_dir, new_key()))


def _verifier(path: Path) -> Verifier:
    try:
        return Verifier(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AuditFileError(f"{path} is no Ed25519 public key: {error}.") from error


def _now() -> datetime:
    return datetime.now(UTC)
