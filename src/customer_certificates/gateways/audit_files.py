"""The key that signs the audit's heads, and the files into which they are exported."""

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

PUBLIC_KEY = "audit-public-key.pem"
_PRIVATE_KEY = "audit-key.pem"
_HEADS = "heads-{at}-{random}.jsonl"
_TIME = "%Y%m%dT%H%M%S.%fZ"


class AuditFileError(Exception):
    """A file cannot be used. The message says which and why."""


def private_key(folder: Path, new: bytes) -> bytes:
    """The key in `folder`; `new`, where there is none yet. Only its owner can read it.

    Raises AuditFileError.
    """
    path = folder / _PRIVATE_KEY
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = _written(folder, new, 0o600)
            # Of two that make one at once, one does; no reader sees half of it.
            try:
                os.link(written, path)
            except FileExistsError:
                pass
            finally:
                written.unlink()
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise AuditFileError(f"{path} can be read by others. Run: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise AuditFileError(f"{path} cannot be used: {error.strerror}.") from error


def last_export(folder: Path) -> datetime | None:
    """When the newest heads in `folder` were exported."""
    times = [path.name.split("-")[1] for path in folder.glob(_HEADS.format(at="*", random="*"))]
    return datetime.strptime(max(times), _TIME).replace(tzinfo=UTC) if times else None


def write_heads(folder: Path, at: datetime, lines: Iterable[str], public_key: bytes) -> Path:
    """Writes a new file with `lines`, all of it or nothing, and the public key beside it.

    Raises AuditFileError.
    """
    name = _HEADS.format(at=at.astimezone(UTC).strftime(_TIME), random=token_hex(4))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _written(folder, public_key, 0o644).replace(folder / PUBLIC_KEY)
        content = "".join(f"{line}\n" for line in lines).encode()
        return _written(folder, content, 0o644).replace(folder / name)
    except OSError as error:
        raise AuditFileError(f"{folder} cannot be written to: {error.strerror}.") from error


def read_heads(paths: Iterable[Path]) -> list[str]:
    """The lines of these files, and of all files with heads in these folders.

    Raises AuditFileError.
    """
    lines: list[str] = []
    for path in paths:
        try:
            files = sorted(path.glob("heads-*.jsonl")) if path.is_dir() else [path]
            for file in files:
                lines += file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise AuditFileError(f"{path} cannot be read: {error}.") from error
    return lines


def _written(folder: Path, content: bytes, mode: int) -> Path:
    """A file with `content` that is on the disk, under a name of its own."""
    path = folder / f".{token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return path
