"""The key that signs the audit log's heads, and the exported files."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from .safe_folders import fault_of_folder

PUBLIC_KEY = "audit-public-key.pem"
_PRIVATE_KEY = "audit-key.pem"
_HEADS = "heads-{at}-{random}.jsonl"
_ALL_HEADS = "heads-*.jsonl"
_TIME = "%Y%m%dT%H%M%S.%fZ"


class HeadFile(NamedTuple):
    """A file with exported heads; its content is UTF-8."""

    name: str
    content: bytes


class AuditFileError(Exception):
    """A file cannot be used. The message names the file and the reason."""


def private_key(folder: Path, new: bytes) -> bytes:
    """Returns the key in `folder`, where only the owner can read it. Raises AuditFileError.

    Stores `new` if there is none.
    """
    path = folder / _PRIVATE_KEY
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = _written(folder, new, 0o600)
            # If two processes create it at once, one wins, and no reader sees a partial file.
            try:
                with suppress(FileExistsError):
                    os.link(written, path)
            finally:
                written.unlink()
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise AuditFileError(f"Other accounts can read {path}. Run: chmod 600 {path}")
        if fault := fault_of_folder(folder):
            raise AuditFileError(f"{path} is not safe. {fault}")
        return path.read_bytes()
    except OSError as error:
        raise AuditFileError(f"{path} cannot be used: {error.strerror}.") from error


def newest_files(folder: Path, number: int) -> list[HeadFile]:
    """Returns the `number` newest files with heads in `folder`. Raises AuditFileError."""
    return _read(sorted(folder.glob(_ALL_HEADS), reverse=True)[:number])


def all_files(folder: Path) -> list[HeadFile]:
    """Returns all files with heads in `folder`, the oldest first. Raises AuditFileError."""
    return _read(sorted(folder.glob(_ALL_HEADS)))


def write_heads(folder: Path, at: datetime, content: bytes, public_key: bytes) -> Path:
    """Writes a new file atomically, and the public key beside it. Raises AuditFileError."""
    name = _HEADS.format(at=at.astimezone(UTC).strftime(_TIME), random=token_hex(4))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _written(folder, public_key, 0o644).replace(folder / PUBLIC_KEY)
        return _written(folder, content, 0o644).replace(folder / name)
    except OSError as error:
        raise AuditFileError(f"{folder} cannot be written to: {error.strerror}.") from error


def read_heads(paths: Iterable[Path]) -> dict[Path, list[HeadFile]]:
    """Returns the file at each path, or a folder's files with heads. Raises AuditFileError."""
    return {path: all_files(path) if path.is_dir() else _read([path]) for path in paths}


def _read(paths: Iterable[Path]) -> list[HeadFile]:
    files = []
    for path in paths:
        try:
            content = path.read_bytes()
            content.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise AuditFileError(f"{path} cannot be read: {error}.") from error
        files.append(HeadFile(path.name, content))
    return files


def _written(folder: Path, content: bytes, mode: int) -> Path:
    """Writes `content` to a temporary file and flushes it to the disk."""
    path = folder / f".{token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return path
