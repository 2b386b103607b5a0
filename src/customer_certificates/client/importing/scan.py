"""Finds the files under the given paths."""

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The service accepts no larger body.
LARGEST_FILE_BYTES = 256 * 1024

# Folders in which ACME clients keep old versions, and the entries beside such a folder that
# identify the client: certbot and getssl, lego, acme.sh (a file named after the domain, as the
# folder is). Other folders with these names are searched.
_OLDER_VERSIONS = {
    "archive": ("live", "getssl.cfg"),
    "archives": ("certificates",),
    "backup": ("{domain}.conf",),
}
_NAMES = (
    *(".pem", ".crt", ".cer", ".der", ".key", ".p12", ".pfx"),
    *(".p7b", ".p7c", ".p7s", ".jks", ".keystore"),
)
# dehydrated keeps all versions in one folder, with cert.pem as a link to the newest.
_DATED = re.compile(r"(cert|chain|fullchain|privkey)-[0-9]+\.(pem|csr)")


@dataclass(frozen=True, slots=True)
class File:
    """A file to read. `is_named`: its path was given directly, not found in a folder."""

    path: Path
    is_named: bool
    root: Path


@dataclass(slots=True)
class Walked:
    """The results of a search.

    `obstacles`: files and folders that cannot be read, with reasons. `skipped`: those that were
    skipped on purpose, with reasons. `others` counts unopened files whose names do not suggest
    certificates or keys.
    """

    files: list[File] = field(default_factory=list)
    obstacles: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    others: int = 0


def walk(paths: Sequence[Path]) -> Walked:
    """Finds all files in `paths`, which are files and folders. Visits each entry once.

    Links to files are always followed. Links to folders are followed only within the given folder,
    so that a link to / does not search the whole machine. Only regular files are opened.
    """
    walked = Walked()
    seen: set[tuple[int, int]] = set()
    # Files first: a file that is given directly and is also in a folder counts as named.
    for root in sorted(paths, key=os.path.isdir):
        waiting = [root]
        while waiting:
            path = waiting.pop()
            try:
                waiting += _visit(path, root, walked, seen)
            except OSError as error:
                walked.obstacles.append((path, _reason(path, error)))
    return walked


def is_expected(path: Path) -> bool:
    """Returns whether the name of a file suggests certificates or keys.

    Other unreadable files are only counted, because a folder may have many of them.
    """
    return path.suffix.lower() in _NAMES


def _visit(path: Path, root: Path, walked: Walked, seen: set[tuple[int, int]]) -> list[Path]:
    """Records `path`. Returns the entries to visit if it is a folder. Raises OSError."""
    is_named = path == root
    try:
        status = path.stat()
    except OSError:
        if is_named or is_expected(path):
            raise
        walked.others += 1
        return []
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return []
    if stat.S_ISDIR(status.st_mode):
        if not is_named and (reason := _reason_to_skip(path, root)):
            walked.skipped.append((path, reason))
            return []
        entries, older = _entries(path)
        walked.skipped += [(entry, "older version") for entry in older]
        seen.add(identity)
        return entries
    seen.add(identity)
    if not stat.S_ISREG(status.st_mode):
        reason = "the path is neither a file nor a folder"
    elif status.st_size > LARGEST_FILE_BYTES:
        reason = f"the file is larger than {LARGEST_FILE_BYTES // 1024} KiB"
    else:
        walked.files.append(File(path, is_named, root))
        return []
    if is_named:
        walked.obstacles.append((path, reason))
    elif is_expected(path):
        walked.skipped.append((path, reason))
    else:
        walked.others += 1
    return []


def _reason_to_skip(folder: Path, root: Path) -> str | None:
    domain = folder.parent.name.removesuffix("_ecc")
    siblings = [mark.format(domain=domain) for mark in _OLDER_VERSIONS.get(folder.name, ())]
    if any((folder.parent / mark).exists() for mark in siblings):
        return "older versions"
    if folder.is_symlink() and not folder.resolve().is_relative_to(root.resolve()):
        return f"a link to a folder outside {root}"
    return None


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the entries of `folder` in reverse order, and older versions.

    The caller takes entries from the end.
    """
    names = sorted(os.listdir(folder), reverse=True)
    older: list[str] = []
    if "cert.pem" in names and (folder / "cert.pem").is_symlink():
        older = [name for name in names if _DATED.fullmatch(name)]
    return [folder / name for name in names if name not in older], [folder / name for name in older]


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return "the symbolic link is broken"
    return f"cannot be read: {error.strerror}"
