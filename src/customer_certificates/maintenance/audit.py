"""Commands for the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..composition import Services
from ..config import Config
from ..crypto.ed25519 import Signer, Verifier, new_key
from ..gateways.database.schema import require_head
from ..gateways.files.audit_files import (
    AuditFileError,
    all_files,
    newest_files,
    private_key,
    read_heads,
    write_heads,
)
from ..services.audit.export_verification import Exported, backward_heads, read_exports
from ..services.audit.exports import AuditExports, newest_export
from ..services.audit.signed_heads import AuditHeads
from ..services.audit.verification import AuditVerification, Report

# Hosts with different clocks may name files in another order than they number them.
_NEWEST = 20


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a verification.

    `heads` were signed, and the entries `unsigned` were not. `exports` are faults of the files. The
    database recorded exports of `other_series`, whose files are missing.
    """

    report: Report
    heads: int
    unsigned: Sequence[str]
    exports: Sequence[str]
    other_series: Sequence[str]


def verify_audit(
    config: Config, user: int | None, heads: Sequence[Path], public_key: Path | None
) -> Verified:
    """Verifies the audit log of a user, or of all users.

    `public_key` verifies the signed heads; by default it is this service's. Raises SchemaError,
    Unavailable, AuditFileError.
    """
    found = Exported()
    other_series: list[str] = []
    require_head(config.database_url)
    with Services.of_command(config, threads=1) as services:
        database = services.database
        if heads:
            verifier = _verifier(public_key) if public_key else Verifier(_signer(config).public_pem)
            recorded = AuditExports(database).recorded()
            files = {str(path): (path.is_dir(), read) for path, read in read_heads(heads).items()}
            found = read_exports(files, verifier, recorded)
            other_series = sorted(set(recorded) - found.series)
        report = AuditVerification(database).run(user, found.heads)
    report.faults += backward_heads(
        head for head in found.heads if user is None or head.chain == user
    )
    return Verified(report, len(found.heads), found.unsigned, found.faults, other_series)


def export_heads(config: Config, folder: Path) -> Path:
    """Exports the heads of the audit log, and returns the file's path.

    The first export has all chains. Later ones have the chains with entries since the newest export
    in `folder`. Raises SchemaError, Unavailable, AuditFileError.
    """
    signer = _signer(config)
    require_head(config.database_url)
    with Services.of_command(config, threads=1) as services:
        database, at = services.database, services.now()
        last = newest_export(newest_files(folder, _NEWEST), Verifier(signer.public_pem))
        since = datetime.fromisoformat(last.manifest.at) if last else None
        path: Path = AuditExports(database).add(
            signer,
            AuditHeads(database, services.now).signed(signer, since),
            at,
            lambda: newest_files(folder, _NEWEST),
            lambda: all_files(folder),
            lambda content: write_heads(folder, at, content, signer.public_pem),
        )
        return path


def _signer(config: Config) -> Signer:
    return Signer(config.audit_key_pem or private_key(config.data_dir, new_key()))


def _verifier(path: Path) -> Verifier:
    try:
        return Verifier(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AuditFileError(f"{path} is not an Ed25519 public key: {error}.") from error
